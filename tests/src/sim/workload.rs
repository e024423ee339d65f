//! Clients without connections: what they ask of the node follows from a seed.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use jute::data::{Acl, AclList, Id, perms};
use jute::multi::{MultiOp, MultiRequest};
use jute::proto::{CheckVersionRequest, CreateRequest, DeleteRequest, SetAclRequest, SetDataRequest};
use jute::{CreateMode, Jute, Op, Ustring};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use server::node::{Event, Request};
use server::session::{ConnectionId, SessionId};
use server::tree::Tree;

/// Clients at the same time.
const CLIENTS: u32 = 3;

pub(crate) struct Workload {
    dice: StdRng,
    sessions: BTreeMap<ConnectionId, SessionId>,
    xid: i32,
}

impl Workload {
    pub(crate) fn new(seed: u64) -> Self {
        Self { dice: StdRng::seed_from_u64(seed), sessions: BTreeMap::new(), xid: 0 }
    }

    pub(crate) fn connected(&mut self, connection: ConnectionId, session: SessionId) {
        self.sessions.insert(connection, session);
    }

    /// What arrives in one batch.
    pub(crate) fn events(&mut self, tree: &Tree) -> Vec<Event> {
        let mut events: Vec<_> = (0..CLIENTS)
            .map(|slot| ConnectionId { shard: 0, slot, generation: 0 })
            .filter(|connection| !self.sessions.contains_key(connection))
            .map(|connection| Event::OpenSession { connection, timeout_ms: 6000 })
            .collect();
        let clients: Vec<_> =
            self.sessions.iter().map(|(connection, session)| (*connection, *session)).collect();
        if clients.is_empty() {
            return events;
        }
        for _ in 0..self.dice.random_range(1..20) {
            let (connection, session) = clients[self.dice.random_range(0..clients.len())];
            let (op, body) = self.request(tree);
            if op == Op::CloseSession {
                self.sessions.remove(&connection);
            }
            self.xid += 1;
            events.push(Event::Write(Request {
                session,
                connection: Some(connection),
                xid: self.xid,
                op: op.code(),
                body,
                identities: Arc::new([Id::new("ip", "127.0.0.1")]),
            }));
        }
        events
    }

    fn request(&mut self, tree: &Tree) -> (Op, Bytes) {
        match self.dice.random_range(0..100) {
            0..40 => {
                let op = [Op::Create, Op::Create2][self.dice.random_range(0..2)];
                (op, self.create().to_bytes())
            }
            40..60 => (Op::SetData, self.set(tree).to_bytes()),
            60..78 => (Op::Delete, self.delete().to_bytes()),
            78..84 => {
                (Op::SetAcl, SetAclRequest { path: self.path(), acl: self.acl(), version: -1 }.to_bytes())
            }
            84..97 => {
                let ops = (0..self.dice.random_range(0..5)).map(|_| self.part(tree)).collect();
                (Op::Multi, MultiRequest { ops }.to_bytes())
            }
            97..99 => (Op::CloseSession, Bytes::new()),
            _ => (Op::Create, Bytes::from_static(b"no create")),
        }
    }

    fn part(&mut self, tree: &Tree) -> MultiOp {
        match self.dice.random_range(0..4) {
            0 => MultiOp::Create(self.create()),
            1 => MultiOp::SetData(self.set(tree)),
            2 => MultiOp::Delete(self.delete()),
            _ => MultiOp::Check(CheckVersionRequest {
                path: self.path(),
                version: self.dice.random_range(-1..2),
            }),
        }
    }

    fn create(&mut self) -> CreateRequest {
        let mode = match self.dice.random_range(0..10) {
            0..5 => CreateMode::Persistent,
            5..7 => CreateMode::PersistentSequential,
            7..9 => CreateMode::Ephemeral,
            _ => CreateMode::EphemeralSequential,
        };
        CreateRequest { path: self.path(), data: self.data(), acl: self.acl(), flags: mode.code() }
    }

    fn set(&mut self, tree: &Tree) -> SetDataRequest {
        let path = self.path();
        let current = tree.find(&path).map_or(0, |znode| znode.stat().version);
        let version = if self.dice.random_bool(0.5) { current } else { -1 };
        SetDataRequest { path, data: self.data(), version }
    }

    fn delete(&mut self) -> DeleteRequest {
        DeleteRequest { path: self.path(), version: -1 }
    }

    /// Few enough that requests meet each other.
    fn path(&mut self) -> Ustring {
        let depth = self.dice.random_range(1..4);
        let path: String = (0..depth).map(|_| format!("/{}", self.dice.random_range(0..4))).collect();
        path.into()
    }

    fn data(&mut self) -> Option<Bytes> {
        let len = self.dice.random_range(0..200);
        (len != 0).then(|| Bytes::from(vec![self.dice.random::<u8>(); len - 1]))
    }

    fn acl(&mut self) -> AclList {
        let entries = match self.dice.random_range(0..8) {
            0 => vec![Acl::new(perms::READ | perms::CREATE, "world", "anyone")],
            1 => vec![Acl::new(perms::ALL, "ip", "127.0.0.1"), Acl::new(perms::READ, "world", "anyone")],
            2 => Vec::new(),
            _ => Acl::open_unsafe(),
        };
        entries.into()
    }
}
