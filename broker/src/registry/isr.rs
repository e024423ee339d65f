//! What a leader writes: its partition's ISR, and the note that it has changed. Kafka's `ReplicationUtils` and
//! `ZkIsrManager`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use client::{Client, ErrorCode};

use super::error::IsrError;
use super::image::PartitionState;
use super::paths;
use super::payload::StatePayload;
use super::read::get;
use super::retry::pause;
use crate::topic_partition::TopicPartition;

/// Sets the state of `tp`, if its znode still has version `expected`.
///
/// # Errors
/// [`IsrError::Stale`] when it has another: someone, mostly the controller, was faster.
pub(super) async fn change_isr(
    client: &Client,
    tp: &TopicPartition,
    state: &StatePayload,
    expected: i32,
) -> Result<PartitionState, IsrError> {
    let path = paths::partition_state(tp);
    let data = state.encode();
    loop {
        match client.set(&path, &data, expected).await {
            Ok(stat) => return Ok(state.clone().at(stat.version, stat.mzxid)),
            Err(error) => match error.code() {
                Some(ErrorCode::BadVersion | ErrorCode::NoNode) => return Err(IsrError::Stale),
                _ if error.may_have_happened() => {
                    let znode =
                        get(client, &path).await.map_err(IsrError::Service)?.ok_or(IsrError::Stale)?;
                    // Nobody else writes the same with the same leader's epoch.
                    if znode.stat.version == expected.wrapping_add(1) && znode.data == data {
                        return Ok(state.clone().at(znode.stat.version, znode.stat.mzxid));
                    }
                    if znode.stat.version != expected {
                        return Err(IsrError::Stale);
                    }
                }
                _ if error.is_transient() => pause(&error).await,
                _ => return Err(IsrError::Service(error)),
            },
        }
    }
}

/// How long changes are collected while they go on.
const LINGER: Duration = Duration::from_secs(5);
/// How long at most.
const LINGER_MAX: Duration = Duration::from_secs(60);
/// How often it is looked.
pub(super) const NOTE_CHECK: Duration = Duration::from_millis(2500);

/// Changes of which the others have not been told yet. Nobody of ours needs the note, as all watch the states
/// themselves: it is for controllers that do not.
#[derive(Debug, Default)]
pub(super) struct IsrNotes {
    changed: BTreeSet<TopicPartition>,
    last_change: Option<Instant>,
    last_note: Option<Instant>,
}

impl IsrNotes {
    pub(super) fn changed(&mut self, tp: TopicPartition, now: Instant) {
        self.changed.insert(tp);
        self.last_change = Some(now);
    }

    /// What to tell now, once it has been quiet for a while, or was not told for long.
    pub(super) fn due(&mut self, now: Instant) -> Option<BTreeSet<TopicPartition>> {
        let over =
            |since: Option<Instant>, limit| since.is_none_or(|since| now.duration_since(since) >= limit);
        let due = over(self.last_change, LINGER) || over(self.last_note.or(self.last_change), LINGER_MAX);
        if self.changed.is_empty() || !due {
            return None;
        }
        self.last_note = Some(now);
        Some(std::mem::take(&mut self.changed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "any time will do to start from")]
    fn a_note_is_due_when_it_is_quiet_or_when_it_never_is() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let one = TopicPartition::new("t", 1);
        let mut notes = IsrNotes::default();
        assert_eq!(notes.due(start), None);

        notes.changed(one.clone(), after(0));
        assert_eq!(notes.due(after(4)), None);
        assert_eq!(notes.due(after(5)), Some(BTreeSet::from([one.clone()])));
        assert_eq!(notes.due(after(100)), None);

        for second in 100..110 {
            notes.changed(one.clone(), after(second));
        }
        assert!(notes.due(after(110)).is_some(), "65 s since the last note are too long");
    }
}
