//! `zkbroker`: the broker in the foreground.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use broker::{Broker, BrokerConfig};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;
use tracing_subscriber::EnvFilter;

/// Appends and fetches may wait for a disk, as may what is sent from a file: more threads than there are cores.
const THREADS: usize = 8;

/// A thin Kafka broker, which keeps its cluster's metadata in a ZooKeeper-compatible service.
///
/// It runs in the foreground, logs to standard error, and on SIGTERM and SIGINT gives away what it leads and stops.
#[derive(Debug, Parser)]
#[command(name = "zkbroker", version)]
struct Args {
    /// Kafka's configuration file, such as conf/server.properties.
    config: PathBuf,
    /// A line of the file, said here instead, such as broker.id=3.
    #[arg(long = "override", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// What to log: error, warn, info, debug or trace, or directives such as info,broker::replica=debug.
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    log_level: EnvFilter,
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zkbroker: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(args.log_level)
        .with_target(false)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
    let config = BrokerConfig::load(&args.config, &args.overrides)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    let ended = runtime.block_on(serve(config));
    runtime.shutdown_background();
    ended
}

async fn serve(config: BrokerConfig) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("signals")?;
    let broker = Broker::start(config).await?;
    tokio::select! {
        _ = terminate.recv() => info!("asked to stop"),
        _ = interrupt.recv() => info!("asked to stop"),
        error = broker.failed() => return Err(error.into()),
    }
    Ok(broker.stop().await?)
}
