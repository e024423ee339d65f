//! Where entries live: chunks that never move, so that growing costs one chunk and not a copy of all.

use std::ops::{Index, IndexMut};

/// Bytes per chunk at most. Allocators that serve large blocks from pages of 64 KiB lose up to a sixth of what
/// is asked of them in powers of two: there is no room left for their own notes.
const CHUNK_BYTES: usize = 63 * 1024;

/// Values under `u32` ids; an id is used again once its value was taken out.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    /// All full but the last.
    chunks: Vec<Vec<T>>,
    /// Ids whose values were taken.
    free: Vec<u32>,
}

impl<T> Slab<T> {
    /// Values per chunk.
    const CHUNK: usize = CHUNK_BYTES / size_of::<T>();
}

impl<T: Default> Slab<T> {
    pub(crate) fn new() -> Self {
        Self { chunks: Vec::new(), free: Vec::new() }
    }

    /// Keeps `value` under the id returned.
    ///
    /// # Panics
    /// With 2^32 values in it; memory ends before.
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if let Some(id) = self.free.pop() {
            self[id] = value;
            return id;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == Self::CHUNK) {
            self.chunks.push(Vec::with_capacity(Self::CHUNK));
        }
        let full = self.chunks.len() - 1;
        let chunk = &mut self.chunks[full];
        let id = u32::try_from(full * Self::CHUNK + chunk.len()).expect("a slab holds less than 2^32 values");
        chunk.push(value);
        id
    }

    /// Takes the value of `id` out, and frees the id.
    pub(crate) fn take(&mut self, id: u32) -> T {
        self.free.push(id);
        std::mem::take(&mut self[id])
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        let used = match self.chunks.last() {
            Some(last) => (self.chunks.len() - 1) * Self::CHUNK + last.len(),
            None => 0,
        };
        used - self.free.len()
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, id: u32) -> &T {
        &self.chunks[id as usize / Self::CHUNK][id as usize % Self::CHUNK]
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, id: u32) -> &mut T {
        &mut self.chunks[id as usize / Self::CHUNK][id as usize % Self::CHUNK]
    }
}
