//! One partition on this broker: its log, and what it is to it: leader or follower. Kafka's `Partition`.
//!
//! One lock guards both, and is never held while something is waited for: a record is appended, and then the followers
//! are awaited outside of it.

use std::sync::Arc;
use std::time::Instant;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::fetch_response::PartitionData;
use parking_lot::Mutex;
use tracing::{debug, info, warn};

use super::leading::{Appointment, IsrChange, Leading};
use super::waiters::Waiters;
use crate::config::topic::TopicConfig;
use crate::log::{AppendError, Appended, Checked, Discarded, Log, Refusal, Slice};
use crate::topic_partition::{BrokerId, TopicPartition};
use crate::wire::fetch::EpochEnd;

/// One partition on this broker.
#[derive(Debug)]
pub struct Partition {
    /// Which.
    pub name: TopicPartition,
    me: BrokerId,
    lag_max: std::time::Duration,
    inner: Mutex<Inner>,
    /// Those who wait for more records, safe or not: followers.
    appended: Arc<Waiters>,
    /// Those who wait for records to be safe: producers and consumers. Woken also when the reign ends.
    safe: Arc<Waiters>,
}

#[derive(Debug)]
struct Inner {
    log: Log,
    role: Role,
    /// While somebody else leads; `<= log.end_offset()`.
    high_watermark: i64,
}

#[derive(Debug)]
enum Role {
    /// There is no leader, or we have not been told.
    Idle {
        epoch: i32,
    },
    Leading(Leading),
    Following {
        leader: BrokerId,
        epoch: i32,
    },
    /// The partition is not ours any more.
    Gone,
}

/// The moment, by both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For what lasts.
    pub instant: Instant,
    /// Milliseconds since 1970, for what records say.
    pub wall_ms: i64,
}

/// What the service says of a partition of which this broker is a replica.
#[derive(Debug, Clone)]
pub struct Assignment<'a> {
    /// Who leads.
    pub leader: Option<BrokerId>,
    /// Of the leader.
    pub epoch: i32,
    /// Of the state's znode.
    pub version: i32,
    /// Who has a copy, or shall have one.
    pub replicas: &'a [BrokerId],
    /// Who is in sync.
    pub isr: &'a [BrokerId],
}

/// Why records were not taken.
#[derive(Debug)]
pub struct ProduceError {
    /// What the client acts on.
    pub error: ResponseError,
    /// What a human reads.
    pub message: Option<String>,
    /// The record at fault, by its place in the batch.
    pub record: Option<i32>,
}

impl From<ResponseError> for ProduceError {
    fn from(error: ResponseError) -> Self {
        Self { error, message: None, record: None }
    }
}

/// Records on their way to safety.
#[derive(Debug, Clone, Copy)]
pub struct Promise {
    /// Of the reign in which they were appended.
    epoch: i32,
    /// They are safe once the high watermark is here.
    upto: i64,
}

/// What a fetch finds in one partition.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Consumers see what is before it.
    pub high_watermark: i64,
    /// The first record that is not deleted.
    pub log_start: i64,
    /// The follower must cut its log.
    pub diverging: Option<EpochEnd>,
    /// Whole batches.
    pub records: Option<Slice>,
}

/// Who fetches, and from where.
#[derive(Debug, Clone, Copy)]
pub struct FetchFrom {
    /// The first record wanted.
    pub offset: i64,
    /// The leader's epoch as the reader knows it.
    pub current_epoch: Option<i32>,
    /// Of a follower.
    pub follower: Option<Follower>,
    /// At most so many bytes.
    pub bytes_max: usize,
    /// One batch, even if it is larger.
    pub at_least_one: bool,
}

/// A follower that fetches.
#[derive(Debug, Clone, Copy)]
pub struct Follower {
    /// Its number.
    pub id: BrokerId,
    /// The epoch of the last record it has.
    pub last_epoch: Option<i32>,
}

/// Where a follower goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The first offset it lacks.
    pub offset: i64,
    /// The epoch of the leader it follows.
    pub epoch: i32,
    /// Of its last record.
    pub last_epoch: Option<i32>,
    /// Its first record.
    pub log_start: i64,
}

