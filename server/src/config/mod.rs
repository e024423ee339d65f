//! `zoo.cfg` → [`Config`], checked once: in it everything is valid, and times are [`Duration`]s rather than ticks.
//! ZooKeeper's `QuorumPeerConfig`, and the system properties that its classes read one by one.
//!
//! A key of the file and the system property `zookeeper.<key>` are the same, so a deployment's file works
//! unchanged, and so does `-Dzookeeper.<key>=<value>` on the command line, which has the last word. A wrong value
//! stops the start with file, line and key; what is unknown or has no use here is in [`Config::warnings`].

mod ensemble;
mod error;
#[cfg(test)]
mod key_tests;
pub(crate) mod keys;
mod membership;
mod parts;
mod properties;
mod source;
#[cfg(test)]
mod tests;

use std::fs;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use ensemble::{Ensemble, QuorumSasl};
pub use error::{ConfigError, Warning};
pub use keys::{Effect, KEYS, Key, find};
pub use membership::{Member, Membership, PeerAddress, Role, ServerId};
pub use parts::{
    Admin, Auth, Limits, MetricsProvider, Purge, RequestThrottle, Sessions, Storage, Tls, Whitelist, Znodes,
};

pub(crate) use properties::without_keys;
use source::Source;

/// All that a server is told before it starts.
#[derive(Debug, Clone, PartialEq)]
#[doc(alias = "QuorumPeerConfig")]
#[doc(alias = "ServerConfig")]
#[doc(alias = "zoo.cfg")]
pub struct Config {
    /// Where it was read from.
    pub file: PathBuf,
    /// As it was read; the admin server shows it.
    pub text: String,
    /// From `myid` in the data directory. A lone server needs none.
    pub my_id: Option<ServerId>,
    /// Snapshots, epochs and `myid` live here.
    pub data_dir: PathBuf,
    /// The log lives here; the same as `data_dir` unless said otherwise.
    pub data_log_dir: PathBuf,
    /// Where clients connect; `None` when only a `server.N` or TLS port is given.
    pub client: Option<HostPort>,
    /// Where clients connect with TLS.
    pub secure_client: Option<HostPort>,
    /// How many connections may wait to be accepted; the system's choice where unset.
    pub listen_backlog: Option<u32>,
    /// Heartbeats and session timeouts are counted in it.
    pub tick: Duration,
    /// Timeouts and kinds of sessions.
    pub sessions: Sessions,
    /// Bounds of everything clients can have too much of.
    pub limits: Limits,
    /// Log and snapshots.
    pub storage: Storage,
    /// What znodes can be.
    pub znodes: Znodes,
    /// Who may do what.
    pub auth: Auth,
    /// Which four-letter words are answered.
    pub four_letter_words: Whitelist,
    /// HTTP for people and scripts.
    pub admin: Admin,
    /// Where metrics are shown besides `mntr`.
    pub metrics: MetricsProvider,
    /// TLS towards clients and peers, as given.
    pub tls: Tls,
    /// Reads are served while there is no leader.
    pub read_only_mode: bool,
    /// Every write leaves a line in the audit log.
    pub audit: bool,
    /// What only an ensemble needs.
    pub ensemble: Ensemble,
    /// What the operator should know, once.
    pub warnings: Vec<Warning>,
}

/// A port, and the name or address it is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// Name or address, IPv6 without brackets; `None` is every address.
    pub host: Option<String>,
    /// 0 lets the system choose.
    pub port: u16,
}

impl HostPort {
    /// The address to bind. Every address means IPv6's, which takes IPv4 too.
    ///
    /// # Errors
    /// The name does not resolve.
    pub fn resolve(&self) -> std::io::Result<SocketAddr> {
        let host = self.host.as_deref().unwrap_or("::");
        (host, self.port).to_socket_addrs()?.next().ok_or_else(|| std::io::ErrorKind::AddrNotAvailable.into())
    }
}

const EMBEDDED: &str = "\
tickTime=2000
dataDir=./data
clientPort=2181
clientPortAddress=127.0.0.1
admin.serverAddress=127.0.0.1
";

