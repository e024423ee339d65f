//! Votes, as they travel on election links. ZooKeeper's `FastLeaderElection.Notification`, `Vote`.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{Epoch, Zxid};
use crate::config::ServerId;

/// What a server is about to do, or does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[doc(alias = "ServerState")]
pub enum PeerState {
    /// It looks for a leader.
    Looking,
    /// It follows one.
    Following,
    /// It leads.
    Leading,
    /// It observes a leader.
    Observing,
}

/// Who should lead, and why. The greater one wins: by epoch, then zxid, then id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Vote {
    /// Who should lead.
    pub leader: ServerId,
    /// The last txn in its log.
    pub zxid: Zxid,
    /// The epoch of its history.
    pub peer_epoch: Epoch,
}

/// A server's vote, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// What the sender does.
    pub state: PeerState,
    /// Its vote.
    pub vote: Vote,
    /// Its round of the election: `electionEpoch`, the logical clock. Observers have the least number.
    pub round: i64,
    /// 2 since membership travels along; 0 is a server from before that.
    pub version: i32,
    /// The membership it knows, as text; empty for none.
    pub config: Bytes,
}

/// An election message that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Shorter than the shortest there ever was.
    #[error("{0} bytes are too few for a notification")]
    TooShort(usize),
    /// A state that there is not.
    #[error("state {0}")]
    State(i32),
    /// The membership's length is not what follows.
    #[error("a configuration of {0} bytes, where {1} follow")]
    ConfigLength(i32, usize),
}

impl Notification {
    /// What is sent with every notification.
    pub const VERSION: i32 = 2;
    const BEFORE_EPOCHS_BYTES: usize = 28;
    const BEFORE_VERSIONS_BYTES: usize = 40;

    /// The message without its length in front.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(Self::BEFORE_VERSIONS_BYTES + 8 + self.config.len());
        out.put_i32(self.state.code());
        out.put_i64(self.vote.leader.0);
        out.put_i64(self.vote.zxid.0);
        out.put_i64(self.round);
        out.put_i64(self.vote.peer_epoch.to_wire());
        out.put_i32(self.version);
        out.put_i32(i32::try_from(self.config.len()).expect("a configuration fits into a message"));
        out.put_slice(&self.config);
        out.freeze()
    }

    /// Reads a message, of any age.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(mut bytes: Bytes) -> Result<Self, Malformed> {
        let len = bytes.len();
        if len < Self::BEFORE_EPOCHS_BYTES {
            return Err(Malformed::TooShort(len));
        }
        let code = bytes.get_i32();
        let state = PeerState::from_code(code).ok_or(Malformed::State(code))?;
        let leader = ServerId(bytes.get_i64());
        let zxid = Zxid(bytes.get_i64());
        let round = bytes.get_i64();
        let peer_epoch = if bytes.len() >= 8 { Epoch::from_wire(bytes.get_i64()) } else { zxid.epoch() };
        let vote = Vote { leader, zxid, peer_epoch };
        let version = if len > Self::BEFORE_VERSIONS_BYTES && bytes.len() >= 4 { bytes.get_i32() } else { 0 };
        let mut config = Bytes::new();
        if version > 1 && bytes.len() >= 4 {
            let announced = bytes.get_i32();
            config = match usize::try_from(announced) {
                Ok(announced) if announced <= bytes.len() => bytes.split_to(announced),
                _ => return Err(Malformed::ConfigLength(announced, bytes.len())),
            };
        }
        Ok(Self { state, vote, round, version, config })
    }
}

impl PeerState {
    const fn code(self) -> i32 {
        match self {
            Self::Looking => 0,
            Self::Following => 1,
            Self::Leading => 2,
            Self::Observing => 3,
        }
    }

    const fn from_code(code: i32) -> Option<Self> {
        Some(match code {
            0 => Self::Looking,
            1 => Self::Following,
            2 => Self::Leading,
            3 => Self::Observing,
            _ => return None,
        })
    }
}
