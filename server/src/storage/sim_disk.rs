//! A disk in memory that does what disks do at the worst moment. Deterministic: everything follows from a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::{Disk, DiskFile, DiskLock};

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// A simulated disk. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    files: BTreeMap<u64, Content>,
    /// Names as programs see them, and as they would be after a crash.
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    /// What made the one of the other, in order.
    unsynced: Vec<NameChange>,
    locks: BTreeSet<PathBuf>,
    next_file: u64,
    /// Files opened before a crash are of no use after it.
    life: u64,
    random: u64,
    capacity_bytes: Option<u64>,
    syncs_until_failure: Option<u64>,
    forgotten_bytes: u64,
}

/// A file's bytes, and which sectors a crash may still take back.
#[derive(Debug, Clone, Default)]
struct Content {
    current: Vec<u8>,
    durable: Vec<u8>,
    unsynced: BTreeSet<usize>,
}

#[derive(Debug, Clone)]
enum NameChange {
    Link(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

#[derive(Debug)]
struct SimFile {
    state: Arc<Mutex<State>>,
    id: u64,
    life: u64,
}

#[derive(Debug)]
struct SimLock {
    state: Arc<Mutex<State>>,
    path: PathBuf,
    life: u64,
}

impl SimDisk {
    /// An empty disk; what happens to it in crashes follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State {
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            unsynced: Vec::new(),
            locks: BTreeSet::new(),
            next_file: 0,
            life: 0,
            random: seed,
            capacity_bytes: None,
            syncs_until_failure: None,
            forgotten_bytes: 0,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// The power goes. Of each file, every sector that was not synced is kept or lost, each on its own; of the
    /// names, a first part of the changes that were not synced is kept.
    pub fn crash(&self) {
        self.state.lock().crash();
    }

    /// The process is killed: what it wrote stays, what it held is let go.
    pub fn kill(&self) {
        let mut state = self.state.lock();
        state.life += 1;
        state.locks.clear();
    }

    /// Lets the disk hold so many bytes and no more; `None` is without bound.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state.lock().capacity_bytes = bytes;
    }

    /// Lets the disk hold so many bytes more than it does now.
    pub fn leave_room(&self, bytes: u64) {
        let mut state = self.state.lock();
        state.capacity_bytes = Some(state.used_bytes() + bytes);
    }

    /// Lets the sync after `count` more fail.
    pub fn fail_sync_after(&self, count: u64) {
        self.state.lock().syncs_until_failure = Some(count);
    }

    /// How many bytes the page cache was told to forget.
    #[must_use]
    pub fn forgotten_bytes(&self) -> u64 {
        self.state.lock().forgotten_bytes
    }

    /// Flips the bits of `mask` in the byte at `offset`, as a rotten disk does.
    ///
    /// # Panics
    /// When there is no such byte.
    pub fn flip(&self, path: &Path, offset: usize, mask: u8) {
        let mut state = self.state.lock();
        let id = *state.names.get(path).expect("flip: no such file");
        let content = state.files.get_mut(&id).expect("names point to files");
        content.current[offset] ^= mask;
        if let Some(byte) = content.durable.get_mut(offset) {
            *byte ^= mask;
        }
    }
}

impl State {
    /// splitmix64: small, and good enough to choose what gets lost.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.random() % bound.max(1) as u64) as usize
    }

    fn crash(&mut self) {
        self.life += 1;
        self.locks.clear();
        self.syncs_until_failure = None;
        let kept = self.below(self.unsynced.len() + 1);
        let changes = std::mem::take(&mut self.unsynced);
        for change in changes.into_iter().take(kept) {
            apply(&mut self.durable_names, change);
        }
        self.names = self.durable_names.clone();
        let ids: Vec<u64> = self.files.keys().copied().collect();
        for id in ids {
            // All, nothing, or each sector by the throw of a coin.
            let mode = self.below(3);
            let Some(mut content) = self.files.remove(&id) else { continue };
            let lost: Vec<usize> = content
                .unsynced
                .iter()
                .copied()
                .filter(|_| mode == 0 || (mode == 1 && self.below(2) == 0))
                .collect();
            content.lose(&lost, mode == 0);
            self.files.insert(id, content);
        }
        let named: BTreeSet<u64> = self.names.values().copied().collect();
        self.files.retain(|id, _| named.contains(id));
    }

    fn used_bytes(&self) -> u64 {
        self.names.values().filter_map(|id| self.files.get(id)).map(|file| file.current.len() as u64).sum()
    }

