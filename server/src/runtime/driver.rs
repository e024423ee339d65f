//! The node's thread: takes batches of events, and does what the [`Node`] says. One wake-up, one append and sync
//! of the log, one change of the tree, and one message to each shard a batch: stops 2 to 8 of
//! [the life of a write](crate).

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use tokio::task::yield_now;
use tracing::{error, info, warn};

use super::account::Account;
use super::mailbox::Mailbox;
use super::member::MemberRim;
use super::queue::Received;
use super::restore::{Errand, Restore, SnapshotWork};
use super::shared::Shared;
use crate::node::{Action, Delivery, Event, LogRoom, Node, Now};
use crate::session::ConnectionId;
use crate::storage::{self, Result, TxnLog};
use crate::tree::Cut;
use crate::zab::Zxid;

/// How often a disk that is short of room is looked at.
const ROOM_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Cuts that wait for the snapshot thread. The node is told when one is written, and makes none while so many
/// are not: see [`CutPolicy`](crate::node::CutPolicy).
pub(super) const CUTS_WAITING_MAX: usize = 8;

/// The node, the log, and the ways out.
pub(super) struct Driver {
    pub(super) shared: Arc<Shared>,
    pub(super) node: Node,
    pub(super) log: TxnLog,
    pub(super) snapshots: SyncSender<SnapshotWork>,
    /// `None`: this server is alone.
    pub(super) member: Option<Box<MemberRim>>,
    account: Account,
    /// Of the batch in hand.
    pub(super) actions: Vec<Action>,
    /// For each shard.
    deliveries: Vec<Vec<Delivery>>,
    /// Which shards got mail.
    woken: Vec<bool>,
    room_checked: Duration,
    /// When the first event of the batch came, if any did.
    waited_since: Option<Duration>,
}

impl Driver {
    pub(super) fn new(
        shared: Arc<Shared>,
        node: Node,
        log: TxnLog,
        snapshots: SyncSender<SnapshotWork>,
        member: Option<Box<MemberRim>>,
    ) -> Self {
        let deliveries: Vec<_> = shared.mailboxes.iter().map(|_| Vec::new()).collect();
        let account = Account::new(&shared.registry);
        Self {
            shared,
            node,
            log,
            snapshots,
            member,
            account,
            actions: Vec::new(),
            woken: vec![false; deliveries.len()],
            deliveries,
            room_checked: Duration::ZERO,
            waited_since: None,
        }
    }

    /// Runs until the queue is closed and empty; all that was taken from it is then in the log.
    ///
    /// # Errors
    /// When the log cannot be written. What was not acknowledged by then never will be: the process must end.
    pub(super) fn run(mut self) -> Result<()> {
        let mut events = Vec::new();
        loop {
            let deadline = self.next_deadline().map(|due| self.shared.clock.instant(due));
            self.waited_since = None;
            let received = self.receive(&mut events, deadline);
            match received {
                Received::Events(since) => self.waited_since = Some(since),
                Received::Poke | Received::Deadline => {}
                Received::Closed => return self.take_last_cut(),
            }
            // Events may never cease. The tick comes last: who was heard from meanwhile has not expired.
            if received == Received::Deadline || self.is_overdue() {
                events.push(Event::Tick);
            }
            self.gather(&mut events);
            if let Some(member) = &self.member {
                member.rim.taken();
            }
            self.check_room()?;
            let errands = std::mem::take(&mut *self.shared.errands.lock());
            for errand in errands {
                self.run_errand(errand)?;
            }
            self.handle(&mut events)?;
        }
    }

    /// Waits for events. What other servers have sent meanwhile comes with them: they are heard while there always are
    /// some, too.
    fn receive(&mut self, events: &mut Vec<Event>, deadline: Option<Instant>) -> Received {
        let queue = &self.shared.queue;
        match &mut self.member {
            None => queue.receive(events, deadline),
            Some(member) => member.sockets.run_until(async {
                if queue.has_news() {
                    yield_now().await; // So it is known which sockets can be read.
                    yield_now().await; // They are read.
                }
                queue.received(events, deadline, &mut member.alarm).await
            }),
        }
    }

