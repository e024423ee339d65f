//! Ensembles of real processes under faults and load: whatever a minority suffers, nothing acknowledged is lost, writes and
//! fenced reads are linearizable, no session goes back in time, and all replicas agree.
//!
//! A composition is a word: `J` is a Java server, `O` one of ours, in the order of their ids.

#![allow(clippy::disallowed_methods, reason = "the rounds' times are printed")]

use std::env;
use std::time::Instant;

use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use tests::chaos::{Fault, Load, Settings, Target};
use tests::ensemble::{Ensemble, Kind, Plan, is_division_possible};

/// A round each.
const FAULTS: [Fault; 5] = [
    Fault::Kill(Target::Leader),
    Fault::Pause(Target::Follower),
    Fault::Isolate(Target::Leader),
    Fault::Kill(Target::Follower),
    Fault::KillAll,
];

/// What `MENAGERIE_CHAOS_ROUNDS` more rounds choose from.
const ALL_FAULTS: [Fault; 16] = [
    Fault::Kill(Target::Leader),
    Fault::Kill(Target::Follower),
    Fault::Pause(Target::Leader),
    Fault::Pause(Target::Follower),
    Fault::Isolate(Target::Leader),
    Fault::Isolate(Target::Follower),
    Fault::Deafen(Target::Leader),
    Fault::Deafen(Target::Follower),
    Fault::Mute(Target::Leader),
    Fault::Mute(Target::Follower),
    Fault::Kill(Target::Minority),
    Fault::Pause(Target::Minority),
    Fault::Isolate(Target::Minority),
    Fault::Mute(Target::Minority),
    Fault::Estrange,
    Fault::KillAll,
];

/// So long, in writes, does one that is struck stay away: longer than others wait for it.
const WRITES: u64 = 1000;

#[test]
fn java_servers_keep_what_they_acknowledged() -> Result<()> {
    chaos("JJJ")
}

#[test]
fn our_servers_keep_what_they_acknowledged() -> Result<()> {
    chaos("OOO")
}

#[test]
fn five_of_ours_keep_what_they_acknowledged() -> Result<()> {
    chaos("OOOOO")
}

#[test]
fn one_of_ours_among_javas_keeps_what_they_acknowledged() -> Result<()> {
    chaos("OJJ")
}

#[test]
fn one_of_javas_among_ours_keeps_what_they_acknowledged() -> Result<()> {
    chaos("OOJ")
}

#[test]
fn one_of_ours_that_leads_javas_keeps_what_they_acknowledged() -> Result<()> {
    chaos("JJO")
}

#[test]
fn two_of_ours_among_five_keep_what_they_acknowledged() -> Result<()> {
    chaos("OOJJJ")
}

#[test]
fn two_of_javas_among_five_keep_what_they_acknowledged() -> Result<()> {
    chaos("JJOOO")
}

fn chaos(composition: &str) -> Result<()> {
    let rounds = env::var("MENAGERIE_CHAOS_ROUNDS").ok();
    let rounds: usize = rounds.map_or(Ok(0), |rounds| rounds.parse()).context("MENAGERIE_CHAOS_ROUNDS")?;
    let seed = env::var("MENAGERIE_CHAOS_SEED").ok();
    let seed = seed.map_or(Ok(rand::random()), |seed| seed.parse()).context("MENAGERIE_CHAOS_SEED")?;
    let mut dice = StdRng::seed_from_u64(seed);
    let can_divide = is_division_possible();
    let mut plan = Plan::of(&Kind::of_letters(composition));
    if can_divide {
        plan = plan.divisible();
    } else {
        println!("no rights to make network namespaces: links between servers stay whole");
    }
    let mut ensemble = plan.start().context(composition.to_owned())?;
    let more = (0..rounds).map(|_| *ALL_FAULTS.choose(&mut dice).expect("it is not empty"));
    let faults: Vec<_> = FAULTS.into_iter().chain(more).collect();
    for fault in faults.into_iter().filter(|fault| can_divide || !fault.needs_division()) {
        let settings = Settings { seed: dice.random(), ..Settings::default() };
        round(&mut ensemble, fault, settings)
            .with_context(|| format!("{composition}, {fault}; MENAGERIE_CHAOS_SEED={seed}"))?;
    }
    Ok(())
}

fn round(ensemble: &mut Ensemble, fault: Fault, settings: Settings) -> Result<()> {
    let began = Instant::now();
    let load = Load::start(ensemble, settings)?;
    let _ = load.longest_gap();
    let struck = fault.strike(ensemble)?;
    let victims = struck.victims().to_vec();
    if fault.spares_a_quorum() {
        struck.wait_until_others_serve(ensemble)?;
        load.progress(WRITES, "without the one that is struck").with_context(|| ensemble.logs())?;
    }
    struck.mend(ensemble)?;
    load.progress(WRITES / 4, "after all is mended").with_context(|| ensemble.logs())?;
    let gap = load.longest_gap();
    let outcome = load.stop()?;
    let ended = began.elapsed();
    outcome.check(ensemble).with_context(|| ensemble.logs())?;
    println!(
        "{fault} of {victims:?}: {gap:.3?} without an acknowledged write, {}; took {ended:.1?}, and {:.1?} to check",
        outcome.summary(),
        began.elapsed() - ended,
    );
    Ok(())
}
