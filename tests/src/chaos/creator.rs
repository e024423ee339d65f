//! A client that creates one znode after the other, several at once, and keeps the names it was told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use client::{Client, CreateMode, Error};
use futures::stream::{FuturesUnordered, StreamExt};

use super::load::{Shared, create_directory};
use super::shown::Shown;

/// Creations under way at once.
const UNDER_WAY: usize = 4;

/// What one such client was told.
#[derive(Debug)]
pub(super) struct Creator {
    directory: String,
    /// What was written, by the name under which it was acknowledged.
    acknowledged: BTreeMap<String, u64>,
    in_doubt: BTreeSet<u64>,
}

impl Creator {
    pub(super) fn new(number: usize, root: &str) -> Self {
        let directory = format!("{root}/created/{number}");
        Self { directory, acknowledged: BTreeMap::new(), in_doubt: BTreeSet::new() }
    }

    pub(super) async fn work(mut self, shared: Arc<Shared>) -> Result<Self> {
        while !shared.stop.is_cancelled() {
            let (client, _) = shared.connect()?;
            match self.create(&client, &shared).await {
                Err(Error::SessionExpired) => shared.note_expiry(),
                Err(error) if !error.is_transient() => return Err(error).context("creating"),
                Err(_) => {}
                Ok(()) => {
                    let _ = client.close().await;
                }
            }
        }
        Ok(self)
    }

    /// Until told to stop, or the session has ended.
    async fn create(&mut self, client: &Client, shared: &Shared) -> Result<(), Error> {
        create_directory(client, &self.directory).await?;
        let mut under_way = FuturesUnordered::new();
        let mut over = None;
        loop {
            while under_way.len() < UNDER_WAY && over.is_none() && !shared.stop.is_cancelled() {
                under_way.push(create_one(client, &self.directory, shared));
            }
            let Some((value, created)) = under_way.next().await else { break };
            match created {
                Ok(path) => {
                    shared.note_acknowledged();
                    self.acknowledged.insert(path, value);
                }
                Err(error) => {
                    if error.may_have_happened() {
                        self.in_doubt.insert(value);
                    }
                    if !error.is_transient() {
                        over = Some(error);
                    }
                }
            }
        }
        over.map_or(Ok(()), Err)
    }

    /// What a server shows is what was acknowledged, and perhaps what is in doubt.
    pub(super) fn check(&self, shown: &Shown) -> Result<()> {
        for (path, value) in &self.acknowledged {
            let is = shown.get(path).map(|(data, _)| String::from_utf8_lossy(data));
            let is_kept = is.as_deref() == Some(value.to_string().as_str());
            ensure!(is_kept, "{path} was created with {value}, and is {is:?}: a write is lost");
        }
        let mut once = BTreeSet::new();
        let below = format!("{}/", self.directory);
        let others = shown.range(below.clone()..).take_while(|(path, _)| path.starts_with(&below));
        for (path, (data, _)) in others.filter(|(path, _)| !self.acknowledged.contains_key(*path)) {
            let value: u64 = std::str::from_utf8(data)?.parse()?;
            let is_in_doubt = self.in_doubt.contains(&value);
            ensure!(is_in_doubt && once.insert(value), "{path} with {value} was not created, or twice");
        }
        Ok(())
    }
}

async fn create_one(client: &Client, directory: &str, shared: &Shared) -> (u64, Result<String, Error>) {
    shared.rest().await;
    let value = shared.next_value();
    let path = format!("{directory}/n-");
    (value, client.create(&path, value.to_string(), CreateMode::PersistentSequential).await)
}
