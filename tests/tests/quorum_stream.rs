//! What Java servers said to each other, as the streams they were: our decoders find every packet and vote in them, and
//! ours are the same to the byte.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use bytes::{Bytes, BytesMut};
use server::config::ServerId;
use server::runtime::quorum::{Decoder, Next};
use server::zab::{Notification, Packet, Receiver};
use tests::recorder::{End, Port, Recording, from_text};

const DATA_BYTES_MAX: usize = 1 << 20;

#[test]
fn packets_of_java_servers_are_found_wherever_the_stream_is_cut() -> Result<()> {
    let mut packets = 0;
    for recording in recordings(Port::Quorum)? {
        for (end, receiver) in [(End::Dialler, Receiver::Leader), (End::Listener, Receiver::Learner)] {
            let messages = said_by(&recording, end);
            for piece_bytes in [1, 7, 100, usize::MAX] {
                let found = check_stream(&messages, receiver, piece_bytes);
                packets += found.with_context(|| format!("{recording}in pieces of {piece_bytes}"))?;
            }
        }
    }
    ensure!(packets > 1000, "only {packets} packets");
    Ok(())
}

/// How many packets there were.
fn check_stream(messages: &[Bytes], receiver: Receiver, piece_bytes: usize) -> Result<usize> {
    let mut decoder = Decoder::new(receiver, DATA_BYTES_MAX);
    let mut messages = messages.iter();
    let (mut buffer, mut count) = (BytesMut::new(), 0);
    while let Some(message) = messages.next() {
        let mut packets = Vec::new();
        let mut next = Next::Packet;
        for piece in message.chunks(piece_bytes) {
            ensure!(packets.is_empty(), "{message:x} has something behind its packet");
            buffer.extend_from_slice(piece);
            next = decoder.decode(&mut buffer, |packet| packets.push(packet))?;
        }
        let [packet] = &packets[..] else { anyhow::bail!("{message:x} is {packets:?}") };
        let mut again = BytesMut::new();
        packet.encode(&mut again);
        ensure!(again == *message, "{message:x} became {again:x}");
        count += 1;
        if let Next::Snapshot(zxid) = next {
            ensure!(*packet == Packet::Snap(zxid));
            messages.next().context("SNAP without a snapshot")?;
        }
    }
    Ok(count)
}

#[test]
fn votes_of_java_servers_are_ours_to_the_byte() -> Result<()> {
    let mut votes = 0;
    for recording in recordings(Port::Election)? {
        // Whoever dials greets first.
        let of_dialler = said_by(&recording, End::Dialler).into_iter().skip(1);
        for message in of_dialler.chain(said_by(&recording, End::Listener)) {
            let notification = Notification::decode(message.slice(4..))?;
            if notification.vote.leader == ServerId(i64::MIN) {
                // An observer's vote is for nobody: its epoch is none that we could hold, and nobody looks at it.
                continue;
            }
            let again = notification.encode();
            ensure!(again == message.slice(4..), "{message:x} became {again:x}");
            votes += 1;
        }
    }
    ensure!(votes > 20, "only {votes} votes");
    Ok(())
}

fn said_by(recording: &Recording, by: End) -> Vec<Bytes> {
    let messages = recording.messages.iter().filter(|(end, _)| *end == by);
    messages.map(|(_, message)| message.clone()).collect()
}

fn recordings(port: Port) -> Result<Vec<Recording>> {
    let mut all = Vec::new();
    for file in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/quorum"))? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            all.extend(from_text(&fs::read_to_string(&path)?)?);
        }
    }
    all.retain(|recording| recording.port == port);
    Ok(all)
}
