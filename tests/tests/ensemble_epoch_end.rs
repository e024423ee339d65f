//! Histories that come to the end of an epoch's zxids, or went past it on a lone server, are carried on by an ensemble of
//! both kinds of servers, whichever leads.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use client::{Client, CreateMode};
use jute::Jute;
use jute::data::AclList;
use jute::txn::{CreateTxn, Txn, TxnBody, TxnHeader};
use server::storage::txn_log::LogEnd;
use server::storage::{LogOptions, OsDisk, TxnLog};
use server::zab::{Epoch, Zxid};
use tests::ensemble::{Ensemble, Id, Kind, Plan};
use tests::tree_copy::TreeCopy;

/// The last of epoch 1 that an ensemble's leader gives away.
const LAST: Zxid = Zxid::new(Epoch(1), Zxid::COUNTER_MAX);
/// Each history begins with this one.
const FIRST: Zxid = Zxid::new(Epoch(1), Zxid::COUNTER_MAX - 9);
/// It has missed the last txns, or one of them.
const BEHIND: Id = 1;
/// It has them all.
const THIRD: Id = 2;
/// So has this one, which is elected.
const LEADER: Id = 3;

#[test]
fn java_carries_on_ours_from_an_epochs_last_zxid() -> Result<()> {
    EnsembleWithPast::start("OOJ", Past::Ensemble)?.show()
}

#[test]
fn ours_carries_on_javas_from_an_epochs_last_zxid() -> Result<()> {
    EnsembleWithPast::start("JJO", Past::Ensemble)?.show()
}

#[test]
fn java_carries_on_ours_after_a_lone_server_counted_into_the_next_epoch() -> Result<()> {
    EnsembleWithPast::start("OOJ", Past::LoneServer)?.show()
}

#[test]
fn ours_carries_on_javas_after_a_lone_server_counted_into_the_next_epoch() -> Result<()> {
    EnsembleWithPast::start("JJO", Past::LoneServer)?.show()
}

/// Who wrote what the servers find in their directories.
#[derive(Clone, Copy, PartialEq)]
enum Past {
    /// The whole epoch, by its leader.
    Ensemble,
    /// The last zxid of epoch 1, and the one after, which is epoch 2's beginning.
    LoneServer,
}

impl Past {
    fn last(self) -> Zxid {
        match self {
            Self::Ensemble => LAST,
            Self::LoneServer => LAST.next().next(),
        }
    }

    fn write(self, data: &Path, last: Zxid) -> Result<()> {
        let dir = data.join("version-2");
        fs::create_dir_all(&dir)?;
        let mut log = TxnLog::open(Arc::new(OsDisk), LogOptions::new(&dir), &LogEnd::default())?;
        for at in FIRST.0..=last.0 {
            log.append(Zxid(at), &create(Zxid(at))?)?;
        }
        log.sync()?;
        if self == Self::Ensemble {
            for file in ["currentEpoch", "acceptedEpoch"] {
                fs::write(dir.join(file), "1")?;
            }
        }
        Ok(())
    }
}

/// A txn that makes a znode named after its zxid.
fn create(zxid: Zxid) -> Result<bytes::Bytes> {
    let header = TxnHeader { client_id: 1, cxid: 1, zxid: zxid.0, time_ms: 7, txn_type: 1 };
    let body = CreateTxn {
        path: path_of(zxid).into(),
        data: Some("data".into()),
        acl: AclList::OPEN_UNSAFE,
        ephemeral: false,
        parent_cversion: i32::try_from(zxid.0 - FIRST.0 + 1)?,
    };
    Ok(Txn { header, body: TxnBody::Create(body), digest: None }.to_bytes())
}

fn path_of(zxid: Zxid) -> String {
    format!("/{zxid}")
}

struct EnsembleWithPast {
    ensemble: Ensemble,
    past: Past,
}

impl EnsembleWithPast {
    fn start(composition: &str, past: Past) -> Result<Self> {
        // There is no snapshot beneath the logs.
        let plan = Plan::of(&Kind::of_letters(composition)).config("snapshot.trust.empty=true\n");
        let mut ensemble = plan.prepare()?;
        for id in ensemble.ids() {
            let last = if id == BEHIND { LAST.0 - 1 } else { past.last().0 };
            past.write(&ensemble.place(id).data(), Zxid(last))?;
        }
        for id in [BEHIND, LEADER] {
            ensemble.start(id)?;
        }
        ensemble.wait("a leader", || ensemble.leader() == Some(LEADER))?;
        ensemble.start(THIRD)?;
        ensemble.wait_until_all_serve()?;
        Ok(Self { ensemble, past })
    }

    #[tokio::main(flavor = "current_thread")]
    async fn show(mut self) -> Result<()> {
        self.write_everywhere("first").await?;
        self.ensure_equal().await?;

        for id in [BEHIND, LEADER] {
            self.ensemble.kill(id)?;
            self.ensemble.wait_until_all_serve()?;
            self.write_everywhere(&format!("without-{id}")).await?;
            self.ensemble.start(id)?;
            self.ensemble.wait_until_all_serve()?;
            self.write_everywhere(&format!("with-{id}")).await?;
        }
        self.ensure_equal().await
    }

    async fn client(&self, id: Id) -> Result<Client> {
        let connected = Client::connect(&self.ensemble.address(id).to_string()).await;
        connected.with_context(|| format!("server {id}\n{}", self.ensemble.logs()))
    }

    async fn write_everywhere(&self, name: &str) -> Result<()> {
        for id in self.ensemble.ids().into_iter().filter(|id| self.ensemble.place(*id).is_running()) {
            let client = self.client(id).await?;
            let path = format!("/{name}-{id}");
            let (_, stat) = client.create_with_stat(&path, "", CreateMode::Persistent).await?;
            let (zxid, before) = (Zxid(stat.czxid), self.past.last().epoch());
            ensure!(zxid.epoch() > before && zxid.counter() < 100, "{path} was made by {zxid}");
            client.close().await?;
        }
        Ok(())
    }

    async fn ensure_equal(&self) -> Result<()> {
        let check = |id, tree: &TreeCopy| {
            for zxid in (FIRST.0..=self.past.last().0).map(Zxid) {
                ensure!(tree.contains_key(&path_of(zxid)), "server {id} has lost {zxid}");
            }
            Ok(())
        };
        self.ensemble.ensure_equal(check).await
    }
}
