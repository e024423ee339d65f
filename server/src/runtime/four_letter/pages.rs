//! The pages, one function each.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use crate::config::{PeerAddress, Role};
use crate::metrics::{Number, four_decimals};
use crate::runtime::{ConnectionInfo, FULL_VERSION, Mode, ServerView, java};
use crate::session::SessionId;

use super::{environment, java_address};

/// Writing into a `String` cannot fail.
macro_rules! line {
    ($page:expr, $($arg:tt)*) => {{
        let _ = writeln!($page, $($arg)*);
    }};
}

pub(super) fn envi() -> String {
    let mut page = "Environment:\n".to_owned();
    for (key, value) in environment() {
        line!(page, "{key}={value}");
    }
    page
}

pub(super) fn isro(view: &dyn ServerView) -> &'static str {
    match view.mode() {
        _ if !view.is_serving() => "null",
        Mode::ReadOnly => "ro",
        _ => "rw",
    }
}

pub(super) fn srvr(view: &dyn ServerView) -> String {
    statistics(view, "")
}

pub(super) fn stat(view: &dyn ServerView) -> String {
    let mut clients = "Clients:\n".to_owned();
    for connection in view.connections() {
        line!(clients, "{})", brief(&connection));
    }
    clients.push('\n');
    statistics(view, &clients)
}

fn statistics(view: &dyn ServerView, clients: &str) -> String {
    let of = view.statistics();
    let mut page = format!("Zookeeper version: {FULL_VERSION}\n");
    if view.mode() == Mode::ReadOnly {
        page.push_str("READ-ONLY mode; serving only read-only clients\n");
    }
    page.push_str(clients);
    let average = java::double(four_decimals(of.requests.average_ms));
    line!(page, "Latency min/avg/max: {}/{average}/{}", of.requests.min_ms, of.requests.max_ms);
    line!(page, "Received: {}", of.packets_received);
    line!(page, "Sent: {}", of.packets_sent);
    line!(page, "Connections: {}", of.connections);
    line!(page, "Outstanding: {}", of.outstanding);
    line!(page, "Zxid: {}", view.last_zxid());
    line!(page, "Mode: {}", view.mode().name());
    if let Some(reign) = view.reign() {
        let [last, min, max] = reign.proposal_bytes.map_or([-1; 3], |all| all.map(u64::cast_signed));
        line!(page, "Proposal sizes last/min/max: {last}/{min}/{max}");
    }
    line!(page, "Node count: {}", of.node_count);
    page
}

pub(super) fn cons(view: &dyn ServerView) -> String {
    let mut page = String::new();
    for connection in view.connections() {
        page.push_str(&brief(&connection));
        if connection.session.is_some() {
            page.push_str(&details(&connection));
        }
        page.push_str(")\n");
    }
    page.push('\n');
    page
}

/// Without the closing parenthesis.
fn brief(of: &ConnectionInfo) -> String {
    let address = java_address(of.peer);
    format!(
        " {address}[{:x}](queued={},recved={},sent={}",
        of.interest, of.outstanding, of.packets_received, of.packets_sent
    )
}

fn details(of: &ConnectionInfo) -> String {
    let mut text = String::new();
    let session = of.session.unwrap_or_default();
    let _ = write!(
        text,
        ",sid={session},lop={},est={},to={}",
        of.last_operation, of.established_ms, of.timeout_ms
    );
    if of.last_cxid >= 0 {
        let _ = write!(text, ",lcxid={:#x}", of.last_cxid);
    }
    let _ = write!(
        text,
        ",lzxid={:#x},lresp={},llat={},minlat={},avglat={:.0},maxlat={}",
        of.last_zxid,
        of.last_response_ms,
        of.last_latency_ms,
        of.requests.min_ms,
        of.requests.average_ms.floor(),
        of.requests.max_ms
    );
    text
}

pub(super) fn conf(view: &dyn ServerView) -> String {
    let config = view.config();
    let mut page = String::new();
    line!(page, "clientPort={}", config.client.as_ref().map_or(-1, |at| i32::from(at.port)));
    line!(page, "secureClientPort={}", config.secure_client.as_ref().map_or(-1, |at| i32::from(at.port)));
    line!(page, "dataDir={}", version_dir(&config.data_dir));
    line!(page, "dataDirSize={}", view.data_dir_bytes());
    line!(page, "dataLogDir={}", version_dir(&config.data_log_dir));
    line!(page, "dataLogSize={}", view.log_dir_bytes());
    line!(page, "tickTime={}", config.tick.as_millis());
    line!(page, "maxClientCnxns={}", config.limits.connections_per_address_max.unwrap_or(0));
    line!(page, "minSessionTimeout={}", config.sessions.timeout_min.as_millis());
    line!(page, "maxSessionTimeout={}", config.sessions.timeout_max.as_millis());
    line!(page, "clientPortListenBacklog={}", config.listen_backlog.map_or(-1, i64::from));
    let ensemble = &config.ensemble;
    let Some(me) = config.my_id.filter(|_| ensemble.is_distributed()) else {
        // A lone server has no number of its own.
        line!(page, "serverId=0");
        return page;
    };
    line!(page, "serverId={me}");
    let ticks = |limit: Option<Duration>| limit.map_or(0, |limit| limit.as_nanos() / config.tick.as_nanos());
    line!(page, "initLimit={}", ticks(ensemble.init_limit));
    line!(page, "syncLimit={}", ticks(ensemble.sync_limit));
    line!(page, "electionAlg=3");
    if let Some(member) = view.membership().members.get(&me) {
        let ports = |port: fn(&PeerAddress) -> u16| {
            let ports: Vec<_> = member.addresses.iter().map(|address| port(address).to_string()).collect();
            ports.join("|")
        };
        line!(page, "electionPort={}", ports(|address| address.election_port));
        line!(page, "quorumPort={}", ports(|address| address.quorum_port));
        line!(page, "peerType={}", i32::from(member.role == Role::Observer));
    }
    line!(page, "membership: ");
    page.push_str(&view.membership().to_text());
    page
}

