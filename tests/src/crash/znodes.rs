//! What a writer knows of its znodes, and what they may have become while it was not told.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use client::{Acl, Client, CreateMode, MultiResult, Stat};

/// How a znode, or two of them, is made and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Sequential,
    Ephemeral,
    /// Two znodes that only multis write, both or neither.
    Pair,
}

/// All that clients see of a znode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) data: Bytes,
    pub(super) acl: Vec<Acl>,
    pub(super) stat: Stat,
}

/// A write to all znodes of a [`Group`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Write {
    Create(Bytes),
    Set(Bytes),
    SetAcl(Vec<Acl>),
    Delete,
}

/// What the server answered to a [`Write`].
#[derive(Debug)]
pub(super) struct Written {
    paths: Vec<String>,
    stats: Vec<Stat>,
}

/// Znodes that are written together: one, or a pair.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) kind: Kind,
    /// While a sequential znode is being created, its name without the number.
    pub(super) paths: Vec<String>,
    /// As of the last acknowledgement; empty while they are not there.
    there: Vec<Found>,
    /// Under way. Of one znode there is at most one.
    pub(super) doubt: Option<Write>,
}

impl Group {
    /// Of znodes that are nobody else's, for their names begin with `name`.
    pub(super) fn new(kind: Kind, name: &str) -> Self {
        let paths = match kind {
            Kind::Plain => vec![format!("/crash/plain/{name}")],
            Kind::Sequential => vec![format!("/crash/sequential/{name}-")],
            Kind::Ephemeral => vec![format!("/crash/ephemeral/{name}")],
            Kind::Pair => vec![format!("/crash/pairs/{name}-left"), format!("/crash/pairs/{name}-right")],
        };
        Self { kind, paths, there: Vec::new(), doubt: None }
    }

    pub(super) fn is_there(&self) -> bool {
        !self.there.is_empty()
    }

    /// Takes over what the server acknowledged; gives the txn's zxid if the answer named it.
    pub(super) fn acknowledge(&mut self, written: Written) -> Result<Option<i64>> {
        let write = self.doubt.take().context("only a write under way is acknowledged")?;
        self.paths = written.paths;
        let there = std::mem::take(&mut self.there);
        if write == Write::Delete {
            return Ok(None);
        }
        let mut before = there.into_iter();
        for stat in written.stats {
            let now = Found::after(&write, before.next(), stat);
            self.there.push(now);
        }
        let zxids: Vec<_> = self.there.iter().map(|znode| znode.stat.mzxid).collect();
        ensure!(zxids.iter().all(|zxid| *zxid == zxids[0]), "one multi, several zxids: {zxids:x?}");
        Ok((!matches!(write, Write::SetAcl(_))).then_some(zxids[0]))
    }

    /// Takes its znodes out of `found`: they must be as the server said, but for the write in doubt.
    pub(super) fn check(&mut self, found: &mut BTreeMap<String, Found>) -> Result<()> {
        if self.kind == Kind::Sequential && self.doubt.as_ref().is_some_and(|write| write.creates()) {
            let numbered = found.range(self.paths[0].clone()..).next().map(|(path, _)| path.clone());
            self.paths.extend(numbered.filter(|path| path.starts_with(&self.paths[0])));
            self.paths.drain(..self.paths.len() - 1);
        }
        let now: Vec<_> = self.paths.iter().filter_map(|path| found.remove(path)).collect();
        if !now.is_empty() && now.len() < self.paths.len() {
            bail!("half of {:?} is there: {now:?}", self.paths);
        }
        match self.doubt.take() {
            _ if now == self.there => {}
            None if now.is_empty() => bail!("{:?} is lost; it was {:?}", self.paths, self.there),
            None => bail!("{:?} was {:?} and is {now:?}", self.paths, self.there),
            Some(write) => {
                ensure!(
                    write.explains(&self.there, &now),
                    "{:?} was {:?} and is {now:?}, which {write:?} does not explain",
                    self.paths,
                    self.there
                );
                self.there = now;
            }
        }
        Ok(())
    }

    /// Asks for the write in doubt.
    pub(super) fn send(&self, client: Client) -> impl Future<Output = client::Result<Written>> + use<> {
        let (kind, paths, write) = (self.kind, self.paths.clone(), self.doubt.clone());
        async move {
            match (write, &paths[..]) {
                (Some(write), [path]) => write.send(&client, kind, path).await,
                (Some(write), _) => write.send_multi(&client, paths).await,
                (None, _) => Ok(Written { paths, stats: Vec::new() }),
            }
        }
    }
}