    /// `flushDelay`: a write waits so long for others, to share a sync with them; `maxBatchSize` are enough.
    fn gather(&mut self, events: &mut Vec<Event>) {
        let storage = &self.shared.config.storage;
        let is_write = |event: &Event| matches!(event, Event::Write(_) | Event::OpenSession { .. });
        if !storage.flush_delay.is_zero() && events.iter().any(is_write) {
            let until = self.shared.clock.monotonic() + storage.flush_delay;
            let enough = if storage.batch_max == 0 { usize::MAX } else { storage.batch_max as usize };
            let (queue, until) = (&self.shared.queue, self.shared.clock.instant(until));
            match &mut self.member {
                None => queue.gather(events, until, enough),
                Some(member) => {
                    let gathered = queue.gathered(events, until, enough, &mut member.alarm);
                    member.sockets.run_until(gathered);
                }
            }
        }
    }

    fn is_overdue(&self) -> bool {
        self.next_deadline().is_some_and(|due| due <= self.shared.clock.monotonic())
    }

    fn next_deadline(&self) -> Option<Duration> {
        let room = self.shared.is_disk_short().then(|| self.room_checked + ROOM_CHECK_INTERVAL);
        [self.node.deadline(), room].into_iter().flatten().min()
    }

    /// One batch, from events to replies.
    fn handle(&mut self, events: &mut Vec<Event>) -> Result<()> {
        let now = self.shared.clock.now();
        if let Some(since) = self.waited_since {
            self.account.received(events.len(), now.monotonic.saturating_sub(since));
        }
        self.node.fetch_for(events, &self.shared.tree.read());
        if self.member.is_some() {
            self.step_member(events, now)?;
        } else if let Some((last, txns)) = self.step(events, now)? {
            self.sync(txns, now.monotonic)?;
            let tree = self.shared.tree.read();
            self.node.step(Event::Persisted(last), now, &tree, &mut self.actions);
        }
        self.apply()?;
        self.hand_over_links();
        self.account.applied(&mut self.node, now.monotonic, self.shared.clock.monotonic());
        for (mailbox, has_mail) in self.shared.mailboxes.iter().zip(&mut self.woken) {
            if std::mem::take(has_mail) {
                mailbox.wake();
            }
        }
        Ok(())
    }

    fn run_errand(&mut self, errand: Errand) -> Result<()> {
        match errand {
            Errand::Restore(restore) => self.restore(*restore)?,
            // Whoever asked may have gone.
            Errand::Expiries(answer) => drop(answer.send(self.node.session_expiries())),
        }
        Ok(())
    }

    /// Steps the node, and hands its records to the log; the last one's zxid, and how many they are. The node is told
    /// how much room the log has, anew whenever half of that is proposed: so nothing is proposed that the log could
    /// not take.
    fn step(&mut self, events: &mut Vec<Event>, now: Now) -> Result<Option<(Zxid, u64)>> {
        let Self { shared, node, log, actions, .. } = self;
        let tree = shared.tree.read();
        let (mut appended, mut txns) = (0, 0);
        let mut ask_again_at = u64::MAX;
        for event in events.drain(..) {
            if node.log_room() <= ask_again_at {
                txns += append(log, &actions[appended..])?;
                appended = actions.len();
                let room = LogRoom { bytes: log.room(), is_short: log.is_short() };
                node.step(Event::LogRoom(room), now, &tree, actions);
                ask_again_at = room.bytes / 2;
            }
            node.step(event, now, &tree, actions);
        }
        txns += append(log, &actions[appended..])?;
        Ok(log.last_zxid().filter(|_| txns > 0).map(|last| (last, txns)))
    }

    /// So that the next start has nothing to replay.
    fn take_last_cut(&mut self) -> Result<()> {
        self.settle()?;
        self.log.sync_written()?;
        if !self.node.serves() {
            return Ok(()); // What the tree has may never be committed.
        }
        let cut = self.shared.tree.write().take_cut();
        if self.snapshots.send(SnapshotWork::Cut(cut)).is_err() {
            error!("the snapshot thread has gone; the next start replays the log");
        }
        Ok(())
    }

