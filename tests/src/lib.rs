//! What the tests share: processes that end with the test that started them, servers under test, and the comparison of
//! what they said.
//!
//! The interoperability tests run one script against the Java server ([`peer`]) and against [`zkserver`], each in a
//! directory and on a port of its own, so that a difference between the two runs is a difference between the servers.

#![allow(clippy::disallowed_methods, reason = "tests run real processes and wait for them with deadlines")]

pub mod alone;
pub mod capture;
pub mod chaos;
pub mod conversation;
pub mod crash;
pub mod damage;
pub mod ensemble;
pub mod fuzz;
pub mod golden;
pub mod hostile;
pub mod peer;
pub mod process;
pub mod proxy;
pub mod recorder;
pub mod scenario;
pub mod scripted;
pub mod service;
pub mod shell;
pub mod sim;
pub mod small_disk;
pub mod terminal;
pub mod transcript;
pub mod tree_copy;
pub mod zkbroker;
pub mod zkserver;
