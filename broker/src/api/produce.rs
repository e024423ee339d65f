//! Records from producers. Kafka's `Produce`.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::produce_request::PartitionProduceData;
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::Compression;
use tokio::time::{Instant, timeout_at};

use super::{Context, encoded, is_internal};
use crate::log::batch::BatchHead;
use crate::metrics;
use crate::net::Answer;
use crate::replica::clock;
use crate::replica::partition::{Partition, ProduceError, Promise};
use crate::replica::waiters::Waiter;
use crate::wire::Head;

/// From this version on producers know zstd, and that others may not (KIP-110).
const ZSTD_SINCE: i16 = 7;

/// Appends all of `request` before it returns, so that what comes behind it stands behind it; with acks=all the answer
/// waits for the followers.
pub(super) fn handle(context: &Context, head: &Head, request: ProduceRequest) -> Answer {
    let acks = request.acks;
    let mut appended =
        Appended { version: head.version, response: ProduceResponse::default(), promised: Vec::new() };
    for (topic_at, topic) in request.topic_data.into_iter().enumerate() {
        let mut answered = TopicProduceResponse::default().with_name(topic.name.clone());
        for (partition_at, data) in topic.partition_data.into_iter().enumerate() {
            let place = (topic_at, partition_at);
            answered.partition_responses.push(appended.append(context, &topic.name, data, acks, place));
        }
        appended.response.responses.push(answered);
    }
    match acks {
        0 if appended.has_failed() => Answer::Close, // The only way to tell it.
        0 => Answer::Nothing,
        _ if appended.promised.is_empty() => encoded(head, &appended.response),
        _ => {
            let deadline =
                Instant::now() + Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
            let head = head.clone();
            Answer::Later(Box::pin(async move {
                let response = appended.wait(deadline).await;
                encoded(&head, &response)
            }))
        }
    }
}

struct Appended {
    version: i16,
    response: ProduceResponse,
    promised: Vec<Promised>,
}

/// Records that are not safe yet, and where in the response their fate is told.
struct Promised {
    partition: Arc<Partition>,
    promise: Promise,
    place: (usize, usize),
}

impl Appended {
    fn append(
        &mut self,
        context: &Context,
        topic: &str,
        data: PartitionProduceData,
        acks: i16,
        place: (usize, usize),
    ) -> PartitionProduceResponse {
        let response = PartitionProduceResponse::default().with_index(data.index);
        let bytes = data.records.as_ref().map_or(0, bytes::Bytes::len);
        let appended = self.try_append(context, topic, data, acks, place);
        match &appended {
            Ok(appended) => {
                let records = appended.last_offset - appended.base_offset + 1;
                metrics::produced(topic, u64::try_from(records).unwrap_or(0), bytes);
            }
            Err(_) => metrics::produce_failed(topic),
        }
        match appended {
            Ok(appended) => response
                .with_base_offset(appended.base_offset)
                .with_log_append_time_ms(appended.log_append_time.unwrap_or(-1))
                .with_log_start_offset(appended.log_start_offset),
            Err(error) => failed(response, error),
        }
    }

    fn try_append(
        &mut self,
        context: &Context,
        topic: &str,
        data: PartitionProduceData,
        acks: i16,
        place: (usize, usize),
    ) -> Result<crate::log::Appended, ProduceError> {
        if !(-1..=1).contains(&acks) {
            return Err(ResponseError::InvalidRequiredAcks.into());
        }
        if is_internal(topic) {
            return Err(ResponseError::InvalidTopicException.into()); // Ours alone to write.
        }
        let partition = context.replicas.partition(topic, data.index)?;
        let records = data.records.unwrap_or_default();
        if self.version < ZSTD_SINCE && has_zstd(&records) {
            return Err(ResponseError::UnsupportedCompressionType.into());
        }
        let (appended, promise) = partition.append(&records, acks == -1, clock::now())?;
        if acks == -1 {
            match partition.fate(promise) {
                None => self.promised.push(Promised { partition, promise, place }),
                Some(fate) => fate?,
            }
        }
        Ok(appended)
    }

    fn has_failed(&self) -> bool {
        self.response
            .responses
            .iter()
            .flat_map(|topic| &topic.partition_responses)
            .any(|one| one.error_code != 0)
    }

    /// Until all is safe, or cannot be any more, or the producer's patience is over.
    async fn wait(mut self, deadline: Instant) -> ProduceResponse {
        let waiter = Waiter::default();
        let places: Vec<_> = self.promised.iter().map(|one| waiter.wait_at(one.partition.safe())).collect();
        loop {
            self.settle();
            if self.promised.is_empty() {
                break;
            }
            if timeout_at(deadline, waiter.woken()).await.is_err() {
                for Promised { place, .. } in std::mem::take(&mut self.promised) {
                    self.tell(place, ResponseError::RequestTimedOut);
                }
                break;
            }
        }
        drop(places);
        self.response
    }

    fn settle(&mut self) {
        let mut fates = Vec::new();
        self.promised.retain(|one| match one.partition.fate(one.promise) {
            None => true,
            Some(Ok(())) => false,
            Some(Err(error)) => {
                fates.push((one.place, error));
                false
            }
        });
        for (place, error) in fates {
            self.tell(place, error);
        }
    }

    fn tell(&mut self, (topic, partition): (usize, usize), error: ResponseError) {
        let response = &mut self.response.responses[topic].partition_responses[partition];
        *response = failed(PartitionProduceResponse::default().with_index(response.index), error.into());
    }
}

fn has_zstd(records: &[u8]) -> bool {
    BatchHead::parse(records).is_ok_and(|head| head.attributes.compression() == Ok(Compression::Zstd))
}

fn failed(response: PartitionProduceResponse, error: ProduceError) -> PartitionProduceResponse {
    let ProduceError { error, message, record } = error;
    let message = message.map(StrBytes::from_string);
    let record_errors = record.map(|record| {
        BatchIndexAndErrorMessage::default()
            .with_batch_index(record)
            .with_batch_index_error_message(message.clone())
    });
    response
        .with_error_code(error.code())
        .with_base_offset(-1)
        .with_log_append_time_ms(-1)
        .with_log_start_offset(-1)
        .with_record_errors(record_errors.into_iter().collect())
        .with_error_message(message)
}
