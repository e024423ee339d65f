//! `zkserver`: the server in the foreground, and the tools for what it keeps on disk.

mod commands;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use server::config::Config;
use server::runtime::{FULL_VERSION, Server};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

/// A ZooKeeper-compatible coordination service.
///
/// Without a file: a server of its own on 127.0.0.1:2181, which keeps its data in ./data. It runs in the
/// foreground, logs to standard error, and stops cleanly on SIGTERM and SIGINT.
#[derive(Debug, Parser)]
#[command(name = "zkserver", version = FULL_VERSION, args_conflicts_with_subcommands = true)]
struct Args {
    /// ZooKeeper's configuration file.
    config: Option<PathBuf>,
    /// A system property of ZooKeeper's, such as zookeeper.snapCount=1000; goes before the file.
    #[arg(short = 'D', value_name = "KEY=VALUE", value_parser = parse_property)]
    properties: Vec<(String, String)>,
    /// What to log: error, warn, info, debug or trace, or directives such as info,server::runtime=debug.
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    log_level: EnvFilter,
    #[command(subcommand)]
    tool: Option<commands::Command>,
}

fn parse_property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a property looks like key=value".to_owned()),
    }
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zkserver: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(args.log_level)
        .with_target(false)
        .with_thread_names(true)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
    if let Some(tool) = args.tool {
        return commands::run(tool);
    }
    let config = match &args.config {
        Some(path) => Config::load(path, &args.properties)?,
        None => Config::embedded(&args.properties)?,
    };
    info!(
        version = FULL_VERSION,
        config = args.config.as_ref().map_or_else(|| "embedded default".into(), |path| path.display().to_string()),
        data_dir = %config.data_dir.display(),
        data_log_dir = %config.data_log_dir.display(),
        "starting"
    );
    for warning in &config.warnings {
        warn!("{warning}");
    }
    let server = Server::start(config)?;
    wait_for_stop().context("cannot wait for signals")?;
    server.stop();
    Ok(())
}

/// Returns once SIGTERM or SIGINT has come.
fn wait_for_stop() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let name = tokio::select! {
            _ = term.recv() => "SIGTERM",
            _ = int.recv() => "SIGINT",
        };
        info!(signal = name, "stopping");
        Ok(())
    })
}
