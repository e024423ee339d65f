//! Real servers that should not be where they are, or lack what they need: the others carry on, nothing that was
//! acknowledged is lost, and a line of somebody's log names the cause.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use client::{Client, CreateMode, ErrorCode};
use tests::ensemble::{Ensemble, Id, Kind, Plan};
use tests::process::run;
use tests::small_disk::SmallDisk;

const LIMIT: Duration = Duration::from_secs(60);

/// Until it is there. A leader looks once a second whether its disk has room again.
async fn write(client: &Client, path: &str) -> Result<()> {
    let written = async {
        loop {
            match client.create(path, vec![7; 10_000], CreateMode::Persistent).await {
                Err(error) if error.code() == Some(ErrorCode::NodeExists) => return Ok(()),
                Err(error) if error.code() == Some(ErrorCode::QuotaExceeded) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) if error.is_transient() => {}
                created => return created.map(drop).with_context(|| format!("creating {path}")),
            }
        }
    };
    tokio::time::timeout(LIMIT, written).await.with_context(|| format!("{path} cannot be created"))?
}

/// What server `id` shows, once it is as new as everything that was acknowledged.
async fn names_on(ensemble: &Ensemble, id: Id) -> Result<Vec<String>> {
    let client = Client::connect(&ensemble.address(id).to_string()).await?;
    client.sync("/").await?;
    let mut names = client.children("/").await?;
    names.sort();
    client.close().await?;
    Ok(names)
}

fn wait_for_line(ensemble: &Ensemble, id: Id, line: &str) -> Result<()> {
    ensemble.wait(&format!("{line:?} in the log of server {id}"), || ensemble.place(id).log().contains(line))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::remove_dir_all(to)?;
    let copied = run(Command::new("cp").arg("-a").arg(from).arg(to), LIMIT)?;
    ensure!(copied.code == Some(0), "cp: {}", copied.output);
    Ok(())
}

/// Follower of lowest id.
fn follower(ensemble: &Ensemble) -> Result<Id> {
    let leader = ensemble.wait_for_leader_other_than(None)?;
    ensemble.ids().into_iter().find(|id| *id != leader).context("nobody follows")
}

#[tokio::test]
async fn another_ensembles_data_are_not_let_in() -> Result<()> {
    let ours = Kind::of_letters("OOO");
    // The other ensemble is older: it has seen more elections.
    let mut other = Plan::of(&ours).start()?;
    for _ in 0..3 {
        let leader = other.wait_for_leader_other_than(None)?;
        other.kill(leader)?;
        other.wait_for_leader_other_than(Some(leader))?;
        other.start(leader)?;
        other.wait_until_all_serve()?;
    }
    let client = Client::connect(&other.servers()).await?;
    write(&client, "/foreign").await?;
    drop(client);

    let mut ensemble = Plan::of(&ours).start()?;
    let client = Client::connect(&ensemble.servers()).await?;
    write(&client, "/kept").await?;
    let stray = follower(&ensemble)?;
    ensemble.kill(stray)?;
    other.kill(stray)?;
    copy(&other.place(stray).data(), &ensemble.place(stray).data())?;
    ensemble.start(stray)?;

    let leader = ensemble.wait_for_leader_other_than(None)?;
    wait_for_line(&ensemble, leader, "check whose data it has")?;
    write(&client, "/kept on").await?;
    ensure!(ensemble.leader() == Some(leader), "server {leader} was deposed");
    ensure!(names_on(&ensemble, leader).await? == ["kept", "kept on", "zookeeper"], "other data are served");
    ensure!(ensemble.place(stray).mode().is_none(), "it serves its own data");
    Ok(())
}

#[tokio::test]
async fn a_server_that_lost_its_disk_gets_it_back_and_elects_nobody_with_less() -> Result<()> {
    let mut ensemble = Plan::of(&Kind::of_letters("OOO")).start()?;
    let client = Client::connect(&ensemble.servers()).await?;
    write(&client, "/kept").await?;
    let [first, second] = [follower(&ensemble)?, ensemble.wait_for_leader_other_than(None)?];
    for id in [first, second] {
        ensemble.kill(id)?;
        let data = ensemble.place(id).data();
        fs::remove_dir_all(data.join("version-2"))?;
        ensemble.start(id)?;
        ensemble.wait_until_serving(id)?;
        write(&client, &format!("/with {id} back")).await?;
    }
    for id in ensemble.ids() {
        ensure!(names_on(&ensemble, id).await?.contains(&"kept".to_owned()), "server {id} has lost a write");
    }
    Ok(())
}

