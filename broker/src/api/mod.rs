//! A file for each of Kafka's APIs: from the decoded request to its answer.

mod alter_configs;
mod api_versions;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod elect_leaders;
mod fetch;
mod find_coordinator;
#[cfg(test)]
mod group_tests;
mod group_words;
mod heartbeat;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_groups;
mod list_offsets;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod reassignments;
mod sync_group;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, MetadataRequest};
use kafka_protocol::protocol::{Encodable, HeaderVersion, StrBytes};
use tokio::time::Instant;
use tracing::{debug, warn};

use self::init_producer_id::ProducerIds;
use crate::config::BrokerConfig;
use crate::config::topic::{Described, Layers, TopicConfig, TopicConfigError};
use crate::controller::Controller;
use crate::group::GroupCoordinator;
use crate::metrics;
use crate::net::{Answer, Answering, Client};
use crate::registry::admin::{Admin, is_internal};
use crate::registry::image::Overrides;
use crate::registry::paths::DEFAULT_ENTITY;
use crate::registry::{ClusterImage, Registry};
use crate::replica::Replicas;
use crate::topic_partition::BrokerId;
use crate::wire::apis::CONTROLLED_SHUTDOWN;
use crate::wire::controlled_shutdown::{ControlledShutdownRequest, ControlledShutdownResponse};
use crate::wire::{Head, Reply, Request, RequestError};

/// In place of the operations a client may do, when it has not asked for them or nobody keeps it from any.
const NOT_ASKED: i32 = i32::MIN;

/// What answers are made from.
pub struct Context {
    me: BrokerId,
    config: Arc<BrokerConfig>,
    registry: Registry,
    replicas: Arc<Replicas>,
    groups: GroupCoordinator,
    controller: Controller,
    admin: Admin,
    producer_ids: ProducerIds,
}

impl Context {
    /// What the answers of a broker are made from.
    pub fn new(
        me: BrokerId,
        config: Arc<BrokerConfig>,
        registry: Registry,
        replicas: Arc<Replicas>,
        groups: GroupCoordinator,
        controller: Controller,
    ) -> Self {
        let admin = Admin::new(registry.clone(), me, Arc::clone(&config));
        Self {
            me,
            config,
            registry,
            admin,
            replicas,
            groups,
            controller,
            producer_ids: ProducerIds::default(),
        }
    }
}

impl Answering for Context {
    async fn answer(&self, client: Client, frame: Bytes) -> Answer {
        let answered = match Request::parse(frame) {
            Ok(request) => {
                let asked = Instant::now();
                let answered = self.dispatch(client, &request).await;
                timed(&request, asked, answered)
            }
            Err(RequestError::UnsupportedVersion(head)) if head.key == ApiKey::ApiVersions as i16 => {
                return encoded_as(&head, &api_versions::unsupported(), 0);
            }
            Err(error) => Err(error),
        };
        answered.unwrap_or_else(|error| {
            debug!(client = %client.address, error = &error as &dyn std::error::Error, "request refused");
            Answer::Close
        })
    }
}

impl Context {
    async fn dispatch(&self, client: Client, request: &Request) -> Result<Answer, RequestError> {
        let head = &request.head;
        let (version, groups) = (head.version, &self.groups);
        let listener = self.config.listeners.bound.get(client.listener).map_or("", |bound| &bound.listener);
        if head.key == CONTROLLED_SHUTDOWN {
            return self.controlled_shutdown(request).await;
        }
        let Ok(key) = ApiKey::try_from(head.key) else {
            return Err(RequestError::UnknownApi(head.clone()));
        };
        Ok(match key {
            ApiKey::Produce => produce::handle(self, head, request.body()?),
            ApiKey::Fetch => Answer::Reply(fetch::handle(self, head, request.body()?).await),
            ApiKey::ListOffsets => encoded(head, &list_offsets::handle(self, request.body()?, version)),
            ApiKey::Metadata => {
                let asked = request.body()?;
                self.metadata(head, listener, &asked).await
            }
            ApiKey::ApiVersions => encoded(head, &api_versions::handle()),
            ApiKey::DeleteRecords => encoded(head, &delete_records::handle(self, request.body()?)),
            ApiKey::InitProducerId => encoded(head, &init_producer_id::handle(self, request.body()?).await),
            ApiKey::OffsetForLeaderEpoch => {
                encoded(head, &offset_for_leader_epoch::handle(self, request.body()?))
            }
            ApiKey::FindCoordinator => {
                let asked = request.body()?;
                create_topics::have_offsets_topic(self).await;
                let image = self.registry.image();
                encoded(head, &find_coordinator::handle(groups, &image, listener, &asked, version))
            }
            ApiKey::JoinGroup => {
                let (client_id, address) = (head.client_id.as_deref(), client.address.ip());
                let asked = request.body()?;
                encoded(head, &join_group::handle(groups, client_id, address, &asked, version).await)
            }
            ApiKey::SyncGroup => {
                let asked = request.body()?;
                encoded(head, &sync_group::handle(groups, &asked, version).await)
            }
            ApiKey::Heartbeat => encoded(head, &heartbeat::handle(groups, &request.body()?)),
            ApiKey::LeaveGroup => encoded(head, &leave_group::handle(groups, &request.body()?, version)),
            ApiKey::OffsetCommit => {
                let (asked, image) = (request.body()?, self.registry.image());
                encoded(head, &offset_commit::handle(groups, &image, &asked, version).await)
            }
            ApiKey::OffsetFetch => encoded(head, &offset_fetch::handle(groups, &request.body()?, version)),
            ApiKey::OffsetDelete => {
                let (asked, image) = (request.body()?, self.registry.image());
                encoded(head, &offset_delete::handle(groups, &image, &asked).await)
            }
            ApiKey::CreateTopics => {
                let asked = request.body()?;
                encoded(head, &create_topics::handle(self, &asked, version).await)
            }
            ApiKey::DeleteTopics => {
                let asked = request.body()?;
                encoded(head, &delete_topics::handle(self, asked, version).await)
            }
            ApiKey::CreatePartitions => {
                let asked = request.body()?;
                encoded(head, &create_partitions::handle(self, &asked).await)
            }
            ApiKey::AlterConfigs => {
                let asked = request.body()?;
                encoded(head, &alter_configs::whole(self, &asked).await)
            }
            ApiKey::IncrementalAlterConfigs => {
                let asked = request.body()?;
                encoded(head, &alter_configs::part(self, &asked).await)
            }
            ApiKey::AlterPartitionReassignments => {
                let asked = request.body()?;
                encoded(head, &reassignments::alter(self, &asked).await)
            }
            ApiKey::ListPartitionReassignments => encoded(head, &reassignments::list(self, &request.body()?)),
            ApiKey::ElectLeaders => {
                let asked = request.body()?;
                encoded(head, &elect_leaders::handle(self, &asked, version).await)
            }
            ApiKey::DescribeLogDirs => {
                encoded(head, &describe_log_dirs::handle(self, &request.body()?, version))
            }
            ApiKey::DescribeConfigs => encoded(head, &describe_configs::handle(self, &request.body()?)),
            ApiKey::DescribeGroups => {
                encoded(head, &describe_groups::handle(groups, &request.body()?, version))
            }
            ApiKey::ListGroups => encoded(head, &list_groups::handle(groups, &request.body()?)),
            ApiKey::DeleteGroups => {
                let asked = request.body()?;
                encoded(head, &delete_groups::handle(groups, &asked).await)
            }
            ApiKey::DescribeCluster => {
                let image = self.registry.image();
                encoded(head, &describe_cluster::handle(&request.body()?, &image, listener))
            }
            _ => return Err(RequestError::UnknownApi(head.clone())),
        })
    }
}

