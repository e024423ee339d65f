//! `kill -9` at any moment, also while a server recovers from the last one, loses nothing that was acknowledged, uses no
//! zxid twice, and leaves a tree whose digest is that of the log replayed.

use std::env;

use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tests::crash::replay::Replay;
use tests::crash::{self, Ledger};
use tests::service::Settings;
use tests::zkserver;

/// How often the server is killed under load; `MENAGERIE_CRASH_ROUNDS` asks for more.
const ROUNDS: u32 = 40;
const SEED: u64 = 0x6d65_6e61;
/// Cuts, and new log files, in every round.
const CONFIG: &str = "snapCount=400\npreAllocSize=256\ntxnLogSizeLimitInKb=256\njute.maxbuffer=65536\n";

#[tokio::test]
async fn a_killed_server_keeps_every_acknowledged_write() -> Result<()> {
    let rounds = match env::var("MENAGERIE_CRASH_ROUNDS") {
        Ok(rounds) => rounds.parse().context("MENAGERIE_CRASH_ROUNDS")?,
        Err(_) => ROUNDS,
    };
    let mut dice = StdRng::seed_from_u64(SEED);
    let settings = Settings { config: CONFIG.to_owned(), ..Settings::default() };
    let mut server = zkserver::start_with(&settings)?;
    let servers = server.address().to_string();
    let (data, scratch) = (server.dir().join("data"), server.dir().join("scratch"));
    let mut ledger = Ledger::begin(&servers, SEED).await?;
    let (mut snapshots, mut snapshot, mut killed_recovering) = (0, 0, 0);

    for round in 0..rounds {
        let acks = dice.random_range(1..3000);
        ledger
            .write_until_killed(&servers, acks, || server.kill())
            .await
            .with_context(|| format!("round {round}, killed after {acks} writes"))?;
        let mut replay =
            Replay::of(&data, &scratch).with_context(|| format!("replay after round {round}"))?;
        ledger.check_replay(&replay).with_context(|| format!("after round {round}"))?;
        snapshots += u32::from(replay.snapshot() > snapshot);
        snapshot = replay.snapshot();

        if round % 2 == 0 {
            killed_recovering += crash::kill_recovering(&mut server, &mut dice)?;
            let again = Replay::of(&data, &scratch)?;
            again.ensure_goes_on_from(&replay).with_context(|| format!("recoveries after round {round}"))?;
            replay = again;
        }
        server.restart().with_context(|| format!("restart after round {round}"))?;
        ledger.check_znodes(&servers).await.with_context(|| format!("after round {round}"))?;
        let agree = ledger.check_digests(server.address(), &replay).await;
        agree.with_context(|| format!("after round {round}"))?;
    }
    crash::wait_until_guests_are_gone(&servers).await?;
    server.kill()?;
    ledger.check_replay(&Replay::of(&data, &scratch)?)?;

    let acknowledged: u64 = ledger.counts().values().sum();
    println!(
        "{rounds} kills under load, {killed_recovering} while recovering, {snapshots} newer snapshots; {acknowledged} \
         writes acknowledged, none lost, no zxid used twice: {:?}",
        ledger.counts()
    );
    assert!(acknowledged > 0 && snapshots > 0 && killed_recovering > 0);
    Ok(())
}
