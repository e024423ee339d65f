//! A Java properties file, whose every value still knows its line.

use std::collections::BTreeMap;
use std::fmt::{Debug, Display};
use std::ops::RangeBounds;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use java_properties::{LineContent, PropertiesIter};

use super::error::ConfigError;
use super::topic::Properties as Raw;

/// What keys stand for that nobody set; `None` where that cannot be said in a value.
pub(super) type Defaults = BTreeMap<&'static str, Option<String>>;

/// The keys of a file, and those that have been asked for, set or not.
#[derive(Debug)]
pub(super) struct Properties {
    path: PathBuf,
    entries: BTreeMap<String, Entry>,
    asked: Defaults,
}

#[derive(Debug)]
struct Entry {
    value: String,
    line: usize,
}

impl Properties {
    /// Reads `text`, the content of the file at `path`. Of two values for a key the last one counts.
    pub(super) fn parse(path: &Path, text: &[u8]) -> Result<Self, ConfigError> {
        let mut entries = BTreeMap::new();
        for line in PropertiesIter::new(text) {
            let line = line.map_err(|error| ConfigError::Syntax {
                path: path.into(),
                line: error.line_number().unwrap_or_default(),
                flaw: error.to_string(),
            })?;
            let number = line.line_number();
            if let LineContent::KVPair(key, value) = line.consume_content() {
                entries.insert(key.trim().to_owned(), Entry { value: value.trim().to_owned(), line: number });
            }
        }
        Ok(Self { path: path.into(), entries, asked: Defaults::new() })
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// All that have a value.
    pub(super) fn raw(&self) -> Raw {
        let set = self.entries.iter().filter(|(_, entry)| !entry.value.is_empty());
        set.map(|(key, entry)| (key.clone(), entry.value.clone())).collect()
    }

    /// Keys that were never asked for and that `known` does not know either, with their lines.
    pub(super) fn unknown(&self, known: impl Fn(&str) -> bool) -> Vec<(&str, usize)> {
        let unasked =
            self.entries.iter().filter(|(key, _)| !self.asked.contains_key(key.as_str()) && !known(key));
        unasked.map(|(key, entry)| (key.as_str(), entry.line)).collect()
    }

    /// All that have been asked for, with their defaults.
    pub(super) fn defaults(&self) -> Defaults {
        self.asked.clone()
    }

    /// Whether anything stands there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|entry| !entry.value.is_empty())
    }

