//! The newest offset of each key, in bounded memory. Kafka's `SkimpyOffsetMap`.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// What a key costs in the table at worst, while it grows.
const BYTES_PER_KEY: usize = 48;

/// Keys are known by 128 bits of a hash whose seed nobody knows: two keys with the same, which would cost one of
/// them its value, are not found by chance nor on purpose.
#[derive(Debug)]
#[doc(alias = "SkimpyOffsetMap")]
pub struct KeyMap {
    offsets: HashMap<[u64; 2], i64>,
    seeds: [RandomState; 2],
    keys_max: usize,
}

impl KeyMap {
    /// One that uses at most `bytes_max` (`log.cleaner.dedupe.buffer.size`), which may serve one round after the
    /// other.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            offsets: HashMap::new(),
            seeds: [RandomState::new(), RandomState::new()],
            keys_max: (bytes_max / BYTES_PER_KEY).max(1),
        }
    }

    pub(super) fn clear(&mut self) {
        self.offsets.clear();
    }

    /// Whether no other key has a place.
    pub(super) fn is_full(&self) -> bool {
        self.offsets.len() >= self.keys_max
    }

    /// Offsets come rising.
    pub(super) fn put(&mut self, key: &[u8], offset: i64) {
        self.offsets.insert(self.hash(key), offset);
    }

    pub(super) fn newest(&self, key: &[u8]) -> Option<i64> {
        self.offsets.get(&self.hash(key)).copied()
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        let [first, second] = &self.seeds;
        [first.hash_one(key), second.hash_one(key)]
    }
}
