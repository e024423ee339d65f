//! What txns do to the tree. `DataTree#processTxn`.
//!
//! A txn may meet a tree that is already ahead of it: a ZooKeeper snapshot is written while txns are applied,
//! and its log is replayed from the snapshot's beginning. So what is there already is not an accident, nor what
//! has gone already, and every change only ever moves a znode forward. A znode created by a later txn is another
//! one than the txn means, and is left alone; ZooKeeper, which does not look, can be left with old data in it
//! when the txns between do not delete it again.

use std::sync::Arc;

use bytes::Bytes;
use jute::data::{Acl, AclList, Stat};
use jute::txn::{MultiTxn, SetAclTxn, SetDataTxn, Txn, TxnBody, TxnHeader};
use jute::{ErrorCode, EventType, Ustring};

use super::path::parent_of;
use super::znode::{Node, ZnodeKind};
use super::{Tree, acl, to_data};
use crate::session::SessionId;
use crate::zab::Zxid;

/// Something that watches may wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What happened at `path`; when it came or went, its parent's children changed too.
    pub event: EventType,
    /// Where.
    pub path: Ustring,
    /// Of the txn.
    pub zxid: Zxid,
    /// Who may learn of it: the ACL of the znode, the one it had when it was deleted. `None` is everyone.
    pub acl: Option<Arc<[Acl]>>,
    /// The parent's ACL, for those who watch its children. `None` is everyone.
    pub parent_acl: Option<Arc<[Acl]>>,
}

/// What came of a txn, as far as its reply tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// A znode of any kind was created.
    Created {
        /// With its number, if it is sequential.
        path: Ustring,
        /// As it is now.
        stat: Stat,
    },
    /// A znode was deleted.
    Deleted,
    /// Data was set.
    SetData(Stat),
    /// An ACL was set.
    SetAcl(Stat),
    /// A part of a multi: a version was what it should be.
    Checked,
    /// The configuration was set.
    Reconfigured {
        /// Its text.
        data: Option<Bytes>,
        /// Of the znode that holds it.
        stat: Stat,
    },
    /// The parts of a multi, in the txn's order. If one is an [`Applied::Error`], all are, and nothing changed:
    /// those before the one that failed have code 0, those after it [`ErrorCode::RuntimeInconsistency`].
    Multi(Vec<Applied>),
    /// A session was opened.
    SessionOpened,
    /// A session, and its ephemeral znodes, are no more.
    SessionClosed,
    /// A refusal, with its code; or a txn that found the tree not as it should be, which only a replay may.
    Error(i32),
}

/// Where changes go; `None` while nobody watches.
type Changes<'a> = Option<&'a mut Vec<Change>>;

/// A znode to be.
struct Creation<'a> {
    path: &'a Ustring,
    data: Option<&'a Bytes>,
    acl: &'a AclList,
    kind: ZnodeKind,
    parent_cversion: i32,
}

impl Tree {
    /// Applies the txn, and appends to `changes` what watches may wait for, in the order in which they are told.
    pub fn apply(&mut self, txn: &Txn, changes: &mut Vec<Change>) -> Applied {
        self.apply_txn(txn, Some(changes))
    }

    /// Applies the txn where nobody watches.
    pub fn replay(&mut self, txn: &Txn) -> Applied {
        self.apply_txn(txn, None)
    }

    fn apply_txn(&mut self, txn: &Txn, changes: Changes<'_>) -> Applied {
        let applied = self.apply_body(&txn.header, &txn.body, changes);
        // Once the whole multi is in: a cut is of whole txns.
        self.last_zxid = self.last_zxid.max(Zxid(txn.header.zxid));
        self.history.note(Zxid(txn.header.zxid), self.digest);
        applied
    }

