//! What two servers cannot have in common.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jute::data::Stat;

/// Stands for a zxid from before the scenario.
const EARLIER: i64 = -9;
/// Stands for a time close to now.
const RECENTLY: i64 = 1;
/// A session that is not one of the script's.
const FOREIGN: i64 = -7;

/// Knows where a scenario's zxids start and which sessions are its own.
#[derive(Debug)]
pub(super) struct Mask {
    /// Zxids are counted from here: the newest one before the scenario, mostly.
    base: i64,
    /// Their position is what replaces them.
    sessions: Vec<i64>,
}

impl Mask {
    pub(super) fn new(base: i64) -> Self {
        Self { base, sessions: Vec::new() }
    }

    /// Zxids are counted from here.
    pub(super) fn count_from(&mut self, base: i64) {
        self.base = base;
    }

    /// Another session of the script.
    pub(super) fn add_session(&mut self, id: i64) {
        self.sessions.push(id);
    }

    /// Counted from the scenario's start. 0 and -1 mean something of their own, and stay.
    pub(super) fn zxid(&self, zxid: i64) -> i64 {
        match zxid {
            -1 | 0 => zxid,
            _ if zxid <= self.base => EARLIER,
            _ => zxid - self.base,
        }
    }

    fn time(ms: i64) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let age = now.abs_diff(Duration::from_millis(u64::try_from(ms).unwrap_or_default()));
        if age < Duration::from_secs(600) { RECENTLY } else { ms }
    }

    fn session(&self, id: i64) -> i64 {
        let position = self.sessions.iter().position(|session| *session == id);
        match (id, position) {
            (0, _) => 0,
            (_, Some(position)) => 100 + i64::try_from(position).expect("a handful of sessions"),
            (_, None) => FOREIGN,
        }
    }

    pub(super) fn stat(&self, stat: &mut Stat) {
        for zxid in [&mut stat.czxid, &mut stat.mzxid, &mut stat.pzxid] {
            *zxid = self.zxid(*zxid);
        }
        for time in [&mut stat.ctime, &mut stat.mtime] {
            *time = Self::time(*time);
        }
        stat.ephemeral_owner = self.session(stat.ephemeral_owner);
    }
}