impl Partition {
    /// A partition whose log has been opened; nobody leads it until [`assign`](Self::assign) tells.
    pub fn new(
        name: TopicPartition,
        me: BrokerId,
        lag_max: std::time::Duration,
        log: Log,
        high_watermark: i64,
    ) -> Self {
        let high_watermark = high_watermark.clamp(log.start_offset(), log.end_offset());
        let inner = Mutex::new(Inner { log, role: Role::Idle { epoch: -1 }, high_watermark });
        Self { name, me, lag_max, inner, appended: Arc::default(), safe: Arc::default() }
    }

    /// What the service says now. An older epoch than the one that is known is passed over.
    ///
    /// # Errors
    /// The disk's.
    pub fn assign(&self, assignment: &Assignment<'_>, now: Now) -> Result<(), crate::log::Error> {
        let mut inner = self.inner.lock();
        let &Assignment { leader, epoch, version, replicas, isr } = assignment;
        let known = inner.role.epoch();
        if known.is_none_or(|known| epoch < known) {
            return Ok(());
        }
        match (&mut inner.role, leader) {
            (Role::Leading(leading), Some(leader)) if leader == self.me && leading.epoch() == epoch => {
                leading.confirm(version, replicas, isr, now.instant);
            }
            (_, Some(leader)) if leader == self.me => {
                let high_watermark = inner.high_watermark();
                inner.log.become_leader(epoch)?;
                let (me, lag_max, end) = (self.me, self.lag_max, inner.log.end_offset());
                let appointment =
                    Appointment { me, epoch, version, replicas, isr, end, high_watermark, lag_max };
                inner.role = Role::Leading(Leading::new(&appointment, now.instant));
                info!(partition = %self.name, epoch, end, high_watermark, ?isr, "leading");
            }
            (Role::Following { leader: known, epoch: of }, Some(leader))
                if *known == leader && *of == epoch => {}
            (_, Some(leader)) => {
                inner.high_watermark = inner.high_watermark();
                inner.role = Role::Following { leader, epoch };
                info!(partition = %self.name, epoch, leader, end = inner.log.end_offset(), "following");
            }
            (Role::Idle { epoch: known }, None) if *known == epoch => {}
            (_, None) => {
                inner.high_watermark = inner.high_watermark();
                inner.role = Role::Idle { epoch };
                info!(partition = %self.name, epoch, "without a leader");
            }
        }
        drop(inner);
        self.wake_all();
        Ok(())
    }

    /// It is not ours any more: whoever waits is told, and the log can be taken away.
    pub fn leave(&self) {
        self.inner.lock().role = Role::Gone;
        self.wake_all();
    }

    /// The topic's configuration, as it is now.
    pub fn config(&self) -> Arc<TopicConfig> {
        Arc::clone(self.inner.lock().log.config())
    }

    /// Its log, for what concerns the log alone.
    pub fn with_log<T>(&self, work: impl FnOnce(&mut Log) -> T) -> T {
        work(&mut self.inner.lock().log)
    }

    /// Who leads, as far as we have been told.
    pub fn leader(&self) -> Option<BrokerId> {
        match self.inner.lock().role {
            Role::Leading(_) => Some(self.me),
            Role::Following { leader, .. } => Some(leader),
            Role::Idle { .. } | Role::Gone => None,
        }
    }

    /// Whether this broker leads it.
    pub fn is_leading(&self) -> bool {
        matches!(self.inner.lock().role, Role::Leading(_))
    }

    /// Records before it are safe, as far as is known here.
    pub fn high_watermark(&self) -> i64 {
        self.inner.lock().high_watermark()
    }

    /// Those who wait for more records.
    pub fn appended(&self) -> &Arc<Waiters> {
        &self.appended
    }

    /// Those who wait for records to be safe.
    pub fn safe(&self) -> &Arc<Waiters> {
        &self.safe
    }

    fn wake_all(&self) {
        self.appended.wake();
        self.safe.wake();
    }
}

