//! Who belongs to the ensemble and how its members talk: `server.N`, `group.N`, `weight.N` and their like.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

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

/// What only an ensemble needs. A lone server carries it along.
#[derive(Debug, Clone, PartialEq)]
#[doc(alias = "QuorumVerifier")]
#[doc(alias = "QuorumMaj")]
#[doc(alias = "QuorumHierarchical")]
pub struct Ensemble {
    /// Every `server.N`.
    pub members: BTreeMap<ServerId, Member>,
    /// `group.G`: when any is given, every voter stands in exactly one.
    pub groups: BTreeMap<i64, Vec<ServerId>>,
    /// `weight.N`, 1 where absent.
    pub weights: BTreeMap<ServerId, u32>,
    /// Of the membership; 0 unless a dynamic file says otherwise.
    pub version: i64,
    /// `false`: even one voter is an ensemble.
    pub standalone_enabled: bool,
    /// Whether `reconfig` may change it.
    pub reconfig_enabled: bool,
    /// The file that holds membership instead of this one.
    pub dynamic_file: Option<PathBuf>,
    /// How long a learner may take to connect and catch up.
    pub init_limit: Option<Duration>,
    /// How long a learner may stay silent.
    pub sync_limit: Option<Duration>,
    /// How long a learner may try to reach the leader; `init_limit` where unset.
    pub connect_limit: Option<Duration>,
    /// What this server believes to be; the list of members knows better.
    pub peer_type: Role,
    /// Whether a leader takes clients.
    pub leader_serves: bool,
    /// Observers write a log and snapshots too.
    pub observers_persist: bool,
    /// Listen for peers on all addresses rather than on the own `server.N`'s.
    pub listen_on_all_addresses: bool,
    /// Several addresses a server are allowed.
    pub multi_address: bool,
    /// How long opening a connection to a peer's election port may take.
    pub connect_timeout: Duration,
    /// Read timeout on election links.
    pub election_read_timeout: Option<Duration>,
    /// First wait between notifications.
    pub notification_interval_min: Duration,
    /// Longest wait between notifications.
    pub notification_interval_max: Duration,
    /// How often binding the election port is tried; `None` without end.
    pub election_bind_tries_max: Option<u32>,
    /// How long an observer waits before it reconnects.
    pub observer_reconnect_delay: Duration,
    /// How long an observer waits before it looks for a leader.
    pub observer_election_delay: Duration,
    /// Whole trees sent at once.
    pub concurrent_snap_syncs_max: u32,
    /// Diffs sent at once.
    pub concurrent_diff_syncs_max: u32,
    /// How long a would-be leader waits for a quorum's epochs; `init_limit` where unset.
    pub epoch_wait_max: Option<Duration>,
    /// TCP keep-alive on election links.
    pub keep_alive: bool,
    /// TLS between servers.
    pub tls: bool,
    /// TLS and plain text on the same ports, for a rolling change.
    pub port_unification: bool,
    /// Certificates of peers are read anew when their files change.
    pub tls_reload: bool,
    /// SASL between servers.
    pub sasl: QuorumSasl,
}

/// SASL between servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumSasl {
    /// It is on.
    pub enabled: bool,
    /// This server requires it of learners.
    pub server_requires: bool,
    /// As a learner, this server requires it of leaders.
    pub learner_requires: bool,
    /// Section of the login configuration, as a learner.
    pub learner_context: String,
    /// Section of the login configuration, as a server.
    pub server_context: String,
    /// Kerberos principal of the service.
    pub service_principal: String,
}

impl Ensemble {
    /// The voters' numbers.
    pub fn voters(&self) -> impl Iterator<Item = ServerId> {
        self.members.iter().filter(|(_, member)| member.role == Role::Participant).map(|(&id, _)| id)
    }

