//! ZooKeeper's wire: the jute encoding, the records of `zookeeper.jute`, operation codes and error codes.
//! Knows nothing else.
//!
//! All integers are big-endian. A string, buffer or vector is an int length followed by its content; length
//! -1 is null, and null is not empty. Records are their fields, one behind the other.
//!
//! | you want | look at |
//! | --- | --- |
//! | the bytes of an operation | the table of [`op`], then its record in [`proto`] |
//! | what a log or a PROPOSAL holds | [`txn`] |
//! | what servers say to each other | [`quorum`], [`PacketType`] |
//! | frames off a socket | [`frame`] |

pub mod data;
mod error_code;
pub mod frame;
pub mod multi;
pub mod op;
pub mod persistence;
pub mod proto;
pub mod quorum;
pub mod reader;
pub mod record;
pub mod txn;

pub use error_code::ErrorCode;
pub use op::{AddWatchMode, CreateMode, EventType, Op, OpKind, PacketType, WatcherType};
pub use reader::{DecodeError, Flaw, Reader};
pub use record::Jute;

/// A `ustring`: UTF-8 text that is a slice of the frame it came in. Keep a copy, not the slice, of what
/// should outlive the frame: a slice holds on to all of its frame's memory.
pub type Ustring = bytestring::ByteString;