/// Files live in `version-2` below the configured directory, and that is what Java shows.
pub(in crate::runtime) fn version_dir(dir: &Path) -> String {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    dir.join("version-2").display().to_string()
}

pub(super) fn dirs(view: &dyn ServerView) -> String {
    format!("datadir_size: {}\nlogdir_size: {}\n", view.data_dir_bytes(), view.log_dir_bytes())
}

pub(super) fn dump(view: &dyn ServerView) -> String {
    let mut page = "SessionTracker dump:\n".to_owned();
    let mut expiring: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for session in view.sessions() {
        expiring.entry(session.expires_ms).or_default().push(session.id.to_string());
    }
    expiry_sets(&mut page, "Session", &expiring);

    let ephemerals = view.ephemerals();
    line!(page, "ephemeral nodes dump:");
    line!(page, "Sessions with Ephemerals ({}):", ephemerals.len());
    for (session, paths) in ephemerals {
        line!(page, "{session}:");
        paths.iter().for_each(|path| line!(page, "\t{path}"));
    }

    line!(page, "Connections dump:");
    let mut expiring: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for of in view.connections() {
        let session = of.session.unwrap_or_default();
        let shown = format!("ip: {} sessionId: {session}", java_address(of.peer));
        expiring.entry(of.expires_ms).or_default().push(shown);
    }
    expiry_sets(&mut page, "Connections", &expiring);
    page
}

fn expiry_sets(page: &mut String, of: &str, expiring: &BTreeMap<i64, Vec<String>>) {
    let total: usize = expiring.values().map(Vec::len).sum();
    line!(page, "{of} Sets ({})/({total}):", expiring.len());
    for (&at, set) in expiring {
        line!(page, "{} expire at {}:", set.len(), java::date(at));
        set.iter().for_each(|one| line!(page, "\t{one}"));
    }
}

pub(super) fn hash(view: &dyn ServerView) -> String {
    let mut page = String::new();
    for (zxid, digest) in view.digests() {
        // Java shows the 64 bits as signed.
        line!(page, "{:x}: {}", zxid.0, digest.cast_signed());
    }
    page
}

pub(super) fn mntr(view: &dyn ServerView) -> String {
    let mut page = String::new();
    line!(page, "zk_version\t{FULL_VERSION}");
    line!(page, "zk_server_state\t{}", view.mode().name());
    for (name, value) in monitor_lines(view) {
        match value {
            Number::Integer(integer) => line!(page, "zk_{name}\t{integer}"),
            Number::Real(real) => line!(page, "zk_{name}\t{}", java::double(real)),
        }
    }
    page
}

/// The metrics, for `mntr` and the admin server's `monitor`.
pub(in crate::runtime) fn monitor_lines(view: &dyn ServerView) -> Vec<(String, Number)> {
    view.registry().dump(&view.gauges())
}

pub(super) fn wchs(view: &dyn ServerView) -> String {
    let watches = view.watches();
    let sessions: BTreeSet<SessionId> = watches.iter().map(|watch| watch.session).collect();
    let paths: BTreeSet<&str> = watches.iter().map(|watch| watch.path.as_str()).collect();
    format!(
        "{} connections watching {} paths\nTotal watches:{}\n",
        sessions.len(),
        paths.len(),
        watches.len()
    )
}

pub(super) fn wchc(view: &dyn ServerView) -> String {
    let mut by_session: BTreeMap<SessionId, Vec<String>> = BTreeMap::new();
    for watch in view.watches() {
        by_session.entry(watch.session).or_default().push(watch.path);
    }
    listing(by_session)
}

pub(super) fn wchp(view: &dyn ServerView) -> String {
    let mut by_path: BTreeMap<String, Vec<SessionId>> = BTreeMap::new();
    for watch in view.watches() {
        by_path.entry(watch.path).or_default().push(watch.session);
    }
    listing(by_path)
}

fn listing<K: std::fmt::Display, V: std::fmt::Display>(of: BTreeMap<K, Vec<V>>) -> String {
    let mut page = String::new();
    for (key, values) in of {
        line!(page, "{key}");
        values.iter().for_each(|value| line!(page, "\t{value}"));
    }
    page.push('\n');
    page
}