    /// What stands there; nothing is as good as not there.
    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.asked.entry(key).or_default();
        self.entries.get(key).map(|entry| entry.value.clone()).filter(|value| !value.is_empty())
    }

    /// The same; it is remembered what nothing stands for.
    fn text_or(&mut self, key: &'static str, default: String) -> Option<String> {
        self.asked.insert(key, Some(default));
        self.text(key)
    }

    /// The same, where there must be something.
    pub(super) fn required(&mut self, key: &'static str) -> Result<String, ConfigError> {
        self.text(key).ok_or_else(|| ConfigError::Missing { path: self.path.clone(), key: key.into() })
    }

    /// A list, its elements between commas.
    pub(super) fn list(&mut self, key: &'static str) -> Vec<String> {
        let text = self.text(key).unwrap_or_default();
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &'static str, default: bool) -> Result<bool, ConfigError> {
        match self.text_or(key, default.to_string()) {
            None => Ok(default),
            Some(value) if value.eq_ignore_ascii_case("true") => Ok(true),
            Some(value) if value.eq_ignore_ascii_case("false") => Ok(false),
            Some(_) => Err(self.wrong(key, "neither true nor false")),
        }
    }

    /// A number within `bounds`.
    pub(super) fn number<N>(
        &mut self,
        key: &'static str,
        default: N,
        bounds: impl RangeBounds<N>,
    ) -> Result<N, ConfigError>
    where
        N: FromStr + PartialOrd + Debug + Display,
    {
        // Large fractions are displayed with hundreds of digits.
        let Some(value) = self.text_or(key, format!("{default:?}")) else { return Ok(default) };
        let Ok(number) = value.parse::<N>() else {
            return Err(self.wrong(key, "not a number, or one that is too large"));
        };
        if bounds.contains(&number) {
            return Ok(number);
        }
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let flaw = match (bounds.start_bound(), bounds.end_bound()) {
            (Included(least), Unbounded) => format!("must be at least {least}"),
            (Included(least), Included(most)) => format!("must be from {least} to {most}"),
            (Included(least), Excluded(end)) => format!("must be from {least} to below {end}"),
            (_, Included(most)) => format!("must be at most {most}"),
            _ => "out of bounds".to_owned(),
        };
        Err(self.wrong(key, flaw))
    }

    /// Milliseconds, at least so many.
    pub(super) fn millis(
        &mut self,
        key: &'static str,
        default: u64,
        least: u64,
    ) -> Result<Duration, ConfigError> {
        self.number(key, default, least..=i64::MAX.unsigned_abs()).map(Duration::from_millis)
    }

    /// Bytes, or whatever is counted in a signed 32-bit number, at least so many.
    pub(super) fn size(
        &mut self,
        key: &'static str,
        default: usize,
        least: usize,
    ) -> Result<usize, ConfigError> {
        self.number(key, default, least..=i32::MAX as usize)
    }

    /// That what stands at `key` is wrong; it is missing if nothing does.
    pub(super) fn wrong(&self, key: &str, flaw: impl Into<String>) -> ConfigError {
        match self.entries.get(key) {
            None => ConfigError::Missing { path: self.path.clone(), key: key.into() },
            Some(entry) => ConfigError::Value {
                path: self.path.clone(),
                line: entry.line,
                key: key.into(),
                value: entry.value.clone(),
                flaw: flaw.into(),
            },
        }
    }

    /// The first of `keys` that has a value.
    pub(super) fn first_of(&mut self, keys: &[&'static str]) -> Option<&'static str> {
        keys.iter().copied().find(|key| self.text(key).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Properties {
        Properties::parse(Path::new("server.properties"), text.as_bytes()).unwrap()
    }

    #[test]
    fn an_error_names_file_line_and_key() {
        let mut properties = parse("# first\n\nnum.partitions = 0\nauto.create.topics.enable=yes\n");
        let error = properties.number("num.partitions", 1, 1..).unwrap_err();
        assert_eq!(error.to_string(), "server.properties:3: num.partitions=0: must be at least 1");
        let error = properties.flag("auto.create.topics.enable", true).unwrap_err();
        assert_eq!(
            error.to_string(),
            "server.properties:4: auto.create.topics.enable=yes: neither true nor false"
        );
        let error = properties.required("zookeeper.connect").unwrap_err();
        assert_eq!(error.to_string(), "server.properties: zookeeper.connect is missing");
    }

    #[test]
    fn the_last_of_two_values_counts_and_an_empty_one_is_none() {
        let mut properties = parse("a=1\na=2\nb=\nlist= x, ,y \n");
        assert_eq!(properties.number("a", 0, ..).unwrap(), 2);
        assert_eq!(properties.text("b"), None);
        assert_eq!(properties.list("list"), ["x", "y"]);
        assert_eq!(properties.number("c", 7, ..).unwrap(), 7);
    }

    #[test]
    fn what_has_been_asked_for_has_a_default() {
        let mut properties = parse("a=1\n");
        properties.number("a", 7, ..).unwrap();
        properties.flag("b", true).unwrap();
        properties.text("c");
        let told = [("a", Some("7".to_owned())), ("b", Some("true".to_owned())), ("c", None)];
        assert_eq!(properties.defaults(), BTreeMap::from(told));
    }

    #[test]
    fn what_nobody_asks_for_is_unknown() {
        let mut properties = parse("a=1\nb=2\nc=3\n");
        properties.text("a");
        assert_eq!(properties.unknown(|key| key == "c"), [("b", 2)]);
    }
}