    /// Whether this server runs as one of an ensemble: more than one voter, or `standaloneEnabled=false`.
    #[must_use]
    pub fn is_distributed(&self) -> bool {
        let voters = self.voters().count();
        voters > 1 || (voters == 1 && !self.standalone_enabled)
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

    /// Takes the membership from the text of the dynamic file at `path`; the end of its name is its version.
    pub(crate) fn read_dynamic(&mut self, text: &str, path: &Path) -> Result<(), ConfigError> {
        let source = Source::new(text, path, &[])?;
        if let Some((key, _)) = source.entries().find(|(key, _)| !is_membership(key)) {
            return Err(source.error(key, "does not belong into a dynamic file"));
        }
        self.members = read_members(&source, false, self.multi_address)?;
        self.groups = read_groups(&source)?;
        self.weights = read_weights(&source)?;
        let suffix = path.extension().and_then(|suffix| suffix.to_str()).unwrap_or_default();
        self.version = i64::from_str_radix(suffix, 16).unwrap_or(0);
        self.check_groups(&source)?;
        self.check_size(&source)
    }

    pub(super) fn read(source: &Source, tick: Duration) -> Result<Self, ConfigError> {
        let ticks = |key| Ok::<_, ConfigError>(source.limit(key, None)?.map(|n| tick * n));
        let multi_address = source.flag("multiAddress.enabled", false)?;
        let dynamic_file = source.path("dynamicConfigFile");
        let ensemble = Self {
            members: read_members(source, dynamic_file.is_some(), multi_address)?,
            groups: read_groups(source)?,
            weights: read_weights(source)?,
            version: 0,
            standalone_enabled: source.flag("standaloneEnabled", true)?,
            reconfig_enabled: source.flag("reconfigEnabled", false)?,
            dynamic_file,
            init_limit: ticks("initLimit")?,
            sync_limit: ticks("syncLimit")?,
            connect_limit: ticks("connectToLearnerMasterLimit")?,
            peer_type: source.choice("peerType", Role::Participant, &ROLES)?,
            leader_serves: source.yes("leaderServes", true)?,
            observers_persist: source.flag("syncEnabled", true)?,
            listen_on_all_addresses: source.flag("quorumListenOnAllIPs", false)?,
            multi_address,
            connect_timeout: source.millis("cnxTimeout", 5000, 1)?,
            election_read_timeout: source.millis_or_unset("quorumCnxnTimeoutMs")?,
            notification_interval_min: source.millis("fastleader.minNotificationInterval", 200, 1)?,
            notification_interval_max: source.millis("fastleader.maxNotificationInterval", 60_000, 1)?,
            election_bind_tries_max: source.limit("electionPortBindRetry", Some(3))?,
            observer_reconnect_delay: source.millis("observer.reconnectDelayMs", 0, 0)?,
            observer_election_delay: source.millis("observer.election.DelayMs", 200, 0)?,
            concurrent_snap_syncs_max: source.count("leader.maxConcurrentSnapSyncs", 10, 1)?,
            concurrent_diff_syncs_max: source.count("leader.maxConcurrentDiffSyncs", 100, 1)?,
            epoch_wait_max: source.millis_or_unset("leader.maxTimeToWaitForEpoch")?,
            keep_alive: source.flag("tcpKeepAlive", false)?,
            tls: source.flag("sslQuorum", false)?,
            port_unification: source.flag("portUnification", false)?,
            tls_reload: source.flag("sslQuorumReloadCertFiles", false)?,
            sasl: QuorumSasl::read(source)?,
        };
        source.choice("electionAlg", (), &[("3", ())])?;
        ensemble.check_groups(source)?;
        ensemble.check_size(source)?;
        Ok(ensemble)
    }

    /// Every voter stands in exactly one group, as soon as there is any.
    fn check_groups(&self, source: &Source) -> Result<(), ConfigError> {
        if self.groups.is_empty() && self.weights.is_empty() {
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

    fn check_size(&self, source: &Source) -> Result<(), ConfigError> {
        let voters = self.voters().count();
        if voters <= 1 && self.members.len() > voters {
            let key = self.members.keys().next().map(|id| format!("server.{id}")).unwrap_or_default();
            return Err(source.error(&key, "observers need an ensemble of participants"));
        }
        if voters == 0 && !self.standalone_enabled && self.dynamic_file.is_none() {
            return Err(source.error("standaloneEnabled", "false needs at least one server.N=.. that votes"));
        }
        if !self.is_distributed() {
            return Ok(());
        }
        for (key, limit) in [("initLimit", self.init_limit), ("syncLimit", self.sync_limit)] {
            if limit.is_none() {
                return Err(source.error(key, "is not set, and an ensemble needs it"));
            }
        }
        Ok(())
    }
}

impl QuorumSasl {
    fn read(source: &Source) -> Result<Self, ConfigError> {
        let text = |key, default: &str| source.text(key).unwrap_or(default).to_owned();
        let sasl = Self {
            enabled: source.flag("quorum.auth.enableSasl", false)?,
            server_requires: source.flag("quorum.auth.serverRequireSasl", false)?,
            learner_requires: source.flag("quorum.auth.learnerRequireSasl", false)?,
            learner_context: text("quorum.auth.learner.saslLoginContext", "QuorumLearner"),
            server_context: text("quorum.auth.server.saslLoginContext", "QuorumServer"),
            service_principal: text("quorum.auth.kerberos.servicePrincipal", "zkquorum/localhost"),
        };
        let needs = |key, needed| Err(source.error(key, format!("needs {needed}=true")));
        match (sasl.enabled, sasl.learner_requires, sasl.server_requires) {
            (false, _, true) => needs("quorum.auth.serverRequireSasl", "quorum.auth.enableSasl"),
            (false, true, _) => needs("quorum.auth.learnerRequireSasl", "quorum.auth.enableSasl"),
            (_, false, true) => needs("quorum.auth.serverRequireSasl", "quorum.auth.learnerRequireSasl"),
            _ => Ok(sasl),
        }
    }
}

fn is_membership(key: &str) -> bool {
    ["server.", "group.", "weight."].iter().any(|prefix| key.starts_with(prefix))
}

const ROLES: [(&str, Role); 2] = [("participant", Role::Participant), ("observer", Role::Observer)];

fn read_members(
    source: &Source,
    elsewhere: bool,
    multi_address: bool,
) -> Result<BTreeMap<ServerId, Member>, ConfigError> {
    let mut members = BTreeMap::new();
    for (number, entry) in source.starting_with("server.") {
        let key = format!("server.{number}");
        if elsewhere {
            return Err(source.error(&key, "belongs into the file that dynamicConfigFile names"));
        }
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
