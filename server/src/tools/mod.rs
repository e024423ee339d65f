//! What is done to a server's files while it is stopped: `zkserver dump-log`, `dump-snapshot`, `export`,
//! `import`, `purge`, `init`. ZooKeeper's `zkTxnLogToolkit.sh`, `zkSnapShotToolkit.sh`, `zkCleanup.sh`,
//! `zkServer-initialize.sh`, with the same output where scripts may read it.
//!
//! Each takes plain options and writes to where it is told; `main` parses arguments.

mod date;
mod dump_log;
mod dump_snapshot;
mod init;
mod transfer;
mod txn_text;

pub use dump_log::{RepairedLog, chop_log, dump_log, recover_log};
pub use dump_snapshot::{SnapshotFormat, dump_snapshot};
pub use init::{InitOptions, init};
pub use transfer::{ExportOptions, ImportOptions, clean_up, export, import};

use std::fmt;
use std::io::Write;
use std::path::Path;

use crate::storage::Result;
use crate::storage::error::IoContext;

/// Prints to where the tool was told to.
fn print(out: &mut dyn Write, text: fmt::Arguments<'_>) -> Result<()> {
    out.write_fmt(text).during("write to", Path::new("the output"))
}
