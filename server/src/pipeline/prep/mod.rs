//! Stop 3 of [the life of a write](crate), leader only: a client's write becomes a txn that any replica can
//! replay. ZooKeeper's `PrepRequestProcessor`.
//!
//! The order of the checks is part of the protocol: of several errors, the client sees the first.

mod change;
pub(crate) mod create;
mod multi;
mod reconfig;
mod session;

use bytes::Bytes;
use jute::data::Id;
use jute::multi::{MultiOp, MultiRequest};
use jute::proto::{DeleteRequest, ReconfigRequest, SetAclRequest, SetDataRequest};
use jute::txn::TxnBody;
use jute::{DecodeError, ErrorCode, Jute, Op};

use super::pending::{Foreseen, Outlook};
use crate::node::{LogRoom, NodeConfig, OverQuota};
use crate::session::SessionId;
use crate::tree::path;
use crate::tree::quota::Over;
use crate::zab::Peer;
use create::NewZnode;

/// A client's write, decoded.
#[derive(Debug)]
pub(crate) enum Write {
    Create(NewZnode),
    Delete(DeleteRequest),
    SetData(SetDataRequest),
    SetAcl(SetAclRequest),
    /// It takes its zxid before it is decoded, so that one which cannot be is still a txn.
    Multi(Result<MultiRequest, DecodeError>),
    Reconfig(ReconfigRequest),
    CloseSession,
}

impl Write {
    /// The write that `op` asks for with `body`; `None` if clients have no such write.
    pub(crate) fn decode(op: Op, body: &Bytes) -> Option<Result<Self, DecodeError>> {
        Some(match op {
            Op::Create | Op::Create2 | Op::CreateContainer => {
                Jute::from_bytes(body).map(|asked| Self::Create(NewZnode::from_request(op, asked)))
            }
            Op::CreateTtl => {
                Jute::from_bytes(body).map(|asked| Self::Create(NewZnode::from_ttl_request(asked)))
            }
            Op::Delete => Jute::from_bytes(body).map(Self::Delete),
            Op::SetData => Jute::from_bytes(body).map(Self::SetData),
            Op::SetAcl => Jute::from_bytes(body).map(Self::SetAcl),
            Op::Multi => Ok(Self::Multi(Jute::from_bytes(body))),
            Op::Reconfig => Jute::from_bytes(body).map(Self::Reconfig),
            Op::CloseSession => Ok(Self::CloseSession),
            _ => return None,
        })
    }

    /// It asks for ephemeral znodes.
    pub(crate) fn makes_ephemerals(&self) -> bool {
        match self {
            Self::Create(wanted) => wanted.is_ephemeral(),
            Self::Multi(Ok(multi)) => multi.ops.iter().any(|part| match part {
                MultiOp::Create(asked) | MultiOp::Create2(asked) => create::is_ephemeral(asked.flags),
                _ => false,
            }),
            _ => false,
        }
    }
}

/// One request on its way to becoming a txn.
#[derive(Debug)]
#[doc(alias = "PrepRequestProcessor")]
pub(crate) struct Prep<'a> {
    pub(crate) config: &'a NodeConfig,
    /// `None`: this server is alone.
    pub(crate) peer: Option<&'a Peer>,
    pub(crate) outlook: Outlook<'a>,
    pub(crate) session: SessionId,
    /// Whether the session lives. Where in the order of checks that matters differs by operation.
    pub(crate) alive: Result<(), ErrorCode>,
    /// What a session is told that may not own znodes.
    pub(crate) no_ephemerals: Option<ErrorCode>,
    pub(crate) identities: &'a [Id],
    pub(crate) zxid: i64,
    pub(crate) time_ms: i64,
    /// What the log can take. While it is short, what grows the tree is refused.
    pub(crate) room: LogRoom,
    /// Of a multi: as which operations its parts are answered. Their txns may be of another type.
    pub(crate) parts: Vec<Op>,
    /// Where it is noted which quotas were exceeded.
    pub(crate) over_quota: &'a mut OverQuota,
}

impl Prep<'_> {
    /// Judges a client's request against the tree as it will be once all pending changes have been applied.
    ///
    /// # Errors
    /// The refusal. It becomes a txn too: [`TxnBody::Error`] takes a zxid and is replicated, so all replicas
    /// agree where the refusal stands.
    pub(crate) fn prepare(&mut self, write: Write) -> Result<TxnBody, ErrorCode> {
        match write {
            Write::Create(wanted) => self.create(wanted),
            Write::Delete(asked) => self.delete(asked),
            Write::SetData(asked) => self.set_data(asked),
            Write::SetAcl(asked) => self.set_acl(asked),
            Write::Multi(asked) => self.multi(asked.map_err(|_| ErrorCode::MarshallingError)?),
            Write::Reconfig(asked) => self.reconfig(&asked),
            Write::CloseSession => Ok(self.close_session()),
        }
    }

    /// The tree's digest after this txn and all before it.
    pub(crate) fn digest(&self) -> Option<u64> {
        self.config.digests.then(|| self.outlook.digest())
    }

    fn find(&self, path: &str) -> Result<Foreseen, ErrorCode> {
        self.outlook.find(path).ok_or(ErrorCode::NoNode)
    }

    fn check_acl(&self, znode: &Foreseen, wanted: i32) -> Result<(), ErrorCode> {
        self.config.schemes.check(&znode.acl, wanted, self.identities)
    }

    /// Would `count` more znodes, or data of `after` bytes instead of `before`, exceed a hard limit that is
    /// enforced? Judged by what is applied: writes under way may exceed it together. Whatever is exceeded is noted
    /// for the operator.
    #[allow(clippy::cast_possible_wrap)] // Lengths of data are bounded by frames.
    fn check_quota(&mut self, path: &str, count: i64, after: usize, before: usize) -> Result<(), ErrorCode> {
        let Some(over) = self.outlook.tree().quota_over(path, count, after as i64 - before as i64) else {
            return Ok(());
        };
        let (Over::Hard(quota) | Over::Soft(quota)) = over;
        self.over_quota.note(quota);
        if matches!(over, Over::Soft(_)) || !self.config.enforce_quota {
            return Ok(());
        }
        self.over_quota.refused.record(quota, 1);
        Err(ErrorCode::QuotaExceeded)
    }

    fn check_room(&self) -> Result<(), ErrorCode> {
        if self.room.is_short { Err(ErrorCode::QuotaExceeded) } else { Ok(()) }
    }
}

/// The version after `current`, which is what the client `expected`; -1 is any.
fn next_version(current: i32, expected: i32) -> Result<i32, ErrorCode> {
    if expected == -1 || expected == current {
        Ok(current.wrapping_add(1))
    } else {
        Err(ErrorCode::BadVersion)
    }
}

/// The path above `path`, a slice of it; names are not judged here.
fn parent_of(path: &str) -> Result<&str, ErrorCode> {
    match path::last_slash(path) {
        Some(slash) if !path.as_bytes().contains(&0) => Ok(&path[..slash.max(1)]),
        _ => Err(ErrorCode::BadArguments),
    }
}

fn validate(path: &str) -> Result<(), ErrorCode> {
    path::validate(path).map_err(|_| ErrorCode::BadArguments)
}
