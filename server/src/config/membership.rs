//! Who belongs to an ensemble: `server.N`, `group.N`, `weight.N`, and the version of all that. The same text stands in
//! zoo.cfg, in dynamic files, in votes, in NEWLEADER and in `/zookeeper/config`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::source::Source;
use super::{ConfigError, HostPort};

/// A server's number: its `myid`, the N of its `server.N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub i64);

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// May it vote?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// It votes and can lead.
    #[default]
    Participant,
    /// It only listens.
    Observer,
}

/// Where one server listens for its peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAddress {
    /// Name or address, IPv6 without brackets.
    pub host: String,
    /// Leader and learners talk here.
    pub quorum_port: u16,
    /// Votes arrive here.
    pub election_port: u16,
}

/// One `server.N`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Never empty; more than one needs `multiAddress.enabled`.
    pub addresses: Vec<PeerAddress>,
    /// All addresses of a server have the same.
    pub role: Role,
    /// Where it listens for clients, if the line says so.
    pub client: Option<HostPort>,
}

/// As `server.N` has it.
impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut addresses: Vec<_> = self.addresses.iter().collect();
        addresses.sort_by(|one, other| one.host.cmp(&other.host));
        for (index, PeerAddress { host, quorum_port, election_port }) in addresses.into_iter().enumerate() {
            let bar = if index == 0 { "" } else { "|" };
            write!(f, "{bar}{}:{quorum_port}:{election_port}", Delimited(host))?;
        }
        f.write_str(if self.role == Role::Observer { ":observer" } else { ":participant" })?;
        match &self.client {
            Some(HostPort { host, port }) => {
                write!(f, ";{}:{port}", Delimited(host.as_deref().unwrap_or("0.0.0.0")))
            }
            None => Ok(()),
        }
    }
}

/// A host in front of a port.
struct Delimited<'a>(&'a str);

impl fmt::Display for Delimited<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains(':') { write!(f, "[{}]", self.0) } else { f.write_str(self.0) }
    }
}

/// Who belongs to the ensemble, and how votes are counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[doc(alias = "QuorumVerifier")]
#[doc(alias = "QuorumMaj")]
#[doc(alias = "QuorumHierarchical")]
pub struct Membership {
    /// Every `server.N`.
    pub members: BTreeMap<ServerId, Member>,
    /// `group.G`: when any is given, every voter stands in exactly one.
    pub groups: BTreeMap<i64, Vec<ServerId>>,
    /// `weight.N`, 1 where absent.
    pub weights: BTreeMap<ServerId, u32>,
    /// 0 until a leader has been at work with it, then the zxid that made it.
    pub version: i64,
}

impl Membership {
    /// Reads what servers tell each other and `/zookeeper/config` the clients.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        Self::parse_asked(text, true)
    }

    /// The same, as an operator asks for it: without `multiAddress.enabled`, a server has one address.
    ///
    /// # Errors
    /// See [`Membership::parse`].
    pub(crate) fn parse_asked(text: &str, multi_address: bool) -> Result<Self, ConfigError> {
        let source = Source::new(text, Path::new("configuration"), &[])?;
        if let Some((key, _)) = source.entries().find(|(key, _)| !is_membership(key) && *key != "version") {
            return Err(source.error(key, "does not belong into a configuration"));
        }
        let version = match source.text("version") {
            None => 0,
            Some(hex) => i64::from_str_radix(hex, 16)
                .map_err(|_| source.error("version", format!("{hex:?} is not a hexadecimal number")))?,
        };
        let membership = Self { version, ..Self::read(&source, multi_address)? };
        membership.check_groups(&source)?;
        Ok(membership)
    }

    pub(super) fn read(source: &Source, multi_address: bool) -> Result<Self, ConfigError> {
        Ok(Self {
            members: read_members(source, multi_address)?,
            groups: read_groups(source)?,
            weights: read_weights(source)?,
            version: 0,
        })
    }

    /// The voters' numbers.
    pub fn voters(&self) -> impl Iterator<Item = ServerId> {
        self.members.iter().filter(|(_, member)| member.role == Role::Participant).map(|(&id, _)| id)
    }

    /// What `id` is in it; `None` if it does not belong to it.
    #[must_use]
    pub fn role_of(&self, id: ServerId) -> Option<Role> {
        self.members.get(&id).map(|member| member.role)
    }

    /// Votes are counted by groups or weights, not by heads.
    #[must_use]
    pub fn is_hierarchical(&self) -> bool {
        !self.groups.is_empty() || !self.weights.is_empty()
    }

    /// The same but for its version.
    #[must_use]
    pub fn has_same_members(&self, other: &Self) -> bool {
        (&self.members, &self.groups, &self.weights) == (&other.members, &other.groups, &other.weights)
    }

    /// The membership as servers tell it each other, and `/zookeeper/config` the clients.
    #[doc(alias = "QuorumVerifier.toString")]
    #[must_use]
    pub fn to_text(&self) -> String {
        let members = self.members.iter().map(|(id, member)| format!("server.{id}={member}\n"));
        let groups = self.groups.iter().map(|(group, ids)| {
            let ids: Vec<_> = ids.iter().map(ServerId::to_string).collect();
            format!("group.{group}={}\n", ids.join(":"))
        });
        let weight = |id| self.weights.get(&id).copied().unwrap_or(1);
        let weighing = self.voters().filter(|_| !self.groups.is_empty());
        let weights = weighing.map(|id| format!("weight.{id}={}\n", weight(id)));
        let lines: String = members.chain(groups).chain(weights).collect();
        format!("{lines}version={:x}", self.version)
    }

    /// The lines of a dynamic file, sorted as Java sorts them.
    #[must_use]
    pub fn to_file(&self, with_version: bool) -> String {
        let text = self.to_text();
        let mut lines: Vec<_> =
            text.lines().filter(|line| with_version || !line.starts_with("version=")).collect();
        lines.sort_unstable();
        lines.join("\n")
    }

    /// Every voter stands in exactly one group, as soon as there is any.
    pub(super) fn check_groups(&self, source: &Source) -> Result<(), ConfigError> {
        if !self.is_hierarchical() {
            return Ok(());
        }
        for id in self.voters() {
            match self.groups.values().flatten().filter(|&&member| member == id).count() {
                1 => {}
                0 => return Err(source.error(&format!("server.{id}"), "stands in no group")),
                _ => return Err(source.error(&format!("server.{id}"), "stands in several groups")),
            }
        }
        Ok(())
    }
}

