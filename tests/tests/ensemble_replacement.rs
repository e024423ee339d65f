//! One server after the other is replaced by one of the other kind, on the same directory and with the same `zoo.cfg`,
//! while clients are at work: no session is lost, no write, and every replica agrees at every step.

#![allow(clippy::disallowed_methods, reason = "the steps' times are printed")]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::chaos::{Fence, Load, Settings};
use tests::ensemble::{Ensemble, Id, Kind, Plan};
use tests::zkserver;

#[test]
fn java_servers_are_replaced_by_java_servers_under_load() -> Result<()> {
    replace_all("JJJ", &[Kind::Java])
}

#[test]
fn java_servers_are_replaced_by_ours_and_ours_by_java_under_load() -> Result<()> {
    replace_all("JJJ", &[Kind::Ours, Kind::Java])
}

/// Once for each of `kinds`.
fn replace_all(composition: &str, kinds: &[Kind]) -> Result<()> {
    if kinds.contains(&Kind::Ours) {
        zkserver::binary("server", "zkserver")?; // Cargo builds it here, rather than in the first step.
    }
    let mut ensemble = Plan::of(&Kind::of_letters(composition)).start()?;
    // Nobody's session may expire while its server is replaced, on however busy a machine.
    // And a Java server that leads answers its own clients' sync before it has applied what others have acknowledged.
    let settings =
        Settings { session_timeout: Duration::from_secs(30), fence: Fence::Write, ..Settings::default() };
    let load = Load::start(&ensemble, settings)?;
    for kind in kinds {
        for id in leader_last(&ensemble)? {
            let began = Instant::now();
            let was = ensemble.place(id).kind();
            let step = || format!("server {id}, {was} becomes {kind}");
            let _ = load.longest_gap();
            ensemble.replace(id, *kind).with_context(step)?;
            load.progress(200, "after a replacement").with_context(step)?;
            let leader = ensemble.wait_for_leader_other_than(None)?;
            println!(
                "{}: {:.1?}, of these {:?} without an acknowledged write; server {leader} ({}) leads",
                step(),
                began.elapsed(),
                load.longest_gap(),
                ensemble.place(leader).kind(),
            );
        }
    }
    let outcome = load.stop()?;
    ensemble.wait_until_all_serve()?;
    outcome.check(&ensemble)?;
    println!("{}", outcome.summary());
    ensure!(outcome.expired() == 0, "{} sessions are lost", outcome.expired());
    Ok(())
}

/// As operators do it, so that there is one election only.
fn leader_last(ensemble: &Ensemble) -> Result<Vec<Id>> {
    let leader = ensemble.wait_for_leader_other_than(None)?;
    let followers = ensemble.ids().into_iter().filter(|id| *id != leader);
    Ok(followers.chain([leader]).collect())
}
