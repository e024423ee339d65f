//! Gives a producer the id under which brokers recognise what it sends twice. Kafka's `InitProducerId` (KIP-98).

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};
use tokio::sync::Mutex;
use tracing::warn;

use super::Context;
use crate::registry::Registry;
use crate::topic_partition::BrokerId;

/// Ids that this broker may give away.
#[derive(Debug, Default)]
pub(crate) struct ProducerIds {
    /// The next, and the last; those are taken from the service in blocks.
    block: Mutex<Option<(i64, i64)>>,
}

impl ProducerIds {
    async fn next(&self, registry: &Registry, me: BrokerId) -> Result<i64, ResponseError> {
        let mut block = self.block.lock().await;
        let (next, last) = match *block {
            Some((next, last)) if next <= last => (next, last),
            _ => {
                let taken = registry.next_producer_ids(me).await.map_err(|error| {
                    warn!(error = &error as &dyn std::error::Error, "no ids for producers");
                    ResponseError::CoordinatorLoadInProgress // Asked again by every client.
                })?;
                (taken.first, taken.last)
            }
        };
        *block = Some((next + 1, last));
        Ok(next)
    }
}

/// A new id with epoch 0, or for a producer that has one the same with the next epoch.
pub(super) async fn handle(context: &Context, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let response = InitProducerIdResponse::default().with_producer_id((-1).into()).with_producer_epoch(-1);
    if request.transactional_id.is_some() {
        // There are no transactions: a refusal that no client retries.
        return response.with_error_code(ResponseError::TransactionalIdAuthorizationFailed.code());
    }
    match context.producer_ids.next(&context.registry, context.me).await {
        Ok(id) => response.with_producer_id(id.into()).with_producer_epoch(0),
        Err(error) => response.with_error_code(error.code()),
    }
}
