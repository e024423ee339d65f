//! A disk that fills up, under a real server on a small file system of its own: writes that grow are refused, all else
//! goes on, and so do writes once there is room again. Needs to mount; where that is not allowed, it says so.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use client::{Client, CreateMode, ErrorCode};
use tests::service::Settings;
use tests::small_disk::SmallDisk;
use tests::zkserver;

/// Nobody waits this long but for a server that does not come back.
const LIMIT: Duration = Duration::from_secs(60);

fn value(name: usize) -> Vec<u8> {
    vec![u8::try_from(name % 251).expect("below 251"); 10_000]
}

/// Creates znodes until one is refused; how many there are then.
async fn create_until_refused(client: &Client, mut next: usize) -> Result<usize> {
    loop {
        match client.create(&format!("/full/{next}"), value(next), CreateMode::Persistent).await {
            Ok(_) => next += 1,
            Err(error) if error.code() == Some(ErrorCode::QuotaExceeded) => return Ok(next),
            Err(error) => return Err(error).with_context(|| format!("creating /full/{next}")),
        }
    }
}

async fn create_until_done(client: &Client, name: usize) -> Result<()> {
    let created = async {
        loop {
            match client.create(&format!("/full/{name}"), value(name), CreateMode::Persistent).await {
                Ok(_) => return Ok(()),
                Err(error) if error.code() == Some(ErrorCode::QuotaExceeded) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => return Err(error).with_context(|| format!("creating /full/{name}")),
            }
        }
    };
    tokio::time::timeout(LIMIT, created).await.context("there is room, and yet no creation")?
}

async fn ensure_all_there(client: &Client, names: impl IntoIterator<Item = usize>) -> Result<()> {
    for name in names {
        let znode =
            client.get(&format!("/full/{name}")).await.with_context(|| format!("reading /full/{name}"))?;
        ensure!(znode.data == value(name), "/full/{name} has other data");
    }
    Ok(())
}

fn settings(disk: &Path) -> Settings {
    Settings {
        data: Some(disk.join("data")),
        config: "preAllocSize=4096\nsnapCount=500\n".to_owned(),
        ..Settings::default()
    }
}

#[tokio::test]
async fn a_full_disk_refuses_what_grows_serves_the_rest_and_recovers_by_itself() -> Result<()> {
    let Some(disk) = SmallDisk::mount()? else { return Ok(()) };
    let mut server = zkserver::start_with(&settings(&disk.path()))?;
    let servers = server.address().to_string();
    let client = Client::connect(&servers).await?;
    client.create("/full", "", CreateMode::Persistent).await?;
    for name in 0..100 {
        client.create(&format!("/full/{name}"), value(name), CreateMode::Persistent).await?;
    }

    disk.fill()?;
    let created = create_until_refused(&client, 100).await?;
    ensure!(created > 100, "the room set aside took nothing");
    let refused = client.set("/full/0", "other", None).await.unwrap_err();
    ensure!(refused.code() == Some(ErrorCode::QuotaExceeded), "{refused}");
    ensure_all_there(&client, 0..created).await?;
    // Others can still come, read, delete, and go.
    let other = Client::connect(&servers).await?;
    for name in 0..50 {
        other
            .delete(&format!("/full/{name}"), None)
            .await
            .with_context(|| format!("deleting /full/{name}"))?;
    }
    other.close().await?;
    ensure!(server.log().contains("the disk is nearly full"), "the log does not say why:\n{}", server.log());

    disk.clear()?;
    create_until_done(&client, created).await?;
    for name in created + 1..created + 600 {
        client.create(&format!("/full/{name}"), value(name), CreateMode::Persistent).await?;
    }
    server.kill()?;
    server.restart()?;
    let again = Client::connect(&servers).await?;
    ensure_all_there(&again, 50..created + 600).await?;
    ensure!(again.children("/full").await?.len() == created + 550, "deleted znodes are back");

    // Killed while it is full: what was acknowledged is there when there is room again.
    disk.fill()?;
    let full = create_until_refused(&again, created + 600).await?;
    server.kill()?;
    disk.clear()?;
    server.restart()?;
    let last = Client::connect(&servers).await?;
    ensure_all_there(&last, 50..full).await?;
    drop(server);
    Ok(())
}