    fn file(&mut self, id: u64, life: u64) -> io::Result<&mut Content> {
        if life != self.life {
            return Err(io::Error::other("the process that opened this file is gone"));
        }
        self.files.get_mut(&id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn grow(&mut self, id: u64, life: u64, size: usize) -> io::Result<()> {
        let len = self.file(id, life)?.current.len();
        if size <= len {
            return Ok(());
        }
        let more = (size - len) as u64;
        if self.capacity_bytes.is_some_and(|capacity| self.used_bytes() + more > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file(id, life)?.current.resize(size, 0);
        Ok(())
    }

    fn change(&mut self, change: NameChange) {
        apply(&mut self.names, change.clone());
        self.unsynced.push(change);
    }

    fn sync_fails(&mut self) -> bool {
        match &mut self.syncs_until_failure {
            Some(0) => true,
            Some(count) => {
                *count -= 1;
                false
            }
            None => false,
        }
    }
}

fn apply(names: &mut BTreeMap<PathBuf, u64>, change: NameChange) {
    match change {
        NameChange::Link(path, id) => {
            names.insert(path, id);
        }
        NameChange::Rename(from, to) => {
            if let Some(id) = names.remove(&from) {
                names.insert(to, id);
            }
        }
        NameChange::Remove(path) => {
            names.remove(&path);
        }
    }
}

impl Content {
    /// Takes back the `lost` sectors, and the size too if `shrink`.
    fn lose(&mut self, lost: &[usize], shrink: bool) {
        for sector in lost {
            let start = sector * SECTOR_BYTES;
            let end = (start + SECTOR_BYTES).min(self.current.len());
            for at in start..end {
                self.current[at] = self.durable.get(at).copied().unwrap_or(0);
            }
        }
        if shrink {
            let known = self.current.len().min(self.durable.len());
            self.current.truncate(known);
            self.current.extend_from_slice(&self.durable[known..]);
        }
        self.settle();
    }

    fn settle(&mut self) {
        // Only what changed is copied: a log file is long, and synced often.
        self.durable.resize(self.current.len(), 0);
        for sector in std::mem::take(&mut self.unsynced) {
            let start = (sector * SECTOR_BYTES).min(self.current.len());
            let end = (start + SECTOR_BYTES).min(self.current.len());
            self.durable[start..end].copy_from_slice(&self.current[start..end]);
        }
    }
}

impl Disk for SimDisk {
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        let names = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(names.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn exists(&self, path: &Path) -> bool {
        self.state.lock().names.keys().any(|name| name.starts_with(path))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let state = self.state.lock();
        let id = *state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(SimFile { state: Arc::clone(&self.state), id, life: state.life }))
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state.lock();
        let id = state.next_file;
        state.next_file += 1;
        state.files.insert(id, Content::default());
        state.change(NameChange::Link(path.to_owned(), id));
        Ok(Box::new(SimFile { state: Arc::clone(&self.state), id, life: state.life }))
    }

    fn create_dir_all(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.sync_fails() {
            return Err(io::Error::other("simulated failure of a sync"));
        }
        state.unsynced.clear();
        state.durable_names = state.names.clone();
        Ok(())
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<DiskLock>> {
        let mut state = self.state.lock();
        if !state.locks.insert(path.to_owned()) {
            return Ok(None);
        }
        let lock = SimLock { state: Arc::clone(&self.state), path: path.to_owned(), life: state.life };
        Ok(Some(DiskLock(Box::new(lock))))
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        if state.life == self.life {
            state.locks.remove(&self.path);
        }
    }
}

impl DiskFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.state.lock().file(self.id, self.life)?.current.len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut state = self.state.lock();
        let content = state.file(self.id, self.life)?;
        let rest = content.current.get(to_usize(offset)..).unwrap_or(&[]);
        let len = rest.len().min(into.len());
        into[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        let start = to_usize(offset);
        let end = start + bytes.len();
        state.grow(self.id, self.life, end)?;
        let content = state.file(self.id, self.life)?;
        content.current[start..end].copy_from_slice(bytes);
        content.unsynced.extend(start / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES));
        Ok(())
    }

    fn reserve(&self, size: u64) -> io::Result<()> {
        self.state.lock().grow(self.id, self.life, to_usize(size))
    }

    fn resize(&self, size: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.grow(self.id, self.life, to_usize(size))?;
        let content = state.file(self.id, self.life)?;
        let sectors = content.current.len().div_ceil(SECTOR_BYTES);
        content.current.truncate(to_usize(size));
        content.unsynced.extend(to_usize(size) / SECTOR_BYTES..sectors);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.sync_fails() {
            return Err(io::Error::other("simulated failure of a sync"));
        }
        state.file(self.id, self.life)?.settle();
        Ok(())
    }

    fn forget(&self, range: Range<u64>) {
        let mut state = self.state.lock();
        state.forgotten_bytes += range.end - range.start;
        if let Ok(content) = state.file(self.id, self.life) {
            let sectors = to_usize(range.start) / SECTOR_BYTES..to_usize(range.end) / SECTOR_BYTES;
            let unsynced = content.unsynced.range(sectors).next();
            assert_eq!(unsynced, None, "what is not on the disk cannot be forgotten");
        }
    }
}

fn to_usize(offset: u64) -> usize {
    usize::try_from(offset).expect("simulated files fit into memory")
}