    fn apply_body(&mut self, header: &TxnHeader, body: &TxnBody, changes: Changes<'_>) -> Applied {
        let result = match body {
            TxnBody::Create(_) | TxnBody::CreateTtl(_) | TxnBody::CreateContainer(_) => {
                let creation = Creation::of(header, body).expect("it is one of those that create");
                self.create(header, &creation, changes)
            }
            TxnBody::Delete(txn) => self.delete(header, &txn.path, changes).map(|()| Applied::Deleted),
            TxnBody::SetData(txn) => self.set_data(header, txn, changes).map(Applied::SetData),
            TxnBody::Reconfig(txn) => {
                let stat = self.set_data(header, txn, changes);
                stat.map(|stat| Applied::Reconfigured { data: txn.data.clone(), stat })
            }
            TxnBody::SetAcl(txn) => self.set_acl(header, txn).map(Applied::SetAcl),
            TxnBody::CheckVersion(_) => Ok(Applied::Checked),
            TxnBody::Multi(txn) => Ok(self.multi(header, txn, changes)),
            TxnBody::CreateSession(txn) => {
                self.sessions.insert(SessionId(header.client_id), txn.timeout_ms);
                Ok(Applied::SessionOpened)
            }
            TxnBody::CloseSession(txn) => {
                let listed = txn.as_ref().map_or(&[][..], |txn| &txn.paths_to_delete);
                self.close_session(header, listed, changes);
                Ok(Applied::SessionClosed)
            }
            TxnBody::Error(txn) => Ok(Applied::Error(txn.err)),
        };
        result.unwrap_or_else(|error| Applied::Error(error.code()))
    }

    fn create(
        &mut self,
        header: &TxnHeader,
        creation: &Creation<'_>,
        changes: Changes<'_>,
    ) -> Result<Applied, ErrorCode> {
        let path = creation.path;
        let parent_path = parent_of(path).ok_or(ErrorCode::NoNode)?;
        let parent = self.find_as_of(header.zxid, parent_path).ok_or(ErrorCode::NoNode)?;
        self.raise_cversion(parent, parent_path, creation.parent_cversion, header.zxid);

        let acl = self.acls.acquire(creation.acl);
        let world_readable = acl::is_world_readable(creation.acl);
        let mut node = Node {
            data: to_data(creation.data.map(|data| &data[..])),
            czxid: header.zxid,
            mzxid: header.zxid,
            ctime: header.time_ms,
            mtime: header.time_ms,
            owner: creation.kind.to_owner(),
            ..Node::default()
        };
        node.set_acl(acl, world_readable);
        // Of the data that came, which is at hand. Of the copy, memory may not be there yet.
        let digest = self.digest_with(&node, path, creation.data.map(|data| &data[..]));
        let id = match self.attach(path, parent, node) {
            Ok(id) => id,
            Err(there) => {
                self.acls.release(acl);
                self.restore_acl(there, header.zxid, creation.acl);
                return Err(ErrorCode::NodeExists);
            }
        };
        self.count(id, digest);
        self.mark_dirty(id);
        self.quota_created(path, creation.data.map_or(0, Bytes::len));
        self.tell(changes, EventType::NodeCreated, path, header.zxid, id, Some(parent));
        Ok(Applied::Created { path: path.clone(), stat: self.znode(id).stat() })
    }

    /// The znode at `path`, unless it came after `zxid`: then it is not the one a txn of that zxid means.
    fn find_as_of(&self, zxid: i64, path: &str) -> Option<u32> {
        self.find_id(path).filter(|&id| self.nodes[id].czxid <= zxid)
    }

    /// The znode a replayed create finds has the ACL of a later txn, if any has set it: that comes again.
    fn restore_acl(&mut self, id: u32, zxid: i64, acl: &AclList) {
        if self.nodes[id].czxid > zxid {
            return;
        }
        let old = self.nodes[id].acl();
        let new = self.acls.acquire(acl);
        self.nodes[id].set_acl(new, acl::is_world_readable(acl));
        self.acls.release(old);
        self.mark_dirty(id);
    }

