//! The operations that change something.

use bytes::Bytes;
use futures::future::join_all;
use jute::data::{Acl, AclList, Stat};
use jute::proto::{
    Create2Response, CreateRequest, CreateResponse, CreateTtlRequest, DeleteRequest, ReconfigRequest,
    SetAclRequest, SetAclResponse, SetDataRequest, SetDataResponse,
};
use jute::{ErrorCode, Op, Ustring};

use super::{CONFIG_PATH, Client, Znode, decode};
use crate::create::{CreateMode, CreateOptions, Data};
use crate::error::Result;
use crate::multi::Multi;
use crate::path::Chroot;
use crate::request::encode_frame;

/// How the ensemble is to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reconfig {
    /// Some servers come, some go.
    Incremental {
        /// Such as `server.4=host:2888:3888:participant;2181`.
        joining: Vec<String>,
        /// Ids.
        leaving: Vec<u64>,
    },
    /// These are all.
    Members(Vec<String>),
}

/// Writing.
impl Client {
    /// Creates a znode. Its path, which for sequential modes ends in a number, is the answer.
    ///
    /// # Errors
    /// `NodeExists`, `NoNode` without a parent, `NoChildrenForEphemerals`; see [`Error`](crate::Error).
    pub async fn create(
        &self,
        path: &str,
        data: impl Into<Data>,
        options: impl Into<CreateOptions>,
    ) -> Result<String> {
        let (op, body) = self.send_create(Op::Create, path, data.into(), &options.into()).await?;
        let created = match op {
            Op::Create => decode::<CreateResponse>(op, &body)?.path,
            _ => decode::<Create2Response>(op, &body)?.path,
        };
        Ok(self.chroot.strip(&created).to_owned())
    }

    /// Creates a znode, and tells its stat, too. Servers before 3.5 don't know it.
    ///
    /// # Errors
    /// As [`Client::create`].
    pub async fn create_with_stat(
        &self,
        path: &str,
        data: impl Into<Data>,
        options: impl Into<CreateOptions>,
    ) -> Result<(String, Stat)> {
        let (op, body) = self.send_create(Op::Create2, path, data.into(), &options.into()).await?;
        let created = decode::<Create2Response>(op, &body)?;
        Ok((self.chroot.strip(&created.path).to_owned(), created.stat))
    }

