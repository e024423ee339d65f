//! What is wrong with a configuration, and where.

use std::path::PathBuf;

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot be read", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A line that is not of a properties file.
    #[error("{}:{line}: {flaw}", path.display())]
    Syntax {
        /// Of which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        flaw: String,
    },
    /// A value that makes no sense.
    #[error("{}:{line}: {key}={value}: {flaw}", path.display())]
    Value {
        /// Of which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The key.
        key: String,
        /// As it stands there.
        value: String,
        /// What is wrong with it.
        flaw: String,
    },
    /// A key that must be there.
    #[error("{}: {key} is missing", path.display())]
    Missing {
        /// From which file.
        path: PathBuf,
        /// The key.
        key: String,
    },
}
