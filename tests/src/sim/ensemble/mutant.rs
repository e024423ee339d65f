//! Bugs to be found: each makes the simulated driver or network do what a faulty server would do. A simulator that
//! misses one of them proves nothing.

use server::zab::{DiskDone, DiskWork, Epoch, Notification, Packet, Zxid};

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// A txn is acknowledged while it waits for the disk.
    AckBeforeFsync,
    /// A leader takes a proposal that was sent for one that was acknowledged.
    CommitWithoutQuorum,
    /// A learner keeps what it should cut off its log.
    SkipTrunc,
    /// The promise of an epoch does not survive a restart, so an older one is accepted.
    AcceptOldEpoch,
    /// A leader serves as soon as NEWLEADER is sent.
    ServeWithoutNewLeaderAcks,
    /// A learner acknowledges NEWLEADER before what it was sent is on disk.
    AckNewLeaderBeforeFsync,
    /// `currentEpoch` is on disk before the history it speaks of.
    EpochBeforeHistory,
    /// Two txns that are committed together are applied the wrong way round.
    CommitOutOfOrder,
    /// Votes are compared without their epochs.
    VoteIgnoresEpoch,
    /// A would-be leader does not mind that a learner has a newer history.
    LeadDespiteNewerHistory,
    /// A tree that came behind a SNAP is not stored, though the disk says so.
    SkipInstall,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::AckBeforeFsync,
        Self::CommitWithoutQuorum,
        Self::SkipTrunc,
        Self::AcceptOldEpoch,
        Self::ServeWithoutNewLeaderAcks,
        Self::AckNewLeaderBeforeFsync,
        Self::EpochBeforeHistory,
        Self::CommitOutOfOrder,
        Self::VoteIgnoresEpoch,
        Self::LeadDespiteNewerHistory,
        Self::SkipInstall,
    ];

    /// What a disk claims to have done while the work still waits.
    pub(super) fn premature(self, work: &DiskWork) -> Option<DiskDone> {
        match (self, work) {
            (Self::AckBeforeFsync, DiskWork::Append { zxid, .. }) => Some(DiskDone::Persisted(*zxid)),
            (Self::AckNewLeaderBeforeFsync, DiskWork::SaveCurrentEpoch(epoch)) => {
                Some(DiskDone::CurrentEpoch(*epoch))
            }
            _ => None,
        }
    }

    /// Whether a disk forgets to do this, and says that it did.
    pub(super) fn forgets(self, work: &DiskWork) -> bool {
        matches!((self, work), (Self::AcceptOldEpoch, DiskWork::SaveAcceptedEpoch(_)))
    }

    /// What the sender takes for an answer of the other end.
    pub(super) fn imagined_answer(self, sent: &Packet) -> Option<Packet> {
        match (self, sent) {
            (Self::CommitWithoutQuorum, Packet::Proposal { zxid, .. }) => Some(Packet::Ack((*zxid).into())),
            (Self::ServeWithoutNewLeaderAcks, Packet::NewLeader { epoch, .. }) => {
                Some(Packet::Ack(Zxid::new(*epoch, 0).into()))
            }
            _ => None,
        }
    }

    /// What a packet is taken for.
    pub(super) fn misread(self, packet: Packet) -> Packet {
        match (self, packet) {
            (Self::SkipTrunc, Packet::Trunc(zxid)) => Packet::Diff(zxid),
            (Self::LeadDespiteNewerHistory, Packet::AckEpoch { last, current }) => {
                Packet::AckEpoch { last, current: current.map(|_| Epoch(0)) }
            }
            (_, packet) => packet,
        }
    }

    /// What a vote is taken for by a server of this epoch.
    pub(super) fn misread_vote(self, mut vote: Notification, current: Epoch) -> Notification {
        if matches!(self, Self::VoteIgnoresEpoch | Self::LeadDespiteNewerHistory) {
            vote.vote.peer_epoch = current;
        }
        vote
    }
}
