//! An ensemble of real processes, ours and Java's mixed at will: each server has a place with an id, a directory, a
//! `zoo.cfg` and an address of its own, and another program can take over the place at any time.
//!
//! Nothing outlives the test: processes, directories and networks go when the [`Ensemble`] is dropped.

mod namespaces;
mod place;
mod subnet;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use client::Client;
use tempfile::TempDir;

use crate::process::wait_until;
use crate::tree_copy::{self, TreeCopy};
use namespaces::Namespaces;
pub use place::{Kind, Mode, Place, Role};
use subnet::Subnet;
pub use subnet::{CLIENT_PORT, ELECTION_PORT, QUORUM_PORT};

/// A JVM on a busy machine takes its time, and three of them take three times that.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A server's number, as in `server.1`.
pub type Id = u8;

/// Whether this process may make [divisible](Plan::divisible) ensembles.
#[must_use]
pub fn is_division_possible() -> bool {
    Namespaces::are_possible()
}

/// What an ensemble is to be.
#[derive(Debug, Clone)]
pub struct Plan {
    members: Vec<(Kind, Role)>,
    config: String,
    is_dynamic: bool,
    founders: usize,
    is_divisible: bool,
}

impl Plan {
    /// Participants of these kinds, numbered from 1.
    #[must_use]
    pub fn of(kinds: &[Kind]) -> Self {
        let members = kinds.iter().map(|kind| (*kind, Role::Participant)).collect();
        Self { members, config: String::new(), is_dynamic: false, founders: usize::MAX, is_divisible: false }
    }

    /// One more that does not vote.
    #[must_use]
    pub fn observer(mut self, kind: Kind) -> Self {
        self.members.push((kind, Role::Observer));
        self
    }

    /// More lines of everyone's zoo.cfg; `{host}` is each one's address.
    #[must_use]
    pub fn config(mut self, lines: &str) -> Self {
        self.config.push_str(lines);
        self
    }

    /// Members come and go by `reconfig`: the client's port stands in the line of the server.
    #[must_use]
    pub fn dynamic(mut self) -> Self {
        self.is_dynamic = true;
        self.config("reconfigEnabled=true\nstandaloneEnabled=false\n")
    }

    /// Only the first so many are members at the beginning; each of the others knows those and itself.
    #[must_use]
    pub fn founded_by(mut self, founders: usize) -> Self {
        self.founders = founders;
        self
    }

    /// Each server in a network namespace of its own, so that links between them can be cut. Needs the rights to make some.
    #[must_use]
    pub fn divisible(mut self) -> Self {
        self.is_divisible = true;
        self
    }

    /// Makes the places and writes their configuration; starts nothing.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn prepare(self) -> Result<Ensemble> {
        let dir = tempfile::Builder::new().prefix("ensemble-").tempdir()?;
        let count = u8::try_from(self.members.len())?;
        let subnet = if self.is_divisible { Subnet::divisible(count)? } else { Subnet::loopback()? };
        let members: Vec<_> = (1..).zip(&self.members).map(|(id, (kind, role))| (id, *kind, *role)).collect();
        let line = |(id, _, role): &(Id, Kind, Role)| {
            format!("server.{id}={}\n", self.server_spec(&subnet, *id, *role))
        };
        let founders: String = members.iter().take(self.founders).map(line).collect();
        let mut places = Vec::new();
        for (id, kind, role) in members {
            let place = Place::new(id, kind, role, subnet.client_address(id), dir.path());
            let is_founder = usize::from(id) <= self.founders;
            let own = if is_founder { String::new() } else { line(&(id, kind, role)) };
            place.configure(&format!("{founders}{own}"), &self.config, self.is_dynamic)?;
            places.push(place);
        }
        Ok(Ensemble { places, subnet, dir })
    }

    fn server_spec(&self, subnet: &Subnet, id: Id, role: Role) -> String {
        let (host, client) = (subnet.host(id), subnet.client_address(id));
        let mut spec = format!("{host}:{}:{}", subnet::QUORUM_PORT, subnet::ELECTION_PORT);
        if self.is_dynamic || role == Role::Observer {
            let _ = write!(spec, ":{role}");
        }
        if self.is_dynamic {
            let _ = write!(spec, ";{client}");
        }
        spec
    }

    /// All of it, running, with a leader that a quorum follows.
    ///
    /// # Errors
    /// When they don't find together in time; the error holds their logs.
    pub fn start(self) -> Result<Ensemble> {
        let mut ensemble = self.prepare()?;
        for id in ensemble.ids() {
            ensemble.start(id)?;
        }
        ensemble.wait_until_all_serve()?;
        Ok(ensemble)
    }
}

/// Servers that run, or could.
#[derive(Debug)]
pub struct Ensemble {
    // The processes go before their networks and directories do.
    places: Vec<Place>,
    subnet: Subnet,
    dir: TempDir,
}

impl Ensemble {
    /// Everyone's number.
    #[must_use]
    pub fn ids(&self) -> Vec<Id> {
        self.places.iter().map(Place::id).collect()
    }