    /// A parent's `cversion` and `pzxid` go on together, and never back: the tree may be ahead of the txn.
    fn raise_cversion(&mut self, parent: u32, path: &str, cversion: i32, zxid: i64) {
        let now = self.nodes[parent].cversion();
        let cversion = if cversion == -1 { now.wrapping_add(1) } else { cversion };
        if cversion > now {
            self.change(parent, path, |parent| {
                let family = parent.family();
                family.cversion = cversion;
                family.pzxid = zxid;
            });
        }
    }

    fn delete(&mut self, header: &TxnHeader, path: &Ustring, changes: Changes<'_>) -> Result<(), ErrorCode> {
        let parent_path = parent_of(path).ok_or(ErrorCode::NoNode)?;
        let parent = self.find_id(parent_path).ok_or(ErrorCode::NoNode)?;
        // Even if the child has gone: its end may be in what was loaded without its parent having noticed.
        if header.zxid > self.nodes[parent].pzxid() {
            self.change(parent, parent_path, |parent| parent.family().pzxid = header.zxid);
        }
        let id = self.find_as_of(header.zxid, path).ok_or(ErrorCode::NoNode)?;
        self.delete_children(id);
        self.tell(changes, EventType::NodeDeleted, path, header.zxid, id, Some(parent));
        self.remove(id, path);
        Ok(())
    }

    /// What a leader lets a txn delete has no children. Should it have some here, they go along: nothing may
    /// stay that has no parent.
    fn delete_children(&mut self, id: u32) {
        let mut open = vec![id];
        if self.nodes[id].children().is_empty() {
            return;
        }
        while let Some(&last) = open.last() {
            if let Some(&child) = self.nodes[last].children().last() {
                open.push(child);
                continue;
            }
            open.pop();
            if last != id {
                let path = self.path_of(last);
                self.remove(last, &path);
            }
        }
    }

    /// Takes out a childless znode, with all that is counted of it.
    fn remove(&mut self, id: u32, path: &str) {
        let node = self.detach(id, path);
        self.acls.release(node.acl());
        self.quota_deleted(path, node.data_len());
    }

    fn set_data(
        &mut self,
        header: &TxnHeader,
        txn: &SetDataTxn,
        changes: Changes<'_>,
    ) -> Result<Stat, ErrorCode> {
        let id = self.find_as_of(header.zxid, &txn.path).ok_or(ErrorCode::NoNode)?;
        let old_len = self.nodes[id].data_len() as u64;
        let new_len = txn.data.as_ref().map_or(0, Bytes::len) as u64;
        self.change(id, &txn.path, |node| {
            node.data = to_data(txn.data.as_deref());
            node.mzxid = header.zxid;
            node.mtime = header.time_ms;
            node.version = txn.version;
        });
        self.data_size = self.data_size - old_len + new_len;
        self.quota_used(&txn.path, 0, new_len.cast_signed() - old_len.cast_signed());
        self.tell(changes, EventType::NodeDataChanged, &txn.path, header.zxid, id, None);
        Ok(self.znode(id).stat())
    }

    /// Sets data as no txn does: without version, time or digest.
    pub(super) fn replace_data_quietly(&mut self, path: &str, data: super::Data) {
        let Some(id) = self.find_id(path) else {
            return;
        };
        debug_assert!(!super::digest::is_counted(path), "{path} is part of the digest");
        let old_len = self.nodes[id].data_len() as u64;
        self.nodes[id].data = data;
        self.data_size = self.data_size - old_len + self.nodes[id].data_len() as u64;
        self.mark_dirty(id);
    }

    fn set_acl(&mut self, header: &TxnHeader, txn: &SetAclTxn) -> Result<Stat, ErrorCode> {
        let id = self.find_as_of(header.zxid, &txn.path).ok_or(ErrorCode::NoNode)?;
        let old = self.nodes[id].acl();
        let new = self.acls.acquire(&txn.acl);
        self.change(id, &txn.path, |node| {
            node.aversion = txn.version;
            node.set_acl(new, acl::is_world_readable(&txn.acl));
        });
        self.acls.release(old);
        Ok(self.znode(id).stat())
    }

