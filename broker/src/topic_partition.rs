//! Names that all of the broker shares.

use std::fmt;
use std::sync::Arc;

/// A broker's number, unique in its cluster: `broker.id`.
pub type BrokerId = i32;

/// A partition of a topic; prints as the name of its directory, `orders-3`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name, one that has been checked.
    pub topic: Arc<str>,
    /// From 0, without holes.
    pub partition: i32,
}

impl TopicPartition {
    /// Partition `partition` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}
