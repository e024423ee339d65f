//! Changes to znodes that are there: deletions, data, ACLs, and checks of versions.

use std::sync::Arc;

use bytes::Bytes;
use jute::data::{StatPersisted, perms};
use jute::proto::{CheckVersionRequest, DeleteRequest, SetAclRequest, SetDataRequest};
use jute::txn::{CheckVersionTxn, DeleteTxn, SetAclTxn, SetDataTxn, TxnBody};
use jute::{ErrorCode, Ustring};

use super::{Prep, next_version, parent_of, validate};
use crate::pipeline::pending::{Foreseen, ForeseenData};
use crate::tree::{ZnodeKind, path};

impl Prep<'_> {
    /// Whoever may not delete below the parent does not learn whether the znode is there.
    pub(super) fn delete(&mut self, asked: DeleteRequest) -> Result<TxnBody, ErrorCode> {
        self.alive?;
        let parent_path = deletable(&asked.path)?;
        let parent = self.find(parent_path)?;
        self.check_acl(&parent, perms::DELETE)?;
        let znode = self.find(&asked.path)?;
        next_version(znode.stat.version, asked.version)?;
        if znode.child_count > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        let parent_path = asked.path.slice_ref(parent_path);
        Ok(self.remove(parent_path, parent, asked.path, &znode))
    }

    /// The service's own deletion of a container or TTL znode. It knows no ACL and no session.
    pub(crate) fn delete_container(&mut self, path: Ustring) -> Result<TxnBody, ErrorCode> {
        let parent_path = deletable(&path)?;
        let znode = self.find(&path)?;
        if znode.child_count > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        if self.is_ephemeral(&znode.stat) {
            return Err(ErrorCode::BadVersion);
        }
        let parent = self.find(parent_path)?;
        let parent_path = path.slice_ref(parent_path);
        Ok(self.remove(parent_path, parent, path, &znode))
    }

    fn remove(&mut self, parent_path: Ustring, parent: Foreseen, path: Ustring, znode: &Foreseen) -> TxnBody {
        self.lose_child(parent_path, parent);
        self.outlook.remove(path.clone(), znode);
        TxnBody::Delete(DeleteTxn { path })
    }

    pub(super) fn lose_child(&mut self, parent_path: Ustring, mut parent: Foreseen) {
        parent.child_count = parent.child_count.saturating_sub(1);
        parent.stat.pzxid = self.zxid;
        self.outlook.put(parent_path, parent);
    }

    pub(super) fn set_data(&mut self, asked: SetDataRequest) -> Result<TxnBody, ErrorCode> {
        self.alive?;
        validate(&asked.path)?;
        let mut znode = self.find(&asked.path)?;
        self.check_acl(&znode, perms::WRITE)?;
        self.check_room()?;
        if self.config.enforce_quota {
            let before = self.outlook.data_len(&asked.path, &znode);
            self.check_quota(&asked.path, 0, asked.data.as_ref().map_or(0, Bytes::len), before)?;
        }
        let version = next_version(znode.stat.version, asked.version)?;

        znode.stat.version = version;
        znode.stat.mzxid = self.zxid;
        znode.stat.mtime = self.time_ms;
        znode.data = ForeseenData::New(asked.data.clone());
        self.outlook.put(asked.path.clone(), znode);
        Ok(TxnBody::SetData(SetDataTxn { path: asked.path, data: asked.data, version }))
    }

    pub(super) fn set_acl(&mut self, asked: SetAclRequest) -> Result<TxnBody, ErrorCode> {
        self.alive?;
        validate(&asked.path)?;
        let acl = self.config.schemes.resolve(asked.acl, self.identities)?;
        let mut znode = self.find(&asked.path)?;
        self.check_acl(&znode, perms::ADMIN)?;
        self.check_room()?;
        let version = next_version(znode.stat.aversion, asked.version)?;

        znode.stat.aversion = version;
        znode.acl = Arc::from(&*acl);
        self.outlook.put(asked.path.clone(), znode);
        Ok(TxnBody::SetAcl(SetAclTxn { path: asked.path, acl, version }))
    }

    /// Inside a multi only.
    pub(super) fn check_version(&mut self, asked: CheckVersionRequest) -> Result<TxnBody, ErrorCode> {
        self.alive?;
        validate(&asked.path)?;
        let znode = self.find(&asked.path)?;
        self.check_acl(&znode, perms::READ)?;
        let version = next_version(znode.stat.version, asked.version)?;
        Ok(TxnBody::CheckVersion(CheckVersionTxn { path: asked.path, version }))
    }

    /// It goes with a session, and may have no children. Containers and TTL znodes are not meant.
    pub(super) fn is_ephemeral(&self, stat: &StatPersisted) -> bool {
        let kind = ZnodeKind::of_owner(stat.ephemeral_owner, self.outlook.tree().options());
        matches!(kind, ZnodeKind::Ephemeral(_))
    }
}

/// The parent of `path`, which may be deleted as far as its name goes.
fn deletable(path: &str) -> Result<&str, ErrorCode> {
    if path::is_special(path) {
        return Err(ErrorCode::BadArguments);
    }
    parent_of(path)
}
