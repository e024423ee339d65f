//! Doors for fuzzers to decoders that are otherwise private. No part of the API.

use std::path::Path;

pub use crate::runtime::fuzzing::{TakenIn, take_in};
pub use crate::runtime::quorum::fuzz_greeting as greeting;
pub use crate::storage::fuzz_database_records as database_records;

use crate::config::{Config, ConfigError};

/// Reads the text of a dynamic configuration file into `config`.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn read_dynamic(config: &mut Config, text: &str) -> Result<(), ConfigError> {
    config.ensemble.read_dynamic(text, Path::new("zoo.cfg.dynamic"))
}
