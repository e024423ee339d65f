//! Client programs that check for themselves what they see, and say so with their exit status.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::process;
use crate::service::Service;

/// Runs `command` against `service`, passing its address as `host:port` in the last argument.
///
/// # Errors
/// When it does not end with 0 in time; the error holds what it printed, and the end of the server's log.
pub fn must_succeed(service: &Service, command: &mut Command, limit: Duration) -> Result<()> {
    command.arg(service.address().to_string());
    let finished = process::run(command, limit)?;
    let log = service.log();
    let tail: Vec<_> = log.lines().rev().take(40).collect();
    ensure!(
        finished.code == Some(0),
        "against {}: exit status {:?}\n{}\nthe server's log, last line first:\n{}",
        service.name(),
        finished.code,
        finished.output,
        tail.join("\n"),
    );
    Ok(())
}
