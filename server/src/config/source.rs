//! Typed look-ups in what the file and the command line gave.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::properties::{self, Property};
use super::{ConfigError, Warning};

/// All keys given, without their `zookeeper.` prefix; the last of equal ones counts, the command line above all.
pub(super) struct Source {
    file: PathBuf,
    entries: BTreeMap<String, Entry>,
    /// What was looked up: the rest is unknown.
    asked: RefCell<BTreeSet<String>>,
    repeated: Vec<Warning>,
}

/// A value and where it came from.
pub(super) struct Entry {
    pub(super) value: String,
    /// `None` for the command line.
    pub(super) line: Option<u32>,
}

impl Source {
    pub(super) fn new(text: &str, file: &Path, overrides: &[(String, String)]) -> Result<Self, ConfigError> {
        let properties = properties::parse(text).map_err(|line| ConfigError {
            file: file.to_owned(),
            line: Some(line),
            key: String::new(),
            what: "\\u needs the four hex digits of a character".to_owned(),
        })?;
        let mut source = Self {
            file: file.to_owned(),
            entries: BTreeMap::new(),
            asked: RefCell::default(),
            repeated: Vec::new(),
        };
        for Property { line, key, value } in properties {
            let key = plain(&key).to_owned();
            let entry = Entry { value, line: Some(line) };
            if source.entries.insert(key.clone(), entry).is_some() {
                let what = "given twice; the last one counts".to_owned();
                source.repeated.push(Warning { line: Some(line), key, what });
            }
        }
        for (key, value) in overrides {
            let entry = Entry { value: value.trim().to_owned(), line: None };
            source.entries.insert(plain(key.trim()).to_owned(), entry);
        }
        Ok(source)
    }

    /// An error about `key`, with the place it was given at.
    pub(super) fn error(&self, key: &str, what: impl Into<String>) -> ConfigError {
        let entry = self.entries.get(key);
        let file = match entry {
            Some(Entry { line: None, .. }) => PathBuf::from("command line"),
            _ => self.file.clone(),
        };
        let line = entry.and_then(|entry| entry.line);
        ConfigError { file, line, key: key.to_owned(), what: what.into() }
    }

