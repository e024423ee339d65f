//! Notes that others leave for the controller, or for everyone: read, and swept away.

use client::{AddWatchMode, Client, ErrorCode, PersistentWatch, Result};
use futures::future::{join_all, try_join_all};
use futures::stream::{SelectAll, select_all};
use tracing::{info, warn};

use crate::registry::clock::now_ms;
use crate::registry::config_notes::purge_config_changes;
use crate::registry::paths;
use crate::registry::payload::decode_log_dir_event;
use crate::registry::read::{children, get};
use crate::registry::retry::until_answered;

use super::write::Fence;

/// Where notes are left.
const WATCHED: [&str; 3] = [paths::ISR_CHANGES, paths::LOG_DIR_EVENTS, paths::CONFIG_CHANGES];

/// Tells when there may be new ones.
pub(super) async fn watch(client: &Client) -> Result<SelectAll<PersistentWatch>> {
    let set =
        WATCHED.map(|path| until_answered(move || client.watch(path, AddWatchMode::PersistentRecursive)));
    Ok(select_all(try_join_all(set).await?))
}

/// Sweeps. That an ISR has changed is seen in the image; a broker that has lost a log directory gives up by itself what
/// it led there, which shows in the image, too; whose config has changed is left for others to read for a while.
pub(super) async fn sweep(client: &Client, fence: Fence) {
    if let Err(error) = try_sweep(client, fence).await {
        warn!(%error, "notes were not swept away");
    }
}

async fn try_sweep(client: &Client, fence: Fence) -> Result<()> {
    for path in paths_below(client, paths::LOG_DIR_EVENTS).await? {
        let note = get(client, &path).await?;
        if let Some(Ok(broker)) = note.map(|note| decode_log_dir_event(&note.data)) {
            warn!(broker, "a broker has lost a log directory");
        }
        forget(client, fence, &path).await?;
    }
    let isr_changes = paths_below(client, paths::ISR_CHANGES).await?;
    let forgotten = join_all(isr_changes.iter().map(|path| forget(client, fence, path))).await;
    forgotten.into_iter().collect::<Result<()>>()?;
    match purge_config_changes(client, now_ms()).await? {
        0 => {}
        purged => info!(purged, "old notes of changed configs are gone"),
    }
    Ok(())
}

async fn paths_below(client: &Client, parent: &str) -> Result<Vec<String>> {
    let names = children(client, parent).await?;
    Ok(names.iter().map(|name| format!("{parent}/{name}")).collect())
}

async fn forget(client: &Client, Fence(version): Fence, path: &str) -> Result<()> {
    let delete = || async move {
        client.multi().check(paths::CONTROLLER_EPOCH, version).delete(path, None).commit().await
    };
    match until_answered(delete).await {
        Err(error) if error.code() == Some(ErrorCode::NoNode) => Ok(()),
        answer => answer.map(drop),
    }
}
