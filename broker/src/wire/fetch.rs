//! The answer to a fetch, in which records stay in their files.
//!
//! Kafka's `FetchResponse`, versions 4 to 12; written here by hand as its records are ranges to be sent from where they
//! stand rather than bytes in memory.

use std::fs::File;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use kafka_protocol::protocol::StrBytes;

use super::reply::{self, LENGTH, Part, Reply};
use super::request::Head;

/// From here on lengths are compact, and a partition may tell where its history parts from the follower's.
const FLEXIBLE: i16 = 12;

/// What a fetch gives.
#[derive(Debug, Default)]
pub struct Fetched {
    /// For the whole, a Kafka error code; 0 for none.
    pub error: i16,
    /// In the order they were asked for.
    pub topics: Vec<(StrBytes, Vec<FetchedPartition>)>,
}

/// What a fetch gives of one partition.
#[derive(Debug, Clone)]
pub struct FetchedPartition {
    /// Its number.
    pub partition: i32,
    /// A Kafka error code; 0 for none.
    pub error: i16,
    /// What consumers may see ends here; -1 with an error.
    pub high_watermark: i64,
    /// Its first record that is not deleted; -1 with an error.
    pub log_start: i64,
    /// The end of the follower's last epoch as the leader knows it, when the follower must cut its log.
    pub diverging: Option<EpochEnd>,
    /// Whole batches, if there are any.
    pub records: Option<Records>,
}

/// Where an epoch ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    /// The leader's epoch.
    pub epoch: i32,
    /// The offset behind its last record.
    pub end: i64,
}

/// A range of a segment.
#[derive(Debug, Clone)]
pub struct Records {
    /// The segment.
    pub file: Arc<File>,
    /// Of the first byte.
    pub position: u64,
    /// How many.
    pub bytes: usize,
}

impl FetchedPartition {
    /// Nothing but `error`.
    pub fn failed(partition: i32, error: i16) -> Self {
        Self { partition, error, high_watermark: -1, log_start: -1, diverging: None, records: None }
    }

    /// The size of its records.
    pub fn bytes(&self) -> usize {
        self.records.as_ref().map_or(0, |records| records.bytes)
    }
}

impl Fetched {
    /// The size of all records.
    pub fn bytes(&self) -> usize {
        self.topics.iter().flat_map(|(_, partitions)| partitions).map(FetchedPartition::bytes).sum()
    }

    /// The frame for the request of `head`.
    pub fn encode(&self, head: &Head) -> Reply {
        let version = head.version;
        let flexible = version >= FLEXIBLE;
        let mut writer =
            Writer { frame: reply::start(head, flexible, 64), parts: Vec::new(), sent: 0, flexible };
        writer.frame.put_i32(0); // No throttling.
        if version >= 7 {
            writer.frame.put_i16(self.error);
            writer.frame.put_i32(0); // No fetch session: the client names all it wants each time.
        }
        writer.count(self.topics.len());
        for (topic, partitions) in &self.topics {
            writer.text(topic);
            writer.count(partitions.len());
            for partition in partitions {
                writer.partition(partition, version);
            }
            writer.no_tags();
        }
        writer.no_tags();
        writer.finish()
    }
}

struct Writer {
    frame: BytesMut,
    parts: Vec<Part>,
    /// Bytes in `parts`.
    sent: usize,
    flexible: bool,
}

impl Writer {
    fn partition(&mut self, partition: &FetchedPartition, version: i16) {
        self.frame.put_i32(partition.partition);
        self.frame.put_i16(partition.error);
        self.frame.put_i64(partition.high_watermark);
        self.frame.put_i64(partition.high_watermark); // Last stable: there are no transactions.
        if version >= 5 {
            self.frame.put_i64(partition.log_start);
        }
        self.null_list(); // No aborted transactions.
        if version >= 11 {
            self.frame.put_i32(-1); // Read from the leader.
        }
        self.records(partition.records.as_ref());
        match partition.diverging.filter(|_| self.flexible) {
            Some(EpochEnd { epoch, end }) => {
                self.frame.put_slice(&[1, 0, 4 + 8 + 1]); // One tag, number 0, and its size.
                self.frame.put_i32(epoch);
                self.frame.put_i64(end);
                self.frame.put_u8(0);
            }
            None => self.no_tags(),
        }
    }

