//! The commands that only look, and the small ones that set something back. ZooKeeper's `Commands`.

use std::collections::BTreeMap;

use axum::http::Method;

use crate::config::{PeerAddress, Role, Whitelist};
use crate::metrics::{Number, four_decimals};
use crate::runtime::four_letter::{environment, monitor_lines, version_dir};
use crate::runtime::{Channel, ConnectionInfo, FULL_VERSION, Mode, RequestStats, ServerView, Statistics};

use super::json::{Json, Object};
use crate::zab::PeerState;

/// What stands behind the `?`.
pub(super) type Query = BTreeMap<String, String>;

/// A command.
#[doc(alias = "CommandBase")]
#[doc(alias = "Commands")]
pub(super) struct Command {
    /// The first is its primary name, as the answer gives it.
    pub(super) names: &'static [&'static str],
    /// Whether the server must be serving.
    pub(super) needs_serving: bool,
    /// What it does.
    pub(super) run: Run,
}

/// What a command does.
#[derive(Clone, Copy)]
pub(super) enum Run {
    /// Answers with fields.
    Answer(fn(&dyn ServerView, &Query) -> Object),
    /// Streams the tree.
    Snapshot,
    /// Takes in a tree.
    Restore,
    /// Has another server lead.
    HandOver,
}

impl Run {
    /// What changes something that matters is not to be asked for by following a link.
    pub(super) fn method(self) -> Method {
        match self {
            Self::Answer(_) | Self::Snapshot => Method::GET,
            Self::Restore | Self::HandOver => Method::POST,
        }
    }
}

impl Command {
    /// The command that is called `name`.
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        COMMANDS.iter().find(|command| command.names.contains(&name))
    }
}

const fn serving(names: &'static [&'static str], run: fn(&dyn ServerView, &Query) -> Object) -> Command {
    Command { names, needs_serving: true, run: Run::Answer(run) }
}

const fn always(names: &'static [&'static str], run: fn(&dyn ServerView, &Query) -> Object) -> Command {
    Command { names, needs_serving: false, run: Run::Answer(run) }
}

/// By their primary names, as the page of links lists them.
pub(super) static COMMANDS: &[Command] = &[
    serving(&["configuration", "conf", "config"], |view, _| configuration(view)),
    serving(&["connection_stat_reset", "crst"], |view, _| {
        view.reset_connections();
        Object::default()
    }),
    serving(&["connections", "cons"], |view, _| connections(view, Object::default(), full)),
    serving(&["dirs"], |view, _| {
        Object::default()
            .with("datadir_size", view.data_dir_bytes())
            .with("logdir_size", view.log_dir_bytes())
    }),
    serving(&["dump"], |view, _| dump(view)),
    always(&["environment", "env", "envi"], |_, _| fields(environment())),
    always(&["get_trace_mask", "gtmk"], |view, _| {
        Object::default().with("tracemask", view.trace_mask().value())
    }),
    // Ours alone. The second name is what ClickHouse Keeper calls it.
    Command { names: &["handover", "ydld"], needs_serving: true, run: Run::HandOver },
    serving(&["hash"], |view, _| digests(view)),
    serving(&["initial_configuration", "icfg"], |view, _| {
        Object::default().with("initial_configuration", view.config().text.as_str())
    }),
    serving(&["is_read_only", "isro"], |view, _| {
        Object::default().with("read_only", view.mode() == Mode::ReadOnly)
    }),
    serving(&["last_snapshot", "lsnp"], |view, _| last_snapshot(view)),
    serving(&["leader", "lead"], |view, _| leader(view)),
    always(&["monitor", "mntr"], |view, _| monitor(view)),
    serving(&["observer_connection_stat_reset", "orst"], |_, _| Object::default()),
    serving(&["observers", "obsr"], |view, _| {
        let synced = view.gauges().synced_observers.unwrap_or(0);
        Object::default().with("synced_observers", synced).with("observers", Json::List(Vec::new()))
    }),
    Command { names: &["restore", "rest"], needs_serving: true, run: Run::Restore },
    serving(&["ruok"], |_, _| Object::default()),
    serving(&["server_stats", "srvr"], |view, _| server_stats(view)),
    always(&["set_trace_mask", "stmk"], set_trace_mask),
    Command { names: &["snapshot", "snap"], needs_serving: true, run: Run::Snapshot },
    serving(&["stat_reset", "srst"], |view, _| {
        view.reset_statistics();
        Object::default()
    }),
    serving(&["stats", "stat"], |view, _| connections(view, server_stats(view), brief)),
    always(&["system_properties", "sysp"], |view, _| system_properties(view)),
    serving(&["voting_view"], |view, _| voting_view(view)),
    serving(&["watch_summary", "wchs"], |view, _| watch_summary(view)),
    serving(&["watches", "wchc"], |view, _| {
        let by_session = grouped(view.watches().into_iter().map(|w| (w.session.0, Json::from(w.path))));
        Object::default().with("session_id_to_watched_paths", by_session)
    }),
    serving(&["watches_by_path", "wchp"], |view, _| {
        let by_path = grouped(view.watches().into_iter().map(|w| (w.path, Json::from(w.session.0))));
        Object::default().with("path_to_session_ids", by_path)
    }),
    always(&["zabstate"], |view, _| zab_state(view)),
];

