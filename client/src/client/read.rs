//! The operations that change nothing.

use bytes::Bytes;
use jute::data::{Acl, Stat};
use jute::proto::{
    ExistsRequest, ExistsResponse, GetAclRequest, GetAclResponse, GetAllChildrenNumberRequest,
    GetAllChildrenNumberResponse, GetChildren2Request, GetChildren2Response, GetChildrenRequest,
    GetChildrenResponse, GetDataRequest, GetDataResponse, GetEphemeralsRequest, GetEphemeralsResponse,
    SyncRequest,
};
use jute::{ErrorCode, Op, Ustring};

use super::{CONFIG_PATH, Client, decode};
use crate::error::Result;
use crate::multi::MultiRead;
use crate::watch::WatchKind;
use crate::watcher::OneshotWatch;

/// A znode's data and stat.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Znode {
    /// The data; empty also when it is [null](Znode::is_null).
    pub data: Bytes,
    /// Versions, times, sizes.
    pub stat: Stat,
    /// There is no data, not even none.
    pub is_null: bool,
}

impl Znode {
    pub(crate) fn new(response: GetDataResponse) -> Self {
        let is_null = response.data.is_none();
        // A copy: a slice would hold on to all that was read along with it.
        let data = response.data.as_deref().map(Bytes::copy_from_slice).unwrap_or_default();
        Self { data, stat: response.stat, is_null }
    }
}

