//! The longest time without an acknowledged write, whatever happens to the servers meanwhile.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use jute::proto::SetDataRequest;
use jute::{CreateMode, Op};

use crate::Target;
use crate::connection::Connection;
use crate::load::open_root;
use crate::report::Report;

/// How long to write, and what to do to the servers.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// How long to write through every server
    #[arg(long, short = 't', default_value_t = 10.0)]
    seconds: f64,
    /// A shell command to run meanwhile, such as one that kills the leader
    #[arg(long)]
    exec: Option<String>,
    /// When to run it
    #[arg(long, default_value_t = 3.0)]
    exec_after: f64,
    /// How long a writer waits for a connection or a reply before it connects anew
    #[arg(long, default_value_t = 20_000)]
    patience_ms: u64,
}

/// Between two attempts to connect to a server that refuses.
const RETRY: Duration = Duration::from_millis(2);

pub(crate) fn run(args: &Args) -> anyhow::Result<Report> {
    let path = format!("{}/failover", args.target.root);
    open_root(&args.target)?.create(&path, b"", CreateMode::Persistent)?;
    let servers = args.target.addresses()?;
    let acknowledged = Mutex::new(Vec::new());
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(args.seconds);
    let disturbed = std::thread::scope(|scope| {
        for server in &servers {
            scope.spawn(|| write_until(end, *server, args, &path, &acknowledged));
        }
        disturb(args, start)
    })?;
    let mut acknowledged = acknowledged.into_inner().expect("no writer panics");
    acknowledged.sort_unstable();
    ensure!(!acknowledged.is_empty(), "no write was acknowledged");
    Ok(report(start, end, &acknowledged, disturbed))
}

fn report(start: Instant, end: Instant, acknowledged: &[Instant], disturbed: Option<Instant>) -> Report {
    let instants: Vec<Instant> =
        [start].into_iter().chain(acknowledged.iter().copied().filter(|at| *at < end)).chain([end]).collect();
    let gaps = instants.windows(2).map(|pair| (pair[1] - pair[0], pair[0]));
    let (longest, from) = gaps.max().expect("there is a gap between start and end");
    let report = Report::default()
        .with("writes", acknowledged.len())
        .with_number("longest_gap_seconds", longest.as_secs_f64())
        .with_number("gap_began_at_seconds", (from - start).as_secs_f64());
    match disturbed {
        Some(at) => report.with_number("disturbed_at_seconds", (at - start).as_secs_f64()),
        None => report,
    }
}

fn disturb(args: &Args, start: Instant) -> anyhow::Result<Option<Instant>> {
    let Some(command) = &args.exec else {
        return Ok(None);
    };
    let at = start + Duration::from_secs_f64(args.exec_after);
    std::thread::sleep(at.saturating_duration_since(Instant::now()));
    let at = Instant::now();
    let status = Command::new("sh").args(["-c", command]).status().context("running the command")?;
    ensure!(status.success(), "the command failed: {status}");
    Ok(Some(at))
}

/// One writer, one server: a write at a time, and a new session whenever something fails.
fn write_until(
    end: Instant,
    server: SocketAddr,
    args: &Args,
    path: &str,
    acknowledged: &Mutex<Vec<Instant>>,
) {
    let request = SetDataRequest { path: path.into(), data: Some(Bytes::from_static(b"x")), version: -1 };
    let patience = Duration::from_millis(args.patience_ms);
    while Instant::now() < end {
        let Ok(mut connection) = Connection::open_within(server, args.target.timeout_ms, patience) else {
            std::thread::sleep(RETRY);
            continue;
        };
        while Instant::now() < end {
            match connection.call(Op::SetData, &request) {
                Ok(reply) if reply.header.err == 0 => {
                    acknowledged.lock().expect("no writer panics").push(Instant::now());
                }
                _ => break,
            }
        }
    }
}