impl Config {
    /// Reads a file, the dynamic file it may name, and `myid`.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn load(path: &Path, overrides: &[(String, String)]) -> Result<Self, ConfigError> {
        let text = read(path)?;
        let mut config = Self::parse(&text, path, overrides)?;
        if let Some(dynamic) = config.ensemble.dynamic_file.clone() {
            config.ensemble.read_dynamic(&read(&dynamic)?, &dynamic)?;
            config.refuse_what_is_missing()?;
        }
        config.my_id = read_my_id(&config.data_dir)?;
        config.refuse_unnumbered()?;
        config.adopt_client_address()?;
        Ok(config)
    }

    /// Parses the text of the file at `path`, with keys that go before it. Reads nothing else.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(text: &str, path: &Path, overrides: &[(String, String)]) -> Result<Self, ConfigError> {
        let source = Source::new(text, path, overrides)?;
        let tick = source.millis("tickTime", 3000, 1)?;
        let data_dir = source.path("dataDir").ok_or_else(|| source.error("dataDir", "is not set"))?;
        let mut config = Self {
            file: path.to_owned(),
            text: text.to_owned(),
            my_id: None,
            data_log_dir: source.path("dataLogDir").unwrap_or_else(|| data_dir.clone()),
            data_dir,
            client: listen_address(&source, "clientPort", "clientPortAddress")?,
            secure_client: listen_address(&source, "secureClientPort", "secureClientPortAddress")?,
            listen_backlog: source.limit("clientPortListenBacklog", None)?,
            tick,
            sessions: Sessions::read(&source, tick)?,
            limits: Limits::read(&source)?,
            storage: Storage::read(&source)?,
            znodes: Znodes::read(&source)?,
            auth: Auth::read(&source)?,
            read_only_mode: source.flag("readonlymode.enabled", false)?,
            four_letter_words: Whitelist::read(&source)?,
            admin: Admin::read(&source)?,
            metrics: MetricsProvider::read(&source)?,
            tls: Tls::read(&source)?,
            audit: source.flag("audit.enable", false)?,
            ensemble: Ensemble::read(&source, tick)?,
            warnings: Vec::new(),
        };
        config.warnings = warnings(&source);
        if config.ensemble.dynamic_file.is_none() {
            config.refuse_what_is_missing()?; // Else it may stand in that file.
        }
        Ok(config)
    }

    /// What a server without a file does: alone, on 127.0.0.1:2181, with its data in `./data`.
    #[must_use]
    pub fn embedded_default() -> Self {
        Self::embedded(&[]).expect("the embedded default is valid")
    }

    /// The embedded default, with keys that go before it.
    ///
    /// # Errors
    /// The first thing that is wrong with those.
    pub fn embedded(overrides: &[(String, String)]) -> Result<Self, ConfigError> {
        Self::parse(EMBEDDED, Path::new("embedded default"), overrides)
    }

    /// Stops a start that could not do what its file asks for.
    fn refuse_what_is_missing(&self) -> Result<(), ConfigError> {
        let refuse = |key: &str, what: &str| {
            Err(ConfigError {
                file: self.file.clone(),
                line: None,
                key: key.to_owned(),
                what: what.to_owned(),
            })
        };
        if self.ensemble.is_distributed() {
            if self.ensemble.tls || self.ensemble.port_unification {
                return refuse("sslQuorum", "TLS is not supported yet");
            }
            if self.ensemble.sasl.enabled {
                return refuse("quorum.auth.enableSasl", "SASL is not supported yet");
            }
        }
        if self.secure_client.is_some() {
            return refuse("secureClientPort", "TLS is not supported yet");
        }
        if self.client.is_none()
            && self.ensemble.membership.members.values().all(|member| member.client.is_none())
        {
            return refuse("clientPort", "is not set");
        }
        Ok(())
    }

    /// A member must know which one it is.
    fn refuse_unnumbered(&self) -> Result<(), ConfigError> {
        if self.my_id.is_some() || !self.ensemble.is_distributed() {
            return Ok(());
        }
        let what = "holds no file myid, which says which server.N this server is".to_owned();
        Err(ConfigError { file: self.file.clone(), line: None, key: "dataDir".to_owned(), what })
    }

    /// A `server.N` of ours may say where clients connect; it must not contradict `clientPort`.
    fn adopt_client_address(&mut self) -> Result<(), ConfigError> {
        let Some(id) = self.my_id else { return Ok(()) };
        let Some(theirs) = self.ensemble.membership.members.get(&id).and_then(|member| member.client.clone())
        else {
            return Ok(());
        };
        let agree = self
            .client
            .as_ref()
            .is_none_or(|ours| ours.port == theirs.port && (ours.host.is_none() || ours.host == theirs.host));
        if !agree {
            return Err(ConfigError {
                file: self.file.clone(),
                line: None,
                key: format!("server.{id}"),
                what: "its client address is another than clientPort and clientPortAddress say".to_owned(),
            });
        }
        self.client = Some(theirs);
        Ok(())
    }
}

fn listen_address(source: &Source, port: &str, address: &str) -> Result<Option<HostPort>, ConfigError> {
    let host = source.text(address).map(str::to_owned);
    match (source.port(port, 0)?, host) {
        (None, Some(_)) => Err(source.error(address, format!("is set but {port} is not"))),
        (None, None) => Ok(None),
        (Some(port), host) => Ok(Some(HostPort { host, port })),
    }
}

/// Unknown, unused and repeated keys, each once, in the order of the file.
fn warnings(source: &Source) -> Vec<Warning> {
    let mut warnings = source.repeated().to_vec();
    for (name, entry) in source.entries() {
        let what = match find(name).map(|key| key.effect) {
            Some(Effect::Works) if source.was_asked(name) => continue,
            Some(Effect::Works) => "has no effect here".to_owned(),
            Some(Effect::Unused(why)) => format!("is not used: {why}"),
            None => "is unknown and ignored".to_owned(),
        };
        warnings.push(Warning { line: entry.line, key: name.to_owned(), what });
    }
    warnings.sort_by_key(|warning| warning.line);
    warnings
}

fn read(path: &Path) -> Result<String, ConfigError> {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(|error| ConfigError {
        file: path.to_owned(),
        line: None,
        key: String::new(),
        what: format!("cannot be read: {error}"),
    })
}

fn read_my_id(data_dir: &Path) -> Result<Option<ServerId>, ConfigError> {
    let path = data_dir.join("myid");
    if !path.is_file() {
        return Ok(None);
    }
    let text = read(&path)?;
    let line = text.lines().next().unwrap_or_default();
    let id = line.parse().map_err(|_| ConfigError {
        file: path,
        line: Some(1),
        key: String::new(),
        what: format!("{line:?} is not a server's number"),
    })?;
    Ok(Some(ServerId(id)))
}
