//! `zkcli`, the shell of a ZooKeeper-compatible service: the options, commands and output of ZooKeeper's `zkCli.sh`, so that
//! fingers and scripts go on working.
//!
//! A line goes from [`interactive`] through [`words`] and [`shell`], which keeps the history and runs the commands that concern
//! the shell itself, to one of [`commands`], which has its options from [`arguments`] and its answer from the service.

mod arguments;
mod commands;
mod failure;
mod interactive;
mod notices;
mod options;
mod output;
mod properties;
mod session;
mod shell;
mod words;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use anyhow::Result;

use crate::interactive::Lines;
use crate::notices::Notices;
use crate::options::Options;
use crate::shell::{Next, Shell};

const HELP: &str = "\
The shell of a ZooKeeper-compatible service, with the options, commands and output of zkCli.sh.

Usage: zkcli [option..] [command [argument..]]

With a command, runs it and ends, with a status other than 0 if it failed. Without, reads commands from the terminal or
from a pipe.

Options:
\t-server host:port[,host:port]*[/chroot]   where to connect (localhost:2181)
\t-timeout ms                               the session's timeout (30000)
\t-r                                        accept a server that only reads
\t-waitforconnection                        run no command before there is a connection
\t-client-configuration file                a Java client's properties
\t-h, --help                                this text

Commands:
";

fn main() -> ExitCode {
    run_as_called().unwrap_or_else(|error| {
        output::error_line(&format!("{error:#}"));
        ExitCode::FAILURE
    })
}

fn run_as_called() -> Result<ExitCode> {
    let options = Options::parse(std::env::args().skip(1))?;
    if options.help {
        output::print(HELP);
        commands::usage().lines().skip(1).for_each(output::line);
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let status = runtime.block_on(run(options))?;
    // The session is left open, to end by its timeout: an ephemeral znode made by a script's call of this shell is still there
    // for the next one, as scripts have come to expect.
    std::process::exit(status)
}

async fn run(options: Options) -> Result<i32> {
    output::line(&format!("Connecting to {}", options.server));
    let notices = Notices::new();
    let command = options.command.clone();
    let mut shell = match Shell::open(options, notices.clone()).await {
        Ok(shell) => shell,
        Err(failure) => {
            output::error_line(&failure.message);
            return Ok(failure.status);
        }
    };
    if command.is_empty() {
        read_commands(&mut shell, &notices).await?;
    } else {
        shell.run_words(command).await;
    }
    Ok(shell.status())
}

async fn read_commands(shell: &mut Shell, notices: &Notices) -> Result<()> {
    output::line("Welcome to ZooKeeper!");
    let terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    output::line(if terminal { "JLine support is enabled" } else { "JLine support is disabled" });
    let mut lines = if terminal { Lines::from_terminal(notices)? } else { Lines::from_pipe() };
    while let Some(line) = lines.next(shell.prompt(), shell.session().client.clone()).await {
        if shell.run_line(&line).await == Next::Quit {
            break;
        }
    }
    Ok(())
}