fn configuration(view: &dyn ServerView) -> Object {
    let config = view.config();
    let mut object = Object::default();
    if let Some(client) = &config.client {
        object.put("client_port", i64::from(client.port));
    }
    if let Some(secure) = &config.secure_client {
        object.put("secure_client_port", i64::from(secure.port));
    }
    object
        .with("data_dir", version_dir(&config.data_dir))
        .with("data_log_dir", version_dir(&config.data_log_dir))
        .with("tick_time", config.tick.as_millis())
        .with("max_client_cnxns", i64::from(config.limits.connections_per_address_max.unwrap_or(0)))
        .with("min_session_timeout", config.sessions.timeout_min.as_millis())
        .with("max_session_timeout", config.sessions.timeout_max.as_millis())
        .with("server_id", config.my_id.filter(|_| config.ensemble.is_distributed()).map_or(0, |id| id.0))
        .with("client_port_listen_backlog", config.listen_backlog.map_or(-1, i64::from))
}

/// Who leads.
fn leader(view: &dyn ServerView) -> Object {
    let Some(peer) = view.peer() else {
        return Object::default().with("error", "server is not initialized");
    };
    let membership = view.membership();
    let leader = peer.leader.and_then(|id| membership.members.get(&id));
    let host = leader.and_then(|member| member.addresses.first()).map_or("", |address| &address.host);
    Object::default()
        .with("is_leader", view.mode() == Mode::Leader)
        .with("leader_id", peer.leader.map_or(-1, |id| id.0))
        .with("leader_ip", host)
}

/// How far this server is in becoming part of a quorum.
fn zab_state(view: &dyn ServerView) -> Object {
    let Some(peer) = view.peer() else {
        return Object::default().with("voting", false).with("zabstate", "");
    };
    let config = view.config();
    let is_voter = config.my_id.is_some_and(|me| view.membership().voters().any(|id| id == me));
    let state = match peer.state {
        _ if peer.serves => "broadcast",
        PeerState::Looking => "election",
        _ => "synchronization",
    };
    Object::default()
        .with("myid", config.my_id.map_or(0, |id| id.0))
        .with("is_leader", view.mode() == Mode::Leader)
        .with("voting", is_voter)
        .with("last_zxid", view.last_zxid().to_string())
        .with("zab_epoch", i64::from(view.last_zxid().epoch().0))
        .with("zab_counter", i64::from(view.last_zxid().counter()))
        .with("zabstate", state)
}