    fn multi(&mut self, header: &TxnHeader, txn: &MultiTxn, mut changes: Changes<'_>) -> Applied {
        let parts: Result<Vec<TxnBody>, _> = txn.txns.iter().map(jute::txn::SubTxn::body).collect();
        let Ok(parts) = parts else {
            return Applied::Error(ErrorCode::MarshallingError.code());
        };
        if let Some(failed) = parts.iter().position(|part| matches!(part, TxnBody::Error(_))) {
            return Applied::Multi(refusals(&parts, failed));
        }
        let apply = |part| self.apply_body(header, part, changes.as_deref_mut());
        Applied::Multi(parts.iter().map(apply).collect())
    }

    /// Deletes what the txn lists, then what the session owns besides: all of it, if the txn lists nothing.
    fn close_session(&mut self, header: &TxnHeader, listed: &[Ustring], mut changes: Changes<'_>) {
        let session = SessionId(header.client_id);
        self.sessions.remove(&session);
        for path in listed {
            // It may have gone already.
            let _ = self.delete(header, path, changes.as_deref_mut());
        }
        let left: Vec<String> = self.ephemerals_of(session).collect();
        for path in left {
            let _ = self.delete(header, &path.into(), changes.as_deref_mut());
        }
    }

    /// Deletes the ephemeral znodes of sessions that there are no more, as of the last zxid. A ZooKeeper
    /// snapshot may hold such; a server drops them before it serves.
    pub fn delete_orphaned_ephemerals(&mut self) -> usize {
        let before = self.ephemeral_count();
        let gone: Vec<SessionId> =
            self.ephemeral_owners().filter(|owner| !self.sessions.contains_key(owner)).collect();
        for session in gone {
            let header = TxnHeader { client_id: session.0, zxid: self.last_zxid.0, ..TxnHeader::default() };
            self.close_session(&header, &[], None);
        }
        before - self.ephemeral_count()
    }

    fn tell(
        &self,
        changes: Changes<'_>,
        event: EventType,
        path: &Ustring,
        zxid: i64,
        id: u32,
        parent: Option<u32>,
    ) {
        let Some(changes) = changes else {
            return;
        };
        let restricted = |id: u32| {
            let node = &self.nodes[id];
            (!node.is_world_readable()).then(|| Arc::clone(self.acls.get(node.acl())))
        };
        changes.push(Change {
            event,
            path: path.clone(),
            zxid: Zxid(zxid),
            acl: restricted(id),
            parent_acl: parent.and_then(restricted),
        });
    }
}

impl<'a> Creation<'a> {
    fn of(header: &TxnHeader, body: &'a TxnBody) -> Option<Self> {
        let (path, data, acl, kind, parent_cversion) = match body {
            TxnBody::Create(txn) => {
                let owner = if txn.ephemeral { header.client_id } else { 0 };
                let kind =
                    if owner == 0 { ZnodeKind::Persistent } else { ZnodeKind::Ephemeral(SessionId(owner)) };
                (&txn.path, &txn.data, &txn.acl, kind, txn.parent_cversion)
            }
            TxnBody::CreateTtl(txn) => {
                (&txn.path, &txn.data, &txn.acl, ZnodeKind::Ttl(txn.ttl_ms), txn.parent_cversion)
            }
            TxnBody::CreateContainer(txn) => {
                (&txn.path, &txn.data, &txn.acl, ZnodeKind::Container, txn.parent_cversion)
            }
            _ => return None,
        };
        Some(Self { path, data: data.as_ref(), acl, kind, parent_cversion })
    }
}

/// What came of the parts of a multi of which one was refused.
fn refusals(parts: &[TxnBody], failed: usize) -> Vec<Applied> {
    let code = |(index, part): (usize, &TxnBody)| match part {
        TxnBody::Error(txn) => txn.err,
        _ if index < failed => 0,
        _ => ErrorCode::RuntimeInconsistency.code(),
    };
    parts.iter().enumerate().map(code).map(Applied::Error).collect()
}
