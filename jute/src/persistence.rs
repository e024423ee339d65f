//! `org.apache.zookeeper.server.persistence`: the headers of files.

use crate::record::record;

record! {
    /// The first 16 bytes of a log or snapshot.
    #[derive(Copy)]
    pub struct FileHeader {
        /// [`FileHeader::LOG_MAGIC`] or [`FileHeader::SNAPSHOT_MAGIC`].
        pub magic: i32,
        /// 2.
        pub version: i32,
        /// 0 in logs, -1 in snapshots.
        pub dbid: i64,
    }
}

impl FileHeader {
    /// "ZKLG".
    pub const LOG_MAGIC: i32 = i32::from_be_bytes(*b"ZKLG");
    /// "ZKSN".
    pub const SNAPSHOT_MAGIC: i32 = i32::from_be_bytes(*b"ZKSN");
    /// The version of both formats.
    pub const VERSION: i32 = 2;
    /// What starts a log.
    pub const LOG: Self = Self { magic: Self::LOG_MAGIC, version: Self::VERSION, dbid: 0 };
    /// What starts a snapshot.
    pub const SNAPSHOT: Self = Self { magic: Self::SNAPSHOT_MAGIC, version: Self::VERSION, dbid: -1 };
}
