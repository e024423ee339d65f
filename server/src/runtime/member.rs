//! The driver's other half, on a member of an ensemble: it carries out what the node wants of the disk and of the
//! other servers. The order of a round:
//!
//! 1. A sync of the log that has ended is stepped.
//! 2. Each event is stepped. Records go to the log's batch; other work of the disk is done at once, and its outcome
//!    stepped before the next event.
//! 3. What goes to other servers is sent: they log a proposal while this server does.
//! 4. The [`Syncer`] writes what was logged and has it synced, unless it is at work still: then that waits for what
//!    comes meanwhile.
//! 5. What is committed is applied, and clients hear of it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use tracing::{error, info, warn};

use super::alarm::Alarm;
use super::driver::Driver;
use super::quorum::{Door, Part, QuorumRim, QuorumSockets, QuorumStart, doors_of};
use super::restore::SnapshotWork;
use super::shared::Shared;
use super::syncer::{Ended, Synced, Syncer};
use crate::config::{Ensemble, Membership, PeerAddress, Role, ServerId};
use crate::node::{Action, Event, LogRoom, Now};
use crate::storage::{Disk, EpochFiles, Error, MemberDisk, MembershipFiles, Result};
use crate::tree::Tree;
use crate::zab::{DiskDone, DiskWork, Input, LinkId, LinkWork, PeerStatus, Zxid};

/// With more bytes waiting for a sync that is under way, the node waits too, and so in time do those who propose.
const UNSYNCED_BYTES_MAX: usize = 8 << 20;

/// What the snapshot thread does for a member.
#[derive(Debug)]
pub(super) enum MemberWork {
    /// Find a learner's last zxid in the log, which is written up to `upto`. The node is told.
    Trace { link: LinkId, zxid: Zxid, upto: Zxid },
    /// Hold the stored tree open for a learner. The node is told.
    Hold { link: LinkId },
    /// Load the tree from store and log.
    Reload(SyncSender<Result<Tree>>),
    /// Store the tree in memory in place of the stored one, of whose history it is not.
    Install(SyncSender<Result<Zxid>>),
}

/// What becomes a [`MemberRim`] on the node's thread.
pub(super) struct Joining {
    pub(super) rim: Arc<QuorumRim>,
    pub(super) start: QuorumStart,
    pub(super) disk: MemberDisk,
    pub(super) epoch_files: EpochFiles,
    pub(super) membership_files: MembershipFiles,
    pub(super) files: Arc<dyn Disk>,
    /// The newest snapshot.
    pub(super) stored: Option<Zxid>,
}

impl Joining {
    /// Opens the sockets to other servers, for this thread.
    ///
    /// # Errors
    /// See [`QuorumStart::open`]; or there can be no thread.
    pub(super) fn open(self, shared: &Arc<Shared>) -> io::Result<Box<MemberRim>> {
        let Self { rim, start, disk, epoch_files, membership_files, files, stored } = self;
        let (alarm, part, state) = (Alarm::default(), Part::default(), Round::default());
        let (sockets, syncer) = (start.open()?, Syncer::start(shared)?);
        Ok(Box::new(MemberRim {
            rim,
            sockets,
            alarm,
            syncer,
            disk,
            epoch_files,
            membership_files,
            files,
            stored,
            part,
            state,
        }))
    }
}

/// What only a member's driver has.
pub(super) struct MemberRim {
    pub(super) rim: Arc<QuorumRim>,
    pub(super) sockets: QuorumSockets,
    /// For the node's deadlines.
    pub(super) alarm: Alarm,
    syncer: Syncer,
    pub(super) disk: MemberDisk,
    pub(super) epoch_files: EpochFiles,
    pub(super) membership_files: MembershipFiles,
    /// Where the epochs are.
    pub(super) files: Arc<dyn Disk>,
    /// The newest cut, or what is stored.
    pub(super) stored: Option<Zxid>,
    /// What the rim knows of it.
    pub(super) part: Part,
    pub(super) state: Round,
}

/// What is under way in a round.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// What the node wants, and is not begun.
    work: Vec<Action>,
    /// Empty: for what it wants meanwhile.
    spare: Vec<Action>,
    pub(super) links: Vec<LinkWork>,
    /// Records appended, of whose sync nothing is begun.
    unsynced: u64,
    /// Records are synced of which the node has not heard.
    is_behind: bool,
}