#[tokio::test]
async fn two_servers_with_one_id_are_named_and_disturb_nobody_else() -> Result<()> {
    let mut ensemble = Plan::of(&Kind::of_letters("OOO")).start()?;
    let client = Client::connect(&ensemble.servers()).await?;
    write(&client, "/before").await?;
    let leader = ensemble.wait_for_leader_other_than(None)?;
    let [twin, of] = ensemble.ids().into_iter().filter(|id| *id != leader).collect::<Vec<_>>()[..] else {
        anyhow::bail!("there are two followers");
    };
    ensemble.kill(twin)?;
    fs::remove_dir_all(ensemble.place(twin).data().join("version-2"))?;
    fs::write(ensemble.place(twin).data().join("myid"), format!("{of}\n"))?;
    // It listens where it did, and says that it is somebody else.
    let config = fs::read_to_string(ensemble.place(twin).config())?;
    let (its_own, others) = (format!("server.{twin}="), format!("server.{of}="));
    let swapped =
        config.replace(&its_own, "server.x=").replace(&others, &its_own).replace("server.x=", &others);
    fs::write(ensemble.place(twin).config(), swapped)?;
    ensemble.start(twin)?;

    // Each of them hears of it when the other one tries to reach the server whose place it has.
    wait_for_line(&ensemble, of, "check both their myid")?;
    write(&client, "/meanwhile").await?;
    ensure!(ensemble.leader() == Some(leader), "server {leader} was deposed");
    ensure!(ensemble.place(of).mode().is_some(), "the first of the two was driven out");
    Ok(())
}

#[tokio::test]
async fn a_full_disk_takes_one_server_out_and_room_brings_it_back() -> Result<()> {
    for is_leader in [false, true] {
        let Some(disk) = SmallDisk::mount()? else { return Ok(()) };
        let mut ensemble =
            Plan::of(&Kind::of_letters("OOO")).config("preAllocSize=4096\nsnapCount=500\n").start()?;
        let client = Client::connect(&ensemble.servers()).await?;
        let leader = ensemble.wait_for_leader_other_than(None)?;
        let victim = if is_leader { leader } else { follower(&ensemble)? };
        ensemble.kill(victim)?;
        let data = ensemble.place(victim).data();
        let moved = run(Command::new("cp").arg("-a").arg(&data).arg(disk.path()), LIMIT)?;
        ensure!(moved.code == Some(0), "cp: {}", moved.output);
        fs::remove_dir_all(&data)?;
        std::os::unix::fs::symlink(disk.path().join("data"), &data)?;
        ensemble.start(victim)?;
        ensemble.wait_until_serving(victim)?;
        if is_leader {
            lead_with(&mut ensemble, victim)?;
        }
        disk.fill()?;
        let mut written = 0;
        let has_noticed = |ensemble: &Ensemble| {
            let log = ensemble.place(victim).log();
            log.contains("the disk is nearly full") || log.contains("the disk is full")
        };
        while !has_noticed(&ensemble) {
            ensure!(written < 30_000, "the disk takes everything");
            write_or_be_refused(&client, &format!("/{written}")).await?;
            written += 1;
        }
        disk.clear()?;
        if ensemble.place_mut(victim).has_ended()? {
            ensemble.kill(victim)?;
            ensemble.start(victim)?;
        }
        ensemble.wait_until_all_serve()?;
        write(&client, "/after").await?;
        let shown = names_on(&ensemble, victim).await?;
        for id in ensemble.ids() {
            ensure!(names_on(&ensemble, id).await? == shown, "server {id} has others than server {victim}");
        }
        drop(ensemble);
    }
    Ok(())
}

/// Has all begin anew until `wanted` leads: mostly that is the one with the largest id, unless it is late.
fn lead_with(ensemble: &mut Ensemble, wanted: Id) -> Result<()> {
    for _ in 0..20 {
        if ensemble.leader() == Some(wanted) {
            return Ok(());
        }
        for id in ensemble.ids() {
            ensemble.kill(id)?;
        }
        for id in ensemble.ids() {
            ensemble.start(id)?;
        }
        ensemble.wait_until_all_serve()?;
    }
    bail!("another server leads");
}

/// Not lost, in any case: it is acknowledged, or refused for lack of room.
async fn write_or_be_refused(client: &Client, path: &str) -> Result<()> {
    match client.create(path, vec![7; 100_000], CreateMode::Persistent).await {
        Err(error) if error.is_transient() => Ok(()),
        Err(error) if error.code() == Some(ErrorCode::QuotaExceeded) => Ok(()),
        created => created.map(drop).with_context(|| format!("creating {path}")),
    }
}
