//! Writing what was decided: transactions that check `/controller_epoch` first, so that a controller that has been deposed
//! writes nothing, and several changes in each, as long as none of them fails.

use std::collections::VecDeque;
use std::sync::Arc;

use client::{Client, CreateMode, Data, Error, ErrorCode};
use tracing::debug;

use crate::registry::paths;
use crate::registry::payload::encode_reassignments;
use crate::registry::pipeline::each;
use crate::registry::read::children;

use super::decide::Change;

/// How many operations go into one transaction: small enough for a server's `jute.maxbuffer` of 1 MiB, whatever they are.
const BATCH_OPS_MAX: usize = 250;
/// How many bytes of data: an assignment of thousands of partitions is long.
const BATCH_BYTES_MAX: usize = 256 * 1024;
/// How many transactions are under way at once.
const BATCHES_MAX: usize = 16;

/// What a controller's right to write is checked by: the version of `/controller_epoch` since it was elected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fence(pub(super) i32);

/// How writing went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// Changes that were made.
    pub(super) made: usize,
    /// Changes that were not, because what they were decided from has changed.
    pub(super) outdated: usize,
    /// Nobody knows whether some were made: everything has to be read anew.
    pub(super) is_unsure: bool,
    /// There is another controller.
    pub(super) is_fenced: bool,
}

impl Written {
    fn and(self, other: Self) -> Self {
        Self {
            made: self.made + other.made,
            outdated: self.outdated + other.outdated,
            is_unsure: self.is_unsure || other.is_unsure,
            is_fenced: self.is_fenced || other.is_fenced,
        }
    }
}

/// One operation of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Write {
    /// If it is there already, that is fine.
    CreateParent(String),
    Create(String, Vec<u8>),
    Set(String, Vec<u8>, Option<i32>),
    /// If it is gone already, that is fine.
    Delete(String),
}

impl Write {
    fn bytes(&self) -> usize {
        match self {
            Self::CreateParent(path) | Self::Delete(path) => path.len(),
            Self::Create(path, data) | Self::Set(path, data, _) => path.len() + data.len(),
        }
    }

    fn is_fine(&self, code: ErrorCode) -> bool {
        match self {
            Self::CreateParent(_) => code == ErrorCode::NodeExists,
            Self::Delete(_) => code == ErrorCode::NoNode,
            Self::Create(..) | Self::Set(..) => false,
        }
    }
}

/// The operations of one change. A topic's deletion is none: it may take more than one transaction.
fn writes_of(change: &Change) -> Vec<Write> {
    match change {
        Change::SetUp { tp, state } => vec![
            Write::CreateParent(paths::partitions(&tp.topic)),
            Write::CreateParent(paths::partition(tp)),
            Write::Create(paths::partition_state(tp), state.encode()),
        ],
        Change::Lead { tp, state, version } => {
            vec![Write::Set(paths::partition_state(tp), state.encode(), Some(*version))]
        }
        Change::Assign { topic, payload, version } => {
            vec![Write::Set(paths::topic(topic), payload.encode(), Some(*version))]
        }
        Change::Delete { .. } => Vec::new(),
        Change::ForgetDeletion { topic } => vec![Write::Delete(paths::delete_topic(topic))],
        Change::Reassignments { left } if left.is_empty() => {
            vec![Write::Delete(paths::REASSIGN_PARTITIONS.into())]
        }
        Change::Reassignments { left } => {
            vec![Write::Set(paths::REASSIGN_PARTITIONS.into(), encode_reassignments(left), None)]
        }
        Change::ForgetPreferred => vec![Write::Delete(paths::PREFERRED_ELECTION.into())],
    }
}

/// Changes that are written together.
type Batch = Vec<Vec<Write>>;

/// Makes `changes`, each whole or not at all.
pub(super) async fn write(client: &Client, fence: Fence, changes: &[Change]) -> Written {
    let batches = batches(changes.iter().map(writes_of).filter(|writes| !writes.is_empty()));
    let commits =
        each(batches, BATCHES_MAX, move |batch| async move { Ok(commit(client, fence, batch).await) });
    let mut written = commits.await.unwrap_or_default().into_iter().fold(Written::default(), Written::and);
    for change in changes {
        if let Change::Delete { topic } = change {
            written = written.and(delete_topic(client, fence, topic).await);
        }
    }
    written
}

/// A partition's parent is created by the first of its topic in a batch.
fn batches(changes: impl Iterator<Item = Vec<Write>>) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    let (mut ops, mut bytes) = (usize::MAX, 0);
    let mut parent = None;
    for mut writes in changes {
        let more = writes.iter().map(Write::bytes).sum::<usize>();
        if ops.saturating_add(writes.len()) > BATCH_OPS_MAX || bytes + more > BATCH_BYTES_MAX {
            batches.push(Batch::new());
            (ops, bytes, parent) = (0, 0, None);
        }
        if let Some(Write::CreateParent(_)) = writes.first() {
            if parent == writes.first().cloned() {
                writes.remove(0);
            } else {
                parent = writes.first().cloned();
            }
        }
        ops += writes.len();
        bytes += more;
        if let Some(batch) = batches.last_mut() {
            batch.push(writes);
        }
    }
    batches
}

