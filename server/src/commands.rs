//! The tools of the command line: what is done to a server's files while it is stopped.

use std::io;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use server::storage::java_snapshot::Compression;
use server::storage::{DataDirs, OsDisk};
use server::tools::{self, ExportOptions, ImportOptions, InitOptions, SnapshotFormat};
use server::zab::Zxid;

/// A tool, with its arguments.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Prints the txns of a log file, or mends a copy of it.
    DumpLog {
        /// A file called log.ZXID.
        file: PathBuf,
        /// Instead, write a copy with right checksums to FILE.fixed.
        #[arg(short, long)]
        recover: bool,
        /// Instead, write a copy that ends with this txn to FILE.choppedZXID.
        #[arg(short, long, value_name = "ZXID", value_parser = parse_zxid, conflicts_with = "recover")]
        chop: Option<Zxid>,
    },
    /// Prints the znodes and sessions of a snapshot.
    DumpSnapshot {
        /// A file called snapshot.ZXID, or a database: version-2/menagerie in a dataDir.
        path: PathBuf,
        /// With data, in base64.
        #[arg(short, long)]
        data: bool,
        /// Names and sizes in the format of ncdu.
        #[arg(long, conflicts_with = "data")]
        json: bool,
    },
    /// Writes a snapshot from which a Java server can start in this server's directory.
    Export {
        #[command(flatten)]
        dirs: Dirs,
        /// Another directory to write to.
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
        /// gz or snappy; neither, unless given.
        #[arg(long, default_value = "", value_name = "METHOD")]
        compression: String,
    },
    /// Brings a Java server's data into an empty directory. (Started in that server's own directory, zkserver
    /// does so by itself.)
    Import {
        /// The Java server's dataDir, or a snapshot file.
        from: PathBuf,
        /// The Java server's dataLogDir, if it is another.
        #[arg(long, value_name = "DIR")]
        from_log_dir: Option<PathBuf>,
        #[command(flatten)]
        dirs: Dirs,
    },
    /// Removes old snapshots, and the log files that none of the newer ones needs.
    Purge {
        #[command(flatten)]
        dirs: Dirs,
        /// How many snapshots to keep, at least 3.
        #[arg(short = 'n', long, default_value_t = 3)]
        retain: usize,
    },
    /// Makes the directories of a new server.
    Init {
        #[command(flatten)]
        dirs: Dirs,
        /// The server's number, 1 to 255.
        #[arg(long, value_parser = clap::value_parser!(u8).range(1..))]
        myid: Option<u8>,
        /// Remove what is there.
        #[arg(long)]
        force: bool,
    },
}

/// Which server's directories.
#[derive(Debug, Args)]
pub(crate) struct Dirs {
    /// The server's dataDir.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The server's dataLogDir, if it is another directory.
    #[arg(long, value_name = "DIR")]
    data_log_dir: Option<PathBuf>,
}

impl From<Dirs> for DataDirs {
    fn from(dirs: Dirs) -> Self {
        Self::new(dirs.data_dir, dirs.data_log_dir)
    }
}

fn parse_zxid(text: &str) -> Result<Zxid, std::num::ParseIntError> {
    let zxid = match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    zxid.map(Zxid)
}

/// Runs it.
pub(crate) fn run(command: Command) -> anyhow::Result<()> {
    let out = &mut io::BufWriter::new(io::stdout().lock());
    match command {
        Command::DumpLog { file, recover: true, .. } => {
            let repaired = tools::recover_log(&OsDisk, &file)?;
            let (path, fixed) = (repaired.path.display(), repaired.checksums_fixed);
            println!("Recovery file {path} has been written with {fixed} fixed CRC error(s)");
        }
        Command::DumpLog { file, chop: Some(zxid), .. } => {
            let chopped = tools::chop_log(&OsDisk, &file, zxid)?;
            println!("{} txns written to {}", chopped.records, chopped.path.display());
        }
        Command::DumpLog { file, .. } => tools::dump_log(&OsDisk, &file, out)?,
        Command::DumpSnapshot { path, data, json } => {
            let format = match (data, json) {
                (_, true) => SnapshotFormat::Json,
                (true, false) => SnapshotFormat::Data,
                (false, false) => SnapshotFormat::Stats,
            };
            tools::dump_snapshot(&OsDisk, &path, format, out)?;
        }
        Command::Export { dirs, to, compression } => {
            let compression = Compression::from_name(&compression).context("compression is gz or snappy")?;
            tools::export(&ExportOptions { dirs: dirs.into(), to, compression }, out)?;
        }
        Command::Import { from, from_log_dir, dirs } => {
            tools::import(&ImportOptions { from, from_log_dir, dirs: dirs.into() }, out)?;
        }
        Command::Purge { dirs, retain } => tools::clean_up(&dirs.into(), retain, out)?,
        Command::Init { dirs, myid, force } => {
            tools::init(&InitOptions { dirs: dirs.into(), my_id: myid, force }, out)?;
        }
    }
    Ok(())
}
