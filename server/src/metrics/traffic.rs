//! Plain tallies, for threads that count many things between two looks at a clock: no atomics, no locks. What they
//! hold is given to [`Metrics`](super::Metrics) a batch at a time.

use hashbrown::HashMap;

/// Count, sum and extremes of some sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sizes {
    /// How many.
    pub count: u64,
    /// All together.
    pub sum: u64,
    /// The smallest; 0 without any.
    pub min: u64,
    /// The largest; 0 without any.
    pub max: u64,
    /// The last; 0 without any.
    pub last: u64,
}

impl Sizes {
    /// One more.
    pub fn record(&mut self, size: usize) {
        let size = size as u64;
        self.min = if self.count == 0 { size } else { self.min.min(size) };
        self.max = self.max.max(size);
        self.count += 1;
        self.sum += size;
        self.last = size;
    }
}

/// Namespaces told apart; all beyond share one.
pub(super) const NAMESPACES_MAX: usize = 1000;
pub(super) const OTHER_NAMESPACES: &str = "other";

/// Sizes by namespace, which is the first component of a path. The namespace before is the first guess, so that
/// clients who stay within one cost a comparison.
#[derive(Debug, Default)]
pub struct Traffic {
    numbers: HashMap<Box<str>, usize, foldhash::fast::FixedState>,
    namespaces: Vec<(Box<str>, Sizes)>,
    /// Those that have something.
    touched: Vec<usize>,
    before: usize,
}

impl Traffic {
    /// Takes in `size`, of something at `path`. The root is in no namespace.
    pub fn record(&mut self, path: &str, size: usize) {
        let Some(namespace) = namespace_of(path) else {
            return;
        };
        let guess = self.namespaces.get(self.before).filter(|(name, _)| **name == *namespace);
        let number = if guess.is_some() { self.before } else { self.number_of(namespace) };
        let (_, sizes) = &mut self.namespaces[number];
        if sizes.count == 0 {
            self.touched.push(number);
        }
        sizes.record(size);
        self.before = number;
    }

    fn number_of(&mut self, namespace: &str) -> usize {
        if let Some(number) = self.numbers.get(namespace) {
            return *number;
        }
        if self.namespaces.len() >= NAMESPACES_MAX && namespace != OTHER_NAMESPACES {
            return self.number_of(OTHER_NAMESPACES);
        }
        let number = self.namespaces.len();
        self.numbers.insert(namespace.into(), number);
        self.namespaces.push((namespace.into(), Sizes::default()));
        number
    }

    /// There is nothing to take.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.touched.is_empty()
    }

    /// Takes out everything.
    pub fn drain(&mut self) -> impl Iterator<Item = (&str, Sizes)> {
        let Self { touched, namespaces, .. } = self;
        let mut taken: Vec<_> = touched.drain(..).map(|number| (number, Sizes::default())).collect();
        for (number, sizes) in &mut taken {
            std::mem::swap(sizes, &mut namespaces[*number].1);
        }
        taken.into_iter().map(|(number, sizes)| (&*namespaces[number].0, sizes))
    }
}

/// The first component of `path`; `None` for the root.
fn namespace_of(path: &str) -> Option<&str> {
    let below = path.strip_prefix('/')?;
    let end = below.bytes().position(|byte| byte == b'/').unwrap_or(below.len());
    Some(&below[..end]).filter(|namespace| !namespace.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_kept_apart_by_the_first_component() {
        let mut traffic = Traffic::default();
        for (path, size) in [("/a", 1), ("/a/b", 5), ("/c/d", 2), ("/", 9), ("/a/x", 3)] {
            traffic.record(path, size);
        }
        let taken: Vec<_> = traffic.drain().map(|(name, sizes)| (name.to_owned(), sizes)).collect();
        assert_eq!(
            taken,
            [
                ("a".to_owned(), Sizes { count: 3, sum: 9, min: 1, max: 5, last: 3 }),
                ("c".to_owned(), Sizes { count: 1, sum: 2, min: 2, max: 2, last: 2 }),
            ]
        );
        assert!(traffic.is_empty());
        traffic.record("/c", 4);
        assert_eq!(traffic.drain().map(|(name, _)| name.to_owned()).collect::<Vec<_>>(), ["c"]);
    }

    #[test]
    fn namespaces_are_bounded() {
        let mut traffic = Traffic::default();
        (0..NAMESPACES_MAX + 10).for_each(|n| traffic.record(&format!("/n{n}/x"), 1));
        let taken: Vec<_> = traffic.drain().map(|(name, sizes)| (name.to_owned(), sizes.count)).collect();
        assert_eq!(taken.len(), NAMESPACES_MAX + 1);
        assert_eq!(taken.last(), Some(&(OTHER_NAMESPACES.to_owned(), 10)));
    }
}
