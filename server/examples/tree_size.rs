//! Prints what a million znodes and watches weigh, and how long a tree takes to load, cut and change. Figures
//! are of this machine, with nothing else running; the budget is 250 bytes a znode, 64 a watch.
//!
//! `cargo run --release -p server --example tree_size [what [znodes]]`

use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use jute::data::{Acl, AclList, StatPersisted};
use jute::txn::{CreateTxn, SetDataTxn, Txn, TxnBody, TxnHeader};
use server::session::ConnectionId;
use server::tree::path::parent_of;
use server::tree::{Tree, TreeLoader, TreeOptions, ZnodeRecord, to_data};
use server::watch::{WatchKind, Watches};
use server::zab::Zxid;

const VALUE: [u8; 100] = [b'x'; 100];
const PAGE: usize = 4096;
const CHILDREN_PER_PARENT: usize = 1000;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(what) = arguments.first() else {
        // Each in a process of its own: what one has freed is not the next one's.
        for what in ["load", "create", "watch-paths", "watch-connections"] {
            Command::new(std::env::current_exe()?).arg(what).status()?;
        }
        return Ok(());
    };
    let znodes: usize = arguments.get(1).map_or(Ok(1_000_000), |count| count.parse())?;
    let paths: Vec<String> = (0..znodes).map(path).collect();
    match what.as_str() {
        "load" => measure_load(&paths),
        "create" => measure_create(&paths),
        "watch-paths" => measure_watched_paths(&paths),
        "watch-connections" => measure_watching_connections(&paths),
        _ => bail!("cannot measure {what}"),
    }
}

fn measure_load(paths: &[String]) -> Result<()> {
    let before = resident_bytes()?;
    let mut tree = timed("load", paths.len(), || loaded(paths));
    report("a znode that was loaded", before, paths.len())?;
    timed("find each", paths.len(), || assert!(paths.iter().all(|path| tree.find(path).is_some())));
    timed("recompute the digest", paths.len(), || tree.recompute_digest());
    timed("set each", paths.len(), || set_all(&mut tree, paths));
    timed("cut of what was set", paths.len(), || drop(tree.take_cut()));
    Ok(())
}

fn measure_create(paths: &[String]) -> Result<()> {
    let before = resident_bytes()?;
    let mut tree = timed("create each by a txn", paths.len(), || created(paths));
    report("a znode that was created, and is in no cut yet", before, paths.len())?;
    timed("cut of the whole tree", paths.len(), || drop(tree.take_whole_cut()));
    Ok(())
}

fn measure_watched_paths(paths: &[String]) -> Result<()> {
    let before = resident_bytes()?;
    let mut watches = Watches::default();
    timed("watch every znode on one connection", paths.len(), || {
        assert!(paths.iter().all(|path| watches.add(connection(0), path, WatchKind::Data)));
    });
    report("a data watch, one connection", before, paths.len())?;
    let (mut changes, mut out) = (Vec::new(), Vec::new());
    created(paths).apply(&set(&paths[0]), &mut changes);
    timed("fire one of them", 1, || watches.fire(&changes[0], &mut out));
    timed("drop the connection", paths.len(), || watches.drop_connection(connection(0)));
    Ok(())
}

fn measure_watching_connections(paths: &[String]) -> Result<()> {
    let connections = paths.len() / 10;
    let before = resident_bytes()?;
    let mut watches = Watches::default();
    timed("watch one znode on so many connections", connections, || {
        assert!((0..connections).all(|n| watches.add(connection(n), &paths[0], WatchKind::Data)));
    });
    report("a data watch, one znode", before, connections)?;
    let (mut changes, mut out) = (Vec::new(), Vec::new());
    created(&paths[..1]).apply(&set(&paths[0]), &mut changes);
    timed("fire all of them", connections, || watches.fire(&changes[0], &mut out));
    Ok(())
}

fn loaded(paths: &[String]) -> Tree {
    let acl: Arc<[Acl]> = Acl::open_unsafe().into();
    let record =
        || ZnodeRecord { data: to_data(Some(&VALUE)), acl: acl.clone(), stat: StatPersisted::default() };
    let mut loader = TreeLoader::new(TreeOptions::default());
    loader.reserve(paths.len());
    for siblings in paths.chunks(CHILDREN_PER_PARENT) {
        let parent = parent_of(&siblings[0]).expect("it has a parent");
        loader.znode(parent, record()).expect("its parent is the root");
        for path in siblings {
            loader.znode(path, record()).expect("its parent was there before");
        }
    }
    loader.finish(Zxid(1), Some(0))
}

fn created(paths: &[String]) -> Tree {
    let mut tree = Tree::new(TreeOptions::default());
    for siblings in paths.chunks(CHILDREN_PER_PARENT) {
        tree.replay(&create(parent_of(&siblings[0]).expect("it has a parent")));
        for path in siblings {
            tree.replay(&create(path));
        }
    }
    tree
}

fn set_all(tree: &mut Tree, paths: &[String]) {
    for path in paths {
        tree.replay(&set(path));
    }
}

fn create(path: &str) -> Txn {
    let (path, data, acl) = (path.into(), Some(Bytes::from_static(&VALUE)), AclList::OPEN_UNSAFE);
    txn(TxnBody::Create(CreateTxn { path, data, acl, ephemeral: false, parent_cversion: -1 }))
}

fn set(path: &str) -> Txn {
    txn(TxnBody::SetData(SetDataTxn {
        path: path.into(),
        data: Some(Bytes::from_static(&VALUE)),
        version: 1,
    }))
}

fn txn(body: TxnBody) -> Txn {
    Txn { header: TxnHeader { zxid: 1, ..TxnHeader::default() }, body, digest: None }
}

fn path(n: usize) -> String {
    format!("/parent-{:05}/znode-{n:07}", n / CHILDREN_PER_PARENT)
}

fn connection(n: usize) -> ConnectionId {
    ConnectionId { shard: 0, slot: u32::try_from(n).expect("few connections"), generation: 0 }
}

#[allow(clippy::cast_precision_loss, clippy::disallowed_methods)] // A measurement.
fn timed<T>(what: &str, count: usize, work: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let result = work();
    let taken = begin.elapsed().as_nanos() as f64;
    println!("{:>9.2} ms {what}, {:.0} ns each", taken / 1e6, taken / count as f64);
    result
}

fn report(what: &str, before: usize, count: usize) -> Result<()> {
    println!("{:>9} B {what}", resident_bytes()?.saturating_sub(before) / count);
    Ok(())
}

fn resident_bytes() -> Result<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: usize = statm.split(' ').nth(1).context("statm has a second field")?.parse()?;
    Ok(pages * PAGE)
}
