//! What the server says it is.
//!
//! Tools read the version out of `srvr`, `envi` and `mntr`: kazoo takes the digits and dots behind `Zookeeper
//! version:`, others split at the first dash or comma. So it begins with the ZooKeeper version whose behaviour it
//! has, then says who it really is, and ends in a date as Java's does.

/// As `<zookeeper>-menagerie-<ours>`.
pub const VERSION: &str = concat!("3.9.5-menagerie-", env!("CARGO_PKG_VERSION"));

/// With the date of the release.
pub const FULL_VERSION: &str =
    concat!("3.9.5-menagerie-", env!("CARGO_PKG_VERSION"), ", built on 2026-11-21 00:00 UTC");