/// As a leader.
impl Partition {
    /// Appends what a producer sent. `all` asks that enough replicas be in sync for it.
    ///
    /// # Errors
    /// When we do not lead, too few are in sync, or the log refuses.
    pub fn append(&self, records: &[u8], all: bool, now: Now) -> Result<(Appended, Promise), ProduceError> {
        // The costly part, outside of the lock.
        let config = self.config();
        let batch = Checked::new(records, &config, now.wall_ms).map_err(ProduceError::from)?;
        self.append_checked(&batch, None, all, now)
    }

    /// Appends a batch that this broker has made itself as the leader of `epoch`, for which enough replicas must be in
    /// sync.
    ///
    /// # Errors
    /// When we do not lead in that epoch, too few are in sync, or the log refuses.
    pub fn append_ours(
        &self,
        batch: &[u8],
        epoch: i32,
        now: Now,
    ) -> Result<(Appended, Promise), ProduceError> {
        let batch = Checked::built_here(batch).map_err(ProduceError::from)?;
        self.append_checked(&batch, Some(epoch), true, now)
    }

    fn append_checked(
        &self,
        batch: &Checked<'_>,
        epoch: Option<i32>,
        all: bool,
        now: Now,
    ) -> Result<(Appended, Promise), ProduceError> {
        let mut inner = self.inner.lock();
        let Inner { log, role: Role::Leading(leading), .. } = &mut *inner else {
            return Err(ResponseError::NotLeaderOrFollower.into());
        };
        if all && leading.isr().len() < log.config().in_sync_replicas_min as usize {
            return Err(ResponseError::NotEnoughReplicas.into());
        }
        if epoch.is_some_and(|epoch| epoch != leading.epoch()) {
            return Err(ResponseError::NotLeaderOrFollower.into());
        }
        let epoch = leading.epoch();
        let appended =
            log.append_as_leader(batch, epoch, now.wall_ms).map_err(|error| self.refusal(error))?;
        let is_safer = leading.on_end(log.end_offset(), now.instant);
        let promise = Promise { epoch, upto: appended.last_offset + 1 };
        drop(inner);
        self.appended.wake();
        if is_safer {
            self.safe.wake();
        }
        Ok((appended, promise))
    }

    fn refusal(&self, error: AppendError) -> ProduceError {
        match error {
            AppendError::Refused(refusal) => refusal.into(),
            AppendError::Disk(error) => {
                warn!(partition = %self.name, error = &error as &dyn std::error::Error, "not appended");
                error.response().into()
            }
        }
    }

    /// What has become of a promise: `None` while its records are not safe yet.
    pub fn fate(&self, promise: Promise) -> Option<Result<(), ResponseError>> {
        let inner = self.inner.lock();
        let Role::Leading(leading) = &inner.role else {
            return Some(Err(ResponseError::NotLeaderOrFollower));
        };
        if leading.epoch() != promise.epoch {
            return Some(Err(ResponseError::NotLeaderOrFollower));
        }
        if leading.high_watermark() < promise.upto {
            return None;
        }
        let enough = leading.isr().len() >= inner.log.config().in_sync_replicas_min as usize;
        Some(if enough { Ok(()) } else { Err(ResponseError::NotEnoughReplicasAfterAppend) })
    }

    /// What `from` finds here. A follower's offset tells how far it has got.
    ///
    /// # Errors
    /// When we do not lead in the epoch that the reader knows, or the offset is not in the log.
    pub fn read(&self, from: &FetchFrom, now: Now) -> Result<Found, ResponseError> {
        let mut inner = self.inner.lock();
        let (log, leading) = inner.leading(from.current_epoch)?;
        let mut is_safer = false;
        let mut upto = leading.high_watermark();
        if let Some(follower) = from.follower {
            if !leading.knows(follower.id) {
                return Err(ResponseError::UnknownTopicOrPartition); // Its reassignment has not reached us, or it has been taken away.
            }
            if let Some(diverging) = diverging(log, follower, from.offset)? {
                let (high_watermark, log_start) = (leading.high_watermark(), log.start_offset());
                return Ok(Found { high_watermark, log_start, diverging: Some(diverging), records: None });
            }
            if from.offset < log.start_offset() || from.offset > log.end_offset() {
                return Err(ResponseError::OffsetOutOfRange);
            }
            is_safer = leading.on_fetch(follower.id, from.offset, now.instant);
            upto = log.end_offset();
        }
        let slice = log.read(from.offset, upto, from.bytes_max, from.at_least_one).map_err(|error| {
            debug!(partition = %self.name, error = &error as &dyn std::error::Error, "not read");
            error.response()
        })?;
        let records = Some(slice).filter(|slice| slice.len > 0);
        let (high_watermark, log_start) = (leading.high_watermark(), log.start_offset());
        drop(inner);
        if is_safer {
            self.safe.wake();
        }
        Ok(Found { high_watermark, log_start, diverging: None, records })
    }

