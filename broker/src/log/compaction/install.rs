//! New segments in place of old ones, such that a crash at any point leaves the one or the other. Kafka's
//! `LocalLog.replaceSegments`.

use std::sync::Arc;

use super::clean::{Cleaned, Group};
use crate::log::checkpoint::sync_dir;
use crate::log::error::Error;
use crate::log::names::Stage;
use crate::log::{Discarded, Log};

impl Log {
    /// Puts what a round has written in the place of what it read. Returns the old files, and the offset up to
    /// which the log is clean now, for the cleaner's checkpoint; `None` where the log has changed too much since:
    /// the round has to be done again.
    ///
    /// # Errors
    /// The disk refuses; no append works any more, and the next start completes or undoes it.
    #[doc(alias = "replaceSegments")]
    pub fn install(&mut self, cleaned: Cleaned) -> Result<(Discarded, Option<i64>), Error> {
        self.check_not_failed()?;
        let (mut discarded, mut upto) = (Discarded::default(), Some(cleaned.upto));
        for group in cleaned.groups {
            match self.place_of(&group).filter(|_| upto.is_some()) {
                Some(at) => {
                    let done = self.replace(at, group);
                    self.failed |= done.is_err();
                    discarded.append(done?);
                }
                // Retention or a truncation was there first. What is left of these segments stays dirty, and so
                // does all after them: a tombstone may not go before the values that it deletes.
                None => {
                    upto = None;
                    group.discard();
                }
            }
        }
        Ok((discarded, upto))
    }

    /// Where the group's sources stand, if they are what they were.
    fn place_of(&self, group: &Group) -> Option<usize> {
        let first = group.sources.first()?.base_offset;
        let at = self.segments.binary_search_by_key(&first, |it| it.base_offset()).ok()?;
        let now = self.segments.get(at..at + group.sources.len())?;
        let same = now.iter().zip(&group.sources).all(|(segment, source)| {
            Arc::ptr_eq(segment.file(), &source.file) && segment.size() == source.bytes
        });
        // The last segment is appended to, and so is none that was read.
        (same && at + group.sources.len() < self.segments.len()).then_some(at)
    }

    fn replace(&mut self, at: usize, group: Group) -> Result<Discarded, Error> {
        let mut segment = group.segment;
        // From here on a start completes it: the new batches are all there.
        segment.rename(Stage::Swap)?;
        sync_dir(&self.dir)?;
        let mut paths = Vec::new();
        for old in &self.segments[at..at + group.sources.len()] {
            paths.extend(old.mark_deleted()?);
            if old.base_offset() != segment.base_offset() {
                paths.extend(self.producers.mark_deleted(old.base_offset())?);
            }
        }
        segment.rename(Stage::Live)?;
        sync_dir(&self.dir)?;
        self.segments.splice(at..at + group.sources.len(), [segment]);
        Ok(Discarded(paths))
    }
}
