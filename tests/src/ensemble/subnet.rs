//! Addresses of an ensemble's own: every server has the usual three ports, so no two ensembles can want the same.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;

use anyhow::{Context, Result};
use rand::RngExt;

use super::Id;
use super::namespaces::Namespaces;

/// Where clients find a server. None of the ports is one that the system gives to outgoing connections.
pub const CLIENT_PORT: u16 = 21810;
/// Where learners find their leader.
pub const QUORUM_PORT: u16 = 22888;
/// Where votes go.
pub const ELECTION_PORT: u16 = 23888;
/// An address no server has.
pub(super) const OURS: u8 = 254;
const ATTEMPTS: u32 = 100;

/// 254 addresses.
#[derive(Debug)]
pub(super) struct Subnet {
    prefix: [u8; 3],
    namespaces: Option<Namespaces>,
    /// While it listens nobody else takes the subnet.
    _claim: TcpListener,
}

impl Subnet {
    /// On the loopback interface, where every address of 127/8 is this machine.
    pub(super) fn loopback() -> Result<Self> {
        claim(|dice| [127, dice.random_range(1..255), dice.random_range(0..255)], |_| Ok(None))
    }

    /// On a bridge, with `servers` namespaces. 198.18/15 is set aside for measurements: no real network has it.
    pub(super) fn divisible(servers: u8) -> Result<Self> {
        claim(
            |dice| [198, dice.random_range(18..20), dice.random_range(0..255)],
            |prefix| Namespaces::new(prefix, servers).map(Some),
        )
    }

    pub(super) fn host(&self, id: Id) -> IpAddr {
        address(self.prefix, id)
    }

    pub(super) fn client_address(&self, id: Id) -> SocketAddr {
        (self.host(id), CLIENT_PORT).into()
    }

    /// The same command, run where server `id`'s address is.
    pub(super) fn inside(&self, id: Id, command: Command) -> Command {
        match &self.namespaces {
            Some(namespaces) => namespaces.inside(id, &command),
            None => command,
        }
    }

    pub(super) fn cut(&self, from: Id, to: Id) -> Result<()> {
        self.namespaces.as_ref().context("the ensemble is not divisible")?.cut(from, to)
    }

    pub(super) fn heal(&self) -> Result<()> {
        self.namespaces.as_ref().map_or(Ok(()), Namespaces::heal)
    }
}

/// A subnet that `choose` chooses and nobody else has.
fn claim(
    choose: impl Fn(&mut rand::rngs::ThreadRng) -> [u8; 3],
    build: impl Fn([u8; 3]) -> Result<Option<Namespaces>>,
) -> Result<Subnet> {
    let mut dice = rand::rng();
    for _ in 0..ATTEMPTS {
        let prefix = choose(&mut dice);
        // Every subnet is claimed on the loopback, wherever it is used.
        let [_, b, c] = prefix;
        if let Ok(claim) = TcpListener::bind((address([127, b, c], OURS), CLIENT_PORT)) {
            return Ok(Subnet { prefix, namespaces: build(prefix)?, _claim: claim });
        }
    }
    anyhow::bail!("no subnet is free")
}

pub(super) fn address([a, b, c]: [u8; 3], d: u8) -> IpAddr {
    Ipv4Addr::new(a, b, c, d).into()
}
