//! What leader and learner say to each other on the quorum port, a variant for each kind of packet. ZooKeeper's
//! `QuorumPacket`, `Leader`'s constants.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use jute::data::Id;
use jute::quorum::{LearnerInfo, QuorumPacket};
use jute::{Jute, PacketType};

use super::{Epoch, Run, Zxid};
use crate::config::ServerId;
use crate::session::SessionId;

/// One packet. In which direction and phase it travels stands with each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// A learner's first: who it is, and the epoch it promised last (discovery).
    LearnerInfo {
        /// An observer's is OBSERVERINFO, a follower's FOLLOWERINFO.
        is_observer: bool,
        /// `acceptedEpoch`.
        accepted: Epoch,
        /// Who it is.
        server: ServerId,
        /// 0x10000: ZAB 1.0.
        protocol: i32,
        /// The membership it knows.
        config_version: i64,
    },
    /// The leader proposes an epoch (discovery).
    LeaderInfo {
        /// Which.
        epoch: Epoch,
        /// 0x10000: ZAB 1.0.
        protocol: i32,
    },
    /// The learner promises it, and tells of its history (discovery).
    AckEpoch {
        /// The last txn in its log.
        last: Zxid,
        /// `currentEpoch`; `None` if this epoch was promised before: then it does not count.
        current: Option<Epoch>,
    },
    /// The learner's history is part of the leader's; what is missing follows (synchronisation).
    Diff(Zxid),
    /// Forget what comes behind (synchronisation).
    Trunc(Zxid),
    /// The tree as of this zxid follows, unframed (synchronisation).
    Snap(Zxid),
    /// All of the leader's history was sent (synchronisation).
    NewLeader {
        /// Whose epoch begins.
        epoch: Epoch,
        /// The membership, as text.
        config: Option<Bytes>,
    },
    /// Serve (synchronisation).
    UpToDate,
    /// A txn to log: header, body, digest (broadcast, and behind DIFF, TRUNC and SNAP).
    Proposal {
        /// The txn's.
        zxid: Zxid,
        /// The record.
        record: Bytes,
    },
    /// It is logged; with an epoch's beginning: NEWLEADER is. Those that come one behind the other are said at once, and
    /// are a packet each on the wire.
    Ack(Run),
    /// A quorum has it. Said at once likewise.
    Commit(Run),
    /// COMMIT of a reconfiguration.
    CommitAndActivate {
        /// The txn's.
        zxid: Zxid,
        /// Who should lead from now on.
        leader: ServerId,
    },
    /// PROPOSAL and COMMIT in one, for observers.
    Inform {
        /// The txn's.
        zxid: Zxid,
        /// The record.
        record: Bytes,
    },
    /// INFORM of a reconfiguration.
    InformAndActivate {
        /// The txn's.
        zxid: Zxid,
        /// Who should lead from now on.
        leader: ServerId,
        /// The record.
        record: Bytes,
    },
    /// The leader is alive; so is the learner, and these sessions.
    Ping {
        /// The last one proposed; the answer brings it back.
        zxid: Zxid,
        /// Heard from since the last time, with their timeouts in milliseconds; `None` from the leader.
        touched: Option<Vec<(SessionId, i32)>>,
    },
    /// A learner's client wants something that only the leader can do.
    Request {
        /// Who asks.
        session: SessionId,
        /// The client's number for it.
        cxid: i32,
        /// Code of a [`jute::Op`].
        op: i32,
        /// What stands behind the request's header.
        body: Bytes,
        /// The client's identities.
        identities: Arc<[Id]>,
    },
    /// A learner asks whether a session lives, which wants to move there.
    Revalidate {
        /// Which.
        session: SessionId,
        /// Its timeout in milliseconds.
        timeout_ms: i32,
    },
    /// The leader's answer to that.
    Revalidated {
        /// Which.
        session: SessionId,
        /// It lives.
        is_valid: bool,
    },
    /// The leader's answer to a sync: whatever was committed before has been sent.
    Sync,
}

/// Which end of a link a packet came to: REVALIDATE's answer looks like its question, but for a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receiver {
    /// The learner.
    Learner,
    /// The leader.
    Leader,
}

/// A packet that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A number that stands for no kind of packet.
    #[error("packet type {0}")]
    Type(i32),
    /// Data that is too short, or missing.
    #[error("{0:?} with too little data")]
    Short(PacketType),
    /// More identities than a client may have.
    #[error("{0} identities")]
    Identities(usize),
}

/// What `protocolVersion` says: ZAB 1.0.
pub(crate) const PROTOCOL: i32 = 0x10000;
const IDENTITIES_MAX: usize = 1000;

