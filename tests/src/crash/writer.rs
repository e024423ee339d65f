//! One client under load, whose session goes on from one life of the server to the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use client::{Acl, Client, Error, Id, SessionId, perms};
use futures::stream::{FuturesUnordered, StreamExt};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::znodes::{Found, Group, Kind, Write, Written};
use super::{Progress, SESSION_TIMEOUT};

/// Writes under way at once.
const UNDER_WAY: usize = 16;
/// So many groups of znodes are kept; then as many go as come.
const GROUPS_MAX: usize = 400;

/// A client, what it was told, and what it does next.
#[derive(Debug)]
pub struct Writer {
    number: u64,
    dice: StdRng,
    session: Option<(SessionId, Bytes)>,
    /// The session's end was asked for, and nobody knows whether it came.
    ending: bool,
    groups: BTreeMap<u64, Group>,
    /// Those of them that are not being written.
    idle: Vec<u64>,
    next_name: u64,
    zxids: Vec<i64>,
    counts: BTreeMap<&'static str, u64>,
}

impl Writer {
    pub(super) fn new(number: u64, seed: u64) -> Self {
        Self {
            number,
            dice: StdRng::seed_from_u64(seed + number),
            session: None,
            ending: false,
            groups: BTreeMap::new(),
            idle: Vec::new(),
            next_name: 0,
            zxids: Vec::new(),
            counts: BTreeMap::new(),
        }
    }

    /// The zxids that acknowledgements named since the last time.
    pub(super) fn take_zxids(&mut self) -> Vec<i64> {
        std::mem::take(&mut self.zxids)
    }