    /// Serves another tree from now on; see [`restore`](super::restore).
    fn restore(&mut self, restore: Restore) -> Result<()> {
        let (mut tree, outcome) = restore.split();
        if self.member.is_some() {
            let why = "a member of an ensemble has the tree that all of them have";
            let _ = outcome.send(Err(storage::Error::refused(&self.shared.config.data_dir, why)));
            return Ok(());
        }
        // No zxid is used twice. One is left out, so that no older snapshot can be carried on with what is logged from
        // here on: recovery would find the gap.
        tree.advance_to(tree.last_zxid().max(self.node.status().applied.next()));
        let zxid = tree.last_zxid();
        let stored = self.store_whole(tree.take_whole_cut());
        if let Err(halfway @ storage::Error::Halfway { .. }) = stored {
            return Err(halfway);
        }
        if stored.is_ok() {
            let now = self.shared.clock.now();
            let mut served = self.shared.tree.write();
            self.node = self.node.with_tree(&tree, now);
            *served = tree;
            self.close_all();
            drop(served);
            self.shared.mailboxes.iter().for_each(Mailbox::wake);
            warn!(%zxid, "serving a restored tree");
        }
        // Whoever asked may have gone.
        let _ = outcome.send(stored.map(|()| zxid));
        Ok(())
    }

    /// Waits until a whole tree is in the snapshot store, durably.
    fn store_whole(&self, cut: Cut) -> Result<()> {
        let (outcome, waiting) = sync_channel(1);
        let gone = || storage::Error::refused(&self.shared.config.data_dir, "the snapshot thread has gone");
        self.snapshots.send(SnapshotWork::Whole(cut, outcome)).map_err(|_| gone())?;
        waiting.recv().map_err(|_| gone())?
    }

    fn close_all(&self) {
        for (mailbox, ledger) in self.shared.mailboxes.iter().zip(&self.shared.ledgers) {
            mailbox.deliver(&mut ledger.closings());
        }
    }

    /// Has `txns` on disk, those of the batch that began at `since`.
    pub(super) fn sync(&mut self, txns: u64, since: Duration) -> Result<()> {
        let began = self.shared.clock.monotonic();
        self.log.sync()?;
        let took = self.shared.clock.monotonic().saturating_sub(began);
        self.note_synced(txns, began.saturating_sub(since), took);
        Ok(())
    }

    /// A sync of `txns` that had taken `judging` before took so long.
    pub(super) fn note_synced(&self, txns: u64, judging: Duration, took: Duration) {
        self.account.logged(txns, judging, took);
        if took > self.shared.config.storage.sync_warning {
            self.shared.slow_syncs.fetch_add(1, Relaxed);
            warn!(took_ms = took.as_millis(), log_bytes = self.log.file_bytes(), "syncing the log took long");
        }
    }

    /// Changes the tree, and has everything that tells of it in the mailboxes before anybody can see it. Readers
    /// are not held up by a batch that changes nothing: sessions that were heard from, a tick.
    pub(super) fn apply(&mut self) -> Result<()> {
        let changing = self.node.is_behind().then(|| {
            let mut tree = self.shared.tree.write();
            self.node.apply(&mut tree, &mut self.shared.watches.lock(), &mut self.actions);
            tree
        });
        let mut cuts = Vec::new();
        for action in self.actions.drain(..) {
            match action {
                Action::Append { .. } => {}
                Action::Deliver(delivery) => {
                    self.account.fired(&delivery);
                    deal_out(delivery, &mut self.deliveries);
                }
                Action::Snapshot(cut) => cuts.push(cut),
                Action::CloseAll => {
                    for (deliveries, ledger) in self.deliveries.iter_mut().zip(&self.shared.ledgers) {
                        deliveries.append(&mut ledger.closings());
                    }
                }
                Action::Link(work) => {
                    if let Some(member) = &mut self.member {
                        member.state.links.push(work);
                    }
                }
                Action::Disk(_) | Action::Adopt { .. } => unreachable!("it is done while events are stepped"),
            }
        }
        for (index, deliveries) in self.deliveries.iter_mut().enumerate() {
            if !deliveries.is_empty() {
                self.shared.mailboxes[index].deliver(deliveries);
                self.woken[index] = true;
            }
        }
        drop(changing);
        let status = self.node.status();
        if let (Some(member), Some(peer)) = (&mut self.member, &status.peer) {
            member.play(peer);
        }
        *self.shared.status.lock() = status;
        let leads_only = self.node.is_leader() && !self.shared.config.ensemble.leader_serves;
        self.shared.lets_in.store(self.node.serves() && !leads_only, Relaxed);
        self.shared.is_read_only.store(self.node.is_read_only(), Relaxed);
        for cut in cuts {
            if !cut.partial {
                // Even without `forceSync`: the log must not end before the snapshot.
                self.settle()?;
                self.log.sync_written()?;
            }
            self.hand_over(cut);
        }
        Ok(())
    }

