//! One script of requests, byte for byte the same, for two servers; and what each of them answered, in words.
//!
//! A [`Script`] drives a few connections, one step at a time, and notes what comes back. Before it notes anything it
//! [masks](mask) what must differ between two servers: times, session ids, passwords, where zxids start,
//! and the order of children. All else must be equal, to the byte: a reply that does not encode again to
//! exactly what was received is noted as raw bytes.
//!
//! Nothing waits for time to pass: an answer ends a step, and where events may have arrived on another connection, a ping
//! there brings them in, since a server sends an event ahead of whatever it answers later.

mod compare;
mod line;
mod mask;
pub mod meant;
pub mod requests;
pub mod scenarios;
mod script;
mod words;

pub use compare::{Difference, Meant, Wording, assert_alike};
pub use script::{A, B, C, Script, Step};

use std::net::SocketAddr;

use anyhow::{Context as _, Result};

/// A named part of the script; parts run one after the other against the same server.
pub struct Scenario {
    /// What it is about.
    pub name: &'static str,
    /// Its steps.
    pub run: fn(&mut Script) -> Result<()>,
}

/// What a server did in one scenario.
#[derive(Debug)]
pub struct Transcript {
    /// The scenario's name.
    pub scenario: &'static str,
    /// In the order in which the script took them.
    pub steps: Vec<Step>,
}

/// Runs every scenario against the server at `address`.
///
/// # Errors
/// When a connection fails for a reason other than the server's closing it.
pub fn capture(address: SocketAddr, scenarios: &[Scenario]) -> Result<Vec<Transcript>> {
    let play = |scenario: &Scenario| -> Result<Transcript> {
        let mut script = Script::start(address)?;
        (scenario.run)(&mut script).with_context(|| format!("after {:?}", script.last_sent()))?;
        Ok(Transcript { scenario: scenario.name, steps: script.finish()? })
    };
    scenarios.iter().map(|scenario| play(scenario).context(scenario.name)).collect()
}
