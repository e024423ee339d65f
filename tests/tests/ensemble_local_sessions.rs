//! Local sessions in ensembles of both kinds: a session is its server's alone, until it makes an ephemeral znode where
//! that is allowed. Java's servers are held to the same claims as ours.

use anyhow::{Result, ensure};
use client::{Client, CreateMode, Error, ErrorCode};
use tests::ensemble::{Ensemble, Id, Kind, PATIENCE, Plan};

#[test]
fn sessions_are_upgraded_at_every_server_of_ours() -> Result<()> {
    sessions_are_upgraded("OOO")
}

#[test]
fn sessions_are_upgraded_where_ours_leads_java_servers() -> Result<()> {
    sessions_are_upgraded("JJO")
}

#[test]
fn sessions_are_upgraded_where_a_java_server_leads_ours() -> Result<()> {
    sessions_are_upgraded("OOJ")
}

#[test]
fn sessions_that_stay_local_own_nothing_in_a_mixed_ensemble() -> Result<()> {
    let ensemble = start("JOO", "localSessionsEnabled=true\n")?;
    for id in ensemble.ids() {
        block_on(async {
            let client = connect(&ensemble, id).await?;
            client.create(&format!("/of-{id}"), "", CreateMode::Persistent).await?;
            let refused = client.create("/e", "", CreateMode::Ephemeral).await;
            let expected = Some(ErrorCode::EphemeralOnLocalSession);
            ensure!(refused.as_ref().err().and_then(Error::code) == expected, "server {id}: {refused:?}");
            ensure!(client.exists("/e").await?.is_none());
            Ok(client.close().await?)
        })?;
    }
    agreed(&ensemble)
}

fn sessions_are_upgraded(composition: &str) -> Result<()> {
    let ensemble = start(composition, "localSessionsEnabled=true\nlocalSessionsUpgradingEnabled=true\n")?;
    for id in ensemble.ids() {
        let step = |what: &str| format!("server {id} ({}): {what}", ensemble.place(id).kind());
        let sessions = |what: &str| -> Result<(i64, i64)> {
            let of = |kind| ensemble.monitored(id, &format!("zk_{kind}_sessions"));
            let (local, global) = (of("local")?, of("global")?);
            println!("{}: {local} local sessions, {global} global ones", step(what));
            Ok((local, global))
        };
        let elsewhere = id % 3 + 1;
        block_on(async {
            let before = sessions("before")?;
            let client = connect(&ensemble, id).await?;
            client.create(&format!("/of-{id}"), "", CreateMode::Persistent).await?;
            ensure!(sessions("one came")? == (before.0 + 1, before.1));
            let ephemeral = format!("/of-{id}/e");
            client.create(&ephemeral, "", CreateMode::Ephemeral).await?;
            client.create(&format!("/of-{id}/f"), "", CreateMode::Ephemeral).await?;
            ensure!(sessions("it made an ephemeral znode")? == (before.0, before.1 + 1));

            // What everybody knows can be carried on elsewhere, and ends there.
            let (session, password) = client.detach().await?;
            let client = Client::builder().connect_timeout(PATIENCE).resume(session, password);
            let client = client.connect(&ensemble.address(elsewhere).to_string()).await?;
            ensure!(client.session_id() == session, "{}", step("another session elsewhere"));
            client.sync("/").await?;
            ensure!(client.exists(&ephemeral).await?.is_some(), "{}", step("its znode has gone"));
            client.close().await?;

            let client = connect(&ensemble, id).await?;
            client.sync("/").await?;
            ensure!(client.exists(&ephemeral).await?.is_none(), "{}", step("its znode is still there"));
            // What is local is nobody else's.
            let (session, password) = client.detach().await?;
            let client = Client::builder().connect_timeout(PATIENCE).resume(session, password);
            let resumed = client.connect(&ensemble.address(elsewhere).to_string()).await;
            ensure!(
                matches!(resumed, Err(Error::SessionExpired)),
                "{}: {resumed:?}",
                step("carried on elsewhere")
            );
            Ok(())
        })?;
    }
    agreed(&ensemble)
}

fn start(composition: &str, config: &str) -> Result<Ensemble> {
    Plan::of(&Kind::of_letters(composition)).config(config).start()
}

async fn connect(ensemble: &Ensemble, id: Id) -> Result<Client> {
    Ok(Client::builder().connect_timeout(PATIENCE).connect(&ensemble.address(id).to_string()).await?)
}

fn block_on(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// No server has found that its tree is not its leader's.
fn agreed(ensemble: &Ensemble) -> Result<()> {
    for id in ensemble.ids() {
        let mismatches = ensemble.monitored(id, "zk_digest_mismatches_count")?;
        ensure!(mismatches == 0, "server {id} has found {mismatches} digests that differ from its own");
    }
    Ok(())
}