    /// The change of those in sync that `follower`'s last fetch asks for, if it is alive; on its way from now on.
    pub fn begin_expansion(&self, follower: BrokerId, is_alive: impl FnOnce() -> bool) -> Option<IsrChange> {
        self.begin_change(|leading| leading.to_expand(follower).filter(|_| is_alive()))
    }

    /// The change of those in sync that time asks for; it is on its way from now on.
    pub fn begin_shrinking(&self, now: Now) -> Option<IsrChange> {
        self.begin_change(|leading| leading.to_shrink(now.instant))
    }

    fn begin_change(&self, choose: impl FnOnce(&Leading) -> Option<IsrChange>) -> Option<IsrChange> {
        let mut inner = self.inner.lock();
        let Role::Leading(leading) = &mut inner.role else {
            return None;
        };
        let change = choose(leading)?;
        leading.on_asked(&change);
        Some(change)
    }

    /// How a change has ended: with the state's new version, or refused.
    pub fn end_change(&self, change: &IsrChange, version: Option<i32>, now: Now) {
        let mut inner = self.inner.lock();
        let Role::Leading(leading) = &mut inner.role else {
            return;
        };
        if leading.epoch() != change.epoch {
            return; // Of an earlier reign.
        }
        match version {
            Some(version) => leading.on_changed(change, version, now.instant),
            None => leading.on_refused(now.instant),
        };
        drop(inner);
        self.safe.wake(); // Those who wait for enough replicas look again, too.
    }

    /// Runs `work` on the log, and the high watermark, of a partition that we lead in the epoch that the asker knows.
    ///
    /// # Errors
    /// When we do not.
    pub fn as_leader<T>(
        &self,
        current_epoch: Option<i32>,
        work: impl FnOnce(&mut Log, i64, i32) -> T,
    ) -> Result<T, ResponseError> {
        let mut inner = self.inner.lock();
        let (log, leading) = inner.leading(current_epoch)?;
        Ok(work(log, leading.high_watermark(), leading.epoch()))
    }
}

/// As a follower.
impl Partition {
    /// Where to go on, if we follow `leader`.
    pub fn position(&self, leader: BrokerId) -> Option<Position> {
        let inner = self.inner.lock();
        match inner.role {
            Role::Following { leader: known, epoch } if known == leader => {
                let log = &inner.log;
                Some(Position {
                    offset: log.end_offset(),
                    epoch,
                    last_epoch: log.latest_epoch(),
                    log_start: log.start_offset(),
                })
            }
            _ => None,
        }
    }

    /// Takes what the leader gave for `asked`, unless we have moved on meanwhile. Gives files that were cut away.
    ///
    /// # Errors
    /// When what it gave does not go on where the log ends, or the disk fails.
    pub fn on_fetched(
        &self,
        leader: BrokerId,
        asked: Position,
        given: PartitionData,
        now: Now,
    ) -> Result<Discarded, AppendError> {
        let mut inner = self.inner.lock();
        let is_current = matches!(inner.role, Role::Following { leader: known, epoch } if known == leader && epoch == asked.epoch);
        if !is_current || inner.log.end_offset() != asked.offset {
            return Ok(Discarded::default());
        }
        let (diverging, log) = (&given.diverging_epoch, &mut inner.log);
        if diverging.end_offset >= 0 {
            let cut = cut_at(log, diverging.epoch, diverging.end_offset);
            info!(partition = %self.name, leader, end = log.end_offset(), cut, "cut where the leader's history parts from ours");
            let discarded = log.truncate_to(cut, now.wall_ms)?;
            inner.high_watermark = inner.high_watermark.min(cut);
            return Ok(discarded);
        }
        if let Some(records) = given.records.filter(|records| !records.is_empty()) {
            log.append_as_follower(&records, now.wall_ms)?;
        }
        if given.log_start_offset > log.start_offset() && given.log_start_offset <= log.end_offset() {
            log.advance_start(given.log_start_offset)?;
        }
        let (start, end) = (inner.log.start_offset(), inner.log.end_offset());
        inner.high_watermark = inner.high_watermark.max(given.high_watermark).clamp(start, end);
        Ok(Discarded::default())
    }

