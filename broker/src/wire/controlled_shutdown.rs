//! What a broker that wants to leave asks of the controller. Kafka's `ControlledShutdown`, version 2; the decoder's
//! schemas have it no more.

use bytes::{Buf, BufMut, Bytes};

use super::reply::{self, LENGTH, Part, Reply};
use super::request::Head;
use crate::topic_partition::{BrokerId, TopicPartition};

/// "Give what I lead to others".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlledShutdownRequest {
    /// Who leaves.
    pub broker: BrokerId,
    /// The zxid that created its registration: of an earlier life it is refused.
    pub broker_epoch: i64,
}

/// What is left to be given away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlledShutdownResponse {
    /// A Kafka error code; 0 for none.
    pub error: i16,
    /// What the broker still leads.
    pub remaining: Vec<TopicPartition>,
}

impl ControlledShutdownRequest {
    /// The request of `body`; none when it is of another length.
    pub fn decode(mut body: Bytes) -> Option<Self> {
        let broker = body.try_get_i32().ok()?;
        let broker_epoch = body.try_get_i64().ok()?;
        body.is_empty().then_some(Self { broker, broker_epoch })
    }

    /// Its body.
    pub fn encode(&self) -> Bytes {
        let mut body = Vec::with_capacity(12);
        body.put_i32(self.broker);
        body.put_i64(self.broker_epoch);
        body.into()
    }
}

impl ControlledShutdownResponse {
    /// The answer of `body`; none when it is not one.
    pub fn decode(mut body: Bytes) -> Option<Self> {
        let error = body.try_get_i16().ok()?;
        let mut remaining = Vec::new();
        for _ in 0..body.try_get_i32().ok()? {
            let bytes = usize::try_from(body.try_get_i16().ok()?).ok()?;
            if bytes > body.len() {
                return None;
            }
            let topic = body.split_to(bytes);
            let topic = std::str::from_utf8(&topic).ok()?;
            remaining.push(TopicPartition::new(topic, body.try_get_i32().ok()?));
        }
        Some(Self { error, remaining })
    }

    /// The frame for the request of `head`.
    pub fn encode(&self, head: &Head) -> Reply {
        let mut frame = reply::start(head, false, 6);
        frame.put_i16(self.error);
        frame.put_i32(i32::try_from(self.remaining.len()).expect("a broker leads fewer partitions"));
        for TopicPartition { topic, partition } in &self.remaining {
            frame.put_i16(i16::try_from(topic.len()).expect("a topic's name is short"));
            frame.put_slice(topic.as_bytes());
            frame.put_i32(*partition);
        }
        let length = i32::try_from(frame.len() - LENGTH).expect("names of partitions fill no 2 GiB");
        frame[..LENGTH].copy_from_slice(&length.to_be_bytes());
        Reply { parts: vec![Part::Bytes(frame.freeze())] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_agree() {
        let request = ControlledShutdownRequest { broker: 3, broker_epoch: 0x1_0000_0007 };
        assert_eq!(ControlledShutdownRequest::decode(request.encode()), Some(request));

        let remaining = vec![TopicPartition::new("orders", 0), TopicPartition::new("bills", 7)];
        let response = ControlledShutdownResponse { error: 0, remaining };
        let head = Head { key: 7, version: 2, correlation_id: 9, client_id: None };
        let reply = response.encode(&head);
        let [Part::Bytes(frame)] = &reply.parts[..] else { panic!("{reply:?}") };
        assert_eq!(ControlledShutdownResponse::decode(frame.slice(LENGTH + 4..)), Some(response));
    }

    #[test]
    fn a_torn_body_is_refused() {
        let request = ControlledShutdownRequest { broker: 3, broker_epoch: 7 }.encode();
        for length in 0..request.len() {
            assert_eq!(ControlledShutdownRequest::decode(request.slice(..length)), None);
        }
        assert_eq!(ControlledShutdownResponse::decode(Bytes::from_static(&[0, 0, 0, 0, 0, 1, 0, 9])), None);
    }
}
