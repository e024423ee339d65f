//! Numbers that the service gives out: of brokers, of producers, of the cluster.

use client::{Client, CreateMode, ErrorCode};

use super::error::RegistryError;
use super::id::{id_text, random_id};
use super::paths;
use super::payload::{Malformed, ProducerIdBlock, decode_cluster_id, encode_cluster_id};
use super::read::get;
use super::retry::{pause, until_answered};
use crate::topic_partition::BrokerId;

/// Numbers up to here are for brokers that are given theirs: `reserved.broker.max.id`.
const RESERVED_BROKERS_MAX: BrokerId = 1000;

/// A number for a broker that has none.
pub(super) async fn next_broker_id(client: &Client) -> Result<BrokerId, RegistryError> {
    // If an attempt was lost with its connection, a number is left out.
    let stat = until_answered(|| client.set(paths::BROKER_SEQUENCE, "", None)).await?;
    Ok(RESERVED_BROKERS_MAX.wrapping_add(stat.version))
}

/// The cluster's id, made up by the first broker that asks.
pub(super) async fn cluster_id(client: &Client) -> Result<String, RegistryError> {
    loop {
        if let Some(znode) = get(client, paths::CLUSTER_ID).await? {
            return decode_cluster_id(&znode.data).map_err(|cause| malformed(paths::CLUSTER_ID, cause));
        }
        until_answered(|| client.create_all("/cluster")).await?;
        let data = encode_cluster_id(&id_text(random_id()));
        match client.create(paths::CLUSTER_ID, data, CreateMode::Persistent).await {
            Ok(_) => {}
            Err(error) if error.code() == Some(ErrorCode::NodeExists) => {}
            Err(error) if error.is_transient() => pause(&error).await,
            Err(error) => return Err(error.into()),
        }
    }
}

/// A block of producer ids that is nobody else's.
#[doc(alias = "ZkProducerIdManager")]
pub(super) async fn next_producer_ids(
    client: &Client,
    broker: BrokerId,
) -> Result<ProducerIdBlock, RegistryError> {
    loop {
        let znode = until_answered(|| client.get(paths::PRODUCER_IDS)).await?;
        let latest = ProducerIdBlock::decode(&znode.data);
        let latest = latest.map_err(|cause| malformed(paths::PRODUCER_IDS, cause))?;
        let block = ProducerIdBlock::next(broker, latest).ok_or(RegistryError::NoProducerIds)?;
        match client.set(paths::PRODUCER_IDS, block.encode(), znode.stat.version).await {
            Ok(_) => return Ok(block),
            Err(error) if error.code() == Some(ErrorCode::BadVersion) => {}
            // Whether or not it was written: the next block is nobody's for certain, and ids are plenty.
            Err(error) if error.is_transient() => pause(&error).await,
            Err(error) => return Err(error.into()),
        }
    }
}

fn malformed(path: &str, cause: Malformed) -> RegistryError {
    RegistryError::Malformed { path: path.into(), cause }
}
