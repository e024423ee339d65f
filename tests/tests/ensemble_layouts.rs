//! Ensembles that are laid out otherwise than most: groups and weights, several addresses a server, a leader that leaves
//! clients to the others.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use client::{Client, CreateMode};
use tests::ensemble::{ELECTION_PORT, Ensemble, Id, Kind, PATIENCE, Plan, QUORUM_PORT};

#[test]
fn most_groups_are_a_quorum_and_most_servers_are_none() -> Result<()> {
    groups_decide("OOOJO")
}

#[test]
fn most_groups_are_a_quorum_among_java_servers_too() -> Result<()> {
    groups_decide("OJJOJ")
}

fn groups_decide(composition: &str) -> Result<()> {
    let mut ensemble = plan(composition, "group.1=1:2\ngroup.2=3:4\ngroup.3=5\n").start()?;
    write(&ensemble, 1, "/all")?;

    kill(&mut ensemble, &[3, 4])?; // Two of three groups are whole.
    ensemble.wait_for_leader_other_than(None)?;
    ensemble.wait_until_all_serve()?;
    write(&ensemble, 1, "/two-groups")?;

    start(&mut ensemble, &[3, 4])?;
    ensemble.wait_until_all_serve()?;
    kill(&mut ensemble, &[2, 5])?; // Three of five servers, and one group of three.
    ensemble.wait("them to give up", || [1, 3, 4].iter().all(|id| ensemble.place(*id).mode().is_none()))?;

    start(&mut ensemble, &[5])?;
    ensemble.wait_until_all_serve()?;
    write(&ensemble, 5, "/groups-again")
}

#[test]
fn a_server_without_weight_follows_and_never_leads() -> Result<()> {
    weight_decides("OOO")
}

#[test]
fn ours_without_weight_follows_a_java_server() -> Result<()> {
    weight_decides("JJO")
}

#[test]
fn a_java_server_without_weight_follows_ours() -> Result<()> {
    weight_decides("OOJ")
}

fn weight_decides(composition: &str) -> Result<()> {
    // With the largest number, server 3 would be elected.
    let mut ensemble = plan(composition, "group.1=1:2:3\nweight.1=1\nweight.2=1\nweight.3=0\n").start()?;
    ensure!(ensemble.leader() == Some(2), "server {:?} leads", ensemble.leader());
    kill(&mut ensemble, &[3])?; // It is not missed.
    write(&ensemble, 1, "/two")?;
    start(&mut ensemble, &[3])?;
    ensemble.wait_until_all_serve()?;
    kill(&mut ensemble, &[1])?; // That is half of the weight.
    ensemble.wait("them to give up", || [2, 3].iter().all(|id| ensemble.place(*id).mode().is_none()))
}

#[test]
fn servers_find_each_other_at_the_second_address_if_nobody_is_at_the_first() -> Result<()> {
    let mut ensemble = plan("OJO", "multiAddress.enabled=true\n").prepare()?;
    for id in ensemble.ids() {
        let config = ensemble.place(id).config();
        let text = fs::read_to_string(&config)?;
        let lines: Vec<_> = text.lines().map(|line| with_dead_address(line, id)).collect();
        fs::write(&config, lines.join("\n") + "\n")?;
        // Java reads the lines of the servers by this property alone.
        ensemble.place_mut(id).set_env("JAVA_TOOL_OPTIONS", "-Dzookeeper.multiAddress.enabled=true");
        ensemble.start(id)?;
    }
    ensemble.wait_until_all_serve()?;
    for id in ensemble.ids() {
        write(&ensemble, id, &format!("/of-{id}"))?;
    }
    let leader = ensemble.wait_for_leader_other_than(None)?;
    kill(&mut ensemble, &[leader])?;
    ensemble.wait_for_leader_other_than(Some(leader))?;
    ensemble.wait_until_all_serve()?;
    let left = ensemble.ids().into_iter().find(|id| *id != leader).context("there are three")?;
    write(&ensemble, left, "/without-the-leader")
}

/// In the line of another server than `me`, an address in front of its own where nobody is. Java's servers dial any
/// that answers a ping, so it must not do that either.
fn with_dead_address(line: &str, me: Id) -> String {
    match line.split_once('=') {
        Some((key, spec)) if key.starts_with("server.") && key != format!("server.{me}") => {
            format!("{key}=255.255.255.255:{QUORUM_PORT}:{ELECTION_PORT}|{spec}")
        }
        _ => line.to_owned(),
    }
}

#[test]
fn a_leader_can_leave_clients_to_the_others() -> Result<()> {
    a_leader_takes_no_client("OOO")
}

#[test]
fn ours_leaves_clients_to_java_servers() -> Result<()> {
    a_leader_takes_no_client("JJO")
}

#[test]
fn a_java_leader_leaves_clients_to_ours() -> Result<()> {
    a_leader_takes_no_client("OOJ")
}

fn a_leader_takes_no_client(composition: &str) -> Result<()> {
    const LEADER: Id = 3;
    let mut ensemble = plan(composition, "leaderServes=no\n").prepare()?;
    // Of these two, neither of which has seen anything, the larger number leads.
    start(&mut ensemble, &[1, LEADER])?;
    ensemble.wait_until_serving(1)?;
    start(&mut ensemble, &[2])?;
    ensemble.wait_until_serving(2)?;
    for id in ensemble.ids() {
        if id == LEADER {
            ensure!(connect(&ensemble, id, Duration::from_secs(2)).is_err(), "the leader takes a client");
        } else {
            write(&ensemble, id, &format!("/of-{id}"))?;
        }
    }
    Ok(())
}

fn plan(composition: &str, config: &str) -> Plan {
    Plan::of(&Kind::of_letters(composition)).config(config)
}

fn start(ensemble: &mut Ensemble, ids: &[Id]) -> Result<()> {
    ids.iter().try_for_each(|id| ensemble.start(*id))
}

fn kill(ensemble: &mut Ensemble, ids: &[Id]) -> Result<()> {
    ids.iter().try_for_each(|id| ensemble.kill(*id))
}

fn connect(ensemble: &Ensemble, id: Id, limit: Duration) -> Result<(Client, tokio::runtime::Runtime)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = runtime.block_on(async {
        let client = Client::builder().fail_unreachable(true).connect_timeout(limit);
        client.connect(&ensemble.address(id).to_string()).await
    })?;
    Ok((client, runtime))
}

/// A client of server `id` creates `path`.
fn write(ensemble: &Ensemble, id: Id, path: &str) -> Result<()> {
    // A server may say that it serves, and look for a leader a moment later: then its client comes back.
    let mut last = None;
    for _ in 0..20 {
        let written = connect(ensemble, id, PATIENCE).and_then(|(client, runtime)| {
            runtime.block_on(async {
                client.create(path, "", CreateMode::Persistent).await?;
                Ok(client.close().await?)
            })
        });
        match written {
            Ok(()) => return Ok(()),
            Err(error) => last = Some(error),
        }
    }
    Err(last.context("it was tried")?).with_context(|| format!("server {id}\n{}", ensemble.logs()))
}