    /// How many writes of each kind were acknowledged since the last time.
    pub(super) fn take_counts(&mut self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut self.counts)
    }

    /// Several writes at once, and sometimes another session, until the connection breaks.
    pub(super) async fn write_until_killed(
        mut self,
        mut client: Client,
        servers: String,
        progress: Arc<Progress>,
    ) -> Result<Self> {
        loop {
            let writes = if self.dice.random_bool(0.3) { self.dice.random_range(1..500) } else { u64::MAX };
            if self.write(&client, writes, &progress).await? {
                // Dropped as it is, it might still end the session.
                client.detach().await.context("a session ended before the server did")?;
                return Ok(self);
            }
            if !self.end_session(&client).await {
                return Ok(self);
            }
            client = tokio::select! {
                biased;
                () = progress.killed.cancelled() => return Ok(self),
                connected = self.connect(&servers) => connected?,
            };
        }
    }

    /// With the session of the last life: the server has promised to keep it.
    pub(super) async fn connect(&mut self, servers: &str) -> Result<Client> {
        // What is asked of a server that is gone fails, and the session goes on all the same.
        let patient = Client::builder().outlast_outages(true).fail_unreachable(true);
        let builder = patient.session_timeout(SESSION_TIMEOUT);
        if let Some((id, password)) = self.session.take() {
            match builder.clone().resume(id, password).connect(servers).await {
                Err(Error::SessionExpired) if self.ending => {}
                resumed => {
                    self.ending = false;
                    let client = resumed.with_context(|| format!("session {id} is lost"))?;
                    self.session = Some((id, client.session_password()));
                    return Ok(client);
                }
            }
        }
        self.ending = false;
        let owned = self.groups.values().filter(|group| group.kind == Kind::Ephemeral).count();
        ensure!(owned == 0, "the session has gone, and {owned} of its ephemeral znodes are there");
        let client = builder.connect(servers).await?;
        self.session = Some((client.session_id(), client.session_password()));
        self.count("session opened");
        Ok(client)
    }

    /// Does `writes` writes; tells whether the connection broke.
    async fn write(&mut self, client: &Client, writes: u64, progress: &Progress) -> Result<bool> {
        let mut under_way = FuturesUnordered::new();
        let (mut left, mut broken) = (writes, false);
        loop {
            while under_way.len() < UNDER_WAY && left > 0 && !broken {
                left -= 1;
                let name = self.choose();
                let asked = self.groups[&name].send(client.clone());
                under_way.push(async move { (name, asked.await) });
            }
            let Some((name, outcome)) = under_way.next().await else { return Ok(broken) };
            match outcome {
                Ok(written) => {
                    self.acknowledge(name, written)?;
                    progress.count();
                }
                Err(error) if error.code().is_none() => broken = true,
                Err(error) => {
                    return Err(error).with_context(|| format!("refused: {:?}", self.groups[&name]));
                }
            }
        }
    }

    /// Decides on the next write: its group has it in doubt from here on.
    fn choose(&mut self) -> u64 {
        let is_full = self.groups.len() >= GROUPS_MAX;
        let name = if !self.idle.is_empty() && (is_full || self.dice.random_bool(0.6)) {
            let at = self.dice.random_range(0..self.idle.len());
            self.idle.swap_remove(at)
        } else {
            self.name_group()
        };
        self.next_name += 1;
        let data = Bytes::from(format!("{}-{}", self.number, self.next_name));
        let roll = self.dice.random_range(0..10);
        let group = self.groups.get_mut(&name).expect("idle groups and new ones are known");
        group.doubt = Some(match roll {
            _ if !group.is_there() => Write::Create(data),
            0..3 => Write::Delete,
            3..6 if group.kind != Kind::Pair => Write::SetAcl(acl(&data)),
            _ if is_full => Write::Delete,
            _ => Write::Set(data),
        });
        name
    }

    fn name_group(&mut self) -> u64 {
        self.next_name += 1;
        let kind = match self.dice.random_range(0..10) {
            0..4 => Kind::Plain,
            4..6 => Kind::Sequential,
            6..8 => Kind::Ephemeral,
            _ => Kind::Pair,
        };
        let group = Group::new(kind, &format!("{}-{}", self.number, self.next_name));
        self.groups.insert(self.next_name, group);
        self.next_name
    }

    fn acknowledge(&mut self, name: u64, written: Written) -> Result<()> {
        let group = self.groups.get_mut(&name).context("a group under way is known")?;
        let kind = group.doubt.as_ref().map_or("", |write| write.name(group.kind));
        self.zxids.extend(group.acknowledge(written)?);
        if group.is_there() {
            self.idle.push(name);
        } else {
            self.groups.remove(&name);
        }
        self.count(kind);
        Ok(())
    }

    /// Closes the session; tells whether the server said so.
    async fn end_session(&mut self, client: &Client) -> bool {
        let is_closed = client.close().await.is_ok();
        self.ending = !is_closed;
        for group in self.groups.values_mut().filter(|group| group.kind == Kind::Ephemeral) {
            group.doubt = Some(Write::Delete);
        }
        if is_closed {
            self.session = None;
            self.groups.retain(|_, group| group.kind != Kind::Ephemeral);
            self.idle.retain(|name| self.groups.contains_key(name));
            self.count("session closed");
        }
        is_closed
    }

    /// Takes this writer's znodes out of `found`, which the restarted server showed: they must be as it was told.
    pub(super) fn check(&mut self, found: &mut BTreeMap<String, Found>) -> Result<()> {
        let ephemerals = |groups: &BTreeMap<u64, Group>| {
            groups.values().filter(|group| group.kind == Kind::Ephemeral && group.is_there()).count()
        };
        let before = ephemerals(&self.groups);
        for group in self.groups.values_mut() {
            group.check(found)?;
        }
        let after = ephemerals(&self.groups);
        ensure!(
            !self.ending || after == 0 || after == before,
            "a session's end took {} of its {before} ephemeral znodes",
            before - after
        );
        self.groups.retain(|_, group| group.is_there());
        self.idle = self.groups.keys().copied().collect();
        Ok(())
    }

    fn count(&mut self, kind: &'static str) {
        *self.counts.entry(kind).or_default() += 1;
    }
}

/// Everything for everyone, and something more that tells it from others.
fn acl(name: &[u8]) -> Vec<Acl> {
    let user = format!("{}:x", String::from_utf8_lossy(name));
    let mut acl = Acl::open_unsafe();
    acl.push(Acl { perms: perms::READ, id: Id { scheme: "digest".into(), id: user.into() } });
    acl
}
