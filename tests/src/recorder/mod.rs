//! What Java servers say to each other, recorded on the way: they dial through a SOCKS proxy each, which a JVM can be told
//! to, so that all have the same configuration and none knows.
//!
//! A recording is kept as text: one message a line, in hex, `>` from the server that dialled and `<` from the one that was
//! dialled, in the order in which they passed, below a line that names the two.

mod script;
mod socks;
mod split;

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use bytes::Bytes;

use crate::ensemble::Id;
pub use script::record_all;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// Votes.
    Election,
    /// A learner's link to its leader.
    Quorum,
}

/// Which end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The server that opened it; on a [`Port::Quorum`] the learner.
    Dialler,
    /// The other; on a [`Port::Quorum`] the leader.
    Listener,
}

/// One connection from its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// Who opened it.
    pub dialler: Id,
    /// Who accepted it.
    pub listener: Id,
    /// What for.
    pub port: Port,
    /// Whole messages, lengths included where there are any. The body of a snapshot is one message.
    pub messages: Vec<(End, Bytes)>,
}

impl fmt::Display for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = match self.port {
            Port::Election => "election",
            Port::Quorum => "quorum",
        };
        writeln!(f, "{} dials {} {port}", self.dialler, self.listener)?;
        for (end, message) in &self.messages {
            let sign = match end {
                End::Dialler => '>',
                End::Listener => '<',
            };
            writeln!(f, "{sign} {message:x}")?;
        }
        Ok(())
    }
}

/// Reads what recordings were written as, one behind the other.
///
/// # Errors
/// When a line is none of theirs.
pub fn from_text(text: &str) -> Result<Vec<Recording>> {
    let mut recordings: Vec<Recording> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let end = match line.as_bytes() {
            [b'>', ..] => End::Dialler,
            [b'<', ..] => End::Listener,
            _ => {
                recordings.push(line.parse().with_context(|| format!("line {line:?}"))?);
                continue;
            }
        };
        let recording = recordings.last_mut().context("a message before any connection")?;
        recording.messages.push((end, bytes(line[1..].trim())?));
    }
    Ok(recordings)
}

impl FromStr for Recording {
    type Err = anyhow::Error;

    /// The line that begins one.
    fn from_str(line: &str) -> Result<Self> {
        let words: Vec<_> = line.split(' ').collect();
        let [dialler, "dials", listener, port] = words[..] else { bail!("no connection") };
        let port = match port {
            "election" => Port::Election,
            "quorum" => Port::Quorum,
            _ => bail!("no such port"),
        };
        Ok(Self { dialler: dialler.parse()?, listener: listener.parse()?, port, messages: Vec::new() })
    }
}

fn bytes(hex: &str) -> Result<Bytes> {
    let digits: Vec<_> =
        hex.chars().map(|digit| digit.to_digit(16).context("no hex")).collect::<Result<_>>()?;
    Ok(digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | *digit as u8)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_read_as_it_was_written() {
        let recording = Recording {
            dialler: 3,
            listener: 1,
            port: Port::Quorum,
            messages: vec![
                (End::Dialler, Bytes::from_static(&[0, 255])),
                (End::Listener, Bytes::from_static(&[16])),
            ],
        };
        let text = format!("# Why it was made.\n{recording}{recording}");
        assert_eq!(from_text(&text).unwrap(), [recording.clone(), recording]);
    }
}
