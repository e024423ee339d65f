mod ensemble;
mod full_disk;
mod multi;
mod replay;
mod sessions;
mod watching;
mod wrapping;
mod writes;

use std::sync::Arc;

use bytes::Bytes;
use jute::data::{Acl, AclList, Id, Stat, perms};
use jute::proto::*;
use jute::txn::Txn;
use jute::{ErrorCode, Jute, Op};

use super::lockstep::Lockstep;
use super::{Delivery, Event, NodeConfig, Now, ReplyBody, Request};
use crate::session::{ConnectionId, SessionId};
use crate::tree::{Tree, TreeOptions};
use crate::zab::Zxid;

/// A server in memory, and clients who speak to it one request at a time.
struct World {
    server: Lockstep,
    connections: u32,
}

/// One client: its connection and session.
#[derive(Debug, Clone)]
struct Client {
    connection: ConnectionId,
    session: SessionId,
    identities: Arc<[Id]>,
}

/// What a client gets for a write.
type Answer = Result<ReplyBody, ErrorCode>;

impl World {
    fn new() -> Self {
        Self::with(NodeConfig::default())
    }

    fn with(config: NodeConfig) -> Self {
        let tree = Tree::new(TreeOptions {
            digest: config.digests,
            extended_types: config.extended_types,
            ..TreeOptions::default()
        });
        Self { server: Lockstep::new(config, tree, Now::default()), connections: 0 }
    }

    fn connection(&mut self) -> ConnectionId {
        self.connections += 1;
        ConnectionId { shard: 0, slot: self.connections, generation: 0 }
    }

    fn client(&mut self) -> Client {
        let connection = self.connection();
        let delivered = self.server.run([Event::OpenSession { connection, timeout_ms: 10_000 }]);
        let [Delivery::Connected { session, .. }] = delivered[..] else {
            panic!("no session: {delivered:?}");
        };
        Client { connection, session, identities: [Id::new("ip", "127.0.0.1")].into() }
    }

    fn deliveries(&mut self, client: &Client, op: Op, record: &impl Jute) -> Vec<Delivery> {
        self.server.run([client.write(1, op, record)])
    }

    /// The answer to a write; whatever else is delivered, the answer comes last.
    fn ask(&mut self, client: &Client, op: Op, record: &impl Jute) -> Answer {
        let mut delivered = self.deliveries(client, op, record);
        answer_of(delivered.pop().expect("every write is answered"))
    }

    fn create(&mut self, client: &Client, path: &str) -> Answer {
        self.ask(client, Op::Create, &create(path))
    }

    fn set_data(&mut self, client: &Client, path: &str, version: i32) -> Answer {
        self.ask(client, Op::SetData, &set_data(path, "new", version))
    }

    fn delete(&mut self, client: &Client, path: &str, version: i32) -> Answer {
        self.ask(client, Op::Delete, &DeleteRequest { path: path.into(), version })
    }

    fn stat(&self, path: &str) -> Stat {
        self.server.tree.find(path).unwrap_or_else(|| panic!("no {path}")).stat()
    }

    fn has(&self, path: &str) -> bool {
        self.server.tree.find(path).is_some()
    }

    fn log(&self) -> Vec<Txn> {
        self.server.log.iter().map(|record| Txn::from_bytes(record).unwrap()).collect()
    }

    fn advance_ms(&mut self, millis: u64) {
        self.server.now.monotonic += std::time::Duration::from_millis(millis);
        self.server.now.wall_ms += i64::try_from(millis).unwrap();
    }
}

impl Client {
    fn read(&self, xid: i32, op: Op, record: &impl Jute) -> Event {
        match self.write(xid, op, record) {
            Event::Write(request) => Event::Read(request),
            other => other,
        }
    }

    fn write(&self, xid: i32, op: Op, record: &impl Jute) -> Event {
        self.write_bytes(xid, op.code(), record.to_bytes())
    }

    fn write_bytes(&self, xid: i32, op: i32, body: Bytes) -> Event {
        let Self { connection, session, identities } = self.clone();
        Event::Write(Request { session, connection: Some(connection), xid, op, body, identities })
    }

    fn known_as(&self, scheme: &str, id: &str) -> Self {
        let identities = self.identities.iter().cloned().chain([Id::new(scheme, id)]).collect();
        Self { identities, ..self.clone() }
    }
}

fn answer_of(delivery: Delivery) -> Answer {
    match delivery {
        Delivery::Reply { error: Some(error), .. } => Err(error),
        Delivery::Reply { body, .. } => Ok(body),
        other => panic!("not an answer: {other:?}"),
    }
}

fn path_of(answer: Answer) -> String {
    match answer.unwrap() {
        ReplyBody::Path(path) | ReplyBody::PathStat(path, _) => path.to_string(),
        other => panic!("no path: {other:?}"),
    }
}

fn refused(answer: Answer) -> ErrorCode {
    answer.expect_err("refused")
}

fn create(path: &str) -> CreateRequest {
    create_as(path, 0, Acl::open_unsafe())
}

fn create_as(path: &str, flags: i32, acl: Vec<Acl>) -> CreateRequest {
    CreateRequest { path: path.into(), data: Some(Bytes::from_static(b"data")), acl: acl.into(), flags }
}

fn set_data(path: &str, data: &'static str, version: i32) -> SetDataRequest {
    SetDataRequest { path: path.into(), data: Some(Bytes::from_static(data.as_bytes())), version }
}

fn only(perms: i32) -> Vec<Acl> {
    vec![Acl::new(perms, "world", "anyone")]
}
