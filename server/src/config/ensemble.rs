//! How members of an ensemble talk, and who they are at the start.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ConfigError;
use super::membership::{Membership, ROLES, Role, is_membership};
use super::source::Source;

/// What only an ensemble needs. A lone server carries it along.
#[derive(Debug, Clone, PartialEq)]
pub struct Ensemble {
    /// Who belongs to it when the server starts. A dynamic file's version is in its name.
    pub membership: Membership,
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
    /// Where followers let observers through to the leader, and where observers dial.
    pub observer_master_port: Option<u16>,
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
    /// Whether this server runs as one of an ensemble: more than one voter, or `standaloneEnabled=false`.
    #[must_use]
    pub fn is_distributed(&self) -> bool {
        let voters = self.membership.voters().count();
        voters > 1 || (voters == 1 && !self.standalone_enabled)
    }

    /// Takes the membership from the text of the dynamic file at `path`; the end of its name is its version.
    pub(crate) fn read_dynamic(&mut self, text: &str, path: &Path) -> Result<(), ConfigError> {
        let source = Source::new(text, path, &[])?;
        if let Some((key, _)) = source.entries().find(|(key, _)| !is_membership(key)) {
            return Err(source.error(key, "does not belong into a dynamic file"));
        }
        self.membership = Membership::read(&source, self.multi_address)?;
        let suffix = path.extension().and_then(|suffix| suffix.to_str()).unwrap_or_default();
        self.membership.version = i64::from_str_radix(suffix, 16).unwrap_or(0);
        self.membership.check_groups(&source)?;
        self.check_size(&source)
    }

    pub(super) fn read(source: &Source, tick: Duration) -> Result<Self, ConfigError> {
        let ticks = |key| Ok::<_, ConfigError>(source.limit(key, None)?.map(|n| tick * n));
        let multi_address = source.flag("multiAddress.enabled", false)?;
        let dynamic_file = source.path("dynamicConfigFile");
        if dynamic_file.is_some()
            && let Some((number, _)) = source.starting_with("server.").next()
        {
            let what = "belongs into the file that dynamicConfigFile names";
            return Err(source.error(&format!("server.{number}"), what));
        }
        let ensemble = Self {
            membership: Membership::read(source, multi_address)?,
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
            observer_master_port: source.port("observerMasterPort", 0)?.filter(|port| *port != 0),
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
        ensemble.membership.check_groups(source)?;
        if ensemble.dynamic_file.is_none() {
            ensemble.check_size(source)?;
        }
        Ok(ensemble)
    }

    fn check_size(&self, source: &Source) -> Result<(), ConfigError> {
        let voters = self.membership.voters().count();
        if !self.is_distributed() && self.membership.members.len() > voters {
            let key =
                self.membership.members.keys().next().map(|id| format!("server.{id}")).unwrap_or_default();
            return Err(source.error(&key, "observers need an ensemble of participants"));
        }
        if voters == 0 && !self.standalone_enabled {
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
