//! Kafka's protocol: frames, headers, the versions spoken of each API, and the head of a record batch.