    fn records(&mut self, records: Option<&Records>) {
        let Some(Records { file, position, bytes }) = records else {
            // Empty rather than null: some clients take null for a broken answer.
            return self.count(0);
        };
        self.count(*bytes);
        self.cut();
        self.parts.push(Part::File { file: Arc::clone(file), position: *position, bytes: *bytes });
        self.sent += bytes;
    }

    /// Before bytes, and before lists.
    fn count(&mut self, count: usize) {
        if self.flexible {
            put_varint(&mut self.frame, count + 1);
        } else {
            self.frame.put_i32(i32::try_from(count).expect("a fetch is bounded far below 2 GiB"));
        }
    }

    fn text(&mut self, text: &str) {
        if self.flexible {
            put_varint(&mut self.frame, text.len() + 1);
        } else {
            self.frame.put_i16(i16::try_from(text.len()).expect("it came as a string of this length"));
        }
        self.frame.put_slice(text.as_bytes());
    }

    fn null_list(&mut self) {
        if self.flexible {
            self.frame.put_u8(0);
        } else {
            self.frame.put_i32(-1);
        }
    }

    fn no_tags(&mut self) {
        if self.flexible {
            self.frame.put_u8(0);
        }
    }

    fn cut(&mut self) {
        let bytes = self.frame.split().freeze();
        self.sent += bytes.len();
        self.parts.push(Part::Bytes(bytes));
    }

    fn finish(mut self) -> Reply {
        self.cut();
        let length = i32::try_from(self.sent - LENGTH).expect("a fetch is bounded far below 2 GiB");
        if let Some(Part::Bytes(first)) = self.parts.first_mut() {
            let mut bytes = BytesMut::from(std::mem::take(first));
            bytes[..LENGTH].copy_from_slice(&length.to_be_bytes());
            *first = bytes.freeze();
        }
        Reply { parts: self.parts }
    }
}

fn put_varint(frame: &mut BytesMut, mut value: usize) {
    while value >= 0x80 {
        frame.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    frame.put_u8(value as u8);
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use bytes::{Buf, Bytes};
    use kafka_protocol::messages::{FetchResponse, ResponseHeader};
    use kafka_protocol::protocol::Decodable;

    use super::*;

    fn bytes_of(reply: &Reply) -> Bytes {
        let mut all = BytesMut::new();
        for part in &reply.parts {
            match part {
                Part::Bytes(bytes) => all.put_slice(bytes),
                Part::File { file, position, bytes } => {
                    let mut read = vec![0; *bytes];
                    file.read_exact_at(&mut read, *position).expect("readable");
                    all.put_slice(&read);
                }
            }
        }
        all.freeze()
    }

    #[test]
    fn the_decoder_reads_what_is_written_in_every_version() {
        let file = tempfile::tempfile().expect("a file");
        file.write_all_at(b"..records!", 0).expect("written");
        let found = FetchedPartition {
            partition: 3,
            error: 0,
            high_watermark: 17,
            log_start: 5,
            diverging: Some(EpochEnd { epoch: 4, end: 11 }),
            records: Some(Records { file: Arc::new(file), position: 2, bytes: 7 }),
        };
        let topics = vec![
            (StrBytes::from_static_str("orders"), vec![found.clone(), FetchedPartition::failed(4, 6)]),
            (StrBytes::from_static_str("bills"), vec![found]),
        ];
        let fetched = Fetched { error: 0, topics };
        for version in 4..=12 {
            let head = Head { key: 1, version, correlation_id: 42, client_id: None };
            let reply = fetched.encode(&head);
            let mut bytes = bytes_of(&reply);
            assert_eq!(reply.bytes(), bytes.len());
            assert_eq!(bytes.get_i32() as usize, bytes.len());
            let head = ResponseHeader::decode(&mut bytes, i16::from(version >= 12)).expect("a head");
            assert_eq!(head.correlation_id, 42);
            let decoded = FetchResponse::decode(&mut bytes, version).expect("a body");
            assert!(bytes.is_empty(), "{version}");
            let partitions = &decoded.responses[0].partitions;
            assert_eq!(partitions[0].records.as_deref(), Some(&b"records"[..]));
            assert_eq!((partitions[0].high_watermark, partitions[1].error_code), (17, 6));
            if version >= 12 {
                let diverging = &partitions[0].diverging_epoch;
                assert_eq!((diverging.epoch, diverging.end_offset), (4, 11));
            }
        }
    }
}