    /// Creates those of `path` and the znodes above it that are missing, the chroot's included, with no data and
    /// open to everyone: `create_all("/")` creates the chroot.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn create_all(&self, path: &str) -> Result<()> {
        let path = self.chroot.resolve(path)?;
        let service = Self { chroot: Chroot::default(), ..self.clone() };
        let ends = path.char_indices().skip(1).filter(|(_, character)| *character == '/');
        let ends = ends.map(|(at, _)| at).chain([path.len()]);
        let made = ends.map(|end| service.create(&path[..end], Data::default(), CreateMode::Persistent));
        let mut made = join_all(made).await;
        let there = |made: &Result<String>| {
            made.as_ref().err().is_none_or(|error| error.code() == Some(ErrorCode::NodeExists))
        };
        match made.pop() {
            // Further up there may be znodes in which this client must not create anything, and need not.
            Some(last) if there(&last) => Ok(()),
            Some(Err(last)) if last.code() == Some(ErrorCode::NoNode) => {
                made.into_iter().find(|made| !there(made)).unwrap_or(Err(last)).map(drop)
            }
            last => last.map_or(Ok(()), |last| last.map(drop)),
        }
    }

    /// Deletes `path` and all below it, as it stands when it is listed. It is not one transaction: others may see
    /// parts of it gone.
    ///
    /// # Errors
    /// `NotEmpty` when others create znodes there meanwhile; see [`Error`](crate::Error).
    pub async fn delete_all(&self, path: &str) -> Result<()> {
        let mut found = vec![path.to_owned()];
        let mut listed = 0;
        while listed < found.len() {
            let level = found.split_off(listed);
            let children = join_all(level.iter().map(|parent| self.children(parent))).await;
            listed += level.len();
            let mut below = Vec::new();
            for (parent, children) in level.iter().zip(children) {
                let parent = parent.trim_end_matches('/');
                let names = unless_gone(children, parent != path)?.unwrap_or_default();
                below.extend(names.iter().map(|name| format!("{parent}/{name}")));
            }
            found.extend(level);
            found.extend(below);
        }
        // Children stand behind their parents, and requests are carried out in order.
        let gone = join_all(found.iter().rev().map(|path| self.delete(path, None))).await;
        gone.into_iter().try_for_each(|gone| unless_gone(gone, found.len() > 1).map(drop))
    }

    /// Deletes a znode, of `version` if one is given.
    ///
    /// # Errors
    /// `NoNode`, `BadVersion`, `NotEmpty`; see [`Error`](crate::Error).
    pub async fn delete(&self, path: &str, version: impl Into<Option<i32>>) -> Result<()> {
        let body = DeleteRequest { path: self.chroot.resolve(path)?, version: any(version.into()) };
        self.ask(Op::Delete, path, &body, None).await.map(drop)
    }

    /// Sets a znode's data, if it has `version` and one is given.
    ///
    /// # Errors
    /// `NoNode`, `BadVersion`; see [`Error`](crate::Error).
    pub async fn set(
        &self,
        path: &str,
        data: impl Into<Data>,
        version: impl Into<Option<i32>>,
    ) -> Result<Stat> {
        let (path_, Data(data)) = (self.chroot.resolve(path)?, data.into());
        let body = SetDataRequest { path: path_, data, version: any(version.into()) };
        let body = self.ask(Op::SetData, path, &body, None).await?;
        Ok(decode::<SetDataResponse>(Op::SetData, &body)?.stat)
    }

    /// Sets a znode's ACL, if that has version [`Stat::aversion`] and one is given.
    ///
    /// # Errors
    /// `NoNode`, `BadVersion`, `InvalidAcl`; see [`Error`](crate::Error).
    pub async fn set_acl(&self, path: &str, acl: Vec<Acl>, aversion: impl Into<Option<i32>>) -> Result<Stat> {
        let body = SetAclRequest {
            path: self.chroot.resolve(path)?,
            acl: acl.into(),
            version: any(aversion.into()),
        };
        let body = self.ask(Op::SetAcl, path, &body, None).await?;
        Ok(decode::<SetAclResponse>(Op::SetAcl, &body)?.stat)
    }

    /// Several writes that all happen, in one transaction, or none.
    pub fn multi(&self) -> Multi<'_> {
        Multi::new(self)
    }

    /// Changes the ensemble, if its configuration has `version` (the mzxid of [`Client::config`]) and one is
    /// given. The answer is the new configuration.
    ///
    /// # Errors
    /// `ReconfigDisabled`, `NoAuth`, `NewConfigNoQuorum`, `ReconfigInProgress`; see [`Error`](crate::Error).
    pub async fn reconfigure(&self, change: &Reconfig, version: impl Into<Option<i64>>) -> Result<Znode> {
        let cur_config_id = version.into().unwrap_or(-1);
        let list = |items: &[String]| (!items.is_empty()).then(|| Ustring::from(items.join(",")));
        let body = match change {
            Reconfig::Incremental { joining, leaving } => {
                let leaving: Vec<_> = leaving.iter().map(u64::to_string).collect();
                ReconfigRequest {
                    joining_servers: list(joining),
                    leaving_servers: list(&leaving),
                    new_members: None,
                    cur_config_id,
                }
            }
            Reconfig::Members(members) => {
                ReconfigRequest { new_members: list(members), cur_config_id, ..ReconfigRequest::default() }
            }
        };
        let body = self.ask(Op::Reconfig, CONFIG_PATH, &body, None).await?;
        decode(Op::Reconfig, &body).map(Znode::new)
    }

    async fn send_create(
        &self,
        op: Op,
        path: &str,
        Data(data): Data,
        options: &CreateOptions,
    ) -> Result<(Op, Bytes)> {
        let (op, frame) = match encode_create(&self.chroot, op, path, data, options)? {
            Create::Plain(op, body) => (op, encode_frame(op, &body)),
            Create::Ttl(body) => (Op::CreateTtl, encode_frame(Op::CreateTtl, &body)),
        };
        Ok((op, self.submit(op, path, frame, None).await?))
    }
}

/// A request to create, in one of its two shapes.
pub(crate) enum Create {
    Plain(Op, CreateRequest),
    Ttl(CreateTtlRequest),
}

/// `op` is what a mode without an operation of its own is asked with.
pub(crate) fn encode_create(
    chroot: &Chroot,
    op: Op,
    path: &str,
    data: Option<Bytes>,
    options: &CreateOptions,
) -> Result<Create> {
    let mode = options.mode;
    let path = if mode.is_sequential() { chroot.resolve_sequential(path) } else { chroot.resolve(path) }?;
    let acl = options.acl.clone().map_or(AclList::OPEN_UNSAFE, AclList::from);
    let flags = mode.flags();
    Ok(match mode.ttl() {
        Some(ttl) => {
            let ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
            Create::Ttl(CreateTtlRequest { path, data, acl, flags, ttl_ms })
        }
        None => {
            let op = if mode == CreateMode::Container { Op::CreateContainer } else { op };
            Create::Plain(op, CreateRequest { path, data, acl, flags })
        }
    })
}

/// What `answer` says, or `None` if the znode is not there and that is `fine`.
fn unless_gone<T>(answer: Result<T>, fine: bool) -> Result<Option<T>> {
    match answer {
        Err(error) if fine && error.code() == Some(ErrorCode::NoNode) => Ok(None),
        answer => answer.map(Some),
    }
}

/// The version that matches any.
pub(crate) fn any(version: Option<i32>) -> i32 {
    version.unwrap_or(-1)
}
