use std::sync::Arc;

use jute::data::{Acl, StatPersisted};
use triomphe::ThinArc;

use super::*;

fn record(czxid: i64, data: &str) -> ZnodeRecord {
    ZnodeRecord {
        data: Some(ThinArc::from_header_and_slice((), data.as_bytes())),
        acl: Arc::from(Acl::open_unsafe()),
        stat: StatPersisted { czxid, mzxid: czxid, pzxid: czxid, ..StatPersisted::default() },
    }
}

fn cut(zxid: i64, znodes: &[(&str, Option<&str>)]) -> Cut {
    let znodes = znodes.iter().map(|(path, data)| (path, data.map(|data| record(zxid, data)))).collect();
    Cut { zxid: Zxid(zxid), digest: 7, znodes, sessions: vec![(SessionId(zxid), 4000)], ..Cut::default() }
}

fn content(store: &RocksStore) -> (Option<SnapshotHead>, Vec<(String, String)>) {
    let mut znodes = Vec::new();
    let head = store
        .load(&mut |path, record| {
            let data =
                record.data.map_or(String::new(), |data| String::from_utf8(data.slice.to_vec()).unwrap());
            znodes.push((path.to_owned(), data));
        })
        .unwrap();
    (head, znodes)
}

fn znodes(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(path, data)| ((*path).to_owned(), (*data).to_owned())).collect()
}

/// A copy of the database's files as they are now: what a crash leaves of a store that is still open.
fn crashed(store: &RocksStore) -> (tempfile::TempDir, RocksStore) {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("db");
    fs::create_dir_all(&to).unwrap();
    for entry in fs::read_dir(store.path()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "LOCK" {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
    let store = RocksStore::open(dir.path()).unwrap();
    (dir, store)
}

#[test]
fn cuts_move_the_tree_on_and_come_back_in_the_order_of_a_walk() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = RocksStore::open(dir.path()).unwrap();
    assert_eq!(content(&store), (None, vec![]));

    store
        .write(&cut(1, &[("/", Some("")), ("/a-b", Some("1")), ("/a", Some("2")), ("/a/c", Some("3"))]))
        .unwrap();
    store.write(&cut(5, &[("/a/c", None), ("/a/d", Some("4")), ("/a", Some("5"))])).unwrap();
    store.flush().unwrap();
    drop(store);

    let store = RocksStore::open(dir.path()).unwrap();
    let (head, tree) = content(&store);
    assert_eq!(tree, znodes(&[("/", ""), ("/a", "5"), ("/a/d", "4"), ("/a-b", "1")]));
    let sessions = vec![(SessionId(5), 4000)];
    assert_eq!(head, Some(SnapshotHead { zxid: Zxid(5), digest: 7, sessions }));
    assert_eq!(store.durable(), Some(Zxid(5)));
}

#[test]
fn a_crash_leaves_the_tree_as_of_the_last_flush() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = RocksStore::open(dir.path()).unwrap();
    store.write(&cut(1, &[("/", Some("")), ("/a", Some("1"))])).unwrap();
    assert_eq!(store.flush().unwrap(), Some(Zxid(1)));
    store.write(&cut(2, &[("/a", Some("2")), ("/b", Some("2"))])).unwrap();
    assert_eq!(store.durable(), Some(Zxid(1)));

    let (_dir, after) = crashed(&store);
    assert_eq!(after.durable(), Some(Zxid(1)));
    assert_eq!(content(&after).1, znodes(&[("/", ""), ("/a", "1")]));
}

#[test]
fn parts_are_nothing_until_the_last_one_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = RocksStore::open(dir.path()).unwrap();
    let part = |zxid, znodes: &[_]| Cut { partial: true, ..cut(zxid, znodes) };
    store.write(&cut(1, &[("/", Some("")), ("/a", Some("1"))])).unwrap();
    store.flush().unwrap();
    store.write(&cut(2, &[("/a", Some("2"))])).unwrap();
    store.write(&part(3, &[("/b", Some("3"))])).unwrap();
    assert_eq!((store.written(), store.flush().unwrap()), (Some(Zxid(1)), Some(Zxid(1))));
    assert_eq!(store.hold().unwrap().unwrap().0, Zxid(1));
    store.reopen().unwrap();
    store.write(&part(4, &[("/a", None)])).unwrap();
    store.keep().unwrap();
    let (_dir, before) = crashed(&store);
    assert_eq!(content(&before).1, znodes(&[("/", ""), ("/a", "1")]));

    store.write(&cut(5, &[("/c", Some("5"))])).unwrap();
    assert_eq!((store.written(), store.flush().unwrap()), (Some(Zxid(5)), Some(Zxid(5))));
    assert_eq!(store.kept().unwrap(), [Zxid(1)]);
    let (_dir, after) = crashed(&store);
    assert_eq!(content(&after).1, znodes(&[("/", ""), ("/b", "3"), ("/c", "5")]));
}