/// Reading.
impl Client {
    /// A znode's stat, if it exists.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn exists(&self, path: &str) -> Result<Option<Stat>> {
        let body = ExistsRequest { path: self.chroot.resolve(path)?, watch: false };
        found(self.ask(Op::Exists, path, &body, None).await)
    }

    /// The same, and a watch that fires when the znode comes into being, goes, or gets other data.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn exists_and_watch(&self, path: &str) -> Result<(Option<Stat>, OneshotWatch)> {
        let body = ExistsRequest { path: self.chroot.resolve(path)?, watch: true };
        // Should the znode not exist, the session knows what to make of it.
        let (effect, watch) = self.oneshot(body.path.clone(), WatchKind::Data);
        let stat = found(self.ask(Op::Exists, path, &body, Some(effect)).await)?;
        Ok((stat, watch))
    }

    /// A znode's data and stat.
    ///
    /// # Errors
    /// `NoNode`; see [`Error`](crate::Error).
    pub async fn get(&self, path: &str) -> Result<Znode> {
        let body = GetDataRequest { path: self.chroot.resolve(path)?, watch: false };
        let body = self.ask(Op::GetData, path, &body, None).await?;
        decode(Op::GetData, &body).map(Znode::new)
    }

    /// The same, and a watch that fires when the znode goes or gets other data.
    ///
    /// # Errors
    /// `NoNode`; see [`Error`](crate::Error).
    pub async fn get_and_watch(&self, path: &str) -> Result<(Znode, OneshotWatch)> {
        self.get_resolved(path, self.chroot.resolve(path)?).await
    }

    /// The names of a znode's children, in no order.
    ///
    /// # Errors
    /// `NoNode`; see [`Error`](crate::Error).
    pub async fn children(&self, path: &str) -> Result<Vec<String>> {
        let body = GetChildrenRequest { path: self.chroot.resolve(path)?, watch: false };
        let body = self.ask(Op::GetChildren, path, &body, None).await?;
        Ok(owned(decode::<GetChildrenResponse>(Op::GetChildren, &body)?.children))
    }

    /// The same, and the stat.
    ///
    /// # Errors
    /// `NoNode`; see [`Error`](crate::Error).
    pub async fn children_with_stat(&self, path: &str) -> Result<(Vec<String>, Stat)> {
        let body = GetChildren2Request { path: self.chroot.resolve(path)?, watch: false };
        let body = self.ask(Op::GetChildren2, path, &body, None).await?;
        let response = decode::<GetChildren2Response>(Op::GetChildren2, &body)?;
        Ok((owned(response.children), response.stat))
    }

    /// The same, and a watch that fires when a child comes or goes, or the znode itself goes.
    ///
    /// # Errors
    /// `NoNode`; see [`Error`](crate::Error).
    pub async fn children_and_watch(&self, path: &str) -> Result<(Vec<String>, Stat, OneshotWatch)> {
        let body = GetChildren2Request { path: self.chroot.resolve(path)?, watch: true };
        let (effect, watch) = self.oneshot(body.path.clone(), WatchKind::Children);
        let body = self.ask(Op::GetChildren2, path, &body, Some(effect)).await?;
        let response = decode::<GetChildren2Response>(Op::GetChildren2, &body)?;
        Ok((owned(response.children), response.stat, watch))
    }

    /// How many znodes are below this one, at all depths.
    ///
    /// # Errors
    /// `NoNode`; see [`Error`](crate::Error).
    pub async fn descendants(&self, path: &str) -> Result<usize> {
        let op = Op::GetAllChildrenNumber;
        let body = GetAllChildrenNumberRequest { path: self.chroot.resolve(path)? };
        let body = self.ask(op, path, &body, None).await?;
        let count = decode::<GetAllChildrenNumberResponse>(op, &body)?.total_number;
        Ok(usize::try_from(count).unwrap_or_default())
    }

    /// The paths of this session's ephemeral znodes that begin with `prefix`, at the end of which no path
    /// component need end.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn ephemerals(&self, prefix: &str) -> Result<Vec<String>> {
        let body = GetEphemeralsRequest { prefix_path: self.chroot.resolve(prefix)? };
        let body = self.ask(Op::GetEphemerals, prefix, &body, None).await?;
        let paths = decode::<GetEphemeralsResponse>(Op::GetEphemerals, &body)?.ephemerals;
        let inside = paths.iter().filter(|path| self.chroot.contains(path));
        Ok(inside.map(|path| self.chroot.strip(path).to_owned()).collect())
    }

    /// A znode's ACL and stat.
    ///
    /// # Errors
    /// `NoNode`; see [`Error`](crate::Error).
    pub async fn acl(&self, path: &str) -> Result<(Vec<Acl>, Stat)> {
        let body = GetAclRequest { path: self.chroot.resolve(path)? };
        let body = self.ask(Op::GetAcl, path, &body, None).await?;
        let response = decode::<GetAclResponse>(Op::GetAcl, &body)?;
        let acl = response.acl.iter().map(|acl| Acl::new(acl.perms, &acl.id.scheme, &acl.id.id));
        Ok((acl.collect(), response.stat))
    }

    /// Several reads in one request, each of which fails or succeeds by itself.
    pub fn multi_read(&self) -> MultiRead<'_> {
        MultiRead::new(self)
    }

    /// Lets the server that serves this session catch up with the leader: reads that follow see whatever had
    /// been written, by anyone, before.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn sync(&self, path: &str) -> Result<()> {
        let body = SyncRequest { path: self.chroot.resolve(path)? };
        self.ask(Op::Sync, path, &body, None).await.map(drop)
    }

    /// The ensemble's configuration, as it stands in `/zookeeper/config`, whatever the chroot.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn config(&self) -> Result<Znode> {
        let body = GetDataRequest { path: CONFIG_PATH.into(), watch: false };
        let body = self.ask(Op::GetData, CONFIG_PATH, &body, None).await?;
        decode(Op::GetData, &body).map(Znode::new)
    }

    /// The same, and a watch that fires when it changes.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn config_and_watch(&self) -> Result<(Znode, OneshotWatch)> {
        self.get_resolved(CONFIG_PATH, CONFIG_PATH.into()).await
    }

    async fn get_resolved(&self, path: &str, resolved: Ustring) -> Result<(Znode, OneshotWatch)> {
        let (effect, watch) = self.oneshot(resolved.clone(), WatchKind::Data);
        let body = GetDataRequest { path: resolved, watch: true };
        let body = self.ask(Op::GetData, path, &body, Some(effect)).await?;
        Ok((Znode::new(decode(Op::GetData, &body)?), watch))
    }
}

pub(crate) fn owned(names: Vec<Ustring>) -> Vec<String> {
    names.iter().map(Ustring::to_string).collect()
}

fn found(answer: Result<Bytes>) -> Result<Option<Stat>> {
    match answer {
        Ok(body) => Ok(Some(decode::<ExistsResponse>(Op::Exists, &body)?.stat)),
        Err(error) if error.code() == Some(ErrorCode::NoNode) => Ok(None),
        Err(error) => Err(error),
    }
}
