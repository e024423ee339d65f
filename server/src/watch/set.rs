//! The watchers of one path: often none or one, sometimes thousands.

use super::Modes;

/// Bits of a [`Modes`].
const MODE_BITS: u32 = 4;

/// Connections' numbers, each with the modes in which it watches.
#[derive(Debug, Default)]
#[allow(clippy::box_collection)] // 16 bytes for each path, most of which have one watcher.
pub(super) enum Watchers {
    #[default]
    None,
    One(Packed),
    /// In the order of the numbers.
    Many(Box<Vec<Packed>>),
}

/// A connection's number, and below it its modes: 4 bytes a watch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packed(u32);

impl Packed {
    fn new(number: u32, modes: Modes) -> Self {
        assert!(number < 1 << (32 - MODE_BITS), "fewer than 2^28 connections, not {number}");
        Self(number << MODE_BITS | modes.0)
    }

    pub(super) fn number(self) -> u32 {
        self.0 >> MODE_BITS
    }

    pub(super) fn modes(self) -> Modes {
        Modes(self.0).and(Modes::ALL)
    }
}

impl Watchers {
    pub(super) fn as_slice(&self) -> &[Packed] {
        match self {
            Self::None => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    pub(super) fn modes_of(&self, number: u32) -> Modes {
        let all = self.as_slice();
        all.binary_search_by_key(&number, |one| one.number()).map_or(Modes::NONE, |place| all[place].modes())
    }

    /// Sets the modes of one watcher; with none, it is one no more.
    pub(super) fn set(&mut self, number: u32, modes: Modes) {
        let place = self.as_slice().binary_search_by_key(&number, |one| one.number());
        let packed = Packed::new(number, modes);
        match (&mut *self, place) {
            (Self::None, _) | (Self::One(_), Ok(_)) if modes != Modes::NONE => *self = Self::One(packed),
            (Self::One(_), Ok(_)) => *self = Self::None,
            (Self::One(one), Err(place)) if modes != Modes::NONE => {
                let mut both = vec![*one];
                both.insert(place, packed);
                *self = Self::Many(Box::new(both));
            }
            (Self::Many(many), Ok(place)) if modes != Modes::NONE => many[place] = packed,
            (Self::Many(many), Ok(place)) => {
                many.remove(place);
                self.shrink();
            }
            (Self::Many(many), Err(place)) if modes != Modes::NONE => many.insert(place, packed),
            (_, _) => {}
        }
    }

    /// Takes `modes` away from all, showing each watcher with what it had before and has now.
    pub(super) fn take_modes(&mut self, modes: Modes, mut see: impl FnMut(u32, Modes, Modes)) {
        let mut keep = |one: &mut Packed| {
            let after = one.modes().without(modes);
            see(one.number(), one.modes(), after);
            *one = Packed::new(one.number(), after);
            after != Modes::NONE
        };
        match self {
            Self::None => {}
            Self::One(one) => {
                if !keep(one) {
                    *self = Self::None;
                }
            }
            Self::Many(many) => {
                many.retain_mut(keep);
                self.shrink();
            }
        }
    }

    fn shrink(&mut self) {
        if let Self::Many(many) = self {
            match many[..] {
                [] => *self = Self::None,
                [one] => *self = Self::One(one),
                _ if many.len() < many.capacity() / 4 => many.shrink_to(many.len() * 2),
                _ => {}
            }
        }
    }
}
