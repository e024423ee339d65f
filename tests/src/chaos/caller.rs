//! A client whose every call is written down, with its answer, on a few znodes that all callers use at the same time.

use std::sync::Arc;

use anyhow::{Context, Result};
use client::{Client, CreateMode, Error, ErrorCode, Stat, Znode};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::history::{Answer, Op};
use super::load::{Fence, Shared};

/// Znodes in use at the same time.
const ZNODES: usize = 3;
/// So many calls, then others are used: a search through a long history takes for ever.
const CALLS: usize = 150;

/// One such client.
#[derive(Debug)]
pub(super) struct Caller {
    dice: StdRng,
    shared: Arc<Shared>,
    client: Client,
    session: usize,
    fence: String,
    /// The version that it saw last, and of which znode.
    last: (String, i32),
}

impl Caller {
    pub(super) fn new(number: usize, shared: Arc<Shared>) -> Result<Self> {
        let (client, session) = shared.connect()?;
        let dice = StdRng::seed_from_u64(shared.settings.seed + number as u64);
        let fence = shared.fence(number);
        Ok(Self { dice, shared, client, session, fence, last: Default::default() })
    }

    pub(super) async fn work(mut self) -> Result<()> {
        while !self.shared.stop.is_cancelled() {
            self.shared.rest().await;
            let op = self.choose();
            match self.call(&op.0, op.1).await {
                Err(Error::SessionExpired) => {
                    self.shared.note_expiry();
                    (self.client, self.session) = self.shared.connect()?;
                }
                Err(error) if !error.is_transient() => return Err(error).context("calling"),
                _ => {}
            }
        }
        // Servers that are slow to answer this have nothing to do with what was asked before.
        let _ = self.client.close().await;
        Ok(())
    }

    fn choose(&mut self) -> (String, Op) {
        let window = self.shared.next_call() / CALLS;
        let znode = format!("{}/registers/{window}-{}", self.shared.root, self.dice.random_range(0..ZNODES));
        let is_new = self.last.0 != znode;
        let op = match self.dice.random_range(0..10) {
            _ if is_new && self.dice.random_bool(0.5) => Op::Create(self.shared.next_value()),
            0..3 => Op::Set(self.shared.next_value(), None),
            3..5 if !is_new => Op::Set(self.shared.next_value(), Some(self.last.1)),
            5..7 => Op::GetLatest,
            _ => Op::Get,
        };
        (znode, op)
    }

    /// Asks, and writes down the question and its answer.
    async fn call(&mut self, znode: &str, op: Op) -> Result<(), Error> {
        let call = self.shared.history.lock().invoke(self.session, znode, op);
        let told = self.ask(znode, op).await;
        let mut history = self.shared.history.lock();
        match told {
            Ok((answer, stat)) => {
                history.answer(call, answer, Some(stat.mzxid));
                self.last = (znode.to_owned(), stat.version);
                if let Answer::Written(_) = answer {
                    self.shared.note_acknowledged();
                }
                Ok(())
            }
            Err(error) => {
                let refused = match error.code() {
                    Some(ErrorCode::NoNode) => Answer::NoNode,
                    Some(ErrorCode::NodeExists) => Answer::NodeExists,
                    Some(ErrorCode::BadVersion) => Answer::BadVersion,
                    _ => {
                        if !error.may_have_happened() {
                            history.nothing_happened(call);
                        }
                        return Err(error);
                    }
                };
                history.answer(call, refused, None);
                // It is there now, with some version.
                self.last.0 = znode.to_owned();
                Ok(())
            }
        }
    }

    /// Has the next read see all that is acknowledged.
    async fn fence(&self, znode: &str) -> Result<(), Error> {
        let syncs = || self.shared.settings.fence == Fence::Sync && !self.shared.is_at_javas(&self.client);
        if syncs() {
            self.client.sync(znode).await?;
            if syncs() {
                return Ok(()); // And it has not moved on meanwhile.
            }
        }
        self.client.set(&self.fence, "", None).await.map(drop)
    }

    async fn ask(&self, znode: &str, op: Op) -> Result<(Answer, Stat), Error> {
        let written = |stat: Stat| (Answer::Written(stat.version), stat);
        match op {
            Op::Create(value) => {
                let created = self.client.create_with_stat(znode, value.to_string(), CreateMode::Persistent);
                created.await.map(|(_, stat)| written(stat))
            }
            Op::Set(value, version) => self.client.set(znode, value.to_string(), version).await.map(written),
            Op::Get => self.client.get(znode).await.map(shown),
            Op::GetLatest => {
                self.fence(znode).await?;
                self.client.get(znode).await.map(shown)
            }
        }
    }
}

fn shown(znode: Znode) -> (Answer, Stat) {
    let value = std::str::from_utf8(&znode.data).ok().and_then(|text| text.parse().ok());
    // What was never written is nobody's value, and the history says so.
    (Answer::Is(value.unwrap_or(u64::MAX), znode.stat.version), znode.stat)
}
