use jute::data::{Acl, StatPersisted};
use proptest::prelude::*;
use triomphe::ThinArc;

use super::*;
use crate::session::SessionId;
use crate::storage::SimDisk;
use crate::storage::snapshot::SnapshotHead;
use crate::tree::ZnodeRecord;

type Znodes = Vec<(String, ZnodeRecord)>;

fn any_tree() -> impl Strategy<Value = Znodes> {
    let data = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40));
    let acl = prop_oneof![
        Just(Acl::open_unsafe()),
        Just(vec![]),
        Just(vec![Acl::new(3, "digest", "user:hash"), Acl::new(31, "ip", "10.0.0.0/8")]),
    ];
    let record =
        (data, acl, any::<[i64; 6]>(), any::<[i32; 3]>()).prop_map(|(data, acl, long, int)| ZnodeRecord {
            data: data.map(|data| ThinArc::from_header_and_slice((), &data)),
            acl: acl.into(),
            stat: StatPersisted {
                czxid: long[0],
                mzxid: long[1],
                ctime: long[2],
                mtime: long[3],
                version: int[0],
                cversion: int[1],
                aversion: int[2],
                ephemeral_owner: long[4],
                pzxid: long[5],
            },
        });
    proptest::collection::btree_map("(/[a-zé]{1,3}){1,3}", record.clone(), 0..30).prop_flat_map(
        move |znodes| {
            let znodes: Znodes = znodes.into_iter().collect();
            record.clone().prop_map(move |root| {
                let mut all = vec![("/".to_owned(), root)];
                all.extend(znodes.clone());
                all
            })
        },
    )
}

fn write(disk: &SimDisk, compression: Compression, head: &SnapshotHead, znodes: &Znodes) -> PathBuf {
    write_snapshot(disk, Path::new("/d"), compression, head, &mut |sink| {
        znodes.iter().try_for_each(|(path, record)| sink(path, record))
    })
    .unwrap()
}

fn read(disk: &SimDisk, path: &Path) -> Result<(JavaSnapshotHead, Znodes)> {
    let mut znodes = Vec::new();
    let head = read_snapshot(disk, path, &mut |path, record| znodes.push((path.to_owned(), record)))?;
    Ok((head, znodes))
}

fn assert_same(left: &Znodes, right: &Znodes) {
    assert_eq!(left.len(), right.len());
    for ((left_path, left), (right_path, right)) in left.iter().zip(right) {
        assert_eq!(left_path, right_path);
        assert_eq!(left.stat, right.stat);
        assert_eq!(left.acl, right.acl);
        let data = |record: &ZnodeRecord| record.data.as_ref().map(|data| data.slice.to_vec());
        assert_eq!(data(left), data(right));
    }
}

fn head() -> SnapshotHead {
    SnapshotHead {
        zxid: Zxid(0x1_0000_0007),
        digest: 99,
        sessions: vec![(SessionId(5), 4000), (SessionId(-6), 1)],
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(tree in any_tree()) {
        for compression in [Compression::None, Compression::Gzip, Compression::Snappy] {
            let disk = SimDisk::new(1);
            let path = write(&disk, compression, &head(), &tree);
            prop_assert_eq!(snapshot_files(&disk, Path::new("/d")).unwrap().len(), 1);
            let (read_head, znodes) = read(&disk, &path).unwrap();
            assert_same(&tree, &znodes);
            prop_assert_eq!(read_head.zxid, head().zxid);
            prop_assert_eq!(read_head.sessions, head().sessions);
            prop_assert_eq!(read_head.digest, Some((head().zxid, 99)));
            prop_assert_eq!(read_head.last_processed, Some(head().zxid));
        }
    }
}

fn small_tree() -> Znodes {
    let znode = |data: &str, acl: Vec<Acl>| ZnodeRecord {
        data: Some(ThinArc::from_header_and_slice((), data.as_bytes())),
        acl: acl.into(),
        stat: StatPersisted::default(),
    };
    vec![
        ("/".into(), znode("", Acl::open_unsafe())),
        ("/a".into(), znode("some data", vec![Acl::new(1, "digest", "u:h")])),
        ("/a/b".into(), znode("", Acl::open_unsafe())),
    ]
}

#[test]
fn a_flipped_bit_anywhere_is_noticed() {
    let clean = SimDisk::new(1);
    let path = write(&clean, Compression::None, &head(), &small_tree());
    let size = usize::try_from(clean.open(&path).unwrap().size().unwrap()).unwrap();
    for at in 0..size {
        let disk = SimDisk::new(1);
        write(&disk, Compression::None, &head(), &small_tree());
        disk.flip(&path, at, 0x10);
        // The version and dbid of the header are in the checksum like all else; the seal's own path is not.
        let in_seal_path = at >= size - 1;
        assert!(read(&disk, &path).is_err() || in_seal_path, "byte {at} of {size}");
    }
}

#[test]
fn a_snapshot_that_ends_early_is_not_offered() {
    let disk = SimDisk::new(1);
    let path = write(&disk, Compression::None, &head(), &small_tree());
    let file = disk.open(&path).unwrap();
    let size = file.size().unwrap();
    for len in (0..size - 1).rev() {
        file.resize(len).unwrap();
        let offered = snapshot_files(&disk, Path::new("/d")).unwrap();
        assert!(offered.is_empty() || len < size, "cut at {len}");
        let complete_without_trailers = read(&disk, &path).is_ok();
        assert_eq!(complete_without_trailers, !offered.is_empty() && is_seal_end(size, len), "cut at {len}");
    }
}

/// Ends of the three seals: of the tree, the digest (20 + 13 bytes) and the last zxid (8 + 13 bytes).
fn is_seal_end(size: u64, len: u64) -> bool {
    len == size - 21 || len == size - 21 - 33
}
