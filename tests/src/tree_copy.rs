//! Everything a server shows of its tree, so that two servers' can be compared.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use client::{Acl, Client, Stat};

use crate::service::four_letter_word;

/// What clients can see of a znode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZnodeCopy {
    /// Null looks like empty.
    pub data: Vec<u8>,
    /// All of it.
    pub stat: Stat,
    /// All of it: the copy is made by the super user.
    pub acl: Vec<Acl>,
}

/// Every znode, by path.
pub type TreeCopy = BTreeMap<String, ZnodeCopy>;

/// Reads the whole tree, as the super user of our test configurations.
///
/// # Errors
/// When the server is gone, or the tree changes meanwhile.
pub async fn read(servers: &str) -> Result<TreeCopy> {
    let client = Client::builder().credentials("digest", "super:secret").connect(servers).await?;
    let mut tree = TreeCopy::new();
    let mut paths = vec!["/".to_owned()];
    while let Some(path) = paths.pop() {
        let znode = client.get(&path).await.with_context(|| format!("reading {path}"))?;
        let (acl, _) = client.acl(&path).await?;
        let prefix = path.trim_end_matches('/');
        paths.extend(client.children(&path).await?.into_iter().map(|name| format!("{prefix}/{name}")));
        tree.insert(path, ZnodeCopy { data: znode.data.to_vec(), stat: znode.stat, acl });
    }
    client.close().await?;
    Ok(tree)
}

/// # Errors
/// When they differ; it says where first.
pub fn ensure_equal(before: &TreeCopy, after: &TreeCopy) -> Result<()> {
    for (path, znode) in before {
        let Some(found) = after.get(path) else { bail!("{path} is gone; it was {znode:?}") };
        ensure!(found == znode, "{path} was\n{znode:?} and is\n{found:?}");
    }
    if let Some(path) = after.keys().find(|path| !before.contains_key(*path)) {
        bail!("{path} was not there, and is {:?}", after[path]);
    }
    Ok(())
}

/// A number out of `mntr`.
///
/// # Errors
/// When it is not there.
pub fn monitored(server: SocketAddr, name: &str) -> Result<i64> {
    let answer = four_letter_word(server, "mntr")?;
    let value = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('\t'));
    Ok(value.with_context(|| format!("no {name}: {answer}"))?.trim().parse::<f64>()? as i64)
}