    fn hand_over(&mut self, cut: Cut) {
        if let Some(member) = &mut self.member {
            member.stored = Some(cut.zxid);
        }
        // There is room: the node waits for cuts to be written. Only work for learners may be in the way.
        if self.snapshots.send(SnapshotWork::Cut(cut)).is_err() {
            error!("the snapshot thread has gone; the log grows");
        }
    }

    /// Notices when the disk becomes short of room, and tries now and then whether it has room again.
    fn check_room(&mut self) -> Result<()> {
        let was_short = self.shared.is_disk_short();
        let now = self.shared.clock.monotonic();
        if was_short && now >= self.room_checked + ROOM_CHECK_INTERVAL {
            self.room_checked = now;
            self.log.make_room()?;
        }
        let is_short = self.log.is_short();
        if is_short != was_short {
            self.shared.disk_short.store(is_short, Relaxed);
            self.room_checked = now;
            let disk_of = self.shared.config.data_log_dir.display();
            if is_short {
                error!(%disk_of, "the disk is nearly full: writes that grow are refused until there is room");
            } else {
                info!(%disk_of, "the disk has room again: all writes are served");
            }
        }
        Ok(())
    }
}

/// Hands records to the log; how many there are.
fn append(log: &mut TxnLog, actions: &[Action]) -> Result<u64> {
    let mut txns = 0;
    for action in actions {
        if let Action::Append { zxid, record } = action {
            log.append(*zxid, record)?;
            txns += 1;
        }
    }
    Ok(txns)
}

/// To each shard what is for its connections.
fn deal_out(delivery: Delivery, shards: &mut [Vec<Delivery>]) {
    match delivery {
        Delivery::Notification { connections, zxid, event, path, acl } => {
            for (index, shard) in shards.iter_mut().enumerate() {
                let is_there = |id: &ConnectionId| usize::from(id.shard) == index;
                let connections: Vec<_> = connections.iter().copied().filter(is_there).collect();
                if !connections.is_empty() {
                    let (path, acl) = (path.clone(), acl.clone());
                    shard.push(Delivery::Notification { connections, zxid, event, path, acl });
                }
            }
        }
        Delivery::Connected { connection, .. }
        | Delivery::Expired { connection }
        | Delivery::Reply { connection, .. }
        | Delivery::Answer { connection, .. }
        | Delivery::Close { connection } => shards[usize::from(connection.shard)].push(delivery),
    }
}

/// Runs the driver, and ends the process when the log fails: whatever it would answer from then on could be
/// untrue after a restart.
pub(super) fn run_or_die(driver: Driver) {
    if let Err(failure) = driver.run() {
        die(&failure, "the log cannot be written; stopping at once, since nothing more can be promised");
    }
}

/// Ends the process: without the node's thread it is none.
pub(super) fn die(failure: &(dyn Error + 'static), why: &str) {
    error!(error = failure, "{why}");
    // Without a goodbye: RocksDB's threads are at work, and would find what they use taken away.
    signal_hook::low_level::exit(EXIT_UNEXPECTED);
}

/// ZooKeeper's `UNEXPECTED_ERROR`.
const EXIT_UNEXPECTED: i32 = 1;
