//! What is wrong with a config, and where.

use std::fmt;
use std::path::PathBuf;

/// A config that the server does not start with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The file, or what stands for it: `command line`, `embedded default`.
    pub file: PathBuf,
    /// The line in it, counted from 1; `None` where a key is missing or came from elsewhere.
    pub line: Option<u32>,
    /// The key at fault; empty when it is not about one.
    pub key: String,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if self.key.is_empty() {
            write!(f, ": {}", self.what)
        } else {
            write!(f, ": {}: {}", self.key, self.what)
        }
    }
}

/// Something in a config that the server starts with, but its operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The line, where there is one.
    pub line: Option<u32>,
    /// The key.
    pub key: String,
    /// What about it.
    pub what: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        write!(f, "{}: {}", self.key, self.what)
    }
}
