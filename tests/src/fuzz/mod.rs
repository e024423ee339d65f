//! Functions that take any bytes: libFuzzer feeds them in `tests/fuzz`, and an ordinary test runs them over the corpus
//! that is kept there. They panic when a promise is broken, and take no more memory than their input pays for.

mod connection;
mod files;
mod input;
mod kafka;
mod quorum;
mod recovery;
mod step;
mod text;
mod wire;

use input::Input;

/// One function, and what it may hold in memory at once.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Also its corpus's directory.
    pub name: &'static str,
    /// Runs it over one input.
    pub run: fn(&[u8]),
    /// For each byte of the input.
    pub bytes_per_input_byte: usize,
    /// Besides.
    pub bytes_besides: usize,
}

impl Target {
    /// A decoder: a record of ours is a few times as large as its bytes, and encoded and decoded again.
    const fn decoder(name: &'static str, run: fn(&[u8])) -> Self {
        Self { name, run, bytes_per_input_byte: 64, bytes_besides: 64 << 10 }
    }

    /// A machine, with what belongs to it.
    const fn machine(name: &'static str, run: fn(&[u8])) -> Self {
        Self { name, run, bytes_per_input_byte: 2048, bytes_besides: 8 << 20 }
    }
}

/// What a few compressed bytes may become before they are refused, and again as it is being copied.
const UNPACKED: usize = 2 * broker::log::batch::UNPACKED_BYTES_MAX + (16 << 20);

/// All of them.
pub const TARGETS: &[Target] = &[
    Target::decoder("requests", wire::requests),
    Target::decoder("replies", wire::replies),
    Target::decoder("records", wire::records),
    Target::decoder("connection", connection::connection),
    Target::decoder("quorum_stream", quorum::quorum_stream),
    Target::decoder("election", quorum::election),
    // A line of a configuration is a key with its place, and a warning.
    Target { name: "text", run: text::text, bytes_per_input_byte: 1024, bytes_besides: 512 << 10 },
    Target::machine("log_file", files::log_file),
    Target::machine("snapshot", files::snapshot),
    Target::machine("client_session", client::fuzzing::play_session),
    Target::machine("step", step::step),
    Target::machine("recovery", recovery::recovery),
    // An array's element of a byte or two is a struct with vectors of its own.
    Target {
        name: "kafka_requests",
        run: kafka::requests,
        bytes_per_input_byte: 512,
        bytes_besides: 64 << 10,
    },
    Target { name: "kafka_batches", run: kafka::batches, bytes_per_input_byte: 64, bytes_besides: UNPACKED },
    Target::decoder("kafka_group_records", kafka::group_records),
    Target {
        name: "kafka_partition_log",
        run: kafka::partition_log,
        bytes_per_input_byte: 64,
        bytes_besides: UNPACKED,
    },
];

/// The target of this name.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).expect("a target of that name")
}
