use super::*;
use crate::log::batch::{BatchBuilder, BatchHead};
use kafka_protocol::records::Compression;

fn head(offset: i64, epoch: i16, sequence: i32, count: i32) -> BatchHead {
    let mut builder = BatchBuilder::new(offset, 1000, Compression::None).producer(7, epoch, sequence);
    for _ in 0..count {
        builder.push(1000 + offset, None, None, []);
    }
    BatchHead::parse(&builder.build().unwrap()).unwrap()
}

fn producers() -> (tempfile::TempDir, Producers) {
    let dir = tempfile::tempdir().unwrap();
    let path: Arc<Path> = Arc::from(dir.path());
    (dir, Producers::open(&path, BTreeSet::new()))
}

fn code(producers: &Producers, head: &BatchHead) -> i16 {
    producers.check(head, Origin::Producer).map_or_else(|refusal| refusal.response().code(), |_| 0)
}

#[test]
fn the_last_five_batches_are_known_by_their_offset_and_older_ones_only_as_duplicates() {
    let (_dir, mut producers) = producers();
    for at in 0..7 {
        producers.update(&head(i64::from(at) * 2, 0, at * 2, 2));
    }
    let again = producers.check(&head(0, 0, 4, 2), Origin::Producer).unwrap().unwrap();
    assert_eq!((again.base_offset, again.last_offset), (4, 5));
    assert_eq!(code(&producers, &head(0, 0, 2, 2)), 46);
    assert_eq!(code(&producers, &head(0, 0, 14, 2)), 0);
    assert_eq!(code(&producers, &head(0, 0, 15, 2)), 45);
}

#[test]
fn a_batch_that_is_only_in_part_a_duplicate_is_out_of_order() {
    let (_dir, mut producers) = producers();
    producers.update(&head(0, 0, 0, 4));
    assert_eq!(code(&producers, &head(0, 0, 2, 4)), 45);
}

#[test]
fn a_new_epoch_begins_at_zero_and_ends_the_old_one() {
    let (_dir, mut producers) = producers();
    producers.update(&head(0, 3, 0, 1));
    assert_eq!(code(&producers, &head(0, 4, 1, 1)), 45);
    assert_eq!(code(&producers, &head(0, 4, 0, 1)), 0);
    assert_eq!(code(&producers, &head(0, 2, 1, 1)), 47);
    assert!(producers.check(&head(0, 3, 9, 1), Origin::Coordinator).unwrap().is_none());
}

#[test]
fn a_producer_nobody_knows_may_go_on_anywhere() {
    let (_dir, producers) = producers();
    assert_eq!(code(&producers, &head(0, 0, 99, 1)), 0);
}

#[test]
fn zero_comes_after_the_largest_sequence_number() {
    let (_dir, mut producers) = producers();
    producers.update(&head(0, 0, i32::MAX - 1, 4));
    assert_eq!(code(&producers, &head(0, 0, 2, 1)), 0);
    let again = producers.check(&head(0, 0, i32::MAX - 1, 4), Origin::Producer).unwrap();
    assert_eq!(again.map(|it| it.base_offset), Some(0));
    assert_eq!(code(&producers, &head(0, 0, i32::MAX - 9, 2)), 46);
}

#[test]
fn the_snapshot_is_these_bytes_and_is_read_again() {
    let (dir, mut producers) = producers();
    producers.update(&head(40, 2, 5, 3));
    producers.take_snapshot().unwrap();
    let bytes = std::fs::read(dir.path().join("00000000000000000043.snapshot")).unwrap();
    let mut expected = vec![0, 1];
    expected.extend(crc32c::crc32c(&bytes[6..]).to_be_bytes());
    expected.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 2, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 42]);
    expected.extend([0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 4, 16, 255, 255, 255, 255]);
    expected.extend([255; 8]);
    assert_eq!(bytes, expected);

    let path: Arc<Path> = Arc::from(dir.path());
    let mut loaded = Producers::open(&path, BTreeSet::from([43]));
    loaded.load(0, 50).unwrap();
    assert_eq!((loaded.end(), &loaded.producers), (43, &producers.producers));
}

#[test]
fn an_unreadable_snapshot_is_removed_and_the_one_before_it_is_taken() {
    let (dir, mut producers) = producers();
    producers.update(&head(0, 0, 0, 1));
    producers.take_snapshot().unwrap();
    producers.update(&head(1, 0, 1, 1));
    producers.take_snapshot().unwrap();
    let newest = dir.path().join("00000000000000000002.snapshot");
    let mut bytes = std::fs::read(&newest).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&newest, bytes).unwrap();
    producers.load(0, 2).unwrap();
    assert_eq!(producers.end(), 1);
    assert!(!newest.exists());
}

#[test]
fn no_bytes_of_a_snapshot_make_the_decoder_panic() {
    let good = snapshot::encode(&BTreeMap::from([(
        1,
        Producer { epoch: 0, coordinator_epoch: 0, last_timestamp: 0, batches: Vec::new() },
    )]));
    for length in 0..good.len() {
        assert!(snapshot::decode(&good[..length]).is_err());
    }
}

#[test]
fn producers_that_were_silent_too_long_are_forgotten() {
    let (_dir, mut producers) = producers();
    producers.update(&head(0, 0, 0, 1));
    producers.expire(999);
    assert_eq!(producers.count(), 1);
    producers.expire(1000);
    assert_eq!(producers.count(), 0);
}