pub(super) fn is_membership(key: &str) -> bool {
    ["server.", "group.", "weight."].iter().any(|prefix| key.starts_with(prefix))
}

pub(super) const ROLES: [(&str, Role); 2] =
    [("participant", Role::Participant), ("observer", Role::Observer)];

fn read_members(source: &Source, multi_address: bool) -> Result<BTreeMap<ServerId, Member>, ConfigError> {
    let mut members = BTreeMap::new();
    for (number, entry) in source.starting_with("server.") {
        let key = format!("server.{number}");
        let id = number.parse().map_err(|_| source.error(&key, "a server's id is a whole number"))?;
        let member = parse_member(&entry.value).map_err(|what| source.error(&key, what))?;
        if member.addresses.len() > 1 && !multi_address {
            return Err(source.error(&key, "several addresses need multiAddress.enabled=true"));
        }
        members.insert(ServerId(id), member);
    }
    Ok(members)
}

fn read_groups(source: &Source) -> Result<BTreeMap<i64, Vec<ServerId>>, ConfigError> {
    let mut groups = BTreeMap::new();
    for (number, entry) in source.starting_with("group.") {
        let wrong = || source.error(&format!("group.{number}"), "is not a list of server ids as in 1:2:3");
        let group = number.parse().map_err(|_| wrong())?;
        let ids: Result<Vec<i64>, _> = entry.value.split(':').map(|id| id.trim().parse()).collect();
        groups.insert(group, ids.map_err(|_| wrong())?.into_iter().map(ServerId).collect());
    }
    Ok(groups)
}

fn read_weights(source: &Source) -> Result<BTreeMap<ServerId, u32>, ConfigError> {
    let mut weights = BTreeMap::new();
    for (number, entry) in source.starting_with("weight.") {
        let wrong = || source.error(&format!("weight.{number}"), "is not a whole number from 0 on");
        let id = number.parse().map_err(|_| wrong())?;
        weights.insert(ServerId(id), entry.value.parse().map_err(|_| wrong())?);
    }
    Ok(weights)
}

/// `host:quorum:election[:role][|host:quorum:election[:role]..][;[host:]port]`
pub(crate) fn parse_member(text: &str) -> Result<Member, String> {
    let (peers, client) = match text.split_once(';') {
        Some((peers, client)) => (peers, Some(parse_client(client.trim())?)),
        None => (text, None),
    };
    let mut addresses = Vec::new();
    let mut role = None;
    for peer in peers.split('|') {
        let (address, its_role) = parse_peer(peer.trim())?;
        if *role.get_or_insert(its_role) != its_role {
            return Err("all addresses of a server have the same role".to_owned());
        }
        addresses.push(address);
    }
    Ok(Member { addresses, role: role.unwrap_or_default(), client })
}

const FORM: &str = "is not of the form host:quorumPort:electionPort[:role][|..][;[clientHost:]clientPort]";

fn parse_peer(text: &str) -> Result<(PeerAddress, Role), String> {
    let (host, rest) = split_host(text).ok_or(FORM)?;
    let mut parts = rest.split(':').map(str::trim);
    let mut port = || parts.next().and_then(port_number).ok_or(FORM);
    let address = PeerAddress { host: host.to_owned(), quorum_port: port()?, election_port: port()? };
    if address.quorum_port == address.election_port {
        return Err("quorum port and election port are the same".to_owned());
    }
    let role = match parts.next() {
        None => Role::Participant,
        Some(name) => {
            let known = ROLES.iter().find(|(role, _)| role.eq_ignore_ascii_case(name));
            known
                .map(|&(_, role)| role)
                .ok_or_else(|| format!("{name:?} is neither participant nor observer"))?
        }
    };
    if parts.next().is_some() { Err(FORM.to_owned()) } else { Ok((address, role)) }
}

fn parse_client(text: &str) -> Result<HostPort, String> {
    if let Some(port) = port_number(text) {
        return Ok(HostPort { host: None, port });
    }
    let (host, port) = split_host(text).ok_or(FORM)?;
    let port = port_number(port).ok_or(FORM)?;
    Ok(HostPort { host: Some(host.to_owned()), port })
}

/// Cuts a host from what follows its colon; IPv6 addresses stand in brackets.
fn split_host(text: &str) -> Option<(&str, &str)> {
    match text.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once("]:"),
        None => text.split_once(':'),
    }
    .filter(|(host, _)| !host.is_empty())
}

fn port_number(text: &str) -> Option<u16> {
    text.parse().ok().filter(|&port| port > 0)
}
