//! Simulated crashes: a failing seed prints how to run it again, and gets a test of its own below.

use std::env;

use anyhow::{Context, Result};
use tests::sim::{Stats, World};

/// Seeds of a plain run; `MENAGERIE_SIM_SEEDS` asks for more, `MENAGERIE_SIM_SEED` for one only.
const SEEDS: u64 = 3000;
/// How often the server of one seed is killed.
const CRASHES: u32 = 6;

#[test]
fn crashes_lose_nothing_that_was_acknowledged() -> Result<()> {
    let number = |name| env::var(name).ok().map(|value| value.parse::<u64>().context(name)).transpose();
    let seeds = match number("MENAGERIE_SIM_SEED")? {
        Some(seed) => seed..seed + 1,
        None => 0..number("MENAGERIE_SIM_SEEDS")?.unwrap_or(SEEDS),
    };
    let mut total = Stats::default();
    for seed in seeds.clone() {
        total += World::new(seed).run(CRASHES).with_context(|| {
            format!("seed {seed}; again: MENAGERIE_SIM_SEED={seed} cargo test -p tests --test sim")
        })?;
    }
    println!("{} seeds: {total:?}", seeds.end - seeds.start);
    assert!(
        total.acknowledged > 0
            && total.replayed > 0
            && total.cuts > 0
            && total.parts > 0
            && total.refused > 0
            && total.store_failures > 0,
        "the run exercised too little: {total:?}"
    );
    Ok(())
}

#[test]
fn a_seed_runs_the_same_every_time() -> Result<()> {
    assert_eq!(World::new(7).run(CRASHES)?, World::new(7).run(CRASHES)?);
    Ok(())
}
