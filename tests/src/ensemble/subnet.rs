//! Addresses of an ensemble's own: every server has the usual three ports, so no two ensembles can want the same.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;

use anyhow::{Context, Result, bail};
use rand::RngExt;

use super::Id;

const CLIENT_PORT: u16 = 21810;
/// Where learners find their leader.
pub const QUORUM_PORT: u16 = 22888;
/// Where votes go.
pub const ELECTION_PORT: u16 = 23888;
/// An address no server has.
const OURS: u8 = 254;
const ATTEMPTS: u32 = 100;

/// 254 addresses.
#[derive(Debug)]
pub(super) struct Subnet {
    prefix: [u8; 3],
    /// While it listens nobody else takes the subnet.
    _claim: TcpListener,
}

impl Subnet {
    /// On the loopback interface, where every address of 127/8 is this machine.
    pub(super) fn loopback() -> Result<Self> {
        let mut dice = rand::rng();
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let prefix = [127, dice.random_range(1..255), dice.random_range(0..255)];
            match TcpListener::bind((address(prefix, OURS), CLIENT_PORT)) {
                Ok(claim) => return Ok(Self { prefix, _claim: claim }),
                Err(error) => last = Some(error),
            }
        }
        Err(last.expect("attempts were made")).context("looking for a free subnet of 127/8")
    }

    pub(super) fn divisible(_servers: u8) -> Result<Self> {
        bail!("network namespaces come next")
    }

    pub(super) fn host(&self, id: Id) -> IpAddr {
        address(self.prefix, id)
    }

    pub(super) fn client_address(&self, id: Id) -> SocketAddr {
        (self.host(id), CLIENT_PORT).into()
    }

    pub(super) fn inside(&self, _id: Id, command: Command) -> Command {
        command
    }

    pub(super) fn cut(&self, from: Id, to: Id) -> Result<()> {
        bail!("the link from {from} to {to} cannot be cut")
    }

    pub(super) fn heal(&self) -> Result<()> {
        Ok(())
    }
}

fn address([a, b, c]: [u8; 3], d: u8) -> IpAddr {
    Ipv4Addr::new(a, b, c, d).into()
}