    /// The value of `key`; an empty one counts as not given.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.asked.borrow_mut().insert(key.to_owned());
        self.entries.get(key).map(|entry| entry.value.as_str()).filter(|value| !value.is_empty())
    }

    pub(super) fn path(&self, key: &str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    /// All keys that begin with `prefix` and have a value, with what follows the prefix.
    pub(super) fn starting_with<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a Entry)> {
        self.entries.iter().filter_map(move |(key, entry)| {
            let rest = key.strip_prefix(prefix)?;
            self.asked.borrow_mut().insert(key.clone());
            (!entry.value.is_empty()).then_some((rest, entry))
        })
    }

    /// `true` or `false`, in any case.
    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool, ConfigError> {
        self.choice(key, default, &[("true", true), ("false", false)])
    }

    /// `yes` or `no`, in any case.
    pub(super) fn yes(&self, key: &str, default: bool) -> Result<bool, ConfigError> {
        self.choice(key, default, &[("yes", true), ("no", false)])
    }

    /// One of the named values, in any case.
    pub(super) fn choice<T: Clone>(&self, key: &str, default: T, of: &[(&str, T)]) -> Result<T, ConfigError> {
        let Some(text) = self.text(key) else { return Ok(default) };
        of.iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text))
            .map(|(_, value)| value.clone())
            .ok_or_else(|| {
                let names: Vec<&str> = of.iter().map(|&(name, _)| name).collect();
                self.error(key, format!("{text:?} is none of: {}", names.join(", ")))
            })
    }

    /// A whole number, if given, within `range`; decimal, or hex after `0x`.
    pub(super) fn integer(&self, key: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, ConfigError> {
        let Some(text) = self.text(key) else { return Ok(None) };
        let number =
            integer(text).ok_or_else(|| self.error(key, format!("{text:?} is not a whole number")))?;
        if range.contains(&number) {
            return Ok(Some(number));
        }
        let what = match (*range.start(), *range.end()) {
            (low, i64::MAX) => format!("{number} is less than {low}"),
            (low, high) => format!("{number} is not within {low} and {high}"),
        };
        Err(self.error(key, what))
    }

    /// A count that fits `u32`.
    pub(super) fn count(&self, key: &str, default: u32, min: u32) -> Result<u32, ConfigError> {
        let range = i64::from(min)..=i64::from(i32::MAX);
        let number = self.integer(key, range)?;
        Ok(number.and_then(|n| u32::try_from(n).ok()).unwrap_or(default))
    }

    /// A limit, where zero and less mean that there is none.
    pub(super) fn limit(&self, key: &str, default: Option<u32>) -> Result<Option<u32>, ConfigError> {
        let number = self.integer(key, i64::from(i32::MIN)..=i64::from(i32::MAX))?;
        Ok(number.map_or(default, |n| u32::try_from(n).ok().filter(|&n| n > 0)))
    }

    /// A number of bytes, given in units of `unit` bytes.
    pub(super) fn bytes(&self, key: &str, default: u64, unit: u64) -> Result<u64, ConfigError> {
        let number = self.integer(key, 1..=i64::MAX)?;
        Ok(number.and_then(|n| u64::try_from(n).ok()).unwrap_or(default).saturating_mul(unit))
    }

    /// A number of bytes, given in units of `unit` bytes, where zero and less mean that there is no limit.
    pub(super) fn bytes_limit(&self, key: &str, unit: u64) -> Result<Option<u64>, ConfigError> {
        let number = self.integer(key, i64::MIN..=i64::MAX)?;
        let number = number.and_then(|n| u64::try_from(n).ok()).filter(|&n| n > 0);
        Ok(number.map(|n| n.saturating_mul(unit)))
    }

    /// Milliseconds, at least `min`.
    pub(super) fn millis(&self, key: &str, default: u64, min: u64) -> Result<Duration, ConfigError> {
        let number = self.integer(key, i64::try_from(min).unwrap_or(i64::MAX)..=i64::from(i32::MAX))?;
        Ok(Duration::from_millis(number.and_then(|n| u64::try_from(n).ok()).unwrap_or(default)))
    }

    /// Milliseconds, where -1 (any negative number) means that none are set.
    pub(super) fn millis_or_unset(&self, key: &str) -> Result<Option<Duration>, ConfigError> {
        let number = self.integer(key, -1..=i64::from(i32::MAX))?;
        Ok(number.and_then(|n| u64::try_from(n).ok()).map(Duration::from_millis))
    }

    /// A TCP port. `min` is 0 where 0 has a meaning: the kernel chooses.
    pub(super) fn port(&self, key: &str, min: u16) -> Result<Option<u16>, ConfigError> {
        let number = self.integer(key, i64::from(min)..=i64::from(u16::MAX))?;
        Ok(number.and_then(|n| u16::try_from(n).ok()))
    }

    /// A number with a fraction, from 0 on.
    pub(super) fn fraction(&self, key: &str, default: f64) -> Result<f64, ConfigError> {
        let Some(text) = self.text(key) else { return Ok(default) };
        let number: Option<f64> = text.parse().ok().filter(|n: &f64| n.is_finite() && *n >= 0.0);
        number.ok_or_else(|| self.error(key, format!("{text:?} is not a number from 0 on")))
    }

    /// Warnings about keys given twice.
    pub(super) fn repeated(&self) -> &[Warning] {
        &self.repeated
    }

    /// Every key given, with its entry.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(key, entry)| (key.as_str(), entry))
    }

    /// Whether something looked at `key`.
    pub(super) fn was_asked(&self, key: &str) -> bool {
        self.asked.borrow().contains(key)
    }
}

/// System properties of ZooKeeper and keys of its file are the same.
fn plain(key: &str) -> &str {
    key.strip_prefix("zookeeper.").unwrap_or(key)
}

fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let magnitude = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => i64::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    magnitude.ok().filter(|n| *n >= 0).map(|n| n * sign)
}