/// Everybody who votes, and where each listens.
fn voting_view(view: &dyn ServerView) -> Object {
    let membership = view.membership();
    let is_distributed = view.config().ensemble.is_distributed();
    let voters =
        membership.members.iter().filter(|(_, member)| is_distributed && member.role == Role::Participant);
    let voters = voters.fold(Object::default(), |object, (id, member)| {
        let list = |port: fn(&PeerAddress) -> u16| -> Vec<String> {
            member.addresses.iter().map(|address| format!("{}:{}", address.host, port(address))).collect()
        };
        let client = member
            .client
            .as_ref()
            .map(|client| format!("{}:{}", client.host.as_deref().unwrap_or("0.0.0.0"), client.port));
        let voter = Object::default()
            .with("server_addresses", list(|address| address.quorum_port))
            .with("election_addresses", list(|address| address.election_port))
            .with("client_address", client.unwrap_or_default())
            .with("learner_type", "participant");
        object.with(id.to_string(), voter)
    });
    Object::default().with("current_config", voters)
}

fn connections(view: &dyn ServerView, object: Object, show: fn(&ConnectionInfo) -> Object) -> Object {
    let (plain, tls): (Vec<_>, Vec<_>) =
        view.connections().into_iter().partition(|connection| connection.channel == Channel::Plain);
    let list = |of: Vec<ConnectionInfo>| of.iter().map(show).collect::<Vec<_>>();
    object.with("connections", list(plain)).with("secure_connections", list(tls))
}

fn brief(of: &ConnectionInfo) -> Object {
    Object::default()
        .with("remote_socket_address", of.peer.to_string())
        .with("interest_ops", i64::from(of.interest))
        .with("outstanding_requests", of.outstanding)
        .with("packets_received", of.packets_received)
        .with("packets_sent", of.packets_sent)
}

fn full(of: &ConnectionInfo) -> Object {
    let RequestStats { min_ms, average_ms, max_ms } = of.requests;
    #[allow(clippy::cast_possible_truncation)] // Java cuts it off, too.
    let average_ms = average_ms as i64;
    brief(of)
        .with("session_id", of.session.unwrap_or_default().0)
        .with("last_operation", of.last_operation)
        .with("established", of.established_ms)
        .with("session_timeout", i64::from(of.timeout_ms))
        .with("last_cxid", of.last_cxid)
        .with("last_zxid", of.last_zxid)
        .with("last_response_time", of.last_response_ms)
        .with("last_latency", of.last_latency_ms)
        .with("min_latency", min_ms)
        .with("avg_latency", average_ms)
        .with("max_latency", max_ms)
}

fn dump(view: &dyn ServerView) -> Object {
    let expiring = grouped(view.sessions().into_iter().map(|s| (s.expires_ms, Json::from(s.id.0))));
    let ephemerals = view.ephemerals().into_iter();
    let ephemerals = grouped(
        ephemerals.flat_map(|(session, paths)| paths.into_iter().map(move |p| (session.0, p.into()))),
    );
    Object::default()
        .with("expiry_time_to_session_ids", expiring)
        .with("session_id_to_ephemeral_paths", ephemerals)
}

fn digests(view: &dyn ServerView) -> Object {
    /// Of the calculation that the digest comes from.
    const VERSION: i64 = 2;
    let digests = view.digests().into_iter().map(|(zxid, digest)| {
        Object::default()
            .with("zxid", zxid.0)
            .with("digest_version", VERSION)
            .with("digest", digest.cast_signed())
    });
    Object::default().with("digests", digests.collect::<Vec<_>>())
}

fn last_snapshot(view: &dyn ServerView) -> Object {
    let (zxid, seconds) = view.last_snapshot().map_or((-1, -1), |(zxid, seconds)| (zxid.0, seconds));
    Object::default().with("zxid", format!("{zxid:x}")).with("timestamp", seconds)
}

fn monitor(view: &dyn ServerView) -> Object {
    let mut object = Object::default().with("version", FULL_VERSION).with("server_state", view.mode().name());
    for (name, number) in monitor_lines(view) {
        match number {
            Number::Integer(integer) => object.push(name, integer),
            Number::Real(real) => object.push(name, real),
        }
    }
    object
}

