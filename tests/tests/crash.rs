//! `kill -9` at any moment loses nothing that was acknowledged, and uses no zxid twice.

use std::env;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tests::crash::{self, Ledger};
use tests::zkserver;

/// How often the server is killed; `MENAGERIE_CRASH_ROUNDS` asks for more.
const ROUNDS: u32 = 12;

#[tokio::test]
async fn a_killed_server_keeps_every_acknowledged_write() -> Result<()> {
    let rounds = match env::var("MENAGERIE_CRASH_ROUNDS") {
        Ok(rounds) => rounds.parse().context("MENAGERIE_CRASH_ROUNDS")?,
        Err(_) => ROUNDS,
    };
    let mut dice = StdRng::seed_from_u64(0x6d65_6e61);
    let mut server = zkserver::start()?;
    let servers = server.address().to_string();
    let ledger = Arc::new(Mutex::new(Ledger::default()));

    crash::prepare(&servers).await?;
    for round in 0..rounds {
        let acks = dice.random_range(1..3000);
        crash::write_until_killed(&servers, ledger.clone(), acks, || server.kill())
            .await
            .with_context(|| format!("round {round}, killed after {acks} writes"))?;
        server.restart().with_context(|| format!("restart after round {round}"))?;
        // No writer of this round is left, so nobody else looks at the ledger.
        let mut closed = std::mem::take(&mut *ledger.lock().expect("no holder panics"));
        crash::verify(&servers, &mut closed).await.with_context(|| format!("after round {round}"))?;
        *ledger.lock().expect("no holder panics") = closed;
    }

    let acknowledged = ledger.lock().expect("no holder panics").acknowledged();
    println!("{rounds} kills, {acknowledged} writes acknowledged, none lost, no zxid used twice");
    assert!(acknowledged > 0);
    Ok(())
}
