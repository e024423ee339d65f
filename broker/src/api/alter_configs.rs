//! Topics and brokers are configured while they are at work. Kafka's `AlterConfigs`, which sets a configuration as a
//! whole, and `IncrementalAlterConfigs` (KIP-339), which changes some of it.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse as Whole;
use kafka_protocol::messages::incremental_alter_configs_request::AlterableConfig;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse as Part;
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::Context;
use super::describe_configs::{BROKER, TOPIC};
use crate::registry::Refusal;
use crate::registry::admin::{ConfigOp, ConfigResource};
use crate::registry::image::Overrides;

/// Sets each configuration as a whole.
pub(super) async fn whole(context: &Context, request: &AlterConfigsRequest) -> AlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in &request.resources {
        let pairs = resource.configs.iter();
        let config: Overrides = pairs
            .filter_map(|config| Some((config.name.to_string(), config.value.as_ref()?.to_string())))
            .collect();
        let set = match resource_of(resource.resource_type, &resource.resource_name) {
            Ok(named) => context.admin.set_config(&named, config, request.validate_only).await,
            Err(refusal) => Err(refusal),
        };
        let (error, message) = told(set);
        let response = Whole::default()
            .with_error_code(error)
            .with_error_message(message)
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        responses.push(response);
    }
    AlterConfigsResponse::default().with_responses(responses)
}

/// Changes some of each configuration.
pub(super) async fn part(
    context: &Context,
    request: &IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in &request.resources {
        let named = resource_of(resource.resource_type, &resource.resource_name);
        let ops = resource.configs.iter().map(op_of).collect::<Result<Vec<_>, _>>();
        let altered = match (named, ops) {
            (Ok(named), Ok(ops)) => context.admin.alter_config(&named, &ops, request.validate_only).await,
            (Err(refusal), _) | (_, Err(refusal)) => Err(refusal),
        };
        let (error, message) = told(altered);
        let response = Part::default()
            .with_error_code(error)
            .with_error_message(message)
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        responses.push(response);
    }
    IncrementalAlterConfigsResponse::default().with_responses(responses)
}

fn resource_of(kind: i8, name: &str) -> Result<ConfigResource, Refusal> {
    let refuse = |message: String| Err(Refusal::new(ResponseError::InvalidRequest, message));
    match kind {
        TOPIC => Ok(ConfigResource::Topic(name.to_owned())),
        BROKER if name.is_empty() => Ok(ConfigResource::Broker(None)),
        BROKER => match name.parse() {
            Ok(id) => Ok(ConfigResource::Broker(Some(id))),
            Err(_) => refuse(format!("{name} is no broker's number")),
        },
        _ => refuse("only topics and brokers are configured".to_owned()),
    }
}

fn op_of(config: &AlterableConfig) -> Result<(String, ConfigOp), Refusal> {
    let value = || {
        let refusal = || Refusal::new(ResponseError::InvalidRequest, "Null value not supported");
        config.value.as_ref().map(ToString::to_string).ok_or_else(refusal)
    };
    let op = match config.config_operation {
        0 => ConfigOp::Set(value()?),
        1 => ConfigOp::Delete,
        2 => ConfigOp::Append(value()?),
        3 => ConfigOp::Subtract(value()?),
        other => {
            let message = format!("Unknown operation {other}");
            return Err(Refusal::new(ResponseError::InvalidRequest, message));
        }
    };
    Ok((config.name.to_string(), op))
}

fn told(done: Result<(), Refusal>) -> (i16, Option<StrBytes>) {
    match done {
        Ok(()) => (0, None),
        Err(Refusal { code, message }) => (code.code(), Some(StrBytes::from_string(message))),
    }
}
