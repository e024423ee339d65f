//! A server's machine, the rim that a trace needs around it, and its clients.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::{Bytes, BytesMut};
use jute::Op;
use jute::data::Id;
use parking_lot::Mutex;
use server::node::{Action, Delivery, Event, Node, NodeConfig, Now, Request};
use server::pipeline::gate::{Gate, Lane};
use server::pipeline::read::{self, Reader};
use server::session::{ConnectionId, SessionId};
use server::tree::{Tree, TreeOptions};
use server::watch::Watches;

use super::command::{Command, Deed};
use super::trace::{self, Names};

/// The name of the one server in a trace.
const SERVER: &str = "zk";
/// A Monday morning, for ctime and mtime.
const BEGINNING_MS: i64 = 1_700_000_000_000;

/// One server and its clients.
pub(super) struct World {
    config: NodeConfig,
    node: Node,
    tree: Tree,
    watches: Mutex<Watches>,
    now: Now,
    clients: BTreeMap<String, Client>,
    names: Names,
    /// What arrived since the last batch, in order.
    events: Vec<Event>,
    trace: Vec<String>,
}

/// A connection, and the session on it.
struct Client {
    connection: ConnectionId,
    session: Option<(SessionId, Bytes)>,
    timeout_ms: i32,
    next_xid: i32,
    /// What its requests in the node are.
    gate: Gate<Op>,
}

impl World {
    pub(super) fn new() -> Self {
        let config = NodeConfig { extended_types: true, ..NodeConfig::default() };
        let tree = Tree::new(TreeOptions { extended_types: true, ..TreeOptions::default() });
        let now = Now { monotonic: Duration::ZERO, wall_ms: BEGINNING_MS };
        Self {
            node: Node::new(config.clone(), &tree, now),
            config,
            tree,
            watches: Mutex::default(),
            now,
            clients: BTreeMap::new(),
            names: Names::default(),
            events: Vec::new(),
            trace: Vec::new(),
        }
    }

    /// A command arrives. Reads that nothing holds up are answered; all else waits for the batch.
    pub(super) fn arrive(&mut self, command: Command) -> Result<()> {
        match command {
            Command::Of(who, deed) => self.on_deed(&who, deed)?,
            Command::LogRoom(room) => self.events.push(Event::LogRoom(room)),
            Command::Wait(time) => self.wait(time),
            Command::Restart => self.restart(),
        }
        Ok(())
    }

    /// Takes all that has arrived through the machine, until nothing more comes of it. The trace since the last time.
    pub(super) fn settle(&mut self) -> Vec<String> {
        while !self.events.is_empty() {
            self.run_batch();
        }
        std::mem::take(&mut self.trace)
    }

    fn on_deed(&mut self, who: &str, deed: Deed) -> Result<()> {
        match deed {
            Deed::Connect { timeout_ms } => {
                let connection = self.new_connection(who, None, timeout_ms);
                self.events.push(Event::OpenSession { connection, timeout_ms });
            }
            Deed::Resume { of } => {
                let client = self.client(of.as_deref().unwrap_or(who))?;
                let (known, timeout_ms) = (client.session.clone(), client.timeout_ms);
                let (session, password) = known.clone().context("it has no session")?;
                let connection = self.new_connection(who, known, timeout_ms);
                self.events.push(Event::RenewSession { connection, session, password, timeout_ms });
            }
            Deed::Drop => {
                let connection = self.client(who)?.connection;
                self.events.push(Event::Disconnected { connection });
            }
            Deed::Ping => {
                let session = self.session_of(who)?;
                self.events.push(Event::Touched(vec![session]));
            }
            Deed::Ask(op, body) => self.on_ask(who, op, body)?,
        }
        Ok(())
    }

    fn on_ask(&mut self, who: &str, op: Op, body: Bytes) -> Result<()> {
        let session = self.session_of(who)?;
        let client = self.clients.get_mut(who).context("nobody")?;
        let xid = client.next_xid;
        client.next_xid += 1;
        let identities: Arc<[Id]> = Arc::new([Id::new("ip", "127.0.0.1")]);
        let (connection, lane) = (client.connection, Lane::of(op.code()));
        if lane == Lane::Read && client.gate.is_open() {
            let schemes = &self.config.schemes;
            let reader = Reader { connection, session, identities: &identities, schemes };
            let mut out = BytesMut::new();
            read::answer(&self.tree, &self.watches, reader, xid, op.code(), &body, &mut out);
            self.tell(format!("   read {who}#{xid} {}", trace::request(op.code(), &body)));
            for line in trace::frames(&out.freeze(), who, op) {
                self.tell(format!("-> {line}"));
            }
            return Ok(());
        }
        client.gate.enter(op);
        let request = Request { session, connection: Some(connection), xid, op: op.code(), body, identities };
        self.events.push(match lane {
            Lane::Read => Event::Read(request),
            Lane::Write => Event::Write(request),
        });
        Ok(())
    }

