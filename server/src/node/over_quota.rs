//! Writes that exceed a quota: the operator hears of them.

use std::collections::BTreeSet;

use crate::metrics::Traffic;

/// What exceeded a quota since this was last emptied.
#[derive(Debug, Default)]
pub struct OverQuota {
    /// Writes that were refused, by namespace.
    pub refused: Traffic,
    /// The paths of the quotas, whether the limit is a soft or a hard one, and also where quotas are not enforced.
    pub exceeded: BTreeSet<Box<str>>,
}

impl OverQuota {
    /// The quota of `path` is exceeded.
    pub(crate) fn note(&mut self, path: &str) {
        if !self.exceeded.contains(path) {
            self.exceeded.insert(path.into());
        }
    }
}
