//! Topics that are not wanted any more. Kafka's `DeleteTopics`.

use std::time::Duration;

use futures::future::join_all;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Context, millis};
use crate::registry::Refusal;

/// Since which version topics may be named by their ids, and reasons are told.
const BY_ID: i16 = 6;

/// Answers for each topic, when it is gone or the time is over: then it will be.
pub(super) async fn handle(
    context: &Context,
    request: DeleteTopicsRequest,
    version: i16,
) -> DeleteTopicsResponse {
    let limit = millis(request.timeout_ms);
    let named = |name| DeleteTopicState::default().with_name(Some(name));
    let wanted = request.topics.into_iter().chain(request.topic_names.into_iter().map(named));
    let deletions = wanted.map(|wanted| async move {
        let (name, deleted) = delete(context, &wanted, limit).await;
        answered(wanted, name, deleted, version)
    });
    DeleteTopicsResponse::default().with_responses(join_all(deletions).await)
}

async fn delete(
    context: &Context,
    wanted: &DeleteTopicState,
    limit: Duration,
) -> (Option<String>, Result<(), Refusal>) {
    let name = match &wanted.name {
        Some(name) => name.to_string(),
        None => match context.registry.image().topic_by_id(wanted.topic_id) {
            Some(topic) => topic.name.to_string(),
            None => {
                let message = "There is no topic of this id.";
                return (None, Err(Refusal::new(ResponseError::UnknownTopicId, message)));
            }
        },
    };
    let deleted = delete_by_name(context, &name, limit).await;
    (Some(name), deleted)
}

async fn delete_by_name(context: &Context, name: &str, limit: Duration) -> Result<(), Refusal> {
    context.admin.delete_topic(name).await?;
    if context.replicas.await_image(limit, |image| image.topic(name).is_none()).await {
        return Ok(());
    }
    let message = "The topic is marked for deletion; not all of it is gone yet.";
    Err(Refusal::new(ResponseError::RequestTimedOut, message))
}

fn answered(
    wanted: DeleteTopicState,
    name: Option<String>,
    deleted: Result<(), Refusal>,
    version: i16,
) -> DeletableTopicResult {
    let result = DeletableTopicResult::default()
        .with_name(name.map(|name| StrBytes::from_string(name).into()))
        .with_topic_id(if version >= BY_ID { wanted.topic_id } else { uuid::Uuid::nil() });
    match deleted {
        Ok(()) => result,
        Err(Refusal { code, message }) => {
            let message = (version >= BY_ID - 1).then(|| StrBytes::from_string(message));
            result.with_error_code(code.code()).with_error_message(message)
        }
    }
}