#[test]
fn a_whole_tree_takes_the_place_of_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = RocksStore::open(dir.path()).unwrap();
    store.write(&cut(1, &[("/", Some("")), ("/old", Some("1"))])).unwrap();
    let whole = Cut { whole: true, ..cut(9, &[("/z", Some("1")), ("/", Some("")), ("/new", Some("2"))]) };
    store.write(&whole).unwrap();
    store.write(&cut(10, &[("/z", Some("3"))])).unwrap();
    store.flush().unwrap();
    drop(store);

    let store = RocksStore::open(dir.path()).unwrap();
    let (head, tree) = content(&store);
    assert_eq!(head.unwrap().zxid, Zxid(10));
    assert_eq!(tree, znodes(&[("/", ""), ("/new", "2"), ("/z", "3")]));
}

#[test]
fn a_replacement_that_was_interrupted_is_completed_or_undone() {
    let whole = |zxid| Cut { whole: true, ..cut(zxid, &[("/", Some("")), ("/new", Some("2"))]) };
    for (renamed, expected) in [(false, 1), (true, 9)] {
        let dir = tempfile::tempdir().unwrap();
        let mut store = RocksStore::open(dir.path()).unwrap();
        store.write(&whole(1)).unwrap();
        let head = SnapshotHead { zxid: Zxid(9), ..SnapshotHead::default() };
        replace::build(&dir.path().join("db.new"), &head, None, false, &mut |sink| sink("/", &record(9, "")))
            .unwrap();
        drop(store);
        if renamed {
            fs::rename(dir.path().join("db"), dir.path().join("db.old")).unwrap();
        }
        assert_eq!(RocksStore::open(dir.path()).unwrap().durable(), Some(Zxid(expected)));
    }
}

#[test]
fn a_whole_tree_that_cannot_be_built_leaves_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = RocksStore::open(dir.path()).unwrap();
    store.write(&cut(1, &[("/", Some("")), ("/old", Some("1"))])).unwrap();
    let head = SnapshotHead { zxid: Zxid(9), ..SnapshotHead::default() };
    let full = || Error::Full { path: dir.path().to_owned() };
    store.replace(&head, &mut |_| Err(full())).unwrap_err();
    store.write(&cut(2, &[("/old", Some("2"))])).unwrap();
    store.flush().unwrap();
    assert_eq!(content(&store).1, znodes(&[("/", ""), ("/old", "2")]));
}

#[test]
fn after_a_failure_the_store_goes_on_with_all_that_it_was_given() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = RocksStore::open(dir.path()).unwrap();
    store.write(&cut(1, &[("/", Some("")), ("/a", Some("1"))])).unwrap();
    store.flush().unwrap();
    store.write(&cut(2, &[("/a", Some("2")), ("/b", Some("2"))])).unwrap();
    let (place, away) = (dir.path().join("db"), dir.path().join("away"));
    fs::rename(&place, &away).unwrap();
    fs::write(&place, "no directory").unwrap();
    store.reopen().unwrap_err();
    store.write(&cut(3, &[("/a", Some("3"))])).unwrap_err();
    store.flush().unwrap_err();
    store.keep().unwrap_err();

    fs::remove_file(&place).unwrap();
    fs::rename(&away, &place).unwrap();
    store.reopen().unwrap();
    assert_eq!((store.durable(), store.written()), (Some(Zxid(1)), Some(Zxid(2))));
    store.write(&cut(3, &[("/a", Some("3"))])).unwrap();
    store.flush().unwrap();
    assert_eq!(content(&store).1, znodes(&[("/", ""), ("/a", "3"), ("/b", "2")]));
}

