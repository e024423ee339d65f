//! A log directory: one of `log.dirs`, with a directory for each partition in it. Kafka's `LogManager`,
//! `BrokerMetadataCheckpoint`, `PartitionMetadataFile` and `CleanShutdownFileHandler`.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use super::checkpoint::{replace, sync_dir};
use super::error::Error;
use crate::{BrokerId, TopicPartition};

const LOCK: &str = ".lock";
const META: &str = "meta.properties";
const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
const PARTITION_METADATA: &str = "partition.metadata";
const DELETE_SUFFIX: &str = "-delete";
const STRAY_SUFFIX: &str = "-stray";
const FUTURE_SUFFIX: &str = "-future";

/// A log directory that is ours as long as this value lives.
#[derive(Debug)]
pub struct LogDir {
    path: PathBuf,
    was_clean: bool,
    _lock: File,
}

/// A directory in a log directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A partition's.
    Partition(TopicPartition, PathBuf),
    /// One that was being removed; it can be.
    Doomed(PathBuf),
    /// One that a broker has put aside; an administrator may look at it.
    Stray(PathBuf),
}

impl LogDir {
    /// Makes the directory if it is not there, and takes it for this process.
    ///
    /// # Errors
    /// Another process has it, or the disk refuses.
    pub fn open(path: &Path) -> Result<Self, Error> {
        fs::create_dir_all(path).map_err(Error::io("create", path))?;
        let lock_path = path.join(LOCK);
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(&lock_path);
        let lock = lock.map_err(Error::io("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Refused {
                    path: path.to_owned(),
                    what: "another broker uses it: stop that one, or set another log.dirs".into(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", &lock_path)(error)),
        }
        let clean = path.join(CLEAN_SHUTDOWN);
        // It is for one start only: if that one crashes, the next has to recover.
        let was_clean = match fs::remove_file(&clean) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(Error::io("remove", &clean)(error)),
        };
        Ok(Self { path: path.to_owned(), was_clean, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the last broker that used it stopped in order.
    pub fn was_clean(&self) -> bool {
        self.was_clean
    }

    /// Says that everything is on disk: the next start needs no recovery.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn mark_clean(&self, broker_epoch: i64) -> Result<(), Error> {
        let text = format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}");
        replace(&self.path.join(CLEAN_SHUTDOWN), text.as_bytes())
    }

    /// The broker's id and cluster as the last start wrote them; `None` in a new directory.
    ///
    /// # Errors
    /// The file cannot be read or understood.
    pub fn identity(&self) -> Result<Option<(BrokerId, String)>, Error> {
        let path = self.path.join(META);
        let Some(text) = read_if_there(&path)? else {
            return Ok(None);
        };
        let properties = properties(&text, '=');
        let get = |key: &str| {
            properties.get(key).copied().ok_or_else(|| Error::corrupt(&path, format!("has no {key}")))
        };
        if get("version")? != "0" {
            return Err(Error::corrupt(&path, "is of a broker without ZooKeeper (version is not 0)"));
        }
        let id = get("broker.id")?.parse().map_err(|_| Error::corrupt(&path, "broker.id is no number"))?;
        Ok(Some((id, get("cluster.id")?.to_owned())))
    }

    /// Compares the directory with who uses it now, and signs it if it is new.
    ///
    /// # Errors
    /// It is another broker's, or of another cluster.
    pub fn claim(&self, broker_id: BrokerId, cluster_id: &str) -> Result<(), Error> {
        let refuse = |what: String| Err(Error::Refused { path: self.path.join(META), what });
        match self.identity()? {
            Some((_, cluster)) if cluster != cluster_id => refuse(format!(
                "cluster.id is {cluster}, and the service has {cluster_id}: zookeeper.connect points to another \
                 cluster, or log.dirs to another cluster's data"
            )),
            Some((id, _)) if id != broker_id => refuse(format!(
                "broker.id is {id}, and the configuration has {broker_id}: set it to {id}, or another log.dirs"
            )),
            Some(_) => Ok(()),
            None => {
                let text = format!("version=0\nbroker.id={broker_id}\ncluster.id={cluster_id}\n");
                replace(&self.path.join(META), text.as_bytes())
            }
        }
    }

    /// All directories of logs, by name. Others are passed over.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn list(&self) -> Result<Vec<Found>, Error> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(Error::io("list", &self.path))? {
            let path = entry.map_err(Error::io("list", &self.path))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.ends_with(DELETE_SUFFIX) && path.is_dir() {
                found.push(Found::Doomed(path));
            } else if (name.ends_with(STRAY_SUFFIX) || name.ends_with(FUTURE_SUFFIX)) && path.is_dir() {
                found.push(Found::Stray(path));
            } else if let Some(partition) = partition_of(name).filter(|_| path.is_dir()) {
                found.push(Found::Partition(partition, path));
            }
        }
        found.sort_by(|a, b| path_in(a).cmp(path_in(b)));
        Ok(found)
    }

    /// Makes a partition's directory, with the topic's id in it, where it is not there.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn create_partition(
        &self,
        partition: &TopicPartition,
        topic_id: Option<Uuid>,
    ) -> Result<PathBuf, Error> {
        let dir = self.path.join(partition.to_string());
        fs::create_dir_all(&dir).map_err(Error::io("create", &dir))?;
        if let Some(id) = topic_id {
            let text = format!("version: 0\ntopic_id: {}\n", topic_id_text(id));
            replace(&dir.join(PARTITION_METADATA), text.as_bytes())?;
        }
        sync_dir(&self.path)?;
        Ok(dir)
    }

    /// Puts a partition's directory aside whose topic is not known (or has another id) any more.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn put_aside(&self, dir: &Path, unique: Uuid) -> Result<PathBuf, Error> {
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        let aside = dir.with_file_name(renamed(&name, unique, STRAY_SUFFIX));
        fs::rename(dir, &aside).map_err(Error::io("rename", dir))?;
        Ok(aside)
    }
}

