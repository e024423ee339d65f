//! What a request looks like, checked before anything is decoded from it.
//!
//! The decoder reserves what an array claims to hold before it has seen an element; ten bytes could ask it for more memory than
//! there is. So a request's lengths and counts are walked first: no list holds more elements than bytes are left, and
//! each element is there.

use super::apis::{Api, Field};

/// One item of a request's layout.
#[derive(Debug)]
pub(super) enum Item {
    /// So many bytes.
    Fixed(usize),
    /// A string, or null.
    Text,
    /// Bytes, or null.
    Raw,
    /// A list of int32, or null.
    Numbers,
    /// A list of strings, or null.
    Texts,
    /// A list of structs, or null.
    List(&'static [Field]),
}

/// Where a request stops looking like one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed at byte {at}")]
pub struct Malformed {
    /// Counted from the end of the request's head.
    pub at: usize,
}

/// Walks `body` as a request of `api` in `version`; gives its length, which may be less than `body`'s.
pub(super) fn walk(api: &Api, version: i16, body: &[u8]) -> Result<usize, Malformed> {
    let mut walk = Walk { bytes: body, at: 0, version, flexible: api.is_flexible(version) };
    match walk.fields(api.body) {
        Some(()) => Ok(walk.at),
        None => Err(Malformed { at: walk.at }),
    }
}

/// The length of the tagged fields that `bytes` begins with.
pub(super) fn tags(bytes: &[u8]) -> Result<usize, Malformed> {
    let mut walk = Walk { bytes, at: 0, version: 0, flexible: true };
    match walk.tags() {
        Some(()) => Ok(walk.at),
        None => Err(Malformed { at: walk.at }),
    }
}

struct Walk<'a> {
    bytes: &'a [u8],
    /// `at <= bytes.len()`.
    at: usize,
    version: i16,
    flexible: bool,
}

impl Walk<'_> {
    fn fields(&mut self, fields: &[Field]) -> Option<()> {
        for field in fields {
            if field.versions.contains(&self.version) {
                self.item(&field.item)?;
            }
        }
        if self.flexible { self.tags() } else { Some(()) }
    }

    fn item(&mut self, item: &Item) -> Option<()> {
        match item {
            Item::Fixed(bytes) => self.skip(*bytes),
            Item::Text => self.text(),
            Item::Raw => {
                let bytes = self.count()?;
                self.skip(bytes)
            }
            Item::Numbers => {
                let bytes = self.count()?.checked_mul(4)?;
                self.skip(bytes)
            }
            Item::Texts => {
                for _ in 0..self.elements()? {
                    self.text()?;
                }
                Some(())
            }
            Item::List(fields) => {
                for _ in 0..self.elements()? {
                    self.fields(fields)?;
                }
                Some(())
            }
        }
    }

    fn text(&mut self) -> Option<()> {
        let bytes = if self.flexible {
            self.varint()?.saturating_sub(1) as usize
        } else {
            usize::try_from(i16::from_be_bytes(self.take()?)).unwrap_or(0) // Negative: null.
        };
        self.skip(bytes)
    }

    /// How many elements a list claims: no more than there are bytes left, of which each needs one at least.
    fn elements(&mut self) -> Option<usize> {
        let count = self.count()?;
        (count <= self.bytes.len() - self.at).then_some(count)
    }

    /// What stands before bytes and lists.
    fn count(&mut self) -> Option<usize> {
        if self.flexible {
            return Some(self.varint()?.saturating_sub(1) as usize);
        }
        Some(usize::try_from(i32::from_be_bytes(self.take()?)).unwrap_or(0)) // Negative: null.
    }

    fn tags(&mut self) -> Option<()> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let bytes = self.varint()? as usize;
            self.skip(bytes)?;
        }
        Some(())
    }

    fn varint(&mut self) -> Option<u32> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.take()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = *self.bytes.get(self.at..)?.first_chunk()?;
        self.at += N;
        Some(taken)
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        let end = self.at.checked_add(bytes)?;
        if end > self.bytes.len() {
            return None;
        }
        self.at = end;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
    use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
    use kafka_protocol::messages::{ApiKey, MetadataRequest, OffsetFetchRequest, ProduceRequest};
    use kafka_protocol::protocol::{Encodable, StrBytes};
    use proptest::prelude::*;

    use super::*;

    fn api(key: ApiKey) -> &'static Api {
        Api::find(key as i16).expect("spoken")
    }

    fn encoded(message: &impl Encodable, version: i16) -> Vec<u8> {
        let mut bytes = bytes::BytesMut::new();
        message.encode(&mut bytes, version).expect("encodes");
        bytes.to_vec()
    }

    #[test]
    fn a_request_is_walked_to_its_end_in_every_version() {
        let partition =
            PartitionProduceData::default().with_index(7).with_records(Some(vec![1, 2, 3].into()));
        let topic = TopicProduceData::default()
            .with_name(StrBytes::from_static_str("orders").into())
            .with_partition_data(vec![partition.clone(), partition]);
        let produce = ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic.clone(), topic]);
        for version in api(ApiKey::Produce).versions.clone() {
            let bytes = encoded(&produce, version);
            assert_eq!(walk(api(ApiKey::Produce), version, &bytes), Ok(bytes.len()), "{version}");
        }

        let named =
            MetadataRequestTopic::default().with_name(Some(StrBytes::from_static_str("orders").into()));
        let metadata = MetadataRequest::default().with_topics(Some(vec![named]));
        for version in api(ApiKey::Metadata).versions.clone() {
            let bytes = encoded(&metadata, version);
            assert_eq!(walk(api(ApiKey::Metadata), version, &bytes), Ok(bytes.len()), "{version}");
        }
    }

    #[test]
    fn a_list_that_claims_more_than_is_there_is_refused() {
        let bytes = i32::MAX.to_be_bytes();
        assert_eq!(walk(api(ApiKey::Metadata), 0, &bytes), Err(Malformed { at: 4 }));
        assert_eq!(walk(api(ApiKey::Metadata), 9, &[0xff, 0xff, 0xff, 0xff, 0x0f]), Err(Malformed { at: 5 }));
    }

    #[test]
    fn null_lists_and_strings_are_empty() {
        let bytes = encoded(&OffsetFetchRequest::default().with_topics(None), 2);
        assert_eq!(walk(api(ApiKey::OffsetFetch), 2, &bytes), Ok(bytes.len()));
        assert_eq!(walk(api(ApiKey::Metadata), 1, &(-1i32).to_be_bytes()), Ok(4));
    }

    proptest! {
        /// Whatever comes, a walk ends inside of it.
        #[test]
        fn any_bytes_end_somewhere(key in 0usize..32, version in 0i16..13, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let apis: Vec<_> = Api::advertised().collect();
            let api = apis[key % apis.len()];
            match walk(api, version, &bytes) {
                Ok(end) => prop_assert!(end <= bytes.len()),
                Err(malformed) => prop_assert!(malformed.at <= bytes.len()),
            }
        }
    }
}
