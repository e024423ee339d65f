//! Servers end in the middle of a reconfiguration, and the next ones begin with what the files beside zoo.cfg say: all of
//! them come to agree on one membership, and can change it again.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use anyhow::{Context, Result, ensure};
use client::{Client, CreateMode, Reconfig};
use tests::ensemble::{Ensemble, Id, Kind, Mode, PATIENCE, Plan};
use tests::process::{self, Process};
use tests::zkserver;

fn started(composition: &str) -> Result<Ensemble> {
    Plan::of(&Kind::of_letters(composition)).dynamic().config("skipACL=yes\n").start()
}

/// A member's line, without its number.
fn spec_of(ensemble: &Ensemble, id: Id, role: &str) -> Result<String> {
    let line =
        members_told_by(ensemble, id)?.into_iter().find(|line| line.starts_with(&format!("server.{id}=")));
    let line = line.context("it is a member")?;
    Ok(line.replace(":participant", &format!(":{role}")).replace(":observer", &format!(":{role}")))
}

fn zkcli(ensemble: &Ensemble, id: Id, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(zkserver::binary("client", "zkcli")?);
    command.args(["-server", &ensemble.address(id).to_string(), "reconfig"]).args(arguments);
    Ok(command)
}

fn reconfigure(ensemble: &Ensemble, id: Id, arguments: &[&str]) -> Result<()> {
    let finished = process::run(&mut zkcli(ensemble, id, arguments)?, PATIENCE)?;
    let said = finished.output;
    ensure!(said.contains("Committed new configuration"), "{arguments:?}: {said}\n{}", ensemble.logs());
    Ok(())
}

/// The lines of the members, as server `id` tells its clients.
fn members_told_by(ensemble: &Ensemble, id: Id) -> Result<Vec<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let config = runtime.block_on(async {
        let client = Client::connect(&ensemble.address(id).to_string()).await?;
        let config = client.config().await?;
        client.close().await?;
        anyhow::Ok(config)
    })?;
    Ok(String::from_utf8(config.data.to_vec())?.lines().map(str::to_owned).collect())
}

/// Waits until all of them tell the same, and returns it. The last line is the version.
fn agreement(ensemble: &Ensemble) -> Result<Vec<String>> {
    ensemble.wait_until_all_serve()?;
    let mut told = Vec::new();
    ensemble.wait("all to know one membership", || {
        let all: Result<Vec<_>> = ensemble.ids().iter().map(|id| members_told_by(ensemble, *id)).collect();
        told = all.unwrap_or_default();
        told.first().is_some_and(|first| told.iter().all(|other| other == first))
    })?;
    told.pop().context("there are servers")
}

/// Nothing is under way any more on anybody's disk.
fn ensure_settled(ensemble: &Ensemble) -> Result<()> {
    ensemble.wait("no reconfiguration to be under way", || {
        ensemble.ids().iter().all(|id| !next_of(ensemble, *id).exists())
    })
}

fn next_of(ensemble: &Ensemble, id: Id) -> PathBuf {
    ensemble.place(id).config().with_extension("cfg.dynamic.next")
}

fn followers_of(ensemble: &Ensemble, leader: Id) -> Vec<Id> {
    ensemble.ids().into_iter().filter(|id| *id != leader).collect()
}

/// A membership that only the leader's disk has: nobody else knows, and all goes on with the old one. Then another change
/// goes well, which the old leader learns, too.
fn forget_what_nobody_knows(composition: &str) -> Result<()> {
    let mut ensemble = started(composition)?;
    let leader = ensemble.wait_for_leader_other_than(None)?;
    let followers = followers_of(&ensemble, leader);
    let before = agreement(&ensemble)?;
    let (server, leaver) = (ensemble.address(leader).to_string(), u64::from(followers[0]));
    let (connected, is_connected) = mpsc::channel();
    let (go, may_ask) = mpsc::channel();
    let asking = thread::spawn(move || -> Result<bool> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let client = Client::connect(&server).await?;
            connected.send(())?;
            may_ask.recv()?;
            let change = Reconfig::Incremental { joining: Vec::new(), leaving: vec![leaver] };
            Ok(client.reconfigure(&change, None).await.is_ok())
        })
    });
    is_connected.recv()?;
    for id in &followers {
        ensemble.place_mut(*id).pause()?;
    }
    go.send(())?;
    let proposed = next_of(&ensemble, leader);
    ensemble.wait("the proposal", || proposed.exists())?;
    ensemble.kill(leader)?;
    let has_happened = asking.join().expect("it panics nowhere")?;
    ensure!(!has_happened, "nobody else could have agreed");
    // The proposal waits in their sockets: were they to read on, they would know it after all.
    for id in &followers {
        ensemble.kill(*id)?;
        ensure!(!next_of(&ensemble, *id).exists(), "server {id} knows the proposal");
        ensemble.start(*id)?;
    }
    ensemble.wait_for_leader_other_than(Some(leader))?;
    ensemble.start(leader)?;
    let after = agreement(&ensemble)?;
    ensure!(members(&after) == members(&before), "{before:?} became {after:?}");
    ensure_settled(&ensemble)?;
    change_once_more(&ensemble)
}