#[test]
fn what_was_flushed_before_a_failure_is_not_flushed_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = RocksStore::open(dir.path()).unwrap();
    store.write(&cut(1, &[("/", Some("")), ("/a", Some("1"))])).unwrap();
    store.flush().unwrap();
    // As if the database had failed when it had just taken it in.
    store.write(&cut(1, &[("/a", Some("1"))])).unwrap();
    store.reopen().unwrap();
    assert_eq!(store.unflushed(), 0);
    store.write(&cut(2, &[("/a", Some("2"))])).unwrap();
    store.reopen().unwrap();
    assert_eq!(store.unflushed(), 1);
    store.forget_unflushed();
    assert_eq!((store.flush().unwrap(), store.unflushed()), (Some(Zxid(1)), 0));
    assert_eq!(content(&store).1, znodes(&[("/", ""), ("/a", "1")]));
}

#[test]
fn what_was_not_flushed_before_a_whole_tree_came_is_void_though_that_was_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = RocksStore::open(dir.path()).unwrap();
    store.write(&cut(1, &[("/", Some("")), ("/a", Some("1"))])).unwrap();
    store.flush().unwrap();
    store.write(&cut(2, &[("/a", Some("2"))])).unwrap();
    let head = SnapshotHead { zxid: Zxid(9), ..SnapshotHead::default() };
    let (new, at) = (dir.path().join("db.new"), Some(Zxid(9)));
    replace::build(&new, &head, at, true, &mut |sink| sink("/", &record(9, ""))).unwrap();
    store.db = None;
    fs::rename(dir.path().join("db"), dir.path().join("db.old")).unwrap();
    store.reopen().unwrap();
    assert_eq!((store.flush().unwrap(), store.unflushed()), (Some(Zxid(9)), 0));
    assert_eq!(content(&store).1, znodes(&[("/", "")]));
}

#[test]
fn a_second_cut_at_one_zxid_is_flushed_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = RocksStore::open(dir.path()).unwrap();
    for data in ["1", "2"] {
        store.write(&cut(1, &[("/", Some("")), ("/a", Some(data))])).unwrap();
        store.flush().unwrap();
    }
    let (_dir, after) = crashed(&store);
    assert_eq!(content(&after).1, znodes(&[("/", ""), ("/a", "2")]));
}

#[test]
fn trees_set_aside_outlive_the_database_up_to_their_number() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = RocksStore::open(dir.path()).unwrap();
    for zxid in 1..=5 {
        store.write(&cut(zxid, &[("/", Some("")), ("/a", Some(&zxid.to_string()))])).unwrap();
        store.keep().unwrap();
    }
    store.release_before(Zxid(3)).unwrap();
    assert_eq!(store.kept().unwrap(), [Zxid(3), Zxid(4), Zxid(5)]);
    store.write(&cut(6, &[("/a", Some("6"))])).unwrap();
    store.flush().unwrap();
    drop(store);

    fs::remove_dir_all(dir.path().join("db")).unwrap();
    let store = RocksStore::open(dir.path()).unwrap();
    assert_eq!(store.durable(), Some(Zxid(5)));
    assert_eq!(content(&store).1, znodes(&[("/", ""), ("/a", "5")]));
}

#[test]
fn damage_is_refused_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = RocksStore::open(dir.path()).unwrap();
    let data = "x".repeat(1000);
    store.write(&cut(1, &[("/", Some("")), ("/a", Some(&data))])).unwrap();
    store.flush().unwrap();
    drop(store);

    let file = fs::read_dir(dir.path().join("db"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sst"))
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap();
    let mut bytes = fs::read(&file).unwrap();
    bytes[500] ^= 1;
    fs::write(&file, bytes).unwrap();

    let error = RocksStore::open(dir.path()).and_then(|store| store.load(&mut |_, _| {})).unwrap_err();
    assert!(error.to_string().contains("move this directory away"), "{error}");
}

fn waiting(store: &RocksStore) -> u64 {
    store.files_waiting(store.db().unwrap()).unwrap()
}

#[test]
fn compactions_that_were_put_off_are_made_up_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = RocksStore::open(dir.path()).unwrap();
    let flush = |store: &mut RocksStore, zxids: std::ops::Range<i64>| {
        for zxid in zxids {
            store.write(&cut(zxid, &[("/", Some("")), ("/a", Some(&zxid.to_string()))])).unwrap();
            store.flush().unwrap();
        }
    };
    // The first finds nothing there, and goes to the bottom.
    flush(&mut store, 0..20);
    assert_eq!(waiting(&store), 19);
    store.put_off_compactions(false).unwrap();
    store.db().unwrap().wait_for_compact(&WaitForCompactOptions::default()).unwrap();
    assert_eq!(waiting(&store), 0);
    store.put_off_compactions(true).unwrap();
    flush(&mut store, 20..30);
    assert_eq!(waiting(&store), 10);
    assert_eq!(content(&store).1, znodes(&[("/", ""), ("/a", "29")]));
}