/// Commits a batch. What fails in it is left out, and the rest tried again; so it ends.
async fn commit(client: &Client, fence: Fence, mut batch: Batch) -> Written {
    let mut written = Written::default();
    while !batch.is_empty() {
        match commit_once(client, fence, &batch).await {
            Ok(()) => {
                written.made += batch.len();
                break;
            }
            Err(Error::MultiRefused { index: 0, .. }) => {
                written.is_fenced = true;
                break;
            }
            Err(Error::MultiRefused { code, index }) => {
                written.outdated += usize::from(leave_out(&mut batch, index - 1, code));
            }
            Err(error) => {
                debug!(%error, "a controller's changes were not answered");
                written.is_unsure = true;
                break;
            }
        }
    }
    written
}

async fn commit_once(client: &Client, Fence(version): Fence, batch: &Batch) -> client::Result<()> {
    let mut multi = client.multi().check(paths::CONTROLLER_EPOCH, version);
    for write in batch.iter().flatten() {
        multi = match write {
            Write::CreateParent(path) => multi.create(path, Data::NULL, CreateMode::Persistent),
            Write::Create(path, data) => multi.create(path, data, CreateMode::Persistent),
            Write::Set(path, data, version) => multi.set(path, data, *version),
            Write::Delete(path) => multi.delete(path, None),
        };
    }
    multi.commit().await.map(drop)
}

/// Takes the operation at `index` out of `batch` if its failure is fine, and else all of its change. True if a change was
/// taken out.
fn leave_out(batch: &mut Batch, mut index: usize, code: ErrorCode) -> bool {
    for at in 0..batch.len() {
        let writes = &mut batch[at];
        if index >= writes.len() {
            index -= writes.len();
            continue;
        }
        if writes[index].is_fine(code) {
            writes.remove(index);
            return false;
        }
        debug!(write = ?writes[index], %code, "a controller's change is outdated");
        // The others of its topic rely on it for their parent.
        let is_shared =
            |write: &&Write| matches!(write, Write::CreateParent(path) if path.ends_with("/partitions"));
        let parent = writes.first().filter(is_shared).cloned();
        batch.remove(at);
        if let (Some(parent), Some(next)) = (parent, batch.get_mut(at)) {
            next.insert(0, parent);
        }
        return true;
    }
    batch.clear(); // No part of ours: nothing to hold on to.
    true
}

/// Takes a topic away, children before parents: its states and assignment, then its config, then the wish. Kafka's
/// `TopicDeletionManager.completeDeleteTopic`.
async fn delete_topic(client: &Client, fence: Fence, topic: &Arc<str>) -> Written {
    let mut paths = match subtree(client, &paths::topic(topic)).await {
        Ok(paths) => paths,
        Err(error) => {
            debug!(%error, %topic, "a topic that is to be deleted cannot be listed");
            return Written { is_unsure: true, ..Written::default() };
        }
    };
    paths.push(paths::topic_config(topic));
    paths.push(paths::delete_topic(topic));
    let mut written = Written::default();
    for some in paths.chunks(BATCH_OPS_MAX) {
        let batch = vec![some.iter().cloned().map(Write::Delete).collect()];
        let one = commit(client, fence, batch).await;
        if one.made == 0 {
            return one; // What could not be deleted would keep its parents; it is tried again.
        }
        written = Written { made: 1, ..one };
    }
    written
}

/// `root` and all below it, children first.
async fn subtree(client: &Client, root: &str) -> client::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut unlisted = VecDeque::from([root.to_owned()]);
    while !unlisted.is_empty() {
        let level: Vec<_> = unlisted.drain(..).collect();
        let lists =
            each(level.clone(), BATCH_OPS_MAX, move |path| async move { children(client, &path).await });
        for (path, names) in level.iter().zip(lists.await?) {
            unlisted.extend(names.iter().map(|name| format!("{path}/{name}")));
        }
        found.extend(level);
    }
    found.reverse();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::payload::StatePayload;
    use crate::topic_partition::TopicPartition;

    fn set_up(partition: i32) -> Vec<Write> {
        let state = StatePayload {
            leader: Some(1),
            leader_epoch: 0,
            isr: vec![1],
            controller_epoch: 1,
            recovering: false,
        };
        writes_of(&Change::SetUp { tp: TopicPartition::new("t", partition), state })
    }

    #[test]
    fn the_parent_of_partitions_is_created_once_in_each_batch() {
        let batches = batches((0..200).map(set_up));
        assert!(batches.len() > 1);
        for batch in &batches {
            let parents = batch.iter().flatten().filter(|write| **write == set_up(0)[0]);
            assert_eq!(parents.count(), 1);
            assert_eq!(batch[0].len(), 3);
            assert!(batch[1..].iter().all(|writes| writes.len() == 2));
            assert!(batch.iter().map(Vec::len).sum::<usize>() <= BATCH_OPS_MAX);
        }
        assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), 200);
    }

    #[test]
    fn what_is_there_already_is_left_out_without_its_change() {
        let mut batch = vec![set_up(0), set_up(1)];
        assert!(!leave_out(&mut batch, 0, ErrorCode::NodeExists));
        assert_eq!(batch[0].len(), 2);
        assert!(
            leave_out(&mut batch, 1, ErrorCode::NodeExists),
            "a state that is there is not ours to set up"
        );
        assert_eq!(batch, [set_up(1)]);
    }

    #[test]
    fn a_change_that_is_left_out_leaves_its_parent_to_the_next() {
        let mut batch = batches((0..3).map(set_up)).remove(0);
        assert!(leave_out(&mut batch, 2, ErrorCode::NodeExists));
        assert_eq!(batch.len(), 2);
        assert_eq!(batch[0], set_up(1));
    }
}
