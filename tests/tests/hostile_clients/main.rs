//! Clients that mean harm, against a real server: each gets the documented answer, memory stays bounded, and another
//! client is served all along.

mod broken;
mod crowds;
mod greedy;
mod silent;

use std::process::Command;

use anyhow::{Result, ensure};
use tests::hostile::{Bystander, Footprint};
use tests::service::Service;
use tests::zkserver;

/// What a server may take on top of what it took at rest while clients do their worst, unless a test says more.
const SLACK_BYTES: u64 = 96 << 20;

/// A server, a client that must not suffer, and what it takes at rest.
struct Stage {
    server: Service,
    bystander: Bystander,
    at_rest: Footprint,
}

impl Stage {
    fn new() -> Result<Self> {
        Self::with(zkserver)
    }

    /// A server with other settings than the usual.
    fn with(launch: tests::service::Launch) -> Result<Self> {
        let server = Service::start("zkserver", launch)?;
        let bystander = Bystander::start(server.address())?;
        let at_rest = Footprint::of(&server)?;
        Ok(Self { server, bystander, at_rest })
    }

    /// The bystander was served, and the server took no more than `slack` bytes.
    fn check_within(self, slack: u64) -> Result<()> {
        let served = self.bystander.finish()?;
        let now = Footprint::of(&self.server)?;
        let taken = now.peak_bytes.saturating_sub(self.at_rest.rss_bytes);
        eprintln!(
            "bystander served {served} times; the server took {} KiB at most, {} KiB now",
            taken >> 10,
            now.rss_bytes.saturating_sub(self.at_rest.rss_bytes) >> 10
        );
        ensure!(taken <= slack, "the server took {taken} bytes, where {slack} would do");
        ensure!(!self.server.log().contains("panicked"), "{}", self.server.log());
        Ok(())
    }

    fn check(self) -> Result<()> {
        self.check_within(SLACK_BYTES)
    }
}

fn zkserver(config: &std::path::Path) -> Result<Command> {
    let mut command = Command::new(zkserver::binary("server", "zkserver")?);
    command.arg(config);
    Ok(command)
}
