//! Simulated ensembles: whatever happens to servers, links and disks, what was committed stays; and once all is healed,
//! the ensemble gets on. A failing seed prints how to run it again, and gets a test of its own below.

#![allow(clippy::disallowed_methods, reason = "how fast it goes is printed")]

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use std::{env, thread};

use anyhow::{Context, Result, anyhow, ensure};
use tests::sim::ensemble::{Mutant, Stats, World};

/// Seeds of a plain run; `MENAGERIE_SIM_SEEDS` asks for more, `MENAGERIE_SIM_SEED` for one only, and its trace.
const SEEDS: u64 = 10_000;
/// And of one in which the ensemble changes.
const RECONFIG_SEEDS: u64 = 20_000;
/// One in so many of those may get stuck.
const STUCK_SHARE: u64 = 5000;

fn number(name: &str) -> Result<Option<u64>> {
    env::var(name).ok().map(|value| value.parse().context(name.to_owned())).transpose()
}

/// One seed; a broken invariant within the server is a failure like those that the checkers find.
fn run(world: World) -> Result<Stats> {
    let result = catch_unwind(AssertUnwindSafe(|| world.run()));
    result.unwrap_or_else(|panic| {
        let what = panic.downcast_ref::<String>().cloned();
        Err(anyhow!("a panic: {}", what.unwrap_or_else(|| "see above".to_owned())))
    })
}

/// Seeds from 0 on, on all processors: what they did, or the smallest that failed.
fn run_many(seeds: u64, live: impl Fn(u64) -> Result<Stats> + Sync) -> Result<Stats, (u64, anyhow::Error)> {
    let (next, failed) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
    let work = || {
        let (mut total, mut failure) = (Stats::default(), None);
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds || failed.load(Ordering::Relaxed) < seed {
                return (total, failure);
            }
            match live(seed) {
                Ok(stats) => total += stats,
                Err(error) => {
                    failed.fetch_min(seed, Ordering::Relaxed);
                    failure = Some((seed, error));
                }
            }
        }
    };
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let results: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..processors).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("failures are caught")).collect()
    });
    let mut total = Stats::default();
    let mut failures = Vec::new();
    for (stats, failure) in results {
        total += stats;
        failures.extend(failure);
    }
    match failures.into_iter().min_by_key(|(seed, _)| *seed) {
        Some(failure) => Err(failure),
        None => Ok(total),
    }
}

#[test]
fn what_was_committed_stays_and_a_healed_ensemble_gets_on() -> Result<()> {
    if let Some(seed) = number("MENAGERIE_SIM_SEED")? {
        println!("{:?}", World::new(seed, None, true).run()?);
        return Ok(());
    }
    let seeds = number("MENAGERIE_SIM_SEEDS")?.unwrap_or(SEEDS);
    let start = Instant::now();
    let total = run_many(seeds, |seed| run(World::new(seed, None, false))).map_err(|(seed, error)| {
        let again = "cargo test -p tests --test sim_ensemble what_was -- --nocapture";
        error.context(format!("seed {seed}; again, with a trace: MENAGERIE_SIM_SEED={seed} {again}"))
    })?;
    println!("{seeds} seeds, {:.0} a second: {total:?}", seeds as f64 / start.elapsed().as_secs_f64());
    assert!(
        total.reigns > seeds && total.diffs > 0 && total.truncs > 0 && total.snaps > 0,
        "the run exercised too little: {total:?}"
    );
    Ok(())
}

/// The same while servers come and go, move, and change their roles: `MENAGERIE_SIM_RECONFIG_SEED` asks for one only.
///
/// Safety is never lost. But where some have heard of a reconfiguration and others have not, and a server of each kind is
/// needed, they may wait for each other for ever, as Java's do: only a newcomer has all of the history, and those who do
/// not know of it would not know where to dial it. It must be rare.
#[test]
fn what_was_committed_stays_whoever_belongs_to_the_ensemble() -> Result<()> {
    if let Some(seed) = number("MENAGERIE_SIM_RECONFIG_SEED")? {
        println!("{:?}", World::new(seed, None, true).reconfiguring().run()?);
        return Ok(());
    }
    let seeds = number("MENAGERIE_SIM_SEEDS")?.unwrap_or(RECONFIG_SEEDS);
    let stuck = Mutex::new(BTreeSet::new());
    let total = run_many(seeds, |seed| {
        let lived = run(World::new(seed, None, false).reconfiguring());
        lived.or_else(|error| {
            let is_stuck = error.root_cause().to_string().starts_with("Progress: everything was healed");
            ensure!(is_stuck, error);
            stuck.lock().expect("nobody panics with it").insert(seed);
            Ok(Stats::default())
        })
    });
    let total = total.map_err(|(seed, error)| {
        let again = "cargo test -p tests --test sim_ensemble whoever -- --nocapture";
        error.context(format!("seed {seed}; again, with a trace: MENAGERIE_SIM_RECONFIG_SEED={seed} {again}"))
    })?;
    let stuck = stuck.into_inner()?;
    println!("{seeds} seeds: {total:?}; stuck: {stuck:?}");
    assert!(total.reconfigs > seeds, "the run exercised too little: {total:?}");
    assert!(stuck.len() as u64 * STUCK_SHARE <= seeds, "too often stuck: {stuck:?}");
    Ok(())
}

#[test]
fn a_seed_runs_the_same_every_time() -> Result<()> {
    for seed in 0..20 {
        let world = || World::new(seed, None, false).reconfiguring();
        assert_eq!(run(world())?, run(world())?);
    }
    Ok(())
}

/// How many seeds it takes to find a mutant, at most.
const SEEDS_PER_MUTANT: u64 = 2000;

#[test]
fn every_mutant_is_found() {
    let mut missed = Vec::new();
    for mutant in Mutant::ALL {
        let start = Instant::now();
        match run_many(SEEDS_PER_MUTANT, |seed| run(World::new(seed, Some(mutant), false))) {
            Err((seed, error)) => {
                let why = error.root_cause().to_string();
                let why: String = why.chars().take(100).collect();
                println!("{mutant:?}: seed {seed}, {:.1} s: {why}", start.elapsed().as_secs_f64());
            }
            Ok(_) => missed.push(mutant),
        }
    }
    assert!(missed.is_empty(), "{SEEDS_PER_MUTANT} seeds each, and none found {missed:?}");
}
