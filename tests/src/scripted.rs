//! Client programs that check for themselves what they see, and say so with their exit status.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::process;
use crate::service::Service;

/// Lines of the server's log that a failure shows.
const LOG_TAIL: usize = 60;

/// Whom a client program is run against.
pub trait Served {
    /// What the tests call it.
    fn name(&self) -> &str;
    /// Where clients find it, in the form in which they are told.
    fn address(&self) -> String;
    /// What it logged so far.
    fn log(&self) -> String;
}

impl Served for Service {
    fn name(&self) -> &str {
        self.name()
    }

    fn address(&self) -> String {
        self.address().to_string()
    }

    fn log(&self) -> String {
        self.log()
    }
}

/// Runs `command` against `served`, passing its address in the last argument.
///
/// # Errors
/// When it does not end with 0 in time; the error holds what it printed, and the end of the server's log.
pub fn must_succeed(served: &impl Served, command: &mut Command, limit: Duration) -> Result<()> {
    command.arg(served.address());
    let finished = process::run(command, limit)?;
    let log = served.log();
    let tail: Vec<_> = log.lines().rev().take(LOG_TAIL).collect();
    ensure!(
        finished.code == Some(0),
        "against {}: exit status {:?}\n{}\nthe server's log, last line first:\n{}",
        served.name(),
        finished.code,
        finished.output,
        tail.join("\n"),
    );
    Ok(())
}
