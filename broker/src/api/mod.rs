//! A file for each of Kafka's APIs: from the decoded request to its answer.
