//! A file for each of Kafka's APIs: from the decoded request to its answer.

pub mod delete_groups;
pub mod describe_groups;
pub mod find_coordinator;
mod group_words;
pub mod heartbeat;
pub mod join_group;
pub mod leave_group;
pub mod list_groups;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod sync_group;

#[cfg(test)]
mod group_tests;
