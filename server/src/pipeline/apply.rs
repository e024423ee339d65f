//! Stop 8 of [the life of a write](crate): what a txn did, told to the one who asked for it. ZooKeeper's
//! `FinalRequestProcessor`, its writing half.

use jute::multi::{MultiResponse, MultiResult};
use jute::proto::{Create2Response, CreateResponse};
use jute::txn::Txn;
use jute::{ErrorCode, Op, Ustring};

use crate::node::{Delivery, ReplyBody, Request};
use crate::session::{ConnectionId, SessionId};
use crate::tree::Applied;
use crate::zab::{Confirmation, Zxid};

/// A request that waits for its turn to be applied and answered.
#[derive(Debug)]
pub(crate) struct Outstanding {
    /// Its own zxid, or that of the last txn before it: its turn is when that is committed.
    pub(crate) after: Zxid,
    /// `None`: nobody asked, the service does it of itself.
    pub(crate) origin: Option<Origin>,
    pub(crate) work: Work,
}

impl Outstanding {
    /// The connection that waits for an answer.
    pub(crate) fn asker(&self) -> Option<ConnectionId> {
        match &self.work {
            Work::Read(request) => request.connection,
            _ => self.origin.map(|origin| origin.connection),
        }
    }
}

/// What is to be done then.
#[derive(Debug)]
pub(crate) enum Work {
    Txn {
        /// What was asked for; the txn's own type may be an error.
        op: Op,
        /// Of a multi that was not refused: what its parts asked for.
        parts: Vec<Op>,
        txn: Txn,
    },
    /// To be answered from the tree as it is then.
    Read(Request),
    Sync {
        path: Ustring,
        /// A leader answers once it knows that it still leads.
        confirmation: Option<Confirmation>,
    },
    /// The leader has answered the oldest sync of this learner's clients.
    Synced,
    /// A session that only this server knows ends.
    EndLocal(SessionId),
    /// Not even worth a txn.
    Refuse(ErrorCode),
    /// Not an operation for clients: its connection closes.
    Unknown,
    /// A connection has gone: so do its watches.
    Depart(ConnectionId),
}

/// Who waits for an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) connection: ConnectionId,
    pub(crate) xid: i32,
}

impl Origin {
    /// A good answer.
    pub(crate) fn reply(self, zxid: Zxid, body: ReplyBody) -> Delivery {
        let Self { connection, xid } = self;
        Delivery::Reply { connection, xid, zxid, error: None, body, close: false }
    }

    /// A refusal.
    pub(crate) fn refuse(self, zxid: Zxid, error: ErrorCode) -> Delivery {
        let Self { connection, xid } = self;
        Delivery::Reply { connection, xid, zxid, error: Some(error), body: ReplyBody::Empty, close: false }
    }

    /// The answer to what is no operation. It stands outside of the order of txns, and its zxid says so.
    #[doc(alias = "UnimplementedRequestProcessor")]
    pub(crate) fn turn_away(self) -> Delivery {
        let Self { connection, xid } = self;
        let (zxid, error) = (Zxid(-1), Some(ErrorCode::Unimplemented));
        Delivery::Reply { connection, xid, zxid, error, body: ReplyBody::Empty, close: true }
    }

    /// The answer to closeSession.
    pub(crate) fn bid_farewell(self, zxid: Zxid) -> Delivery {
        let Self { connection, xid } = self;
        Delivery::Reply { connection, xid, zxid, error: None, body: ReplyBody::Empty, close: true }
    }
}

/// The answer to `op`, a multi of `parts` if it is one, of which came `applied` with `zxid`.
#[doc(alias = "FinalRequestProcessor")]
pub(crate) fn answer(op: Op, parts: &[Op], zxid: Zxid, applied: Applied, origin: Origin) -> Delivery {
    let body = match applied {
        // Its client is elsewhere by now, and gets the answer there if it asks again.
        Applied::Error(code) if code == ErrorCode::SessionMoved.code() => {
            return Delivery::Close { connection: origin.connection };
        }
        Applied::Error(code) => {
            let error = ErrorCode::from_code(code).unwrap_or(ErrorCode::SystemError);
            return origin.refuse(zxid, error);
        }
        Applied::Created { path, .. } if op == Op::Create => ReplyBody::Path(path),
        Applied::Created { path, stat } => ReplyBody::PathStat(path, stat),
        Applied::SetData(stat) | Applied::SetAcl(stat) => ReplyBody::Stat(stat),
        Applied::Reconfigured { data, stat } => ReplyBody::DataStat(data, stat),
        Applied::Multi(results) => {
            let asked = parts.iter().copied().map(Some).chain(std::iter::repeat(None));
            let results = results.into_iter().zip(asked).map(|(applied, asked)| multi_result(asked, applied));
            ReplyBody::Multi(Box::new(MultiResponse { results: results.collect() }))
        }
        Applied::Deleted | Applied::Checked | Applied::SessionOpened | Applied::SessionClosed => {
            ReplyBody::Empty
        }
    };
    origin.reply(zxid, body)
}

/// Only of a plain create the stat is kept back.
fn multi_result(asked: Option<Op>, applied: Applied) -> MultiResult {
    match applied {
        Applied::Created { path, .. } if asked == Some(Op::Create) => {
            MultiResult::Create(CreateResponse { path })
        }
        Applied::Created { path, stat } => MultiResult::Create2(Create2Response { path, stat }),
        Applied::Deleted => MultiResult::Delete,
        Applied::SetData(stat) => MultiResult::SetData(stat),
        Applied::Checked => MultiResult::Check,
        Applied::Error(code) => MultiResult::Error(code),
        // Nothing else is ever a part of a multi.
        _ => MultiResult::Error(ErrorCode::SystemError.code()),
    }
}