fn server_stats(view: &dyn ServerView) -> Object {
    let of = view.statistics();
    Object::default()
        .with("version", FULL_VERSION)
        .with("read_only", view.mode() == Mode::ReadOnly)
        .with("server_stats", statistics(view, &of))
        .with("client_response", response_sizes(&of))
        .with("node_count", of.node_count)
}

fn statistics(view: &dyn ServerView, of: &Statistics) -> Object {
    Object::default()
        .with("packets_sent", of.packets_sent)
        .with("packets_received", of.packets_received)
        .with("fsync_threshold_exceed_count", of.slow_syncs)
        .with("client_response_stats", response_sizes(of))
        .with("data_dir_size", view.data_dir_bytes())
        .with("log_dir_size", view.log_dir_bytes())
        .with("provider_null", false)
        .with("server_state", view.mode().name())
        .with("last_processed_zxid", view.last_zxid().0)
        .with("outstanding_requests", of.outstanding)
        .with("avg_latency", four_decimals(of.requests.average_ms))
        .with("max_latency", of.requests.max_ms)
        .with("min_latency", of.requests.min_ms)
        .with("num_alive_client_connections", of.connections)
        .with("uptime", of.uptime.as_millis())
        .with("auth_failed_count", of.auth_failures)
        .with("non_mtlsremote_conn_count", 0i64)
        .with("non_mtlslocal_conn_count", 0i64)
}

fn response_sizes(of: &Statistics) -> Object {
    let [last, min, max] =
        of.response_bytes.map_or([-1; 3], |sizes| sizes.map(|size| i64::try_from(size).unwrap_or(i64::MAX)));
    Object::default().with("last_buffer_size", last).with("min_buffer_size", min).with("max_buffer_size", max)
}

fn set_trace_mask(view: &dyn ServerView, query: &Query) -> Object {
    const WANTED: &str = "setTraceMask requires long traceMask argument";
    let Some(text) = query.get("traceMask") else { return Object::default().with("error", WANTED) };
    match text.parse::<i64>() {
        Ok(mask) => {
            view.trace_mask().set(mask);
            Object::default().with("tracemask", mask)
        }
        Err(_) => Object::default().with("error", format!("{WANTED}, got {text}")),
    }
}

/// There are no system properties: shown are those of a Java server that tools look for.
fn system_properties(view: &dyn ServerView) -> Object {
    let config = view.config();
    let words = match &config.four_letter_words {
        Whitelist::All => "*".to_owned(),
        Whitelist::Only(words) => words.iter().cloned().collect::<Vec<_>>().join(","),
    };
    Object::default()
        .with("java.version", "none (native)")
        .with("zookeeper.4lw.commands.whitelist", words)
        .with("zookeeper.admin.serverPort", config.admin.address.port.to_string())
}

fn watch_summary(view: &dyn ServerView) -> Object {
    let watches = view.watches();
    let count = |mut keys: Vec<&str>| {
        keys.sort_unstable();
        keys.dedup();
        keys.len() as u64
    };
    let mut sessions: Vec<_> = watches.iter().map(|watch| watch.session).collect();
    sessions.sort_unstable();
    sessions.dedup();
    Object::default()
        .with("num_connections", sessions.len() as u64)
        .with("num_paths", count(watches.iter().map(|watch| watch.path.as_str()).collect()))
        .with("num_total_watches", watches.len() as u64)
}

fn fields(of: Vec<(&'static str, String)>) -> Object {
    of.into_iter().fold(Object::default(), |object, (key, value)| object.with(key, value))
}

/// Values of the same key become a list.
fn grouped<K: Ord + ToString>(pairs: impl Iterator<Item = (K, Json)>) -> Object {
    let mut groups: BTreeMap<K, Vec<Json>> = BTreeMap::new();
    for (key, value) in pairs {
        groups.entry(key).or_default().push(value);
    }
    groups.into_iter().fold(Object::default(), |mut object, (key, values)| {
        object.push(key.to_string(), Json::List(values));
        object
    })
}