impl Packet {
    /// Its name, as ZooKeeper prints it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::LearnerInfo { is_observer: false, .. } => "FOLLOWERINFO",
            Self::LearnerInfo { is_observer: true, .. } => "OBSERVERINFO",
            Self::LeaderInfo { .. } => "LEADERINFO",
            Self::AckEpoch { .. } => "ACKEPOCH",
            Self::Diff(_) => "DIFF",
            Self::Trunc(_) => "TRUNC",
            Self::Snap(_) => "SNAP",
            Self::NewLeader { .. } => "NEWLEADER",
            Self::UpToDate => "UPTODATE",
            Self::Proposal { .. } => "PROPOSAL",
            Self::Ack(_) => "ACK",
            Self::Commit(_) => "COMMIT",
            Self::CommitAndActivate { .. } => "COMMITANDACTIVATE",
            Self::Inform { .. } => "INFORM",
            Self::InformAndActivate { .. } => "INFORMANDACTIVATE",
            Self::Ping { .. } => "PING",
            Self::Request { .. } => "REQUEST",
            Self::Revalidate { .. } | Self::Revalidated { .. } => "REVALIDATE",
            Self::Sync => "SYNC",
        }
    }

    /// The packet as it stands in the stream, or the packets.
    pub fn encode(&self, out: &mut BytesMut) {
        let mut wire = self.to_wire();
        wire.encode(out);
        if let Self::Ack(run) | Self::Commit(run) = self {
            for zxid in run.iter().skip(1) {
                wire.zxid = zxid.0;
                wire.encode(out);
            }
        }
    }

    /// Says `next` at once with this one, behind which it comes, if that can be.
    #[must_use]
    pub fn join(&mut self, next: &Self) -> bool {
        match (self, next) {
            (Self::Ack(run), Self::Ack(next)) | (Self::Commit(run), Self::Commit(next)) => run.join(*next),
            _ => false,
        }
    }

    /// Each packet on its own.
    #[must_use]
    pub fn apart(self) -> Vec<Self> {
        match self {
            Self::Ack(run) => run.iter().map(|zxid| Self::Ack(zxid.into())).collect(),
            Self::Commit(run) => run.iter().map(|zxid| Self::Commit(zxid.into())).collect(),
            single => vec![single],
        }
    }

    /// Reads what was decoded from the stream.
    ///
    /// # Errors
    /// When it is no packet that this end can get.
    pub fn from_wire(wire: QuorumPacket, receiver: Receiver) -> Result<Self, Malformed> {
        let kind = PacketType::from_code(wire.packet_type).ok_or(Malformed::Type(wire.packet_type))?;
        let zxid = Zxid(wire.zxid);
        let short = Malformed::Short(kind);
        let has_data = wire.data.is_some();
        let mut data = wire.data.unwrap_or_default();
        let need = |bytes: usize| if data.len() < bytes { Err(short) } else { Ok(()) };
        Ok(match kind {
            PacketType::FollowerInfo | PacketType::ObserverInfo => {
                need(8 + 4)?;
                let (server, protocol) = (ServerId(data.get_i64()), data.get_i32());
                let config_version = if data.len() >= 8 { data.get_i64() } else { 0 };
                let is_observer = kind == PacketType::ObserverInfo;
                Self::LearnerInfo { is_observer, accepted: zxid.epoch(), server, protocol, config_version }
            }
            PacketType::LeaderInfo => {
                need(4)?;
                Self::LeaderInfo { epoch: zxid.epoch(), protocol: data.get_i32() }
            }
            PacketType::AckEpoch => {
                need(4)?;
                let current = u32::try_from(data.get_i32()).ok().map(Epoch);
                Self::AckEpoch { last: zxid, current }
            }
            PacketType::Diff => Self::Diff(zxid),
            PacketType::Trunc => Self::Trunc(zxid),
            PacketType::Snap => Self::Snap(zxid),
            PacketType::NewLeader => {
                Self::NewLeader { epoch: zxid.epoch(), config: Some(data).filter(|text| !text.is_empty()) }
            }
            PacketType::UpToDate => Self::UpToDate,
            PacketType::Proposal => Self::Proposal { zxid, record: data },
            PacketType::Ack => Self::Ack(zxid.into()),
            PacketType::Commit => Self::Commit(zxid.into()),
            PacketType::CommitAndActivate => {
                need(8)?;
                Self::CommitAndActivate { zxid, leader: ServerId(data.get_i64()) }
            }
            PacketType::Inform => Self::Inform { zxid, record: data },
            PacketType::InformAndActivate => {
                need(8)?;
                Self::InformAndActivate { zxid, leader: ServerId(data.get_i64()), record: data }
            }
            PacketType::Ping => {
                let touched =
                    data.chunks_exact(8 + 4).map(|mut one| (SessionId(one.get_i64()), one.get_i32()));
                Self::Ping { zxid, touched: has_data.then(|| touched.collect()) }
            }
            PacketType::Request => {
                need(8 + 4 + 4)?;
                let (session, cxid, op) = (SessionId(data.get_i64()), data.get_i32(), data.get_i32());
                let identities = wire.authinfo.unwrap_or_default();
                if identities.len() > IDENTITIES_MAX {
                    return Err(Malformed::Identities(identities.len()));
                }
                Self::Request { session, cxid, op, body: data, identities }
            }
            PacketType::Revalidate if receiver == Receiver::Leader => {
                need(8 + 4)?;
                Self::Revalidate { session: SessionId(data.get_i64()), timeout_ms: data.get_i32() }
            }
            PacketType::Revalidate => {
                need(8 + 1)?;
                Self::Revalidated { session: SessionId(data.get_i64()), is_valid: data.get_u8() != 0 }
            }
            PacketType::Sync => Self::Sync,
        })
    }

    /// Of several, the first.
    fn to_wire(&self) -> QuorumPacket {
        let (kind, zxid, data) = match self {
            Self::LearnerInfo { is_observer, accepted, server, protocol, config_version } => {
                let kind = if *is_observer { PacketType::ObserverInfo } else { PacketType::FollowerInfo };
                let (protocol_version, config_version) = (*protocol, *config_version);
                let info = LearnerInfo { server_id: server.0, protocol_version, config_version };
                (kind, Zxid::new(*accepted, 0), Some(info.to_bytes()))
            }
            Self::LeaderInfo { epoch, protocol } => {
                let data = Bytes::copy_from_slice(&protocol.to_be_bytes());
                (PacketType::LeaderInfo, Zxid::new(*epoch, 0), Some(data))
            }
            Self::AckEpoch { last, current } => {
                let current = current.map_or(-1, |epoch| i32::try_from(epoch.0).unwrap_or(i32::MAX));
                (PacketType::AckEpoch, *last, Some(Bytes::copy_from_slice(&current.to_be_bytes())))
            }
            Self::Diff(zxid) => (PacketType::Diff, *zxid, None),
            Self::Trunc(zxid) => (PacketType::Trunc, *zxid, None),
            Self::Snap(zxid) => (PacketType::Snap, *zxid, None),
            Self::NewLeader { epoch, config } => {
                (PacketType::NewLeader, Zxid::new(*epoch, 0), config.clone())
            }
            Self::UpToDate => (PacketType::UpToDate, Zxid(-1), None),
            Self::Proposal { zxid, record } => (PacketType::Proposal, *zxid, Some(record.clone())),
            Self::Ack(run) => (PacketType::Ack, run.first(), None),
            Self::Commit(run) => (PacketType::Commit, run.first(), None),
            Self::CommitAndActivate { zxid, leader } => {
                (PacketType::CommitAndActivate, *zxid, Some(Bytes::copy_from_slice(&leader.0.to_be_bytes())))
            }
            Self::Inform { zxid, record } => (PacketType::Inform, *zxid, Some(record.clone())),
            Self::InformAndActivate { zxid, leader, record } => {
                let mut data = BytesMut::with_capacity(8 + record.len());
                data.put_i64(leader.0);
                data.put_slice(record);
                (PacketType::InformAndActivate, *zxid, Some(data.freeze()))
            }
            Self::Ping { zxid, touched } => {
                let data = touched.as_ref().map(|touched| {
                    let mut data = BytesMut::with_capacity(12 * touched.len());
                    for (session, timeout_ms) in touched {
                        data.put_i64(session.0);
                        data.put_i32(*timeout_ms);
                    }
                    data.freeze()
                });
                (PacketType::Ping, *zxid, data)
            }
            Self::Request { session, cxid, op, body, identities } => {
                let mut data = BytesMut::with_capacity(16 + body.len());
                data.put_i64(session.0);
                data.put_i32(*cxid);
                data.put_i32(*op);
                data.put_slice(body);
                let packet_type = PacketType::Request.code();
                let authinfo = Some(Arc::clone(identities)).filter(|identities| !identities.is_empty());
                return QuorumPacket { packet_type, zxid: -1, data: Some(data.freeze()), authinfo };
            }
            Self::Revalidate { session, timeout_ms } => {
                let mut data = BytesMut::with_capacity(12);
                data.put_i64(session.0);
                data.put_i32(*timeout_ms);
                (PacketType::Revalidate, Zxid(-1), Some(data.freeze()))
            }
            Self::Revalidated { session, is_valid } => {
                let mut data = BytesMut::with_capacity(9);
                data.put_i64(session.0);
                data.put_u8(u8::from(*is_valid));
                (PacketType::Revalidate, Zxid(-1), Some(data.freeze()))
            }
            Self::Sync => (PacketType::Sync, Zxid::ZERO, None),
        };
        QuorumPacket { packet_type: kind.code(), zxid: zxid.0, data, authinfo: None }
    }
}
