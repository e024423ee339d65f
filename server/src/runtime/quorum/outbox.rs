//! What waits to be written on a link, in order: packets, txns that are still on the disk, snapshots.

use std::collections::VecDeque;

use bytes::BytesMut;

use crate::storage::{LogRange, SnapshotSource};
use crate::zab::Packet;

/// What may wait on one link. A learner that is behind by more is not catching up: it is let go, and comes back for
/// what it lacks.
const WAITING_BYTES_MAX: usize = 128 << 20;

/// A buffer that has grown beyond this is not kept.
const SPARE_BYTES_MAX: usize = 1 << 20;

/// The next thing to write.
pub(super) enum Piece {
    /// Encoded packets.
    Packets(BytesMut),
    /// Txns of the log.
    Log(LogRange),
    /// A snapshot's body.
    Snapshot(Box<dyn SnapshotSource>),
}

/// More waits than may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more waits to be sent than may")]
pub(super) struct Overflow;

#[derive(Default)]
pub(super) struct Outbox {
    pieces: VecDeque<Piece>,
    /// Of all packets, those that are being written too.
    bytes: usize,
    /// Its allocation is used again.
    spare: BytesMut,
}

impl Outbox {
    pub(super) fn push_packet(&mut self, packet: &Packet) -> Result<(), Overflow> {
        self.append(|buffer| packet.encode(buffer))
    }

    /// A packet that was encoded before, for others too.
    pub(super) fn push_encoded(&mut self, packet: &[u8]) -> Result<(), Overflow> {
        self.append(|buffer| buffer.extend_from_slice(packet))
    }

    pub(super) fn push(&mut self, piece: Piece) {
        self.pieces.push_back(piece);
    }

    fn append(&mut self, write: impl FnOnce(&mut BytesMut)) -> Result<(), Overflow> {
        if !matches!(self.pieces.back(), Some(Piece::Packets(_))) {
            self.pieces.push_back(Piece::Packets(std::mem::take(&mut self.spare)));
        }
        if let Some(Piece::Packets(buffer)) = self.pieces.back_mut() {
            let before = buffer.len();
            write(buffer);
            self.bytes += buffer.len() - before;
        }
        if self.bytes > WAITING_BYTES_MAX { Err(Overflow) } else { Ok(()) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The next thing to write. Packets are said to be [written](Self::wrote) afterwards.
    pub(super) fn next(&mut self) -> Option<Piece> {
        self.pieces.pop_front()
    }

    pub(super) fn wrote(&mut self, mut packets: BytesMut) {
        self.bytes -= packets.len();
        if packets.capacity() <= SPARE_BYTES_MAX {
            packets.clear();
            self.spare = packets;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::storage::SimDisk;
    use crate::zab::Zxid;

    fn packets(outbox: &mut Outbox) -> BytesMut {
        match outbox.next() {
            Some(Piece::Packets(buffer)) => buffer,
            _ => panic!("no packets"),
        }
    }

    #[test]
    fn packets_share_a_write_but_do_not_overtake_the_log() {
        let mut outbox = Outbox::default();
        let mut wire = BytesMut::new();
        Packet::Diff(Zxid(9)).encode(&mut wire);
        outbox.push_encoded(&wire).unwrap();
        let log = LogRange::open(&SimDisk::new(1), Path::new("/log"), Zxid(1), Zxid(9)).unwrap();
        outbox.push(Piece::Log(log));
        outbox.push_packet(&Packet::Commit(Zxid(10).into())).unwrap();
        outbox.push_packet(&Packet::UpToDate).unwrap();

        assert_eq!(packets(&mut outbox), wire);
        assert!(matches!(outbox.next(), Some(Piece::Log(_))));
        let mut rest = BytesMut::new();
        Packet::Commit(Zxid(10).into()).encode(&mut rest);
        Packet::UpToDate.encode(&mut rest);
        assert_eq!(packets(&mut outbox), rest);
        assert!(outbox.next().is_none());
    }

    #[test]
    fn what_is_being_written_counts_until_it_is() {
        let mut outbox = Outbox::default();
        let half = vec![0; WAITING_BYTES_MAX / 2 + 1];
        outbox.push_encoded(&half).unwrap();
        let taken = packets(&mut outbox);
        assert_eq!(outbox.push_encoded(&half), Err(Overflow));
        outbox.wrote(taken);
        assert_eq!(outbox.push_encoded(&half[..1]), Ok(()));
    }
}