    /// Server `id`'s place.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn place(&self, id: Id) -> &Place {
        &self.places[usize::from(id) - 1]
    }

    /// The same, to change it.
    ///
    /// # Panics
    /// If there is none.
    pub fn place_mut(&mut self, id: Id) -> &mut Place {
        &mut self.places[usize::from(id) - 1]
    }

    /// Where clients find server `id`.
    #[must_use]
    pub fn address(&self, id: Id) -> SocketAddr {
        self.place(id).address()
    }

    /// Where clients find the service: all addresses, as clients are told them.
    #[must_use]
    pub fn servers(&self) -> String {
        let all: Vec<_> = self.places.iter().map(|place| place.address().to_string()).collect();
        all.join(",")
    }

    /// A directory for what the test itself writes.
    #[must_use]
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Starts the program at place `id`, without waiting for it.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn start(&mut self, id: Id) -> Result<()> {
        let Self { places, subnet, .. } = self;
        places[usize::from(id) - 1].start(|command| subnet.inside(id, command))
    }

    /// Ends server `id` as `kill -9` does.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self, id: Id) -> Result<()> {
        self.place_mut(id).kill()
    }

    /// Has a program of another kind take over place `id`, with its directory and its configuration: the old one is
    /// stopped in good order, the new one is awaited.
    ///
    /// # Errors
    /// When the one does not end, or the other does not serve.
    pub fn replace(&mut self, id: Id, kind: Kind) -> Result<()> {
        let place = self.place_mut(id);
        place.stop()?;
        place.set_kind(kind);
        self.start(id)?;
        self.wait_until_serving(id)
    }

    /// No packet gets from `from` to `to` until [`Ensemble::heal`]; the other direction is another question.
    ///
    /// # Errors
    /// When the ensemble is not [divisible](Plan::divisible).
    pub fn cut(&self, from: Id, to: Id) -> Result<()> {
        self.subnet.cut(from, to)
    }

    /// Cuts the link between two servers, both ways. Clients go on reaching them.
    ///
    /// # Errors
    /// See [`Ensemble::cut`].
    pub fn part(&self, one: Id, other: Id) -> Result<()> {
        self.cut(one, other)?;
        self.cut(other, one)
    }

    /// Cuts all links between server `id` and the other servers, both ways.
    ///
    /// # Errors
    /// See [`Ensemble::cut`].
    pub fn isolate(&self, id: Id) -> Result<()> {
        self.ids().into_iter().filter(|other| *other != id).try_for_each(|other| self.part(id, other))
    }

    /// Mends every link that was cut.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn heal(&self) -> Result<()> {
        self.subnet.heal()
    }

    /// The server that says it leads, if one does that runs and is not paused.
    #[must_use]
    pub fn leader(&self) -> Option<Id> {
        self.places.iter().find(|place| place.mode() == Some(Mode::Leader)).map(Place::id)
    }

    /// Waits until a server leads that is not `deposed`.
    ///
    /// # Errors
    /// When none does in time.
    pub fn wait_for_leader_other_than(&self, deposed: Option<Id>) -> Result<Id> {
        let mut leader = None;
        self.wait("a leader", || {
            let others = self.places.iter().filter(|place| Some(place.id()) != deposed);
            leader = others.into_iter().find(|place| place.mode() == Some(Mode::Leader)).map(Place::id);
            leader.is_some()
        })?;
        leader.context("the condition was that there is one")
    }

    /// Waits until server `id` serves.
    ///
    /// # Errors
    /// When it does not, in time.
    pub fn wait_until_serving(&self, id: Id) -> Result<()> {
        self.wait(&format!("server {id}"), || self.place(id).mode().is_some())
    }

    /// Waits until every server that was started serves.
    ///
    /// # Errors
    /// When one does not in time.
    pub fn wait_until_all_serve(&self) -> Result<()> {
        self.wait("all servers", || {
            self.places.iter().filter(|place| place.is_running()).all(|place| place.mode().is_some())
        })
    }

    /// All servers have the same tree, which `check` accepts for each, and none has found a digest that differs.
    ///
    /// # Errors
    /// When it is not so.
    pub async fn ensure_equal(&self, check: impl Fn(Id, &TreeCopy) -> Result<()>) -> Result<()> {
        let mut first = None;
        for id in self.ids() {
            let server = self.address(id).to_string();
            let connected = Client::connect(&server).await;
            let client = connected.with_context(|| format!("server {id}\n{}", self.logs()))?;
            client.sync("/").await?;
            client.close().await?;
            let mut tree = tree_copy::read(&server).await?;
            tree.remove("/zookeeper/config"); // Each server makes it of its own zoo.cfg.
            check(id, &tree)?;
            let one = first.get_or_insert_with(|| tree.clone());
            tree_copy::ensure_equal(one, &tree).with_context(|| format!("server {id}"))?;
            let mismatches = self.monitored(id, "zk_digest_mismatches_count")?;
            ensure!(mismatches == 0, "server {id} has found {mismatches} digests that differ from its own");
        }
        Ok(())
    }

    /// Waits until `condition` holds.
    ///
    /// # Errors
    /// When it does not in time: the error holds the ends of all logs.
    pub fn wait(&self, what: &str, condition: impl FnMut() -> bool) -> Result<()> {
        let began = Instant::now();
        ensure!(
            wait_until(PATIENCE, condition),
            "waiting for {what}, in vain for {:?}\n{}",
            began.elapsed(),
            self.logs()
        );
        Ok(())
    }

    /// What is worth knowing when a test has failed.
    #[must_use]
    pub fn logs(&self) -> String {
        let mut logs = String::new();
        for place in &self.places {
            let log = place.log();
            let tail: Vec<_> = log.lines().rev().take(30).collect();
            let _ = writeln!(logs, "server {} ({}), {:?}:", place.id(), place.kind(), place.mode());
            tail.iter().rev().for_each(|line| {
                let _ = writeln!(logs, "    {line}");
            });
        }
        logs
    }

    /// A number of server `id`'s `mntr`, such as `zk_digest_mismatches_count`.
    ///
    /// # Errors
    /// When it does not answer, or knows no such number.
    pub fn monitored(&self, id: Id, name: &str) -> Result<i64> {
        crate::tree_copy::monitored(self.address(id), name).map_err(|error| anyhow!("server {id}: {error:#}"))
    }
}
