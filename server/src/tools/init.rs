//! Making a data directory for a server that has never run. `zkServer-initialize.sh`.

use std::fs;
use std::io::Write;

use super::print;
use crate::storage::disk::Disk;
use crate::storage::error::{Error, IoContext, Result};
use crate::storage::{DataDirs, OsDisk};

/// What kind of beginning is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitOptions {
    /// Where.
    pub dirs: DataDirs,
    /// The server's number, 1 to 255.
    pub my_id: Option<u8>,
    /// What is there is to be removed.
    pub force: bool,
}

/// Makes empty directories and the marker that tells them from lost ones.
///
/// # Errors
/// When there are data and `force` is not set, or the disk fails.
#[doc(alias = "zkServer-initialize.sh")]
pub fn init(options: &InitOptions, out: &mut dyn Write) -> Result<()> {
    let dirs = &options.dirs;
    if options.force {
        print(out, format_args!("Force enabled, data/txnlog directories will be re-initialized\n"))?;
        // Not under a server that is running.
        drop(dirs.enter(&OsDisk, true)?);
    } else if let Some(existing) = [dirs.snapshots(), dirs.logs()].into_iter().find(|dir| dir.is_dir()) {
        return Err(Error::refused(&existing, "exists already (use --force to force re-initialization)"));
    }
    let my_id = dirs.data.join("myid");
    if my_id.exists() {
        fs::remove_file(&my_id).during("remove", &my_id)?;
    }
    for dir in [dirs.snapshots(), dirs.logs()] {
        if dir.exists() {
            fs::remove_dir_all(&dir).during("remove", &dir)?;
        }
        OsDisk.create_dir_all(&dir).during("create", &dir)?;
    }
    match options.my_id {
        Some(id) => {
            print(out, format_args!("Using myid of {id}\n"))?;
            dirs.save_my_id(&OsDisk, id.into())?;
        }
        None => print(
            out,
            format_args!(
                "No myid provided, be sure to specify it in {} if using non-standalone\n",
                my_id.display()
            ),
        )?,
    }
    dirs.mark_initialized(&OsDisk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_with_data_is_only_wiped_by_force() {
        let dir = tempfile::tempdir().unwrap();
        let options =
            InitOptions { dirs: DataDirs::new(dir.path().join("data"), None), my_id: Some(7), force: false };
        init(&options, &mut Vec::new()).unwrap();
        assert_eq!(options.dirs.my_id(&OsDisk).unwrap(), Some(7));
        assert!(dir.path().join("data/initialize").exists());

        fs::write(options.dirs.logs().join("log.1"), "x").unwrap();
        let error = init(&options, &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("--force"), "{error}");

        init(&InitOptions { force: true, ..options.clone() }, &mut Vec::new()).unwrap();
        assert!(!options.dirs.logs().join("log.1").exists());
    }
}
