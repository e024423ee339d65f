//! What one server shows of the znodes that the clients have worked on.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use client::{Client, Stat};
use futures::stream::{self, StreamExt, TryStreamExt};

use crate::ensemble::PATIENCE;

/// Reads under way at once.
const READS: usize = 64;

/// Data and stat of each znode, by path.
pub(super) type Shown = BTreeMap<String, (Bytes, Stat)>;

/// All that `server` has below `root`, once it is as new as everything that was acknowledged.
///
/// A server that was cut off may notice only now, and leave its leader once more; then it is asked again.
pub(super) fn below(root: &str, server: SocketAddr) -> Result<Shown> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match runtime.block_on(read(root, server)) {
            Err(error) if error.is_transient() && Instant::now() < deadline => {}
            shown => return Ok(shown?),
        }
    }
}

async fn read(root: &str, server: SocketAddr) -> Result<Shown, client::Error> {
    let client = Client::connect(&server.to_string()).await?;
    client.sync(root).await?;
    let mut shown = Shown::new();
    let mut paths = vec![root.to_owned()];
    while !paths.is_empty() {
        let znodes: Vec<_> =
            stream::iter(paths).map(|path| read_one(&client, path)).buffered(READS).try_collect().await?;
        paths = Vec::new();
        for (path, data, stat, children) in znodes {
            paths.extend(children.into_iter().map(|name| format!("{path}/{name}")));
            shown.insert(path, (data, stat));
        }
    }
    client.close().await?;
    Ok(shown)
}

async fn read_one(
    client: &Client,
    path: String,
) -> Result<(String, Bytes, Stat, Vec<String>), client::Error> {
    let znode = client.get(&path).await?;
    let children = if znode.stat.num_children == 0 { Vec::new() } else { client.children(&path).await? };
    Ok((path, znode.data, znode.stat, children))
}

/// # Errors
/// Names the first znode that differs.
pub(super) fn ensure_equal(one: &Shown, other: &Shown) -> Result<()> {
    for (path, znode) in one {
        let Some(found) = other.get(path) else { bail!("{path} is missing") };
        ensure!(found == znode, "{path} is {found:?}, and {znode:?} there");
    }
    if let Some(path) = other.keys().find(|path| !one.contains_key(*path)) {
        bail!("{path} is missing there");
    }
    Ok(())
}
