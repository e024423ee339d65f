//! From now until a server answers: started together with the server, it measures the server's start.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use jute::Op;
use jute::proto::ExistsRequest;

use crate::Target;
use crate::connection::Connection;
use crate::report::Report;

/// How long to try.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Seconds after which to give up
    #[arg(long, default_value_t = 60)]
    within: u64,
}

/// For an answer: a server may accept connections before it serves, and never get back to them.
const PATIENCE: Duration = Duration::from_millis(100);
/// Between two attempts.
const RETRY: Duration = Duration::from_millis(1);

pub(crate) fn run(args: &Args) -> anyhow::Result<Report> {
    let start = Instant::now();
    let deadline = start + Duration::from_secs(args.within);
    let server = *args.target.addresses()?.first().context("no server was named")?;
    let request = ExistsRequest { path: "/".into(), watch: false };
    loop {
        if Instant::now() >= deadline {
            bail!("no read was answered within {} s", args.within);
        }
        let answered = Connection::open_within(server, args.target.timeout_ms, PATIENCE)
            .and_then(|mut connection| connection.call(Op::Exists, &request));
        if answered.is_ok_and(|reply| reply.header.err == 0) {
            return Ok(Report::default().with_number("seconds", start.elapsed().as_secs_f64()));
        }
        std::thread::sleep(RETRY);
    }
}
