//! What servers of ours say to each other, when it is much.

use anyhow::{Result, ensure};
use client::{Client, CreateMode};
use tests::ensemble::{Kind, Mode, Plan};

/// Together more than a server reads from others before its node has taken it.
const WRITES: usize = 40;
const DATA_BYTES: usize = 500_000;

#[tokio::test]
async fn links_carry_more_than_may_wait_at_once() -> Result<()> {
    let ensemble = Plan::of(&[Kind::Ours; 3]).start()?;
    let follower = ensemble.ids().into_iter().find(|id| ensemble.place(*id).mode() == Some(Mode::Follower));
    let address = ensemble.address(follower.expect("two of three follow")).to_string();
    let client = Client::connect(&address).await?;
    client.create("/large", "", CreateMode::Persistent).await?;
    for version in 1..=WRITES {
        let stat = client.set("/large", vec![b'x'; DATA_BYTES], None).await?;
        ensure!(usize::try_from(stat.version)? == version);
    }
    Ok(())
}
