//! A server that has lost its quorum serves what it has to those who accept that, and sends them on once there is a
//! quorum again. Java's servers do it in the same way, and are held to the same test.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use client::{Client, CreateMode, ErrorCode, SessionState};
use tests::ensemble::{Ensemble, Id, Kind, Mode, PATIENCE, Plan};
use tests::process::{self, Process, wait_until};
use tests::service::{four_letter_word, interop_dir};
use tests::{peer, zkserver};

/// The one that is left alone, and comes back with the next.
const ALONE: Id = 1;
const NEXT: Id = 2;

#[test]
fn ours_serves_reads_without_a_quorum() -> Result<()> {
    serves_reads_without_a_quorum("OOO")
}

#[test]
fn javas_serves_reads_without_a_quorum() -> Result<()> {
    serves_reads_without_a_quorum("JJJ")
}

#[test]
fn ours_serves_reads_when_its_java_quorum_is_gone() -> Result<()> {
    serves_reads_without_a_quorum("OJJ")
}

#[test]
fn javas_serves_reads_when_its_quorum_of_ours_is_gone() -> Result<()> {
    serves_reads_without_a_quorum("JOO")
}

fn serves_reads_without_a_quorum(composition: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut ensemble = one_left(composition, &runtime)?;
    let at = ensemble.address(ALONE).to_string();
    ensure!(four_letter_word(ensemble.address(ALONE), "isro")? == "ro");
    let srvr = four_letter_word(ensemble.address(ALONE), "srvr")?;
    ensure!(srvr.contains("READ-ONLY mode; serving only read-only clients\n"), "{srvr}");
    ensure!(ensemble.monitored(ALONE, "zk_znode_count")? > 0);

    let client = runtime.block_on(async {
        let client = Client::builder().read_only(true).connect_timeout(PATIENCE).connect(&at).await?;
        ensure!(client.state() == SessionState::ConnectedReadOnly, "{:?}", client.state());
        ensure!(client.get("/kept").await?.data[..] == *b"data");
        let refused = client.set("/kept", "other", None).await;
        ensure!(
            matches!(&refused, Err(error) if error.code() == Some(ErrorCode::NotReadOnly)),
            "{refused:?}"
        );
        let refused = client.sync("/").await;
        ensure!(
            matches!(&refused, Err(error) if error.code() == Some(ErrorCode::NotReadOnly)),
            "{refused:?}"
        );

        let limit = Duration::from_secs(2);
        let plain = Client::builder().fail_unreachable(true).connect_timeout(limit).connect(&at).await;
        ensure!(plain.is_err(), "clients who want to write are not let in");
        anyhow::Ok(client)
    })?;

    ensemble.start(NEXT)?;
    ensemble.wait_until_serving(NEXT)?;
    runtime.block_on(async {
        let mut states = client.states();
        let limit = tokio::time::sleep(PATIENCE);
        tokio::pin!(limit);
        while client.state() != SessionState::Connected {
            tokio::select! {
                _ = futures::StreamExt::next(&mut states) => {}
                () = &mut limit => bail!("it is {:?} still", client.state()),
            }
        }
        client.set("/kept", "other", None).await?;
        Ok(client.close().await?)
    })
}

#[test]
fn shells_and_kazoo_read_from_ours_without_a_quorum() -> Result<()> {
    shells_and_kazoo_read_without_a_quorum("OOO")
}

#[test]
fn shells_and_kazoo_read_from_javas_without_a_quorum() -> Result<()> {
    shells_and_kazoo_read_without_a_quorum("JOO")
}

fn shells_and_kazoo_read_without_a_quorum(composition: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut ensemble = one_left(composition, &runtime)?;
    let at = ensemble.address(ALONE).to_string();
    let zkcli = zkserver::binary("client", "zkcli")?;
    peer::installed(peer::ZKCLI_SH.as_ref())?;
    for shell in [&zkcli, Path::new(peer::ZKCLI_SH)] {
        let run = |command: &[&str]| {
            let mut shell = Command::new(shell);
            shell.env("CLIENT_JVMFLAGS", peer::QUICK_JVM.join(" ")).envs(peer::UTF8_LOCALE);
            process::run(shell.args(["-r", "-server", &at]).args(command), PATIENCE)
        };
        let read = run(&["get", "/kept"])?;
        ensure!(read.code == Some(0) && read.output.contains("data"), "{}: {read:?}", shell.display());
        let written = run(&["set", "/kept", "other"])?;
        let is_refused = written.code != Some(0) && written.output.contains("ot a read-only call");
        ensure!(is_refused, "{}: {written:?}", shell.display());
    }

    let mut kazoo = Command::new(peer::kazoo_python()?);
    kazoo.arg(interop_dir("kazoo").join("read_only.py")).arg(&at).stdout(Stdio::piped());
    let mut kazoo = Process::spawn(&mut kazoo)?;
    let output = kazoo.child().stdout.take().context("it is piped")?;
    let mut said = String::new();
    BufReader::new(output).read_line(&mut said)?;
    ensure!(said == "has read\n", "{said}");
    ensemble.start(NEXT)?;
    let ended = kazoo.wait(PATIENCE)?;
    ensure!(ended.success(), "{ended}");
    Ok(())
}

/// Three servers with a znode, of which one is left, and read-only.
fn one_left(composition: &str, runtime: &tokio::runtime::Runtime) -> Result<Ensemble> {
    let kinds = Kind::of_letters(composition);
    let config = "readonlymode.enabled=true\nlocalSessionsEnabled=true\nlocalSessionsUpgradingEnabled=true\n";
    let mut ensemble = Plan::of(&kinds).config(config).prepare()?;
    for id in ensemble.ids() {
        // Java knows the key as a property of this name only.
        ensemble.place_mut(id).set_env("JAVA_TOOL_OPTIONS", "-Dreadonlymode.enabled=true");
        ensemble.start(id)?;
    }
    ensemble.wait_for_leader_other_than(None)?;
    ensemble.wait_until_all_serve()?;
    runtime.block_on(async {
        let client = Client::connect(&ensemble.address(ALONE).to_string()).await?;
        client.create("/kept", "data", CreateMode::Persistent).await?;
        anyhow::Ok(client.close().await?)
    })?;
    ensemble.kill(2)?;
    ensemble.kill(3)?;
    ensure!(
        wait_until(PATIENCE, || ensemble.place(ALONE).mode() == Some(Mode::ReadOnly)),
        "it is not read-only\n{}",
        ensemble.logs()
    );
    Ok(ensemble)
}
