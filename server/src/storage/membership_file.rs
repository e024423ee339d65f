//! The membership as it survives a restart, in the files that Java servers keep: `zoo.cfg.dynamic.<version>`, to which
//! zoo.cfg points, and `zoo.cfg.dynamic.next` while a reconfiguration is under way.

use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::epoch_file::write_atomically;
use super::error::{IoContext, Result};
use crate::config::{Membership, ServerId, without_keys};

/// A zoo.cfg that is longer is something else.
const FILE_BYTES_MAX: usize = 4 << 20;

/// Writes the membership next to zoo.cfg.
#[derive(Debug, Clone)]
#[doc(alias = "writeDynamicConfig")]
#[doc(alias = "editStaticConfig")]
pub struct MembershipFiles {
    /// `zoo.cfg`.
    pub config: PathBuf,
    /// Whose.
    pub me: ServerId,
}

impl MembershipFiles {
    /// Whether a reconfiguration was under way when the server stopped.
    #[must_use]
    pub fn has_next(&self, disk: &dyn Disk) -> bool {
        disk.exists(&self.next())
    }

    /// Keeps zoo.cfg as the operator wrote it: `zoo.cfg.bak`.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn back_up(&self, disk: &dyn Disk) -> Result<()> {
        let text = read(disk, &self.config)?;
        write_atomically(disk, &self.beside(".bak"), &text)
    }

    /// Notes that a reconfiguration to `next` is under way; `None`: no more.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn save_next(&self, disk: &dyn Disk, next: Option<&Membership>) -> Result<()> {
        let path = self.next();
        match next {
            Some(next) => write_atomically(disk, &path, next.to_file(true).as_bytes()),
            None if disk.exists(&path) => disk.remove(&path).during("remove", &path),
            None => Ok(()),
        }
    }

    /// Has the next start begin with `current`: its own file first, then zoo.cfg points there, and says nothing of it
    /// itself.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn save_current(&self, disk: &dyn Disk, current: &Membership) -> Result<()> {
        let dynamic = self.beside(&format!(".dynamic.{:x}", current.version));
        write_atomically(disk, &dynamic, current.to_file(false).as_bytes())?;
        let knows_clients = current.members.get(&self.me).is_some_and(|member| member.client.is_some());
        let is_dropped = |key: &str| {
            ["server.", "group.", "weight.", "dynamicConfigFile", "peerType"]
                .iter()
                .any(|prefix| key.starts_with(prefix))
                || (knows_clients && matches!(key, "clientPort" | "clientPortAddress"))
        };
        let text = read(disk, &self.config)?;
        let mut text = without_keys(&String::from_utf8_lossy(&text), is_dropped);
        let absolute = std::path::absolute(&dynamic).unwrap_or(dynamic);
        text.push_str(&format!("dynamicConfigFile={}\n", absolute.display()));
        write_atomically(disk, &self.config, text.as_bytes())
    }

    fn next(&self) -> PathBuf {
        self.beside(".dynamic.next")
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.config.clone().into_os_string();
        path.push(suffix);
        path.into()
    }
}

fn read(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>> {
    let file = disk.open_read(path).during("open", path)?;
    let size =
        usize::try_from(file.size().during("measure", path)?).unwrap_or(usize::MAX).min(FILE_BYTES_MAX);
    let mut bytes = vec![0; size];
    let len = file.read_at(0, &mut bytes).during("read", path)?;
    bytes.truncate(len);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::storage::OsDisk;

    const MEMBERS: &str =
        "server.2=b:3:4:participant;0.0.0.0:22\nserver.1=a:1:2:observer;0.0.0.0:21\nversion=10000000a";

    fn files(text: &str) -> (tempfile::TempDir, MembershipFiles) {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("zoo.cfg");
        fs::write(&config, text).unwrap();
        (dir, MembershipFiles { config, me: ServerId(1) })
    }

    fn text_of(files: &MembershipFiles, suffix: &str) -> String {
        fs::read_to_string(files.beside(suffix)).unwrap()
    }

    #[test]
    fn zoo_cfg_points_to_the_file_of_the_membership_and_keeps_all_else() {
        let (_dir, files) = files(
            "# ours\ntickTime=2000\nserver.1=a:1:2\nserver.2=b:\\\n  3:4\nclientPort=21\nclientPortListenBacklog=9\ndataDir=/d",
        );
        files.save_current(&OsDisk, &Membership::parse(MEMBERS).unwrap()).unwrap();
        assert_eq!(
            text_of(&files, ".dynamic.10000000a"),
            "server.1=a:1:2:observer;0.0.0.0:21\nserver.2=b:3:4:participant;0.0.0.0:22"
        );
        assert_eq!(
            text_of(&files, ""),
            format!(
                "# ours\ntickTime=2000\nclientPortListenBacklog=9\ndataDir=/d\ndynamicConfigFile={}\n",
                files.beside(".dynamic.10000000a").display()
            )
        );
    }

    #[test]
    fn a_client_port_stays_that_the_membership_does_not_say() {
        let (_dir, files) = files("clientPort=21\ndynamicConfigFile=/old\n");
        files.save_current(&OsDisk, &Membership::parse("server.1=a:1:2\nversion=1").unwrap()).unwrap();
        assert!(text_of(&files, "").starts_with("clientPort=21\ndynamicConfigFile="));
        assert!(!text_of(&files, "").contains("/old"));
    }

    #[test]
    fn what_is_under_way_stands_in_a_file_of_its_own_with_its_version() {
        let (_dir, files) = files("");
        files.save_next(&OsDisk, Some(&Membership::parse(MEMBERS).unwrap())).unwrap();
        assert!(files.has_next(&OsDisk));
        assert!(text_of(&files, ".dynamic.next").ends_with("\nversion=10000000a"));
        files.save_next(&OsDisk, None).unwrap();
        assert!(!files.has_next(&OsDisk));
    }
}
