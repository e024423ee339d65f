//! What is on the disk: the transaction log, snapshots, epochs. Stop 5 of the life of a write, and where a start
//! begins.
//!
//! ```text
//! <dataDir>/myid                          this server's number
//! <dataDir>/initialize                    made by `zkserver init`: an empty database is meant to be empty
//! <dataDir>/version-2/currentEpoch        promises, one number each
//! <dataDir>/version-2/acceptedEpoch
//! <dataDir>/version-2/menagerie/db/       the snapshot: a RocksDB database
//! <dataDir>/version-2/menagerie/db.<zxid> snapshots set aside, sharing their files with it
//! <dataDir>/version-2/menagerie/held-<n>  one that is being sent to a learner, likewise
//! <dataDir>/version-2/snapshot.<zxid>     a Java server's snapshots: imported, or [left](way_back) for one
//! <dataLogDir>/version-2/log.<zxid>       the log, in the files a Java server keeps too
//! ```
//!
//! What is durable when: a txn, once [`TxnLog::sync`] has returned, or the [`LogSync`] that it is in has run; a snapshot,
//! once [`SnapshotStore::flush`] has returned. The log is kept from the oldest snapshot on, so any crash in between costs nothing. What a member of an
//! ensemble does to its history besides adding to it is in [`member`].

pub mod data_dir;
pub mod disk;
pub mod epoch_file;
pub mod error;
pub mod java_snapshot;
pub mod member;
pub mod membership_file;
pub mod purge;
pub mod recovery;
mod rocks;
mod sim_disk;
pub mod snapshot;
mod snapshot_source;
pub mod snapshot_writer;
pub mod txn_log;
pub mod way_back;

pub use data_dir::{DataDirs, DataLock};
pub use disk::{Disk, DiskFile, OsDisk};
pub use epoch_file::{EpochFiles, Epochs};
pub use error::{Error, LogFlaw, Result};
pub use member::{MemberDisk, log_bytes_max};
pub use membership_file::MembershipFiles;
pub use recovery::{Recovered, RecoveryOptions, RecoveryStats, recover};
pub use rocks::RocksStore;
#[cfg(feature = "fuzzing")]
pub use rocks::fuzz_database_records;
pub use sim_disk::SimDisk;
pub use snapshot::{MemoryStore, SnapshotHead, SnapshotStore};
pub use snapshot_source::SnapshotSource;
pub use snapshot_writer::SnapshotWriter;
pub use txn_log::{LogOptions, LogRange, LogSync, Logged, TxnLog, TxnLogReader};
