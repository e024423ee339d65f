//! What topics and brokers are configured with, and where each value comes from. Kafka's `DescribeConfigs`.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Context, text};
use crate::config::DescribedKey;
use crate::config::topic::{Described, Source, TopicConfigError};
use crate::registry::ClusterImage;
use crate::registry::image::Overrides;
use crate::registry::paths::DEFAULT_ENTITY;
use crate::topic_partition::BrokerId;

/// The kinds of resources: topics.
pub(super) const TOPIC: i8 = 2;
/// The kinds of resources: brokers, by number; all of them, by an empty name.
pub(super) const BROKER: i8 = 4;

/// A value that has nothing to do with topics is told as a string.
const STRING: i8 = 2;

/// Why a resource is not described.
struct Refused {
    error: ResponseError,
    message: String,
}

impl From<TopicConfigError> for Refused {
    fn from(error: TopicConfigError) -> Self {
        Self { error: ResponseError::InvalidConfig, message: error.to_string() }
    }
}

/// Answers for each resource.
pub(super) fn handle(context: &Context, request: &DescribeConfigsRequest) -> DescribeConfigsResponse {
    let image = context.registry.image();
    let describe = |resource: &DescribeConfigsResource| {
        let configs = match resource.resource_type {
            TOPIC => topic(context, &image, resource),
            BROKER => broker(context, &image, resource),
            _ => Err(Refused {
                error: ResponseError::InvalidRequest,
                message: "only topics and brokers are configured".to_owned(),
            }),
        };
        answered(resource, configs, request)
    };
    DescribeConfigsResponse::default().with_results(request.resources.iter().map(describe).collect())
}

fn topic(
    context: &Context,
    image: &ClusterImage,
    resource: &DescribeConfigsResource,
) -> Result<Vec<DescribeConfigsResourceResult>, Refused> {
    let name = &*resource.resource_name;
    if image.topic(name).is_none() {
        let message = format!("there is no topic {name}");
        return Err(Refused { error: ResponseError::UnknownTopicOrPartition, message });
    }
    let own = image.topic_config(name);
    Ok(context.describe_topic(image, &own)?.iter().map(of_topic).collect())
}

fn of_topic(described: &Described) -> DescribeConfigsResourceResult {
    let synonyms = described
        .candidates
        .iter()
        .map(|candidate| synonym(candidate.name, Some(text(&candidate.value)), candidate.source));
    DescribeConfigsResourceResult::default()
        .with_name(text(described.key.name))
        .with_value(Some(text(&described.value)))
        .with_config_source(described.source as i8)
        .with_synonyms(synonyms.collect())
        .with_config_type(described.key.kind as i8)
        .with_documentation(Some(text(described.key.documentation)))
}

/// A broker tells what its own file says, and what the service says of it; of others, only the latter.
fn broker(
    context: &Context,
    image: &ClusterImage,
    resource: &DescribeConfigsResource,
) -> Result<Vec<DescribeConfigsResourceResult>, Refused> {
    let name = &*resource.resource_name;
    let id = match name {
        "" => None,
        _ => Some(name.parse::<BrokerId>().map_err(|_| Refused {
            error: ResponseError::InvalidRequest,
            message: format!("{name} is no broker's number"),
        })?),
    };
    if let Some(id) = id.filter(|id| *id != context.me) {
        let message = format!("only broker {id} knows its configuration, this is {}", context.me);
        return Err(Refused { error: ResponseError::InvalidRequest, message });
    }
    let none = Overrides::default();
    let dynamic = |entity: &str| image.broker_configs.get(entity).map_or(&none, |config| config);
    let all = dynamic(DEFAULT_ENTITY);
    if id.is_none() {
        let set = all.iter().map(|(key, value)| (key.as_str(), vec![(Source::AllBrokers, value.as_str())]));
        let set = set.map(|(name, candidates)| DescribedKey { name, candidates, is_dynamic: true });
        return Ok(set.map(|key| of_broker(&key)).collect());
    }
    Ok(context.config.describe(dynamic(name), all).iter().map(of_broker).collect())
}

fn of_broker(key: &DescribedKey<'_>) -> DescribeConfigsResourceResult {
    let is_sensitive = key.name.contains("password") || key.name.contains("secret");
    let shown = |value: &str| (!is_sensitive).then(|| text(value));
    let synonyms = key.candidates.iter().map(|(source, value)| synonym(key.name, shown(value), *source));
    let in_effect = key.candidates.first();
    DescribeConfigsResourceResult::default()
        .with_name(text(key.name))
        .with_value(in_effect.and_then(|(_, value)| shown(value)))
        .with_read_only(!key.is_dynamic)
        .with_config_source(in_effect.map_or(Source::Default, |(source, _)| *source) as i8)
        .with_is_sensitive(is_sensitive)
        .with_synonyms(synonyms.collect())
        .with_config_type(STRING)
}

fn synonym(name: &str, value: Option<StrBytes>, source: Source) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym::default().with_name(text(name)).with_value(value).with_source(source as i8)
}

fn answered(
    resource: &DescribeConfigsResource,
    configs: Result<Vec<DescribeConfigsResourceResult>, Refused>,
    request: &DescribeConfigsRequest,
) -> DescribeConfigsResult {
    let result = DescribeConfigsResult::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name.clone());
    let mut configs = match configs {
        Ok(configs) => configs,
        Err(Refused { error, message }) => {
            return result
                .with_error_code(error.code())
                .with_error_message(Some(StrBytes::from_string(message)));
        }
    };
    if let Some(keys) = resource.configuration_keys.as_ref().filter(|keys| !keys.is_empty()) {
        configs.retain(|config| keys.contains(&config.name));
    }
    for config in &mut configs {
        if !request.include_synonyms {
            config.synonyms.clear();
        }
        if !request.include_documentation {
            config.documentation = None;
        }
    }
    result.with_configs(configs)
}