/// All die while a reconfiguration is on its way: afterwards it has happened for all of them, or for none.
fn agree_after_all_were_killed(composition: &str) -> Result<()> {
    let mut ensemble = started(composition)?;
    let leader = ensemble.wait_for_leader_other_than(None)?;
    let (before, follower) = (agreement(&ensemble)?, followers_of(&ensemble, leader)[0]);
    let observer = spec_of(&ensemble, follower, "observer")?;
    let mut asking = zkcli(&ensemble, leader, &["-add", &observer])?;
    let mut asking = Process::spawn(asking.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))?;
    let proposed = next_of(&ensemble, leader);
    let versions = || std::fs::read_dir(proposed.parent()?).ok().map(Iterator::count);
    let files = versions();
    ensemble.wait("a proposal, or more", || proposed.exists() || versions() != files)?;
    for id in ensemble.ids() {
        ensemble.kill(id)?;
    }
    asking.kill()?;
    for id in ensemble.ids() {
        ensemble.start(id)?;
    }
    let after = agreement(&ensemble)?;
    let is_known = members(&after) == members(&before) || after.contains(&observer);
    ensure!(is_known, "{before:?} became {after:?}");
    ensure_settled(&ensemble)?;
    change_once_more(&ensemble)
}

/// Java's servers begin with the files that ours wrote, and ours with Java's.
fn carry_on_as(composition: &str, successors: &str) -> Result<()> {
    let mut ensemble = started(composition)?;
    let leader = ensemble.wait_for_leader_other_than(None)?;
    let [one, other] = followers_of(&ensemble, leader)[..] else { anyhow::bail!("three servers") };
    reconfigure(&ensemble, leader, &["-add", &spec_of(&ensemble, one, "observer")?])?;
    reconfigure(&ensemble, leader, &["-remove", &other.to_string()])?;
    write(&ensemble, "/before")?;
    ensemble.wait("all to know of the last change", || {
        let told = |id| members_told_by(&ensemble, id).map(|told| members(&told).len());
        [leader, one].into_iter().all(|id| told(id).is_ok_and(|count| count == 2))
    })?;
    for (id, kind) in ensemble.ids().into_iter().zip(Kind::of_letters(successors)) {
        ensemble.place_mut(id).stop()?;
        ensemble.place_mut(id).set_kind(kind);
    }
    for id in [leader, one] {
        ensemble.start(id)?;
    }
    ensemble.wait("the observer", || ensemble.place(one).mode() == Some(Mode::Observer))?;
    ensure!(ensemble.place(leader).mode() == Some(Mode::Leader), "{}", ensemble.logs());
    let told = members_told_by(&ensemble, leader)?;
    ensure!(members(&told).len() == 2, "{told:?}");
    write(&ensemble, "/after")
}

fn members(told: &[String]) -> Vec<&String> {
    told.iter().filter(|line| line.starts_with("server.")).collect()
}

fn write(ensemble: &Ensemble, path: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = Client::connect(&ensemble.servers()).await?;
        client.create(path, "", CreateMode::Persistent).await?;
        Ok(client.close().await?)
    })
}

/// A follower leaves and comes back.
fn change_once_more(ensemble: &Ensemble) -> Result<()> {
    let leader = ensemble.wait_for_leader_other_than(None)?;
    let changed = followers_of(ensemble, leader)[0];
    let back = spec_of(ensemble, changed, "participant")?;
    reconfigure(ensemble, leader, &["-remove", &changed.to_string()])?;
    let told = agreement(ensemble)?;
    ensure!(members(&told).len() == 2, "{told:?}");
    reconfigure(ensemble, leader, &["-add", &back])?;
    let told = agreement(ensemble)?;
    ensure!(told.contains(&back), "{told:?}");
    Ok(())
}

#[test]
fn ours_forget_a_membership_that_only_a_dead_leader_knew() -> Result<()> {
    forget_what_nobody_knows("OOO")
}

/// A server of Java's that led alone would not come back, not even among its own: it joins a leader only if a quorum of the
/// membership that it alone knows has joined, too. So one of ours must lead, and the first server of three never does.
#[test]
fn ours_forgets_among_javas_a_membership_that_only_it_knew() -> Result<()> {
    forget_what_nobody_knows("JOO")
}

#[test]
fn all_of_ours_agree_after_a_power_failure_in_a_reconfiguration() -> Result<()> {
    agree_after_all_were_killed("OOO")
}

#[test]
fn ours_and_javas_agree_after_a_power_failure_in_a_reconfiguration() -> Result<()> {
    agree_after_all_were_killed("OOJ")?;
    agree_after_all_were_killed("JJO")
}

#[test]
fn servers_of_either_kind_begin_with_the_files_of_the_other() -> Result<()> {
    carry_on_as("JJJ", "OOO")?;
    carry_on_as("OOO", "JJJ")
}