impl MemberRim {
    /// Has the rim know which part this server plays.
    pub(super) fn play(&mut self, status: &PeerStatus) {
        let part = Part::of(status);
        if part != self.part {
            self.part = part;
            self.rim.play(part);
        }
    }

    /// `None`: where it listens already. It does not belong to the ensemble any more, and may come back.
    fn where_to_listen(&self, membership: &Membership, everywhere: bool) -> Option<Vec<Door>> {
        let own = membership.members.get(&self.membership_files.me)?;
        Some(doors_of(&own.addresses, everywhere))
    }
}

impl Driver {
    /// One batch, up to what is to be applied.
    pub(super) fn step_member(&mut self, events: &mut Vec<Event>, now: Now) -> Result<()> {
        if let Some(ended) = self.member().syncer.ended() {
            let last = ended.of.last;
            self.end_sync(ended)?;
            self.step_one(Event::Persisted(last), now)?;
        }
        let mut ask_again_at = u64::MAX;
        let shared = Arc::clone(&self.shared);
        // Locked once for many events, up to one whose work may change it.
        let mut tree = None;
        for event in events.drain(..) {
            if self.node.log_room() <= ask_again_at {
                let room = LogRoom { bytes: self.log.room(), is_short: self.log.is_short() };
                tree = None;
                self.step_one(Event::LogRoom(room), now)?;
                ask_again_at = room.bytes / 2;
            }
            self.step_node(event, now, tree.get_or_insert_with(|| shared.tree.read()));
            if self.node.must_apply() || !self.round().work.iter().all(leaves_tree_alone) {
                tree = None;
            }
            self.see_to_work(now)?;
            if self.log.batch_bytes() > UNSYNCED_BYTES_MAX {
                tree = None;
                self.settle()?;
                self.begin_sync(now)?;
            }
        }
        drop(tree);
        self.hand_over_links();
        self.begin_sync(now)
    }

    /// Has all that is logged synced, unless a sync is under way.
    fn begin_sync(&mut self, now: Now) -> Result<()> {
        while !self.member().syncer.is_busy() {
            let round = self.round();
            let (txns, is_behind) =
                (std::mem::take(&mut round.unsynced), std::mem::take(&mut round.is_behind));
            let Some(last) = self.log.last_zxid().filter(|_| txns > 0 || is_behind) else { break };
            let began = self.shared.clock.monotonic();
            let judging = began.saturating_sub(now.monotonic);
            if let Some(sync) = self.log.begin_sync()? {
                self.member().syncer.begin(sync, Synced { last, txns, judging });
            } else {
                if txns > 0 {
                    self.note_synced(txns, judging, self.shared.clock.monotonic().saturating_sub(began));
                }
                self.step_one(Event::Persisted(last), now)?;
                self.hand_over_links();
            }
        }
        Ok(())
    }

    fn end_sync(&mut self, ended: Ended) -> Result<()> {
        let Ended { of: Synced { txns, judging, .. }, outcome, took } = ended;
        self.log.end_sync(outcome)?;
        self.note_synced(txns, judging, took);
        Ok(())
    }

    /// Has everything synced that is logged, for work that nothing else may be going on besides. The node hears of that
    /// with the next sync.
    pub(super) fn settle(&mut self) -> Result<()> {
        if let Some(member) = &mut self.member
            && let Some(ended) = member.syncer.wait()
        {
            member.state.is_behind = true;
            self.end_sync(ended)?;
        }
        self.log.sync()
    }

    fn round(&mut self) -> &mut Round {
        &mut self.member().state
    }

    fn member(&mut self) -> &mut MemberRim {
        self.member.as_deref_mut().expect("it is a member")
    }

    /// Sends what is to be sent.
    pub(super) fn hand_over_links(&mut self) {
        if let Some(member) = &mut self.member
            && !member.state.links.is_empty()
        {
            member.rim.carry_out(&mut member.state.links);
            member.sockets.turn();
        }
    }

