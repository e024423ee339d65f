//! zkbench: load, and measurements, for any ensemble that speaks ZooKeeper's protocol.
//!
//! The generator often shares its machine with the server it measures, so what it costs is part of the result:
//! requests are encoded before the clock starts, replies are read by their headers only, and all that is ready
//! for a connection leaves in one write.
//!
//! | you want | look at |
//! | --- | --- |
//! | throughput and latency of an op or a mix | [`load`] |
//! | what a session costs, what a watch costs | [`sessions`], [`watches`] |
//! | how long nobody could write | [`failover`] |
//! | many znodes | [`fill`] |
//! | how long a start takes | [`first_read`] |
//! | what this machine could do at best | [`echo`] |
#![allow(clippy::disallowed_methods, reason = "a load generator reads clocks")]

mod connection;
mod echo;
mod failover;
mod fill;
mod first_read;
mod load;
mod replies;
mod report;
mod sessions;
mod watches;
mod workload;

use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::report::Report;

/// Load, and measurements, for any ensemble that speaks ZooKeeper's protocol.
#[derive(Debug, Parser)]
#[command(name = "zkbench", version)]
struct Cli {
    /// Print JSON rather than a table.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Throughput and latency of an operation or a mix of operations
    Run(load::Args),
    /// Open idle sessions and hold them
    Sessions(sessions::Args),
    /// Many watchers of one znode: from the change to each notification
    Watches(watches::Args),
    /// The longest time without an acknowledged write
    Failover(failover::Args),
    /// Create znodes
    Fill(fill::Args),
    /// Wait until a server that is starting answers its first read
    FirstRead(first_read::Args),
    /// The limit: answers like a server, of which it has nothing but the framing
    EchoServer(echo::Args),
}

/// Where the ensemble is.
#[derive(Debug, Clone, clap::Args)]
struct Target {
    /// The servers, host:port, over which connections are spread evenly
    #[arg(long, short, value_delimiter = ',', default_value = "127.0.0.1:2181")]
    servers: Vec<String>,
    /// The session timeout to ask for, in milliseconds
    #[arg(long, default_value_t = 30_000)]
    timeout_ms: i32,
    /// The znode below which everything happens
    #[arg(long, default_value = "/zkbench")]
    root: String,
}

impl Target {
    fn addresses(&self) -> anyhow::Result<Vec<SocketAddr>> {
        let resolve = |server: &String| {
            let mut addresses = server.to_socket_addrs().with_context(|| format!("resolving {server}"))?;
            addresses.next().with_context(|| format!("{server} has no address"))
        };
        self.servers.iter().map(resolve).collect()
    }
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zkbench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    let report: Report = match &cli.command {
        Command::Run(args) => load::run(args)?,
        Command::Sessions(args) => sessions::run(args)?,
        Command::Watches(args) => watches::run(args)?,
        Command::Failover(args) => failover::run(args)?,
        Command::Fill(args) => fill::run(args)?,
        Command::FirstRead(args) => first_read::run(args)?,
        Command::EchoServer(args) => return echo::run(args),
    };
    if cli.json {
        report.print_json()
    } else {
        report.print_table()
    }
    Ok(())
}
