//! Partitions as replicas: leading, following, who is in sync, and when a record is safe.

pub mod leading;
pub mod waiters;
