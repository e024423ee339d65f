//! Where ids stand, by a hash of what they are the ids of.
//!
//! A table with linear probing, where a place is an id and its hash: what a lookup wants to know stands in one line
//! of memory, mostly, and that line can be [fetched](Places::fetch) ahead.

use super::path_index::ROOT_ID;

/// An id, and its hash: so growing looks at nothing else. What has no id in it is vacant.
#[derive(Clone, Copy)]
struct Place {
    id: u32,
    hash: u32,
}

impl Place {
    /// The root is in no table.
    const VACANT: Self = Self { id: ROOT_ID, hash: 0 };

    fn is_vacant(self) -> bool {
        self.id == ROOT_ID
    }
}

/// How many places the smallest table has.
const PLACES_MIN: usize = 4;

/// A table of ids. Hashes may meet; an id stands in it once.
#[derive(Default)]
pub(super) struct Places {
    /// None, or a power of two, of which three quarters at most are taken. An id stands in the first place that was
    /// vacant, from its hash's own onwards; behind the last place comes the first.
    places: Vec<Place>,
    len: usize,
}

impl Places {
    /// How many ids it holds.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The id with this hash that `is_it` knows.
    pub(super) fn find(&self, hash: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let found = self.locate(hash, |place| place.hash == hash && is_it(place.id))?;
        Some(self.places[found].id)
    }

    /// Has the memory fetched where [`Places::find`] begins, without waiting for it.
    pub(super) fn fetch(&self, hash: u32) {
        if !self.places.is_empty() {
            std::hint::black_box(self.places[self.home(hash)].id);
        }
    }

    /// Adds `id`, which it does not hold.
    pub(super) fn insert(&mut self, hash: u32, id: u32) {
        self.reserve(1);
        self.settle(Place { id, hash });
        self.len += 1;
    }

    /// Forgets `id`, if it holds it.
    pub(super) fn remove(&mut self, hash: u32, id: u32) {
        let Some(mut hole) = self.locate(hash, |place| place.id == id) else {
            return;
        };
        // Who stands behind it, and would have stood there had it been vacant, moves up.
        let mut next = self.after(hole);
        while !self.places[next].is_vacant() {
            if self.distance(self.home(self.places[next].hash), next) >= self.distance(hole, next) {
                self.places[hole] = self.places[next];
                hole = next;
            }
            next = self.after(next);
        }
        self.places[hole] = Place::VACANT;
        self.len -= 1;
    }

    /// Makes room for `more` ids.
    pub(super) fn reserve(&mut self, more: usize) {
        let wanted = self.len + more;
        if wanted <= self.places.len() / 4 * 3 {
            return;
        }
        let size = (wanted + wanted.div_ceil(3)).next_power_of_two().max(PLACES_MIN);
        let old = std::mem::replace(&mut self.places, vec![Place::VACANT; size]);
        old.into_iter().filter(|place| !place.is_vacant()).for_each(|place| self.settle(place));
    }

    fn settle(&mut self, place: Place) {
        let mut at = self.home(place.hash);
        while !self.places[at].is_vacant() {
            at = self.after(at);
        }
        self.places[at] = place;
    }

    /// Where the place is that `is_it` knows, if it is one that may hold an id with this hash.
    fn locate(&self, hash: u32, is_it: impl Fn(Place) -> bool) -> Option<usize> {
        if self.places.is_empty() {
            return None;
        }
        let mut at = self.home(hash);
        loop {
            let place = self.places[at];
            if place.is_vacant() {
                return None;
            }
            if is_it(place) {
                return Some(at);
            }
            at = self.after(at);
        }
    }

    /// The place that is this hash's own.
    fn home(&self, hash: u32) -> usize {
        hash as usize & (self.places.len() - 1)
    }

    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.places.len() - 1)
    }

    /// How many steps lead from the one place to the other.
    fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.places.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::collections::btree_map::Entry;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_place_takes_8_bytes_and_an_empty_table_none() {
        assert_eq!(size_of::<Place>(), 8);
        let empty = Places::default();
        empty.fetch(7);
        assert_eq!((empty.find(7, |_| true), empty.places.capacity()), (None, 0));
    }

    #[test]
    fn a_quarter_stays_vacant() {
        let mut places = Places::default();
        for id in 1..=10_000_u32 {
            places.insert(id.wrapping_mul(0x9e37_79b9), id);
            let (taken, all) = (places.len(), places.places.len());
            assert!(taken * 4 <= all * 3, "{taken} of {all}");
        }
        let before = places.places.len();
        places.reserve(before / 4 * 3 - places.len());
        assert_eq!(places.places.len(), before, "what is promised already takes no more");
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u32, u32),
        Remove(u32),
        Reserve(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        // Few hashes, at both ends of the table: they meet, and run over from the last place to the first.
        let hash = prop_oneof![0_u32..6, (u32::MAX - 5)..=u32::MAX, any::<u32>()];
        let step = prop_oneof![
            5 => (1_u32..60, hash).prop_map(|(id, hash)| Step::Insert(id, hash)),
            4 => (1_u32..60).prop_map(Step::Remove),
            1 => (0_usize..80).prop_map(Step::Reserve),
        ];
        prop::collection::vec(step, 0..300)
    }

    proptest! {
        #[test]
        fn it_holds_what_a_map_holds(steps in steps()) {
            let (mut places, mut model) = (Places::default(), BTreeMap::new());
            for step in steps {
                match step {
                    Step::Insert(id, hash) => {
                        if let Entry::Vacant(free) = model.entry(id) {
                            free.insert(hash);
                            places.insert(hash, id);
                        }
                    }
                    Step::Remove(id) => {
                        // What is not there changes nothing.
                        places.remove(model.remove(&id).unwrap_or(id), id);
                    }
                    Step::Reserve(more) => places.reserve(more),
                }
                prop_assert_eq!(places.len(), model.len());
                for (&id, &hash) in &model {
                    prop_assert_eq!(places.find(hash, |other| other == id), Some(id));
                }
                for id in (1..60).filter(|id| !model.contains_key(id)) {
                    prop_assert_eq!(places.find(id, |other| other == id), None);
                }
            }
        }
    }
}