    /// What `runtime`'s driver does with a batch.
    fn run_batch(&mut self) {
        let mut appended = None;
        for event in std::mem::take(&mut self.events) {
            for action in self.step(event) {
                if let Action::Append { zxid, .. } = action {
                    appended = Some(zxid);
                }
            }
        }
        if let Some(zxid) = appended {
            self.tell("   fdatasync".to_owned());
            self.step(Event::Persisted(zxid));
        }
        let before = self.tree.last_zxid();
        let mut actions = Vec::new();
        self.node.apply(&mut self.tree, self.watches.get_mut(), &mut actions);
        if before < self.tree.last_zxid() {
            self.tell(format!("   apply up to {}", self.tree.last_zxid()));
        }
        self.carry_out(&actions);
    }

    fn step(&mut self, event: Event) -> Vec<Action> {
        self.tell(format!("<- {}", trace::event(&event, &self.names)));
        let mut actions = Vec::new();
        self.node.step(event, self.now, &self.tree, &mut actions);
        self.carry_out(&actions);
        actions
    }

    fn carry_out(&mut self, actions: &[Action]) {
        for action in actions {
            if let Action::Deliver(delivery) = action {
                self.deliver(delivery);
            }
            if let Some(line) = trace::action(action, &self.names) {
                self.tell(format!("-> {line}"));
            }
        }
    }

    fn deliver(&mut self, delivery: &Delivery) {
        match delivery {
            Delivery::Connected { connection, session, timeout_ms, password, .. } => {
                let who = self.names.connection(*connection).to_owned();
                self.names.add_session(*session, &who);
                if let Some(client) = self.clients.get_mut(&who) {
                    client.session = Some((*session, Bytes::copy_from_slice(password)));
                    client.timeout_ms = *timeout_ms;
                }
            }
            Delivery::Reply { connection, close, .. } => {
                self.answered(*connection);
                if *close {
                    self.watches.lock().drop_connection(*connection);
                }
            }
            Delivery::Answer { connection, frames, .. } => {
                let op = self.answered(*connection);
                let who = self.names.connection(*connection).to_owned();
                for line in trace::frames(frames, &who, op) {
                    self.tell(format!("-> {line}"));
                }
            }
            Delivery::Close { connection } | Delivery::Expired { connection } => {
                self.watches.lock().drop_connection(*connection);
            }
            Delivery::Notification { .. } => {}
        }
    }

    /// The node has answered the connection's oldest request: which it was.
    fn answered(&mut self, connection: ConnectionId) -> Op {
        let client = self.clients.values_mut().find(|client| client.connection == connection);
        client.and_then(|client| client.gate.leave()).expect("only what was asked is answered")
    }

    /// Jumps from one thing that is due to the next.
    fn wait(&mut self, time: Duration) {
        let until = self.now.monotonic + time;
        while let Some(due) = self.node.deadline().filter(|due| *due <= until) {
            self.advance_to(due.max(self.now.monotonic));
            let before = self.trace.len();
            self.events.push(Event::Tick);
            self.run_batch();
            if self.trace.len() == before + 1 {
                self.trace.pop(); // A tick of which nothing came.
            }
        }
        self.advance_to(until);
    }

    fn advance_to(&mut self, monotonic: Duration) {
        self.now.wall_ms += i64::try_from((monotonic - self.now.monotonic).as_millis()).unwrap_or_default();
        self.now.monotonic = monotonic;
    }

    fn restart(&mut self) {
        self.node = Node::new(self.config.clone(), &self.tree, self.now);
        self.watches = Mutex::default();
    }

    fn new_connection(
        &mut self,
        who: &str,
        session: Option<(SessionId, Bytes)>,
        timeout_ms: i32,
    ) -> ConnectionId {
        let connection = self.names.add_connection(who);
        let next_xid = self.clients.get(who).map_or(1, |client| client.next_xid);
        let client = Client { connection, session, timeout_ms, next_xid, gate: Gate::default() };
        self.clients.insert(who.to_owned(), client);
        connection
    }

    fn client(&self, who: &str) -> Result<&Client> {
        self.clients.get(who).with_context(|| format!("{who} has no session"))
    }

    fn session_of(&self, who: &str) -> Result<SessionId> {
        let session = self.client(who)?.session.as_ref();
        ensure!(session.is_some(), "{who} has no session");
        Ok(session.map_or(SessionId(0), |(id, _)| *id))
    }

    fn tell(&mut self, line: String) {
        let at = match self.now.monotonic.as_millis() {
            0 => String::new(),
            millis => format!(" at {millis} ms"),
        };
        let at = if line == "<- Tick" { at } else { String::new() };
        self.trace.push(format!("{SERVER} {line}{at}"));
    }
}