/// Removes a directory with all in it; one that is gone already is no error.
///
/// # Errors
/// The disk refuses.
pub fn remove_dir(dir: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", dir)(error)),
        _ => Ok(()),
    }
}

fn path_in(found: &Found) -> &Path {
    match found {
        Found::Partition(_, path) | Found::Doomed(path) | Found::Stray(path) => path,
    }
}

/// `orders-3` is partition 3 of `orders`.
fn partition_of(name: &str) -> Option<TopicPartition> {
    let (topic, number) = name.rsplit_once('-')?;
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if !digits || topic.is_empty() || !topic.bytes().all(legal) {
        return None;
    }
    Some(TopicPartition::new(topic, number.parse().ok()?))
}

/// What a file name may have at most.
const NAME_BYTES_MAX: usize = 255;

pub(super) fn delete_name(name: &str, unique: Uuid) -> String {
    renamed(name, unique, DELETE_SUFFIX)
}

/// `<topic>-<partition>.<32 digits><suffix>`; the topic is cut where that would be too long.
fn renamed(name: &str, unique: Uuid, suffix: &str) -> String {
    let tail = format!(".{}{suffix}", unique.simple());
    let kept = name.get(..NAME_BYTES_MAX.saturating_sub(tail.len())).unwrap_or(name);
    format!("{kept}{tail}")
}

/// A topic's id as Kafka prints it: 22 characters of base64.
pub fn topic_id_text(id: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(id.as_bytes())
}

/// What `partition.metadata` says; `None` where there is no such file.
pub(super) fn read_topic_id(dir: &Path) -> Result<Option<Uuid>, Error> {
    let path = dir.join(PARTITION_METADATA);
    let Some(text) = read_if_there(&path)? else {
        return Ok(None);
    };
    let id = properties(&text, ':').get("topic_id").and_then(|id| URL_SAFE_NO_PAD.decode(id).ok());
    let id = id.and_then(|bytes| Uuid::from_slice(&bytes).ok());
    id.map(Some).ok_or_else(|| Error::corrupt(&path, "has no topic_id"))
}

fn read_if_there(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

fn properties(text: &str, separator: char) -> BTreeMap<&str, &str> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines
        .filter_map(|line| line.split_once(separator))
        .map(|(key, value)| (key.trim(), value.trim()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_belongs_to_one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = LogDir::open(dir.path()).unwrap();
        assert!(LogDir::open(dir.path()).unwrap_err().to_string().contains("another broker uses it"));
        drop(first);
        assert!(LogDir::open(dir.path()).is_ok());
    }

    #[test]
    fn a_directory_of_another_broker_or_cluster_is_refused_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let logs = LogDir::open(dir.path()).unwrap();
        logs.claim(3, "cluster").unwrap();
        logs.claim(3, "cluster").unwrap();
        let text = fs::read_to_string(dir.path().join(META)).unwrap();
        assert_eq!(text, "version=0\nbroker.id=3\ncluster.id=cluster\n");
        assert_eq!(logs.identity().unwrap(), Some((3, "cluster".to_owned())));
        assert!(logs.claim(4, "cluster").unwrap_err().to_string().contains("set it to 3"));
        assert!(logs.claim(3, "other").unwrap_err().to_string().contains("zookeeper.connect"));
    }

    #[test]
    fn a_clean_stop_counts_for_one_start() {
        let dir = tempfile::tempdir().unwrap();
        LogDir::open(dir.path()).unwrap().mark_clean(7).unwrap();
        let text = fs::read_to_string(dir.path().join(CLEAN_SHUTDOWN)).unwrap();
        assert_eq!(text, "{\"version\":0,\"brokerEpoch\":7}");
        assert!(LogDir::open(dir.path()).unwrap().was_clean());
        assert!(!LogDir::open(dir.path()).unwrap().was_clean());
    }

    #[test]
    fn directories_are_told_apart_by_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let logs = LogDir::open(dir.path()).unwrap();
        let id = Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        let made = logs.create_partition(&TopicPartition::new("a-b.c", 12), Some(id)).unwrap();
        assert_eq!(read_topic_id(&made).unwrap(), Some(id));
        let text = fs::read_to_string(made.join(PARTITION_METADATA)).unwrap();
        assert_eq!(text, "version: 0\ntopic_id: ASNFZ4mrze8BI0VniavN7w\n");
        let doomed = dir.path().join(delete_name("t-0", id));
        fs::create_dir(&doomed).unwrap();
        fs::create_dir(dir.path().join("lost+found")).unwrap();
        fs::create_dir(dir.path().join("t-")).unwrap();
        fs::write(dir.path().join("u-1"), "a file").unwrap();
        let expected =
            [Found::Partition(TopicPartition::new("a-b.c", 12), made.clone()), Found::Doomed(doomed.clone())];
        assert_eq!(logs.list().unwrap(), expected);
        assert!(doomed.to_string_lossy().ends_with("t-0.0123456789abcdef0123456789abcdef-delete"));
        let aside = logs.put_aside(&made, id).unwrap();
        assert_eq!(logs.list().unwrap().first(), Some(&Found::Stray(aside)));
    }

    #[test]
    fn a_long_name_leaves_room_for_what_is_put_behind_it() {
        let name = format!("{}-0", "x".repeat(249));
        assert_eq!(delete_name(&name, Uuid::nil()).len(), NAME_BYTES_MAX);
    }
}