    fn step_one(&mut self, event: Event, now: Now) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        self.step_node(event, now, &shared.tree.read());
        self.see_to_work(now)
    }

    /// Does what the node wants, until it wants no more.
    fn see_to_work(&mut self, now: Now) -> Result<()> {
        while !self.round().work.is_empty() {
            let Round { work, spare, .. } = self.round();
            let mut begun = std::mem::replace(work, std::mem::take(spare));
            for action in begun.drain(..) {
                self.carry_out(action, now)?;
            }
            self.round().spare = begun;
        }
        if self.node.must_apply() {
            self.apply()?;
        }
        Ok(())
    }

    fn step_node(&mut self, event: Event, now: Now, tree: &Tree) {
        let Self { node, member, .. } = self;
        let work = &mut member.as_deref_mut().expect("it is a member").state.work;
        node.step(event, now, tree, work);
    }

    fn carry_out(&mut self, action: Action, now: Now) -> Result<()> {
        match action {
            Action::Append { zxid, record } => {
                self.log.append(zxid, &record).inspect_err(|error| {
                    if matches!(error, Error::Full { .. }) {
                        error!("the disk is full: this server cannot log what the ensemble agrees on, and leaves it");
                    }
                })?;
                self.round().unsynced += 1;
            }
            Action::Link(work) => {
                if matches!(work, LinkWork::SendLog { .. }) {
                    self.settle()?; // It is read from the files: a quorum of others may have committed what is in none yet.
                }
                self.round().links.push(work);
            }
            Action::Disk(work) => {
                if let Some(done) = self.work_disk(work)? {
                    let shared = Arc::clone(&self.shared);
                    self.step_node(Event::Peer(Input::Disk(done)), now, &shared.tree.read());
                }
            }
            Action::Adopt { zxid, from } => self.adopt(zxid, from)?,
            action @ (Action::Deliver(_) | Action::Snapshot(_) | Action::CloseAll) => {
                self.actions.push(action)
            }
        }
        Ok(())
    }

    /// `None`: the snapshot thread will say.
    fn work_disk(&mut self, work: DiskWork) -> Result<Option<DiskDone>> {
        Ok(Some(match work {
            DiskWork::Append { .. } => unreachable!("it is an action of its own"),
            DiskWork::SaveAcceptedEpoch(epoch) => {
                let member = self.member();
                member.epoch_files.save_accepted(&*member.files, epoch)?;
                DiskDone::AcceptedEpoch(epoch)
            }
            DiskWork::SaveMembership { current, next } => {
                self.save_membership(&current, next.as_deref());
                return Ok(None);
            }
            DiskWork::SaveCurrentEpoch(epoch) => {
                self.settle()?;
                self.log.sync_written()?; // Even without `forceSync`: a history is claimed.
                let member = self.member();
                member.epoch_files.save_current(&*member.files, epoch)?;
                DiskDone::CurrentEpoch(epoch)
            }
            DiskWork::Truncate(zxid) => self.truncate(zxid)?,
            DiskWork::Reload => {
                self.settle()?;
                DiskDone::Reloaded(self.reload()?)
            }
            DiskWork::Install => DiskDone::Installed(self.install()?),
            DiskWork::Trace { link, zxid } => {
                self.settle()?; // What is not written cannot be found.
                let upto = self.log.last_zxid().unwrap_or_default();
                self.ask_snapshots(MemberWork::Trace { link, zxid, upto })?;
                return Ok(None);
            }
            DiskWork::OpenSnapshot { link } => {
                self.ask_snapshots(MemberWork::Hold { link })?;
                return Ok(None);
            }
        }))
    }

    /// What the next start begins with, and what the other threads go by.
    ///
    /// Where zoo.cfg cannot be written, as on a volume that is mounted read-only, the server carries on, as Java's do:
    /// after a restart it learns the membership from the others.
    fn save_membership(&mut self, current: &Arc<Membership>, next: Option<&Membership>) {
        let is_new = self.shared.membership().version != current.version;
        let me = self.member().membership_files.me;
        let ensemble = &self.shared.config.ensemble;
        let masters = observer_masters(current, ensemble, me);
        let everywhere = ensemble.listen_on_all_addresses;
        let member = self.member();
        let (files, disk) = (&member.membership_files, &*member.files);
        let saved = if is_new { files.save_current(disk, current) } else { Ok(()) };
        let saved = saved.and_then(|()| files.save_next(disk, next));
        if let Err(failure) = saved {
            let failure: &dyn std::error::Error = &failure;
            error!(
                error = failure,
                "the membership cannot be written: a restart would begin with an old one"
            );
        }
        let doors = is_new.then(|| member.where_to_listen(current, everywhere)).flatten();
        member.rim.set_members(endpoints_of(current, next), masters, doors);
        if is_new {
            self.shared.set_membership(Arc::clone(current));
        }
    }

    fn ask_snapshots(&self, work: MemberWork) -> Result<()> {
        let gone = |_| Error::refused(&self.shared.config.data_dir, "the snapshot thread has gone");
        self.snapshots.send(SnapshotWork::Member(work)).map_err(gone)
    }

    fn await_snapshots<T>(&self, work: impl FnOnce(SyncSender<Result<T>>) -> MemberWork) -> Result<T> {
        let (answer, answered) = sync_channel(1);
        self.ask_snapshots(work(answer))?;
        let gone = |_| Error::refused(&self.shared.config.data_dir, "the snapshot thread has gone");
        answered.recv().map_err(gone)?
    }

    fn truncate(&mut self, zxid: Zxid) -> Result<DiskDone> {
        self.settle()?;
        let Self { log, member, .. } = self;
        let member = member.as_deref_mut().expect("it is a member");
        if !member.disk.truncate(log, member.stored, zxid)? {
            return Ok(DiskDone::TruncateRefused);
        }
        warn!(%zxid, "cut off what the leader does not have");
        if self.shared.tree.read().last_zxid() > zxid {
            self.reload()?;
        }
        Ok(DiskDone::Truncated(zxid))
    }

    /// The tree as store and log have it.
    fn reload(&mut self) -> Result<Zxid> {
        let tree = self.await_snapshots(MemberWork::Reload)?;
        let zxid = tree.last_zxid();
        info!(%zxid, "loaded the tree again");
        self.serve_tree(tree);
        Ok(zxid)
    }

    /// The tree that came from the leader, with all that is committed, becomes what the disk has.
    fn install(&mut self) -> Result<Zxid> {
        self.apply()?;
        self.settle()?;
        let zxid = self.await_snapshots(MemberWork::Install)?;
        self.log.begin_anew(zxid)?;
        self.member().stored = Some(zxid);
        info!(%zxid, "stored the leader's tree");
        Ok(zxid)
    }

    fn adopt(&mut self, zxid: Zxid, from: Option<LinkId>) -> Result<()> {
        let tree = match from {
            None => Tree::new(self.shared.tree.read().options().clone()),
            Some(link) => self.member().rim.take_tree(link).ok_or_else(|| {
                Error::refused(&self.shared.config.data_dir, "the tree that the leader sent is not there")
            })?,
        };
        info!(%zxid, znodes = tree.znode_count(), "took over the leader's tree");
        self.serve_tree(tree);
        self.shared.tree.write().advance_to(zxid);
        Ok(())
    }

    /// In place of the one there is, which may take long to drop.
    fn serve_tree(&self, mut tree: Tree) {
        self.shared.describe_membership(&mut tree);
        let old = std::mem::replace(&mut *self.shared.tree.write(), tree);
        std::thread::spawn(move || drop(old));
    }
}