impl Context {
    async fn metadata(&self, head: &Head, listener: &str, asked: &MetadataRequest) -> Answer {
        let missing = metadata::to_create(asked, head.version, &self.registry.image());
        let refused = if self.config.topics.auto_create && !missing.is_empty() {
            create_topics::auto_create(self, missing).await
        } else {
            Vec::new()
        };
        let image = self.replicas.image();
        encoded(head, &metadata::handle(asked, head.version, &image, listener, &refused))
    }

    /// What a topic with settings of its `own` is configured with, and where each value is from.
    fn describe_topic(
        &self,
        image: &ClusterImage,
        own: &Overrides,
    ) -> Result<Vec<Described>, TopicConfigError> {
        let of = |entity: &str| image.broker_configs.get(entity).map(|config| &**config);
        TopicConfig::describe(Layers {
            topic: Some(own),
            broker: of(&self.me.to_string()),
            all_brokers: of(DEFAULT_ENTITY),
            file: Some(&self.config.raw),
        })
    }

    /// Another broker wants to leave.
    async fn controlled_shutdown(&self, request: &Request) -> Result<Answer, RequestError> {
        let head = &request.head;
        let Some(asked) = ControlledShutdownRequest::decode(request.raw_body().clone()) else {
            return Err(RequestError::Head { bytes: request.raw_body().len() });
        };
        let relieved = self.controller.controlled_shutdown(asked.broker, Some(asked.broker_epoch)).await;
        let response = match relieved {
            Ok(remaining) => ControlledShutdownResponse { error: 0, remaining },
            Err(refusal) => ControlledShutdownResponse { error: refusal.code.code(), remaining: Vec::new() },
        };
        Ok(Answer::Reply(response.encode(head)))
    }
}

/// Counts the request once it is answered, which may be later.
fn timed(
    request: &Request,
    asked: Instant,
    answered: Result<Answer, RequestError>,
) -> Result<Answer, RequestError> {
    let name = request.api.name();
    match answered {
        Ok(Answer::Later(pending)) => Ok(Answer::Later(Box::pin(async move {
            let answer = pending.await;
            metrics::answered(name, asked.elapsed());
            answer
        }))),
        answered => {
            metrics::answered(name, asked.elapsed());
            answered
        }
    }
}

/// `message` as the answer to `head`. What cannot be written down ends the connection.
fn encoded<M: Encodable + HeaderVersion>(head: &Head, message: &M) -> Answer {
    encoded_as(head, message, head.version)
}

fn encoded_as<M: Encodable + HeaderVersion>(head: &Head, message: &M, version: i16) -> Answer {
    match Reply::encode_as(head, message, version) {
        Ok(reply) => Answer::Reply(reply),
        Err(error) => {
            warn!(error = &error as &dyn std::error::Error, "an answer could not be written");
            Answer::Close
        }
    }
}

/// The leader's epoch as a client knows it; clients of early versions, and those who have not heard, know none.
fn epoch_asked(epoch: i32) -> Option<i32> {
    Some(epoch).filter(|epoch| *epoch >= 0)
}

/// What a client is ready to wait.
fn millis(timeout_ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0))
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
