//! Each server in a network namespace of its own, on one bridge, so that any link between two of them can be cut, also
//! in one direction only.
//!
//! Neighbours are not asked for but written down. To cut the way from one server to another, the wrong hardware
//! address is written down: packets go onto the bridge, and nobody takes them. So a cut looks as it does in
//! reality: nothing is refused, nothing is reset, all is silence.

use std::net::IpAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{fs, process};

use anyhow::{Context, Result, ensure};

use super::Id;
use super::subnet::{OURS, address};

/// Nobody's hardware address.
const NOWHERE: u8 = 0;

/// The bridge and the namespaces of an ensemble; they go when it is dropped.
#[derive(Debug)]
pub(super) struct Namespaces {
    name: String,
    prefix: [u8; 3],
    servers: u8,
}

impl Namespaces {
    /// Whether this process may make namespaces at all.
    pub(super) fn are_possible() -> bool {
        let name = format!("mg{}-probe", process::id());
        ip(&format!("netns add {name}")).and_then(|()| ip(&format!("netns del {name}"))).is_ok()
    }

    pub(super) fn new(prefix: [u8; 3], servers: u8) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        remove_left_behind()?;
        let name = format!("mg{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let namespaces = Self { name, prefix, servers };
        namespaces.build()?;
        Ok(namespaces)
    }

    fn build(&self) -> Result<()> {
        let Self { name: bridge, prefix, .. } = self;
        ip(&format!("link add {bridge} type bridge"))?;
        ip(&format!("addr add {}/24 dev {bridge}", address(*prefix, OURS)))?;
        ip(&format!("link set {bridge} up"))?;
        for id in 1..=self.servers {
            let (namespace, port) = (self.namespace(id), format!("{bridge}v{id}"));
            ip(&format!("netns add {namespace}"))?;
            ip(&format!("link add {port} type veth peer name eth0 netns {namespace}"))?;
            ip(&format!("link set {port} master {bridge} up"))?;
            ip(&format!("-n {namespace} link set lo up"))?;
            ip(&format!("-n {namespace} link set eth0 address {} up", hardware_address(id)))?;
            ip(&format!("-n {namespace} addr add {}/24 dev eth0", self.host(id)))?;
        }
        self.heal()
    }

    fn host(&self, id: Id) -> IpAddr {
        address(self.prefix, id)
    }

    fn namespace(&self, id: Id) -> String {
        format!("{}n{id}", self.name)
    }

    /// The same command, run in server `id`'s namespace.
    pub(super) fn inside(&self, id: Id, command: &Command) -> Command {
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", &self.namespace(id)]);
        inside.arg(command.get_program()).args(command.get_args());
        inside
    }

    pub(super) fn cut(&self, from: Id, to: Id) -> Result<()> {
        self.write_down(from, to, NOWHERE)
    }

    pub(super) fn heal(&self) -> Result<()> {
        for from in 1..=self.servers {
            for to in (1..=self.servers).filter(|to| *to != from) {
                self.write_down(from, to, to)?;
            }
        }
        Ok(())
    }

    fn write_down(&self, from: Id, to: Id, hardware: Id) -> Result<()> {
        let (namespace, host, hardware) = (self.namespace(from), self.host(to), hardware_address(hardware));
        ip(&format!("-n {namespace} neigh replace {host} lladdr {hardware} nud permanent dev eth0"))
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        // What was not made, or is gone, cannot be removed.
        for id in 1..=self.servers {
            let _ = ip(&format!("netns del {}", self.namespace(id)));
        }
        let _ = ip(&format!("link del {}", self.name));
    }
}

fn hardware_address(id: Id) -> String {
    format!("02:00:00:00:00:{id:02x}")
}

fn ip(arguments: &str) -> Result<()> {
    let output = Command::new("ip").args(arguments.split(' ')).output().context("iproute2 is missing")?;
    ensure!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// Removes what a test process that was killed could not.
fn remove_left_behind() -> Result<()> {
    let is_dead = |name: &str| {
        let id: String = name.chars().skip(2).take_while(char::is_ascii_digit).collect();
        name.starts_with("mg") && !id.is_empty() && fs::metadata(format!("/proc/{id}")).is_err()
    };
    let names = |directory: &str| -> Result<Vec<String>> {
        let Ok(entries) = fs::read_dir(directory) else { return Ok(Vec::new()) };
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    };
    for name in names("/run/netns")?.iter().filter(|name| is_dead(name)) {
        // Another test process may have been faster.
        let _ = ip(&format!("netns del {name}"));
    }
    for name in names("/sys/class/net")?.iter().filter(|name| is_dead(name)) {
        let _ = ip(&format!("link del {name}"));
    }
    Ok(())
}