/// Doing it neither changes the tree nor waits for a thread that does.
fn leaves_tree_alone(action: &Action) -> bool {
    match action {
        Action::Append { .. }
        | Action::Link(_)
        | Action::Deliver(_)
        | Action::Snapshot(_)
        | Action::CloseAll => true,
        Action::Disk(_) | Action::Adopt { .. } => false,
    }
}

/// Whom this server dials to reach the leader, rather than the leader: nobody, unless it observes, and
/// `observerMasterPort` is set.
pub(super) fn observer_masters(membership: &Membership, ensemble: &Ensemble, me: ServerId) -> Vec<ServerId> {
    let role = membership.role_of(me).unwrap_or(ensemble.peer_type);
    match ensemble.observer_master_port {
        Some(_) if role == Role::Observer => membership.voters().collect(),
        _ => Vec::new(),
    }
}

/// Where everybody listens, and where those will who are to move.
pub(super) fn endpoints_of(
    current: &Membership,
    next: Option<&Membership>,
) -> BTreeMap<ServerId, Vec<PeerAddress>> {
    let mut endpoints = BTreeMap::<ServerId, Vec<PeerAddress>>::new();
    for (id, member) in current.members.iter().chain(next.iter().flat_map(|next| &next.members)) {
        let known = endpoints.entry(*id).or_default();
        let new = member.addresses.iter().filter(|address| !known.contains(address)).cloned();
        let new: Vec<_> = new.collect();
        known.extend(new);
    }
    endpoints
}
