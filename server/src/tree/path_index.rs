//! From a full path to an entry, where entries know only their name and their parent.
//!
//! A path of depth `n` is stored as one component; the tables hold nothing but ids and hashes. A lookup hashes the
//! whole path once, probes once, and confirms by walking up from the entry found, whose ancestors are in the cache.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::FixedState;

use super::places::Places;
use super::slab::Slab;

/// The id of the root, which every slab of entries holds first, which is its own parent, and which is not in
/// the index.
pub(crate) const ROOT_ID: u32 = 0;

/// How many tables there are: growing moves one of them only, so that no single insert pays for moving all.
const PARTS: usize = 256;

/// A processor has no more loads under way at once.
const FETCHED_TOGETHER: usize = 64;

/// One component of a path, and what stands before it.
pub(crate) trait Component {
    fn name(&self) -> &str;
    fn parent(&self) -> u32;
}

/// Finds entries of a [`Slab`] by their full path.
pub(crate) struct PathIndex {
    parts: Vec<Places>,
    hasher: FixedState,
}

impl PathIndex {
    /// `seed` makes the places of paths in the tables unforeseeable to clients, who choose the paths: else they
    /// could choose many that meet in one place. Nothing that can be seen depends on it.
    pub(crate) fn new(seed: u64) -> Self {
        let parts = std::iter::repeat_with(Places::default).take(PARTS).collect();
        Self { parts, hasher: FixedState::with_seed(seed) }
    }

    /// Makes room for `more` entries.
    pub(crate) fn reserve(&mut self, more: usize) {
        // Paths spread unevenly: a part gets its mean and a few standard deviations more.
        let mean = more / PARTS;
        let share = mean + 4 * mean.isqrt();
        for part in &mut self.parts {
            part.reserve(share);
        }
    }

    /// The entry with this path.
    pub(crate) fn find<T: Component>(&self, slab: &Slab<T>, path: &str) -> Option<u32> {
        if matches!(path, "/" | "") {
            return Some(ROOT_ID);
        }
        let (part, hash) = self.hash(path);
        self.parts[part].find(hash, |id| is_path_of(slab, id, path))
    }

    /// Has the memory fetched that lookups of these paths begin with; see [`Places::fetch`].
    pub(crate) fn fetch<'a>(&self, mut paths: impl Iterator<Item = &'a str>) {
        // Hashes come first: then so little is to be done for each place that many are under way at once.
        let mut hashes = [(0, 0); FETCHED_TOGETHER];
        loop {
            let mut count = 0;
            for (hash, path) in hashes.iter_mut().zip(&mut paths) {
                *hash = self.hash(path);
                count += 1;
            }
            hashes[..count].iter().for_each(|&(part, hash)| self.parts[part].fetch(hash));
            if count < hashes.len() {
                return;
            }
        }
    }

    /// Adds what `make` puts into the slab for `path`, unless it is there.
    ///
    /// # Errors
    /// The id of what is there.
    pub(crate) fn insert<T: Component>(
        &mut self,
        slab: &mut Slab<T>,
        path: &str,
        make: impl FnOnce(&mut Slab<T>) -> u32,
    ) -> Result<u32, u32> {
        let (part, hash) = self.hash(path);
        if let Some(there) = self.parts[part].find(hash, |id| is_path_of(slab, id, path)) {
            return Err(there);
        }
        let id = make(slab);
        self.parts[part].insert(hash, id);
        Ok(id)
    }

    /// Forgets where `id` is, whose path is `path`.
    pub(crate) fn remove(&mut self, path: &str, id: u32) {
        let (part, hash) = self.hash(path);
        self.parts[part].remove(hash, id);
    }

    /// Which part `path` belongs to, and its hash there. The part is chosen by other bits than the place in it.
    #[allow(clippy::cast_possible_truncation)]
    fn hash(&self, path: &str) -> (usize, u32) {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(path.as_bytes());
        let hash = hasher.finish();
        ((hash >> 32) as usize % PARTS, hash as u32)
    }
}

impl std::fmt::Debug for PathIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let len: usize = self.parts.iter().map(Places::len).sum();
        f.debug_struct("PathIndex").field("len", &len).finish_non_exhaustive()
    }
}

/// Walks up from `id`, eating `path` from its end.
fn is_path_of<T: Component>(slab: &Slab<T>, mut id: u32, path: &str) -> bool {
    let mut rest = path.as_bytes();
    while id != ROOT_ID {
        let entry = &slab[id];
        let Some(before) =
            rest.strip_suffix(entry.name().as_bytes()).and_then(|rest| rest.strip_suffix(b"/"))
        else {
            return false;
        };
        rest = before;
        id = entry.parent();
    }
    rest.is_empty()
}

/// Appends the path of `id`; nothing for the root.
pub(crate) fn push_path<T: Component>(slab: &Slab<T>, id: u32, out: &mut Vec<u8>) {
    let entries = || {
        let up = |id: u32| Some(id).filter(|&id| id != ROOT_ID);
        std::iter::successors(up(id), move |&id| up(slab[id].parent())).map(|id| slab[id].name())
    };
    // Back to front: the walk goes up. It goes twice, for the length and for the names, which are then at hand.
    let mut end = out.len() + entries().map(|name| name.len() + 1).sum::<usize>();
    out.resize(end, b'/');
    for name in entries() {
        end -= name.len();
        out[end..end + name.len()].copy_from_slice(name.as_bytes());
        end -= 1;
    }
}

/// The path of `id`, "/" for the root.
pub(crate) fn path_of<T: Component>(slab: &Slab<T>, id: u32) -> String {
    if id == ROOT_ID {
        return "/".to_owned();
    }
    let mut path = Vec::new();
    push_path(slab, id, &mut path);
    String::from_utf8(path).expect("names are UTF-8, and so are they with slashes between")
}