#[test]
fn few_files_wait_however_large_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = RocksStore::open(dir.path()).unwrap();
    let large = "x".repeat(L0_CALM.bytes / 8);
    for zxid in 0..10 {
        store.write(&cut(zxid, &[("/", Some("")), ("/a", Some(&large))])).unwrap();
        store.flush().unwrap();
    }
    store.db().unwrap().wait_for_compact(&WaitForCompactOptions::default()).unwrap();
    assert_eq!(waiting(&store), 18, "two of each flush but the first, which went to the bottom");
}

#[test]
fn a_flush_of_many_files_is_one_step_and_the_newest_of_each_znode_stays() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = RocksStore::open(dir.path()).unwrap();
    store.runs = Runs::new(runs_dir(dir.path()), 1); // Each znode comes to a file of its own.
    store
        .write(&cut(1, &[("/", Some("")), ("/a", Some("1")), ("/b", Some("1")), ("/c", Some("1"))]))
        .unwrap();
    store.write(&cut(2, &[("/a", Some("2")), ("/b", None)])).unwrap();
    store.write(&cut(3, &[("/b", Some("3")), ("/c", None), ("/", Some("3"))])).unwrap();
    assert_eq!(content(&store), (None, vec![]));
    let (_dir, before) = crashed(&store);
    assert_eq!(content(&before), (None, vec![]));

    assert_eq!(store.flush().unwrap(), Some(Zxid(3)));
    let (_dir, after) = crashed(&store);
    assert_eq!(content(&after).1, znodes(&[("/", "3"), ("/a", "2"), ("/b", "3")]));
    assert_eq!(after.durable(), Some(Zxid(3)));
}

/// As the first format had it: one batch over three families, without a log.
fn write_format_1(path: &Path, rows: &[(&str, &str)]) {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_atomic_flush(true);
    let families = ["default", ZNODES, "sessions"];
    let db = DB::open_cf(&options, path, families).unwrap();
    let mut batch = rocksdb::WriteBatch::default();
    for (path, data) in rows {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        codec::encode_path(path, &mut key);
        codec::encode_record(&record(3, data), &mut value);
        batch.put_cf(family(&db, ZNODES), key, value);
    }
    batch.put_cf(family(&db, "sessions"), 77_i64.to_be_bytes(), 4000_i32.to_be_bytes());
    let numbers = [5_i64.to_be_bytes(), 7_i64.to_be_bytes(), 4_i64.to_be_bytes()].concat();
    batch.put(b"head", [&[1], &numbers[..]].concat());
    db.write_without_wal(batch).unwrap();
    let families = families.map(|name| family(&db, name));
    db.flush_cfs_opt(&families, &rocksdb::FlushOptions::default()).unwrap();
}

#[test]
fn a_database_of_the_first_format_is_brought_to_this_one() {
    let dir = tempfile::tempdir().unwrap();
    let rows = [("/", ""), ("/a", "1"), ("/a/b", "2")];
    write_format_1(&dir.path().join("db"), &rows);
    for _ in 0..2 {
        let store = RocksStore::open(dir.path()).unwrap();
        let (head, tree) = content(&store);
        assert_eq!(tree, znodes(&rows));
        let sessions = vec![(SessionId(77), 4000)];
        assert_eq!(head, Some(SnapshotHead { zxid: Zxid(5), digest: 7, sessions }));
        assert_eq!(store.replaced_at(), Some(Zxid(4)));
        assert!(!store.voids_log());
    }
}

#[test]
fn a_database_of_a_later_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = RocksStore::open(dir.path()).unwrap();
    let db = store.db.take().unwrap();
    db.put(FORMAT_KEY, [FORMAT + 1]).unwrap();
    drop(db);
    let error = RocksStore::open(dir.path()).unwrap_err();
    assert!(error.to_string().contains("format"), "{error}");
}
