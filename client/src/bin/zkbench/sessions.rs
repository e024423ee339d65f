//! Idle sessions: opened, counted, kept alive with pings.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use crate::Target;
use crate::connection::Connection;
use crate::report::Report;

/// How many, for how long.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Sessions to open
    #[arg(long, short, default_value = "1000")]
    count: NonZeroUsize,
    /// Seconds to hold them once all are open
    #[arg(long, default_value_t = 0)]
    hold: u64,
    /// The server's process, on this machine: reports what a session adds to its resident memory
    #[arg(long)]
    pid: Option<u32>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Report> {
    // What the first ones cost besides, buffers that the server makes once, is not a session's.
    let mut connections = Connection::open_many(&args.target, args.count.get().div_ceil(10))?;
    let rss_before = args.pid.map(resident_bytes).transpose()?;
    let start = Instant::now();
    connections.extend(Connection::open_many(&args.target, args.count.get())?);
    let opening = start.elapsed().as_secs_f64();
    hold(&mut connections, args)?;

    let report = Report::default()
        .with("sessions", args.count.get())
        .with_number("open_seconds", opening)
        .with_number("opened_per_second", args.count.get() as f64 / opening);
    let (Some(pid), Some(before)) = (args.pid, rss_before) else {
        return Ok(report);
    };
    let after = resident_bytes(pid)?;
    let each = after.saturating_sub(before) as f64 / args.count.get() as f64;
    Ok(report.with("rss_bytes", after).with_number("rss_bytes_per_session", each))
}

/// Pings every session three times within its timeout.
fn hold(connections: &mut [Connection], args: &Args) -> anyhow::Result<()> {
    let until = Instant::now() + Duration::from_secs(args.hold);
    let period = Duration::from_millis(u64::try_from(args.target.timeout_ms)? / 3);
    while Instant::now() < until {
        for connection in &mut *connections {
            connection.send_ping()?;
        }
        for connection in &mut *connections {
            connection.receive()?;
        }
        std::thread::sleep(period.min(until.saturating_duration_since(Instant::now())));
    }
    Ok(())
}

/// `VmRSS` of a process on this machine.
pub(crate) fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).map_err(|error| anyhow::anyhow!("{path}: {error}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.map(|kilobytes| kilobytes * 1024).ok_or_else(|| anyhow::anyhow!("{path} names no VmRSS"))
}
