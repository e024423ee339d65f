//! Becoming one of `/brokers/ids`. Kafka's `KafkaZkClient.registerBroker` and its `CheckedEphemeral`.

use std::time::Duration;

use client::{Client, CreateMode, Data, Error, ErrorCode, EventType, MultiResult, SessionId, Stat, Znode};
use tokio::time::timeout;
use tracing::info;

use super::clock::now_ms;
use super::error::RegistryError;
use super::paths;
use super::payload::{BrokerRegistration, decode_broker};
use super::read::get;
use super::retry::pause;

/// Beyond its session timeout an old session may live on for so long until the service notices.
const EXPIRY_SLACK: Duration = Duration::from_secs(3);

/// Registers the broker in the session of `client` and gives its epoch: the czxid of its znode.
///
/// What another session of this process (`former`) has left is taken away. What a broker at the same address has left
/// can only be of an earlier process of ours, as the address is ours now: its session is waited for to expire.
///
/// # Errors
/// [`RegistryError::DuplicateBroker`] when the number belongs to someone else.
pub(super) async fn register(
    client: &Client,
    registration: &BrokerRegistration,
    former: &[SessionId],
) -> Result<i64, RegistryError> {
    let path = paths::broker(registration.id);
    let mut waited = false;
    loop {
        match create(client, &path, registration).await {
            Ok(epoch) => return Ok(epoch),
            Err(error) if error.code() == Some(ErrorCode::NodeExists) || error.may_have_happened() => {}
            Err(error) if error.is_transient() => pause(&error).await,
            Err(error) => return Err(error.into()),
        }
        let Some(znode) = get(client, &path).await? else {
            continue; // Gone meanwhile, or never made.
        };
        let owner = SessionId(znode.stat.ephemeral_owner);
        if owner == client.session_id() {
            return Ok(znode.stat.czxid);
        } else if former.contains(&owner) {
            take_away(client, &path, &znode.stat).await?;
        } else if !waited && is_ours(registration, &znode) {
            info!(session = %owner, path, "waiting for the session of an earlier run to expire");
            waited = true;
            await_expiry(client, &path).await?;
        } else {
            return Err(RegistryError::DuplicateBroker { id: registration.id, owner });
        }
    }
}

async fn create(client: &Client, path: &str, registration: &BrokerRegistration) -> client::Result<i64> {
    // Created empty and set right after: the answer to a set has the znode's stat also where that to a create has not.
    let creation = client.multi().create(path, Data::NULL, CreateMode::Ephemeral);
    let results = creation.set(path, registration.encode(now_ms()), 0).commit().await?;
    match results.last() {
        Some(MultiResult::Set(stat)) => Ok(stat.czxid),
        _ => Err(Error::ConnectionLost { op: client::Op::Multi }), // Not what was asked: look what is there.
    }
}

async fn take_away(client: &Client, path: &str, stat: &Stat) -> Result<(), RegistryError> {
    match client.delete(path, stat.version).await {
        Ok(()) => Ok(()),
        Err(error) if matches!(error.code(), Some(ErrorCode::NoNode | ErrorCode::BadVersion)) => Ok(()),
        Err(error) if error.is_transient() => {
            pause(&error).await;
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

fn is_ours(registration: &BrokerRegistration, znode: &Znode) -> bool {
    decode_broker(registration.id, &znode.data, znode.stat.czxid)
        .is_ok_and(|broker| broker.endpoints == registration.endpoints)
}

/// Waits until the znode goes, or its session should long have expired.
async fn await_expiry(client: &Client, path: &str) -> Result<(), RegistryError> {
    let patience = client.session_timeout() + EXPIRY_SLACK;
    let gone = async {
        loop {
            match client.exists_and_watch(path).await {
                Ok((None, _)) => return Ok(()),
                Ok((Some(_), changed)) => match changed.await {
                    Ok(event) if event.kind == EventType::NodeDeleted => return Ok(()),
                    Ok(_) => {}
                    Err(error) => return Err(error),
                },
                Err(error) if error.is_transient() => pause(&error).await,
                Err(error) => return Err(error),
            }
        }
    };
    match timeout(patience, gone).await {
        Ok(gone) => Ok(gone?),
        Err(_) => Ok(()), // Someone is alive there: the next attempt tells who.
    }
}
