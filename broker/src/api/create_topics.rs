//! New topics. Kafka's `CreateTopics`; any broker answers it, not the controller alone.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Context, millis, text};
use crate::config::topic::{Described, Source};
use crate::group::OFFSETS_TOPIC;
use crate::registry::admin::{CreatedTopic, NewTopic};
use crate::registry::image::{Overrides, Partition};
use crate::registry::{ClusterImage, Refusal};

/// Since which version it is told what was created.
const WITH_DETAILS: i16 = 5;
/// How long a client waits for leaders of a topic that it has not asked for in so many words.
const LEADERS_WAIT: Duration = Duration::from_secs(3);

/// Answers for each topic, when its partitions have leaders or the time is over.
pub(super) async fn handle(
    context: &Context,
    request: &CreateTopicsRequest,
    version: i16,
) -> CreateTopicsResponse {
    let limit = millis(request.timeout_ms);
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let is_twice = request.topics.iter().filter(|other| other.name == topic.name).count() > 1;
        let created = if is_twice {
            let message = "The topic is named more than once.";
            Err(Refusal::new(ResponseError::InvalidRequest, message))
        } else {
            create(context, topic, request.validate_only).await
        };
        results.push(created);
    }
    let waiting = request.topics.iter().zip(results).map(|(topic, created)| async {
        let created = match created {
            Ok(_) if !request.validate_only && !have_leaders(context, &topic.name, limit).await => {
                let message = "The topic is created; its leaders are yet to be elected.";
                Err(Refusal::new(ResponseError::RequestTimedOut, message))
            }
            created => created,
        };
        answered(context, topic, created, version)
    });
    CreateTopicsResponse::default().with_topics(join_all(waiting).await)
}

async fn create(context: &Context, topic: &CreatableTopic, validate: bool) -> Result<CreatedTopic, Refusal> {
    let assignment = topic.assignments.iter();
    let new = NewTopic {
        name: topic.name.to_string(),
        partitions: Some(topic.num_partitions).filter(|partitions| *partitions != -1),
        replication_factor: Some(topic.replication_factor).filter(|replicas| *replicas != -1),
        assignment: assignment
            .map(|one| (one.partition_index, one.broker_ids.iter().map(|id| **id).collect()))
            .collect(),
        config: config_of(topic)?,
    };
    context.admin.create_topic(new, validate).await
}

fn config_of(topic: &CreatableTopic) -> Result<Overrides, Refusal> {
    let pairs = topic.configs.iter().map(|config| match &config.value {
        Some(value) => Ok((config.name.to_string(), value.to_string())),
        None => {
            let message = format!("Null value not supported for topic configs: {}", &*config.name);
            Err(Refusal::new(ResponseError::InvalidConfig, message))
        }
    });
    pairs.collect()
}

fn answered(
    context: &Context,
    topic: &CreatableTopic,
    created: Result<CreatedTopic, Refusal>,
    version: i16,
) -> CreatableTopicResult {
    let result = CreatableTopicResult::default().with_name(topic.name.clone());
    match created {
        Err(Refusal { code, message }) => result
            .with_error_code(code.code())
            .with_error_message(Some(StrBytes::from_string(message)))
            .with_num_partitions(-1)
            .with_replication_factor(-1)
            .with_configs(None),
        Ok(_) if version < WITH_DETAILS => result,
        Ok(created) => result
            .with_topic_id(if version >= 7 { created.id } else { uuid::Uuid::nil() })
            .with_num_partitions(created.partitions)
            .with_replication_factor(created.replication_factor)
            .with_configs(Some(configs(context, topic))),
    }
}

fn configs(context: &Context, topic: &CreatableTopic) -> Vec<CreatableTopicConfigs> {
    let own = config_of(topic).unwrap_or_default();
    let image = context.registry.image();
    let described = context.describe_topic(&image, &own).unwrap_or_default();
    let config = |described: &Described| {
        CreatableTopicConfigs::default()
            .with_name(text(described.key.name))
            .with_value(Some(text(&described.value)))
            .with_config_source(match described.source {
                Source::Topic => 1,
                source => source as i8,
            })
    };
    described.iter().map(config).collect()
}

/// Creates those of `topics` that are nobody's yet; gives those that cannot be.
pub(super) async fn auto_create(context: &Context, topics: Vec<Arc<str>>) -> Vec<(Arc<str>, ResponseError)> {
    let created = topics.into_iter().map(|topic| async {
        let new = NewTopic { name: topic.to_string(), ..NewTopic::default() };
        match context.admin.create_topic(new, false).await {
            Ok(_) => {}
            Err(refusal) if refusal.code == ResponseError::TopicAlreadyExists => {}
            Err(refusal) => return Some((topic, refusal.code)),
        }
        // With leaders the client can go on at once; without, it asks again.
        let is_ready = have_leaders(context, &topic, LEADERS_WAIT).await;
        (!is_ready).then_some((topic, ResponseError::LeaderNotAvailable))
    });
    join_all(created).await.into_iter().flatten().collect()
}

/// Creates the groups' log, the first time that anyone looks for a coordinator.
pub(super) async fn have_offsets_topic(context: &Context) {
    if context.registry.image().topic(OFFSETS_TOPIC).is_some() {
        return;
    }
    let offsets = &context.config.offsets;
    let config = [
        ("cleanup.policy", "compact".to_owned()),
        ("compression.type", "producer".to_owned()),
        ("segment.bytes", offsets.segment_bytes.to_string()),
    ];
    let new = NewTopic {
        name: OFFSETS_TOPIC.to_owned(),
        partitions: Some(offsets.partitions),
        replication_factor: Some(offsets.replication_factor),
        config: config.map(|(key, value)| (key.to_owned(), value)).into(),
        ..NewTopic::default()
    };
    match context.admin.create_topic(new, false).await {
        Ok(_) => drop(have_leaders(context, OFFSETS_TOPIC, LEADERS_WAIT).await),
        Err(refusal) if refusal.code == ResponseError::TopicAlreadyExists => {}
        Err(refusal) => tracing::warn!(%refusal, "no topic for the groups' offsets yet"),
    }
}

async fn have_leaders(context: &Context, topic: &str, limit: Duration) -> bool {
    let has_leader = |partition: &Arc<Partition>| partition.leader().is_some();
    let are_there = |image: &ClusterImage| {
        image.topic(topic).is_some_and(|topic| topic.partitions.values().all(has_leader))
    };
    context.replicas.await_image(limit, are_there).await
}
