//! Many watchers of one znode: how long after a change each of them knows, and whether the writer waits for them.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use hdrhistogram::Histogram;
use jute::proto::{GetDataRequest, SetDataRequest, xid};
use jute::{CreateMode, Op};

use crate::Target;
use crate::connection::Connection;
use crate::load::open_root;
use crate::report::{Report, nanos_histogram};

/// How many watch, how often something changes.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Connections that watch the znode
    #[arg(long, short, default_value = "1000")]
    watchers: NonZeroUsize,
    /// Changes to it, all watches being set anew before each
    #[arg(long, default_value = "30")]
    rounds: NonZeroUsize,
}

struct Measured {
    /// From the change to every single notification.
    each: Histogram<u64>,
    /// From the change to the last notification.
    last: Histogram<u64>,
    /// From the change to its reply.
    reply: Histogram<u64>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Report> {
    let path = format!("{}/watched", args.target.root);
    let mut writer = open_root(&args.target)?;
    writer.create(&path, b"0", CreateMode::Persistent)?;
    let mut watchers = Connection::open_many(&args.target, args.watchers.get())?;
    let mut measured =
        Measured { each: nanos_histogram(), last: nanos_histogram(), reply: nanos_histogram() };
    for round in 0..args.rounds.get() {
        set_watches(&mut watchers, &path)?;
        change(&mut writer, &mut watchers, &path, round, &mut measured)?;
    }
    Ok(Report::default()
        .with("watchers", args.watchers.get())
        .with("rounds", args.rounds.get())
        .with_latency("last_notified_us", &measured.last)
        .with_latency("notified_us", &measured.each)
        .with_latency("writer_reply_us", &measured.reply))
}

fn set_watches(watchers: &mut [Connection], path: &str) -> anyhow::Result<()> {
    let request = GetDataRequest { path: path.into(), watch: true };
    for watcher in &mut *watchers {
        watcher.send(Op::GetData, &request)?;
    }
    for watcher in &mut *watchers {
        let reply = watcher.receive()?;
        ensure!(reply.header.err == 0 && reply.header.xid > 0, "a watch was not set: {:?}", reply.header);
    }
    Ok(())
}

/// Reads the notifications one watcher after the other: the last is read when all have come, whatever their order.
fn change(
    writer: &mut Connection,
    watchers: &mut [Connection],
    path: &str,
    round: usize,
    measured: &mut Measured,
) -> anyhow::Result<()> {
    let data = Some(Bytes::from(round.to_string()));
    let request = SetDataRequest { path: path.into(), data, version: -1 };
    let start = Instant::now();
    std::thread::scope(|scope| {
        let reply = scope.spawn(|| writer.call(Op::SetData, &request).map(|_| start.elapsed()));
        let mut last = Duration::ZERO;
        for watcher in watchers {
            let event = watcher.receive()?;
            ensure!(event.header.xid == xid::NOTIFICATION, "not an event: {:?}", event.header);
            last = start.elapsed();
            record(&mut measured.each, last);
        }
        record(&mut measured.last, last);
        let reply = reply.join().expect("the writer does not panic").context("the writer")?;
        record(&mut measured.reply, reply);
        Ok(())
    })
}

fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
}
