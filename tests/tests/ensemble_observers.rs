//! Observers of both kinds at once: they serve through the change from a leader of the one kind to one of the other,
//! their clients' sessions live on, and they make no quorum. And the same for those who reach it through followers.

use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Result, ensure};
use client::{Client, CreateMode};
use tests::ensemble::{Ensemble, Id, Kind, Mode, Plan};
use tests::tree_copy::TreeCopy;

/// Nobody's session expires.
const SESSION: Duration = Duration::from_secs(60);

const FIRST: Id = 1;
/// Of the other kind than the first leader.
const SECOND_LEADER: Id = 2;
const LEADER: Id = 3;
const OBSERVERS: [Id; 2] = [4, 5];

/// Where followers let observers through.
const OBSERVER_MASTER_PORT: u16 = 24888;

#[tokio::test]
async fn observers_of_both_kinds_go_on_from_ours_to_a_java_leader() -> Result<()> {
    Observed::start("OJO", "")?.show().await
}

#[tokio::test]
async fn observers_of_both_kinds_go_on_from_a_java_leader_to_ours() -> Result<()> {
    Observed::start("JOJ", "")?.show().await
}

#[tokio::test]
async fn observers_of_both_kinds_go_on_through_our_followers() -> Result<()> {
    Observed::through_followers("OOO")?.show_without_masters().await
}

#[tokio::test]
async fn observers_of_both_kinds_go_on_through_java_followers() -> Result<()> {
    Observed::through_followers("JJJ")?.show_without_masters().await
}

#[tokio::test]
async fn observers_of_both_kinds_go_on_through_followers_of_both_kinds_of_our_leader() -> Result<()> {
    Observed::through_followers("OJO")?.show_without_masters().await
}

#[tokio::test]
async fn observers_of_both_kinds_go_on_through_followers_of_both_kinds_of_a_java_leader() -> Result<()> {
    Observed::through_followers("JOJ")?.show_without_masters().await
}

struct Observed {
    ensemble: Ensemble,
}

impl Observed {
    fn start(voters: &str, config: &str) -> Result<Self> {
        let mut observed = Self::prepare(voters, config)?;
        observed.start_observers()?;
        Ok(observed)
    }

    /// They find all doors open.
    fn through_followers(voters: &str) -> Result<Self> {
        let mut observed = Self::prepare(voters, &format!("observerMasterPort={OBSERVER_MASTER_PORT}\n"))?;
        observed.wait_for_doors(&[FIRST, SECOND_LEADER])?;
        observed.start_observers()?;
        observed.wait_until_observed_through(&[FIRST, SECOND_LEADER])?;
        Ok(observed)
    }

    /// The voters run.
    fn prepare(voters: &str, config: &str) -> Result<Self> {
        let plan = Plan::of(&Kind::of_letters(voters)).observer(Kind::Java).observer(Kind::Ours);
        let mut ensemble = plan.config(config).prepare()?;
        // Of these two, neither of which has seen anything, the larger number leads.
        for id in [FIRST, LEADER] {
            ensemble.start(id)?;
        }
        ensemble.wait("a leader", || ensemble.leader() == Some(LEADER))?;
        ensemble.start(SECOND_LEADER)?;
        ensemble.wait_until_all_serve()?;
        Ok(Self { ensemble })
    }

    fn start_observers(&mut self) -> Result<()> {
        for id in OBSERVERS {
            self.ensemble.start(id)?;
        }
        self.ensemble.wait_until_all_serve()
    }

    async fn clients(&self) -> Result<Vec<(Id, Client)>> {
        let mut clients = Vec::new();
        for id in OBSERVERS {
            ensure!(self.ensemble.place(id).mode() == Some(Mode::Observer));
            let client = self.client(id).await?;
            client.create(&ephemeral_of(id), "", CreateMode::Ephemeral).await?;
            clients.push((id, client));
        }
        self.ensure_sessions_live(&clients, "at first").await?;
        Ok(clients)
    }

    async fn show(mut self) -> Result<()> {
        let mut clients = self.clients().await?;

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

    /// First a follower goes that lets an observer through, then the leader.
    async fn show_without_masters(mut self) -> Result<()> {
        let clients = self.clients().await?;
        let gone = if self.observers_through(FIRST) > 0 { FIRST } else { SECOND_LEADER };
        let left = FIRST + SECOND_LEADER - gone;
        self.ensemble.kill(gone)?;
        self.wait_until_observed_through(&[left])?;
        self.ensure_sessions_live(&clients, "a follower is gone").await?;
        self.ensemble.start(gone)?;
        self.ensemble.wait_until_all_serve()?;

        self.ensemble.kill(LEADER)?;
        let leader = self.ensemble.wait_for_leader_other_than(Some(LEADER))?;
        self.ensure_sessions_live(&clients, "the leader is gone").await?;
        ensure!([FIRST, SECOND_LEADER].contains(&leader));
        self.ensemble.start(LEADER)?;
        self.ensemble.wait_until_all_serve()?;
        self.ensure_sessions_live(&clients, "all are back").await?;
        for (_, client) in clients {
            client.close().await?;
        }
        self.ensure_equal().await
    }

    fn wait_for_doors(&self, followers: &[Id]) -> Result<()> {
        let is_open =
            |id: &Id| TcpStream::connect((self.ensemble.address(*id).ip(), OBSERVER_MASTER_PORT)).is_ok();
        self.ensemble.wait("the followers' doors", || followers.iter().all(is_open))
    }

    fn wait_until_observed_through(&self, followers: &[Id]) -> Result<()> {
        let count = || followers.iter().map(|id| self.observers_through(*id)).sum::<i64>();
        self.ensemble.wait(&format!("observers through {followers:?}"), || count() == 2)
    }

    fn observers_through(&self, follower: Id) -> i64 {
        self.ensemble.monitored(follower, "zk_synced_observers").unwrap_or(0)
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
        let check = |id, tree: &TreeCopy| {
            ensure!(OBSERVERS.iter().all(|id| !tree.contains_key(&ephemeral_of(*id))), "server {id}");
            Ok(())
        };
        self.ensemble.ensure_equal(check).await
    }
}

fn ephemeral_of(id: Id) -> String {
    format!("/of-{id}")
}