    /// The leader's log begins behind our end, or ends before it: begins anew at its start, or cuts at its end.
    ///
    /// # Errors
    /// The disk's.
    pub fn on_out_of_range(
        &self,
        leader: BrokerId,
        asked: Position,
        leader_start: i64,
        leader_end: i64,
        now: Now,
    ) -> Result<Discarded, crate::log::Error> {
        let mut inner = self.inner.lock();
        let is_current = matches!(inner.role, Role::Following { leader: known, epoch } if known == leader && epoch == asked.epoch);
        if !is_current || inner.log.end_offset() != asked.offset {
            return Ok(Discarded::default());
        }
        warn!(partition = %self.name, leader, end = asked.offset, leader_start, leader_end, "out of the leader's log");
        let discarded = if leader_end < asked.offset {
            inner.log.truncate_to(leader_end, now.wall_ms)?
        } else if leader_start > asked.offset {
            inner.log.truncate_fully_and_start_at(leader_start, now.wall_ms)?
        } else {
            Discarded::default()
        };
        let (start, end) = (inner.log.start_offset(), inner.log.end_offset());
        inner.high_watermark = inner.high_watermark.clamp(start, end);
        Ok(discarded)
    }
}

impl Inner {
    fn high_watermark(&self) -> i64 {
        match &self.role {
            Role::Leading(leading) => leading.high_watermark(),
            _ => self.high_watermark,
        }
    }

    fn leading(&mut self, current_epoch: Option<i32>) -> Result<(&mut Log, &mut Leading), ResponseError> {
        let Role::Leading(leading) = &mut self.role else {
            return Err(ResponseError::NotLeaderOrFollower);
        };
        match current_epoch {
            Some(epoch) if epoch < leading.epoch() => Err(ResponseError::FencedLeaderEpoch),
            Some(epoch) if epoch > leading.epoch() => Err(ResponseError::UnknownLeaderEpoch),
            _ => Ok((&mut self.log, leading)),
        }
    }
}

impl Role {
    /// `None`: no assignment counts any more.
    fn epoch(&self) -> Option<i32> {
        match self {
            Self::Idle { epoch } | Self::Following { epoch, .. } => Some(*epoch),
            Self::Leading(leading) => Some(leading.epoch()),
            Self::Gone => None,
        }
    }
}

/// Where a follower that has records up to `offset`, the last of `follower.last_epoch`, parts from `log`.
fn diverging(log: &Log, follower: Follower, offset: i64) -> Result<Option<EpochEnd>, ResponseError> {
    let Some(last_epoch) = follower.last_epoch else {
        return Ok(None);
    };
    let Some((epoch, end)) = log.end_offset_for_epoch(last_epoch) else {
        return Err(ResponseError::OffsetOutOfRange);
    };
    Ok((epoch < last_epoch || end < offset).then_some(EpochEnd { epoch, end }))
}

/// Where to cut our log, given that the leader's records up to its `epoch` end at `end`.
fn cut_at(log: &Log, epoch: i32, end: i64) -> i64 {
    let ours = log.end_offset_for_epoch(epoch).map_or(log.start_offset(), |(_, ours)| ours);
    end.min(ours).clamp(log.start_offset(), log.end_offset())
}

impl From<Refusal> for ProduceError {
    fn from(refusal: Refusal) -> Self {
        Self { error: refusal.response(), message: Some(refusal.to_string()), record: refusal.record_index() }
    }
}
