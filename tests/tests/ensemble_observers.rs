//! Observers of both kinds at once: they serve through the change from a leader of the one kind to one of the other,
//! their clients' sessions live on, and they make no quorum.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use client::{Client, CreateMode};
use tests::ensemble::{Ensemble, Id, Kind, Mode, Plan};
use tests::tree_copy;

/// Nobody's session expires.
const SESSION: Duration = Duration::from_secs(60);

const FIRST: Id = 1;
/// Of the other kind than the first leader.
const SECOND_LEADER: Id = 2;
const LEADER: Id = 3;
const OBSERVERS: [Id; 2] = [4, 5];

#[tokio::test]
async fn observers_of_both_kinds_go_on_from_ours_to_a_java_leader() -> Result<()> {
    Observed::start("OJO")?.show().await
}

#[tokio::test]
async fn observers_of_both_kinds_go_on_from_a_java_leader_to_ours() -> Result<()> {
    Observed::start("JOJ")?.show().await
}

struct Observed {
    ensemble: Ensemble,
}

impl Observed {
    fn start(voters: &str) -> Result<Self> {
        let plan = Plan::of(&Kind::of_letters(voters)).observer(Kind::Java).observer(Kind::Ours);
        let mut ensemble = plan.prepare()?;
        // Of these two, neither of which has seen anything, the larger number leads.
        for id in [FIRST, LEADER] {
            ensemble.start(id)?;
        }
        ensemble.wait("a leader", || ensemble.leader() == Some(LEADER))?;
        for id in [SECOND_LEADER].into_iter().chain(OBSERVERS) {
            ensemble.start(id)?;
        }
        ensemble.wait_until_all_serve()?;
        Ok(Self { ensemble })
    }

    async fn show(mut self) -> Result<()> {
        let mut clients = Vec::new();
        for id in OBSERVERS {
            ensure!(self.ensemble.place(id).mode() == Some(Mode::Observer));
            let client = self.client(id).await?;
            client.create(&ephemeral_of(id), "", CreateMode::Ephemeral).await?;
            clients.push((id, client));
        }
        self.ensure_sessions_live(&clients, "at first").await?;

        self.ensemble.kill(LEADER)?;
        self.ensemble.wait("the other to lead", || self.ensemble.leader() == Some(SECOND_LEADER))?;
        self.ensure_sessions_live(&clients, "the leader is gone").await?;

        // Three of five servers, of which one votes.
        self.ensemble.kill(FIRST)?;
        let left = [SECOND_LEADER].into_iter().chain(OBSERVERS);
        self.ensemble
            .wait("them to give up", || left.clone().all(|id| self.ensemble.place(id).mode().is_none()))?;
        for id in [FIRST, LEADER] {
            self.ensemble.start(id)?;
        }
        self.ensemble.wait_until_all_serve()?;
        self.ensure_sessions_live(&clients, "all are back").await?;

        // From the one kind of observer to the other, and what each owns goes along.
        let [one, other] = OBSERVERS;
        for (id, client) in &mut clients {
            let elsewhere = if *id == one { other } else { one };
            let (session, password) = std::mem::replace(client, self.client(FIRST).await?).detach().await?;
            let builder = Client::builder().session_timeout(SESSION).resume(session, password);
            *client = builder.connect(&self.ensemble.address(elsewhere).to_string()).await?;
        }
        self.ensure_sessions_live(&clients, "they moved").await?;
        for (_, client) in clients {
            client.close().await?;
        }
        self.ensure_equal().await
    }

    async fn client(&self, at: Id) -> Result<Client> {
        let address = self.ensemble.address(at).to_string();
        Ok(Client::builder().session_timeout(SESSION).connect(&address).await?)
    }

    /// Each writes through its observer, and has its znode.
    async fn ensure_sessions_live(&self, clients: &[(Id, Client)], when: &str) -> Result<()> {
        for (id, client) in clients {
            let path = ephemeral_of(*id);
            while let Err(error) = client.set(&path, when.to_owned(), None).await {
                ensure!(
                    error.is_transient(),
                    "client of server {id}, {when}: {error}\n{}",
                    self.ensemble.logs()
                );
            }
            let stat = client.get(&path).await?.stat;
            ensure!(stat.ephemeral_owner == client.session_id().0, "client of server {id}, {when}: {stat:?}");
        }
        Ok(())
    }

    async fn ensure_equal(&self) -> Result<()> {
        let mut first = None;
        for id in self.ensemble.ids() {
            let client = self.client(id).await?;
            client.sync("/").await?;
            client.close().await?;
            let mut tree = tree_copy::read(&self.ensemble.address(id).to_string()).await?;
            tree.remove("/zookeeper/config"); // Each server makes it of its own zoo.cfg.
            ensure!(OBSERVERS.iter().all(|id| !tree.contains_key(&ephemeral_of(*id))), "server {id}");
            let one = first.get_or_insert_with(|| tree.clone());
            tree_copy::ensure_equal(one, &tree).with_context(|| format!("server {id}"))?;
            let mismatches = self.ensemble.monitored(id, "zk_digest_mismatches_count")?;
            ensure!(mismatches == 0, "server {id} has found {mismatches} digests that differ from its own");
        }
        Ok(())
    }
}

fn ephemeral_of(id: Id) -> String {
    format!("/of-{id}")
}
