//! What the service knows of us, and we of the cluster: registration, the cluster's image, every znode's path and
//! payload. Kafka's `KafkaZkClient` and `ZkData`.

pub mod id;
pub mod image;
pub mod paths;
pub mod payload;
