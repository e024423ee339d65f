//! A server to look at, with the same content as the Java server had whose answers the tests expect.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;

use super::four_letter::TraceMask;
use super::{
    Channel, ConnectionInfo, Mode, NotHandedOver, Refusal, RequestStats, ServerView, SessionInfo, Snapshot,
    Statistics, Watch,
};
use crate::config::{Config, Membership, ServerId};
use crate::metrics::{Gauges, Registry};
use crate::session::SessionId;
use crate::zab::Zxid;

pub(super) const FIRST: SessionId = SessionId(0x0100_004e_1f9f_0000);
pub(super) const SECOND: SessionId = SessionId(0x0100_004e_1f9f_0001);
const EXPIRES_MS: i64 = 1_795_239_694_000;

pub(super) struct TestView {
    pub(super) config: Config,
    pub(super) registry: Registry,
    pub(super) serving: AtomicBool,
    pub(super) resets: AtomicU32,
    pub(super) trace_mask: TraceMask,
    pub(super) restored: Mutex<Vec<u8>>,
    /// Who is there to lead.
    pub(super) successor: Option<ServerId>,
}

impl TestView {
    pub(super) fn new(more: &str) -> Self {
        let text =
            format!("tickTime=2000\ndataDir=/tmp/data\nclientPort=21400\n4lw.commands.whitelist=*\n{more}");
        Self {
            config: Config::parse(&text, Path::new("zoo.cfg"), &[]).unwrap(),
            registry: Registry::default(),
            serving: AtomicBool::new(true),
            resets: AtomicU32::new(0),
            trace_mask: TraceMask::default(),
            restored: Mutex::default(),
            successor: None,
        }
    }
}

fn connection(port: u16, session: Option<SessionId>) -> ConnectionInfo {
    ConnectionInfo {
        peer: ([127, 0, 0, 1], port).into(),
        channel: Channel::Plain,
        interest: u8::from(session.is_some()),
        outstanding: 0,
        packets_received: 9,
        packets_sent: 8,
        established_ms: 1_795_239_682_726,
        expires_ms: EXPIRES_MS,
        session,
        timeout_ms: 10_000,
        last_operation: "GETD",
        last_cxid: 8,
        last_zxid: 5,
        last_response_ms: 5_168_428,
        last_latency_ms: 0,
        requests: RequestStats { min_ms: 0, average_ms: 1.4, max_ms: 3 },
    }
}

impl ServerView for TestView {
    fn config(&self) -> &Config {
        &self.config
    }

    fn membership(&self) -> Arc<Membership> {
        Arc::new(self.config.ensemble.membership.clone())
    }

    fn registry(&self) -> &Registry {
        &self.registry
    }

    fn gauges(&self) -> Gauges {
        Gauges { avg_latency: 1.0, znode_count: 8, ..Gauges::default() }
    }

    fn is_serving(&self) -> bool {
        self.serving.load(Relaxed)
    }

    fn mode(&self) -> Mode {
        Mode::Standalone
    }

    fn last_zxid(&self) -> Zxid {
        Zxid(5)
    }

    fn statistics(&self) -> Statistics {
        Statistics {
            requests: RequestStats { min_ms: 0, average_ms: 1.0, max_ms: 3 },
            packets_received: 21,
            packets_sent: 20,
            connections: 3,
            node_count: 8,
            uptime: Duration::from_millis(48_891),
            ..Statistics::default()
        }
    }

    fn reset_statistics(&self) {
        self.resets.fetch_add(1, Relaxed);
    }

    fn connections(&self) -> Vec<ConnectionInfo> {
        vec![connection(42_480, Some(FIRST)), connection(42_514, None), connection(42_486, Some(SECOND))]
    }

    fn reset_connections(&self) {
        self.resets.fetch_add(100, Relaxed);
    }

    fn sessions(&self) -> Vec<SessionInfo> {
        [SECOND, FIRST].map(|id| SessionInfo { id, expires_ms: EXPIRES_MS }).to_vec()
    }

    fn ephemerals(&self) -> BTreeMap<SessionId, Vec<String>> {
        BTreeMap::from([(FIRST, vec!["/app/e".to_owned()])])
    }

    fn watches(&self) -> Vec<Watch> {
        [("/app/x", SECOND), ("/app/x", FIRST), ("/nope", SECOND)]
            .map(|(path, session)| Watch { path: path.to_owned(), session })
            .to_vec()
    }

    fn digests(&self) -> Vec<(Zxid, u64)> {
        vec![(Zxid(128), u64::MAX - 4)]
    }

    fn data_dir_bytes(&self) -> u64 {
        67_109_337
    }

    fn log_dir_bytes(&self) -> u64 {
        67_109_338
    }

    fn last_snapshot(&self) -> Option<(Zxid, i64)> {
        Some((Zxid(0x1f), 1_795_239_634))
    }

    fn trace_mask(&self) -> &TraceMask {
        &self.trace_mask
    }

    fn authorize(&self, _: IpAddr, scheme: &str, auth: Option<&[u8]>) -> Result<(), Refusal> {
        match (scheme, auth) {
            ("digest", Some(b"root:secret")) => Ok(()),
            ("digest", _) => Err(Refusal::NotAuthorized),
            _ => Err(Refusal::NotAuthenticated),
        }
    }

    fn snapshot(&self) -> io::Result<Snapshot> {
        let content = b"ZKSN and so on".as_slice();
        Ok(Snapshot { zxid: Zxid(5), bytes: content.len() as u64, content: Box::new(content) })
    }

    fn restore(&self, snapshot: &mut dyn Read) -> io::Result<Zxid> {
        let mut restored = self.restored.lock();
        restored.clear();
        snapshot.read_to_end(&mut restored)?;
        if restored.starts_with(b"ZKSN") {
            Ok(Zxid(5))
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "not a snapshot"))
        }
    }
    fn hand_over(&self) -> Result<ServerId, NotHandedOver> {
        self.successor.ok_or(NotHandedOver::NotLeading)
    }
}
