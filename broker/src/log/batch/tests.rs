use bytes::{Bytes, BytesMut};
use kafka_protocol::records::{
    Compression, Record as WireRecord, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions,
    TimestampType,
};
use proptest::prelude::*;

use super::*;

const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn wire_record(offset: i64, value: &[u8]) -> WireRecord {
    WireRecord {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 4,
        producer_id: 7,
        producer_epoch: 1,
        timestamp_type: TimestampType::Creation,
        offset,
        sequence: offset as i32,
        timestamp: 1000 + offset,
        key: Some(Bytes::from_static(b"k")),
        value: Some(Bytes::copy_from_slice(value)),
        headers: [("h".into(), Some(Bytes::from_static(b"v"))), ("none".into(), None)].into(),
    }
}

fn by_the_library(compression: Compression) -> Bytes {
    let records: Vec<_> = (0..20).map(|offset| wire_record(offset, &[b'x'; 100])).collect();
    let mut bytes = BytesMut::new();
    RecordBatchEncoder::encode(&mut bytes, &records, &RecordEncodeOptions { version: 2, compression })
        .unwrap();
    bytes.freeze()
}

/// A batch of one record, byte by byte as the table says.
const GOLDEN: &[u8] = &[
    0, 0, 0, 0, 0, 0, 0, 5, // base offset
    0, 0, 0, 58, // length
    0, 0, 0, 3, // leader epoch
    2, // magic
    0x71, 0x6a, 0x61, 0x89, // CRC
    0, 0, // attributes
    0, 0, 0, 0, // last offset delta
    0, 0, 0, 0, 0, 0, 3, 232, // base timestamp
    0, 0, 0, 0, 0, 0, 3, 232, // max timestamp
    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, // no producer
    0, 0, 0, 1, // count
    16, 0, 0, 0, 2, b'k', 2, b'v', 0, // the record
];

#[test]
fn a_batch_is_these_bytes() {
    let mut builder = BatchBuilder::new(5, 1000, Compression::None).leader_epoch(3);
    builder.push(1000, Some(b"k"), Some(b"v"), []);
    let built = builder.build().unwrap();
    assert_eq!(&built[..], GOLDEN);
    let (batch, rest) = Batch::split(GOLDEN).unwrap();
    assert!(rest.is_empty());
    batch.check_crc().unwrap();
    assert_eq!(batch.head.to_bytes(), GOLDEN[..HEAD_BYTES]);
}

#[test]
fn what_the_library_encodes_is_read_for_every_codec() {
    for compression in CODECS {
        let bytes = by_the_library(compression);
        let (batch, _) = Batch::split(&bytes).unwrap();
        batch.check_crc().unwrap();
        let records = batch.records().unwrap();
        let records: Vec<_> = records.iter().map(|record| record.unwrap()).collect();
        assert_eq!(records.len(), 20);
        assert_eq!((records[3].offset, records[3].timestamp), (3, 1003));
        assert_eq!((records[3].key, records[3].value), (Some(&b"k"[..]), Some(&[b'x'; 100][..])));
        let headers: Vec<_> = records[3].headers().collect();
        assert_eq!(headers[0], Header { key: b"h", value: Some(b"v") });
        assert_eq!(headers[1], Header { key: b"none", value: None });
    }
}

#[test]
fn what_is_built_is_read_by_the_library_for_every_codec() {
    for compression in CODECS {
        let mut builder = BatchBuilder::new(40, 7, compression).leader_epoch(2).producer(9, 1, 0);
        for at in 0..5 {
            builder.push(7 + at, None, Some(b"value"), [Header { key: b"a", value: Some(b"b") }]);
        }
        let mut bytes = builder.build().unwrap();
        let set = RecordBatchDecoder::decode(&mut bytes).unwrap();
        let seen: Vec<_> = set.records.iter().map(|it| (it.offset, it.timestamp, it.sequence)).collect();
        assert_eq!(seen, [(40, 7, 0), (41, 8, 1), (42, 9, 2), (43, 10, 3), (44, 11, 4)]);
    }
}

#[test]
fn one_block_of_snappy_without_a_frame_is_read_too() {
    let packed = snap::raw::Encoder::new().compress_vec(&[b'z'; 5000]).unwrap();
    assert_eq!(codec::unpack(Compression::Snappy, &packed, 1 << 20).unwrap().len(), 5000);
}

#[test]
fn records_that_unpack_to_more_than_the_bound_are_refused_by_every_codec() {
    for compression in CODECS.into_iter().skip(1) {
        let mut packed = BytesMut::new();
        codec::pack(compression, &vec![0; 1 << 20], &mut packed).unwrap();
        assert_eq!(codec::unpack(compression, &packed, 1 << 19), Err(Flaw::Bomb), "{compression:?}");
        assert_eq!(codec::unpack(compression, &packed, 1 << 20).unwrap().len(), 1 << 20);
    }
}

#[test]
fn a_length_that_snappy_claims_gets_no_memory() {
    // 2 GiB in the head of a block of 5 bytes.
    assert_eq!(
        codec::unpack(Compression::Snappy, &[0xff, 0xff, 0xff, 0xff, 0x07], usize::MAX),
        Err(Flaw::Packed)
    );
}

#[test]
fn sequence_numbers_begin_again_after_the_largest() {
    let bytes = by_the_library(Compression::None);
    let mut head = BatchHead::parse(&bytes).unwrap();
    head.base_sequence = i32::MAX;
    head.last_offset_delta = 1;
    assert_eq!(head.last_sequence(), 0);
}

#[test]
fn a_flipped_bit_behind_the_crc_is_seen() {
    let good = by_the_library(Compression::Lz4);
    for at in (CRC_FROM..good.len()).step_by(7) {
        let mut bad = good.to_vec();
        bad[at] ^= 0x10;
        let seen = Batch::split(&bad).and_then(|(batch, _)| batch.check_crc());
        assert!(seen.is_err(), "byte {at}");
    }
}

#[test]
fn an_empty_batch_keeps_offsets_and_the_last_sequence() {
    let bytes = by_the_library(Compression::Zstd);
    let head = BatchHead::parse(&bytes).unwrap();
    let empty = BatchBuilder::empty(&head).unwrap();
    let (batch, _) = Batch::split(&empty).unwrap();
    batch.check_crc().unwrap();
    assert_eq!(batch.head.last_offset(), head.last_offset());
    assert_eq!(batch.head.last_sequence(), head.last_sequence());
    assert_eq!(batch.records().unwrap().iter().count(), 0);
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_everything(&bytes);
    }

    #[test]
    fn no_change_of_a_good_batch_makes_the_decoder_panic(
        codec in 0..5_usize, changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)
    ) {
        let mut bytes = by_the_library(CODECS[codec]).to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = decode_everything(&bytes);
    }

    #[test]
    fn numbers_are_read_as_they_were_written(delta in any::<i64>(), key in proptest::option::of(any::<[u8; 9]>())) {
        let mut builder = BatchBuilder::new(0, 0, Compression::None);
        builder.push(delta, key.as_ref().map(|it| &it[..]), None, []);
        let bytes = builder.build().unwrap();
        let (batch, _) = Batch::split(&bytes).unwrap();
        let records = batch.records().unwrap();
        let record = records.iter().next().unwrap().unwrap();
        prop_assert_eq!(record.timestamp, delta);
        prop_assert_eq!(record.key, key.as_ref().map(|it| &it[..]));
    }
}