impl Found {
    /// The znode as `write` must have left it, given the answer's stat.
    fn after(write: &Write, before: Option<Self>, stat: Stat) -> Self {
        let (data, acl) =
            before.map_or((Bytes::new(), Acl::open_unsafe()), |before| (before.data, before.acl));
        match write {
            Write::Create(data) | Write::Set(data) => Self { data: data.clone(), acl, stat },
            Write::SetAcl(acl) => Self { data, acl: acl.clone(), stat },
            Write::Delete => Self { data, acl, stat },
        }
    }
}

impl Write {
    /// As reports call it.
    pub(super) fn name(&self, kind: Kind) -> &'static str {
        match (self, kind) {
            (Self::Create(_), Kind::Plain) => "create",
            (Self::Create(_), Kind::Sequential) => "create sequential",
            (Self::Create(_), Kind::Ephemeral) => "create ephemeral",
            (_, Kind::Pair) => "multi",
            (Self::Set(_), _) => "set",
            (Self::SetAcl(_), _) => "setACL",
            (Self::Delete, _) => "delete",
        }
    }

    fn creates(&self) -> bool {
        matches!(self, Self::Create(_))
    }

    /// It can have made `after` of `before`, all at once.
    fn explains(&self, before: &[Found], after: &[Found]) -> bool {
        let at_once = after.windows(2).all(|pair| pair[0].stat.mzxid == pair[1].stat.mzxid);
        let made_of = |(after, before): (&Found, &Found)| {
            let (is, was) = (after.stat, before.stat);
            match self {
                Self::Create(_) | Self::Delete => false,
                Self::Set(data) => {
                    let stat = Stat {
                        mzxid: is.mzxid,
                        mtime: is.mtime,
                        version: was.version + 1,
                        data_length: is.data_length,
                        ..was
                    };
                    is.mzxid > was.mzxid && is == stat && after.data == *data && after.acl == before.acl
                }
                Self::SetAcl(acl) => {
                    is == Stat { aversion: was.aversion + 1, ..was }
                        && after.data == before.data
                        && after.acl == *acl
                }
            }
        };
        at_once
            && match self {
                Self::Create(data) => before.is_empty() && after.iter().all(|znode| znode.data == *data),
                Self::Delete => after.is_empty(),
                _ => before.len() == after.len() && after.iter().zip(before).all(made_of),
            }
    }

    async fn send(self, client: &Client, kind: Kind, path: &str) -> client::Result<Written> {
        let mut written = Written { paths: vec![path.to_owned()], stats: Vec::new() };
        match self {
            Self::Create(data) => {
                let mode = match kind {
                    Kind::Sequential => CreateMode::PersistentSequential,
                    Kind::Ephemeral => CreateMode::Ephemeral,
                    Kind::Plain | Kind::Pair => CreateMode::Persistent,
                };
                let (path, stat) = client.create_with_stat(path, data, mode).await?;
                written = Written { paths: vec![path], stats: vec![stat] };
            }
            Self::Set(data) => written.stats.push(client.set(path, data, None).await?),
            Self::SetAcl(acl) => written.stats.push(client.set_acl(path, acl, None).await?),
            Self::Delete => client.delete(path, None).await?,
        }
        Ok(written)
    }

    async fn send_multi(self, client: &Client, paths: Vec<String>) -> client::Result<Written> {
        let mut multi = client.multi();
        for path in &paths {
            multi = match &self {
                Self::Create(data) => multi.create(path, data.clone(), CreateMode::Persistent),
                Self::Set(data) => multi.set(path, data.clone(), None),
                Self::SetAcl(_) => multi.check(path, None),
                Self::Delete => multi.delete(path, None),
            };
        }
        let mut stats = Vec::new();
        for part in multi.commit().await? {
            match part {
                MultiResult::Created { stat: Some(stat), .. } | MultiResult::Set(stat) => stats.push(stat),
                // A server before 3.9 does not tell. Nobody else writes the znode meanwhile.
                MultiResult::Created { path, .. } => {
                    stats.push(client.exists(&path).await?.unwrap_or_default());
                }
                MultiResult::Deleted | MultiResult::Checked => {}
            }
        }
        Ok(Written { stats, paths })
    }
}
