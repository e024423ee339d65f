//! Becoming the controller: `/controller` and the next epoch in one transaction. Kafka's `KafkaController.elect` and
//! `KafkaZkClient.registerControllerAndIncrementControllerEpoch`.

use client::{Client, CreateMode, ErrorCode, MultiResult, Result, SessionId};

use crate::registry::clock::now_ms;
use crate::registry::paths;
use crate::registry::payload::{decode_controller_epoch, encode_controller};
use crate::registry::retry::{pause, until_answered};
use crate::topic_partition::BrokerId;

use super::write::Fence;

/// What stands in `/controller_epoch` before the first election.
const NO_EPOCH: &str = "0";

/// An election that was won.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Elected {
    /// One more than that of the controller before.
    pub(super) epoch: i32,
    /// What everything that is written is checked by.
    pub(super) fence: Fence,
}

/// Tries to become the controller; `None` when another one is.
///
/// # Errors
/// When the session has ended.
pub(super) async fn elect(client: &Client, broker: BrokerId) -> Result<Option<Elected>> {
    loop {
        let (epoch, version) = read_epoch(client).await?;
        if let Some(owner) = owner(client).await? {
            // It may be ours: of an attempt whose answer was lost. The epoch was set in the same transaction, and
            // nobody has set it since.
            let is_ours = owner == client.session_id();
            return Ok(is_ours.then_some(Elected { epoch, fence: Fence(version) }));
        }
        let next = epoch.wrapping_add(1);
        let election = client
            .multi()
            .create(paths::CONTROLLER, encode_controller(broker, now_ms()), CreateMode::Ephemeral)
            .set(paths::CONTROLLER_EPOCH, next.to_string(), version);
        match election.commit().await {
            Ok(results) => {
                if let Some(MultiResult::Set(stat)) = results.last() {
                    return Ok(Some(Elected { epoch: next, fence: Fence(stat.version) }));
                }
            }
            Err(error) if error.code() == Some(ErrorCode::NodeExists) => return Ok(None),
            Err(error) if error.code() == Some(ErrorCode::BadVersion) => {}
            Err(error) if error.is_transient() => pause(&error).await,
            Err(error) => return Err(error),
        }
    }
}

async fn read_epoch(client: &Client) -> Result<(i32, i32)> {
    loop {
        match until_answered(|| client.get(paths::CONTROLLER_EPOCH)).await {
            // Text that is no number can be no controller's: the count begins anew.
            Ok(znode) => return Ok((decode_controller_epoch(&znode.data).unwrap_or(0), znode.stat.version)),
            Err(error) if error.code() == Some(ErrorCode::NoNode) => {}
            Err(error) => return Err(error),
        }
        match client.create(paths::CONTROLLER_EPOCH, NO_EPOCH, CreateMode::Persistent).await {
            Ok(_) => {}
            Err(error) if error.code() == Some(ErrorCode::NodeExists) => {}
            Err(error) if error.is_transient() => pause(&error).await,
            Err(error) => return Err(error),
        }
    }
}

async fn owner(client: &Client) -> Result<Option<SessionId>> {
    let stat = until_answered(|| client.exists(paths::CONTROLLER)).await?;
    Ok(stat.map(|stat| SessionId(stat.ephemeral_owner)))
}
