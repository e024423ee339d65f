//! Notes below `/config/changes`. Brokers of ours watch the configs themselves; the notes are for those that do not.
//! Kafka's `ZkNodeChangeNotificationListener`.

use client::{Client, ErrorCode, Result};
use futures::future::join_all;

use super::paths;
use super::read::children;
use super::retry::until_answered;

/// How long a note is left for others to read.
const NOTE_KEPT_MS: i64 = 15 * 60 * 1000;

/// Takes away the notes that are old enough at `now_ms`, and tells how many.
pub(crate) async fn purge_config_changes(client: &Client, now_ms: i64) -> Result<usize> {
    let notes = children(client, paths::CONFIG_CHANGES).await?;
    let purges = join_all(notes.iter().map(|note| purge(client, note, now_ms))).await;
    let purged = purges.into_iter().collect::<Result<Vec<bool>>>()?;
    Ok(purged.into_iter().filter(|purged| *purged).count())
}

async fn purge(client: &Client, note: &str, now_ms: i64) -> Result<bool> {
    let path = format!("{}/{note}", paths::CONFIG_CHANGES);
    match until_answered(|| client.exists(&path)).await? {
        Some(stat) if now_ms.saturating_sub(stat.ctime) > NOTE_KEPT_MS => {}
        _ => return Ok(false),
    }
    match until_answered(|| client.delete(&path, None)).await {
        Err(error) if error.code() == Some(ErrorCode::NoNode) => Ok(false), // Another broker was faster.
        answer => answer.map(|()| true),
    }
}
