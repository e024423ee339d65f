//! Creates many znodes, a thousand to a parent.

use std::cell::RefCell;
use std::time::Instant;

use anyhow::ensure;
use bytes::Bytes;
use jute::CreateMode;

use crate::Target;
use crate::connection::Connection;
use crate::load::{Pipeline, Tally, open_root};
use crate::report::Report;
use crate::sessions::resident_bytes;
use crate::workload::Numbered;

const CHILDREN: u64 = 1000;

/// How many, how large.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Znodes to create, rounded up to whole thousands
    #[arg(long, short, default_value_t = 1_000_000)]
    count: u64,
    /// Bytes of data each holds
    #[arg(long, default_value_t = 100)]
    value_size: usize,
    /// Requests to keep on their way
    #[arg(long, short, default_value_t = 1000)]
    outstanding: usize,
    /// The server's process, on this machine: reports what a znode adds to its resident memory
    #[arg(long)]
    pid: Option<u32>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Report> {
    let rss_before = args.pid.map(resident_bytes).transpose()?;
    let mut connection = open_root(&args.target)?;
    let root =
        connection.create(&format!("{}/fill-", args.target.root), b"", CreateMode::PersistentSequential)?;
    let start = Instant::now();
    let created = create_all(connection, args, &root)?;
    let seconds = start.elapsed().as_secs_f64();
    let report = Report::default()
        .with("znodes", created)
        .with_number("seconds", seconds)
        .with_number("per_second", created as f64 / seconds);
    let (Some(pid), Some(before)) = (args.pid, rss_before) else {
        return Ok(report);
    };
    let after = resident_bytes(pid)?;
    let each = after.saturating_sub(before) as f64 / created as f64;
    Ok(report.with("rss_bytes", after).with_number("rss_bytes_per_znode", each))
}

/// On one connection, whose order puts every parent ahead of its children.
fn create_all(connection: Connection, args: &Args, root: &str) -> anyhow::Result<u64> {
    let value = Bytes::from(vec![b'x'; args.value_size]);
    let mut parents = Numbered::creates(root, &Bytes::new());
    let mut children = Numbered::creates(root, &value);
    let (mut parent, mut left_here, mut left) = (0, 0, args.count);
    let next = |out: &mut Vec<u8>| {
        if left_here > 0 {
            left_here -= 1;
            left = left.saturating_sub(1);
            children.append_next(out);
            return true;
        }
        if left == 0 {
            return false;
        }
        children = Numbered::creates(&format!("{root}/n{parent:010}"), &value);
        parent += 1;
        left_here = CHILDREN;
        parents.append_next(out);
        true
    };
    let tally = RefCell::new(Tally::unlimited());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        Pipeline::new(connection.into_stream())?.keep_outstanding(args.outstanding, next, &tally).await
    })?;
    let tally = tally.into_inner();
    ensure!(tally.errors().is_empty(), "creates were refused: {:?}", tally.errors());
    Ok(tally.answered_total())
}
