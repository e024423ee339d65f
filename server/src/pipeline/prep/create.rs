//! New znodes of all kinds.

use std::sync::Arc;

use bytes::Bytes;
use jute::data::{AclList, StatPersisted, perms};
use jute::proto::{CreateRequest, CreateTtlRequest};
use jute::txn::{CreateContainerTxn, CreateTtlTxn, CreateTxn, TxnBody};
use jute::{CreateMode, ErrorCode, Op, Ustring};

use super::{Prep, parent_of, validate};
use crate::tree::{ZnodeKind, path};

/// What the four operations that create have in common.
#[derive(Debug)]
pub(crate) struct NewZnode {
    op: Op,
    path: Ustring,
    data: Option<Bytes>,
    acl: AclList,
    flags: i32,
    /// -1 where the operation has none.
    ttl_ms: i64,
}

impl NewZnode {
    pub(super) fn from_request(op: Op, asked: CreateRequest) -> Self {
        let CreateRequest { path, data, acl, flags } = asked;
        Self { op, path, data, acl, flags, ttl_ms: -1 }
    }

    pub(super) fn from_ttl_request(asked: CreateTtlRequest) -> Self {
        let CreateTtlRequest { path, data, acl, flags, ttl_ms } = asked;
        Self { op: Op::CreateTtl, path, data, acl, flags, ttl_ms }
    }

    /// In a multi the mode decides what kind of znode it is, not the operation.
    pub(super) fn named_by_mode(self) -> Self {
        let op = match CreateMode::from_code(self.flags) {
            Some(mode) if mode.has_ttl() => Op::CreateTtl,
            Some(CreateMode::Container) => Op::CreateContainer,
            _ if self.op == Op::CreateTtl => Op::Create,
            _ => self.op,
        };
        let ttl_ms = if op == Op::CreateTtl { self.ttl_ms } else { -1 };
        Self { op, ttl_ms, ..self }
    }

    /// It would be some session's.
    pub(super) fn is_ephemeral(&self) -> bool {
        matches!(self.op, Op::Create | Op::Create2) && is_ephemeral(self.flags)
    }

    /// The operation whose txn it becomes.
    pub(super) const fn op(&self) -> Op {
        self.op
    }

    /// The mode, if it is one and goes with the operation and the time to live.
    fn mode(&self, extended_types: bool) -> Result<CreateMode, ErrorCode> {
        let mode = CreateMode::from_code(self.flags).ok_or(ErrorCode::BadArguments)?;
        if mode.has_ttl() && !extended_types {
            return Err(ErrorCode::Unimplemented);
        }
        let ttl_fits =
            if mode.has_ttl() { (1..=ZnodeKind::TTL_MAX_MS).contains(&self.ttl_ms) } else { self.ttl_ms < 0 };
        // A createTTL without a time to live would be a txn that no replica can apply.
        if ttl_fits && mode.has_ttl() == (self.op == Op::CreateTtl) {
            Ok(mode)
        } else {
            Err(ErrorCode::BadArguments)
        }
    }
}

/// Whether these flags are an ephemeral znode's.
pub(super) fn is_ephemeral(flags: i32) -> bool {
    CreateMode::from_code(flags).is_some_and(CreateMode::is_ephemeral)
}

impl Prep<'_> {
    #[doc(alias = "pRequest2TxnCreate")]
    pub(super) fn create(&mut self, wanted: NewZnode) -> Result<TxnBody, ErrorCode> {
        let mode = wanted.mode(self.config.extended_types)?;
        self.alive?;
        if let Some(refusal) = self.no_ephemerals.filter(|_| mode.is_ephemeral()) {
            return Err(refusal);
        }
        let parent_path = parent_of(&wanted.path)?;
        let acl = self.config.schemes.resolve(wanted.acl, self.identities)?;
        let mut parent = self.find(parent_path)?;
        self.check_acl(&parent, perms::CREATE)?;

        let parent_path = wanted.path.slice_ref(parent_path);
        let path = match mode.is_sequential() {
            true => path::sequential_name(&wanted.path, parent.stat.cversion).into(),
            false => wanted.path,
        };
        validate(&path)?;
        if self.outlook.contains(&path) {
            return Err(ErrorCode::NodeExists);
        }
        if self.is_ephemeral(&parent.stat) {
            return Err(ErrorCode::NoChildrenForEphemerals);
        }
        self.check_room()?;
        self.check_quota(&path, 1, wanted.data.as_ref().map_or(0, Bytes::len), 0)?;

        let owner = match wanted.op {
            Op::CreateContainer => ZnodeKind::Container.to_owner(),
            Op::CreateTtl => ZnodeKind::Ttl(wanted.ttl_ms).to_owner(),
            _ if mode.is_ephemeral() => self.session.0,
            _ => 0,
        };
        let shared_acl = if *parent.acl == *acl { Arc::clone(&parent.acl) } else { Arc::from(&*acl) };
        parent.child_count += 1;
        let parent_cversion = parent.stat.cversion.wrapping_add(1);
        // As replicas will have it: cversion never goes back, so it ends at its largest, and pzxid with it.
        if parent_cversion > parent.stat.cversion {
            parent.stat.cversion = parent_cversion;
            parent.stat.pzxid = self.zxid;
        }
        self.outlook.put(parent_path, parent);
        self.outlook.create(path.clone(), self.new_stat(owner), shared_acl, wanted.data.clone());

        let data = wanted.data;
        Ok(match wanted.op {
            Op::CreateContainer => {
                TxnBody::CreateContainer(CreateContainerTxn { path, data, acl, parent_cversion })
            }
            Op::CreateTtl => {
                let ttl_ms = wanted.ttl_ms;
                TxnBody::CreateTtl(CreateTtlTxn { path, data, acl, parent_cversion, ttl_ms })
            }
            _ => {
                let ephemeral = mode.is_ephemeral();
                TxnBody::Create(CreateTxn { path, data, acl, ephemeral, parent_cversion })
            }
        })
    }

    fn new_stat(&self, ephemeral_owner: i64) -> StatPersisted {
        StatPersisted {
            czxid: self.zxid,
            mzxid: self.zxid,
            pzxid: self.zxid,
            ctime: self.time_ms,
            mtime: self.time_ms,
            ephemeral_owner,
            ..StatPersisted::default()
        }
    }
}
