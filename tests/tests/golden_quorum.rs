//! Bytes that Java servers exchange: ours are the same. What passed between real ones is decoded and encoded again.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use jute::Jute;
use jute::quorum::{LearnerInfo, QuorumPacket};
use jute::txn::Txn;
use tests::recorder::{End, Port, from_text, record_all};

const PROPOSAL: i32 = 2;
const FOLLOWER_INFO: i32 = 11;
const SNAP: i32 = 15;
const OBSERVER_INFO: i32 = 16;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/quorum")
}

#[tokio::test]
#[ignore = "writes the fixtures anew, from Java servers"]
async fn capture_quorum() -> Result<()> {
    record_all(&fixtures()).await
}

#[test]
fn packets_of_java_servers_are_ours_to_the_byte() -> Result<()> {
    let mut kinds = BTreeSet::new();
    for file in fs::read_dir(fixtures())? {
        let path = file?.path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        for recording in from_text(&fs::read_to_string(&path)?)? {
            if recording.port == Port::Quorum {
                let checked = check(&recording.messages, &mut kinds);
                checked.with_context(|| format!("{}: {} dials", path.display(), recording.dialler))?;
            }
        }
    }
    let missing: Vec<_> = (1..=19).filter(|kind| !kinds.contains(kind)).collect();
    ensure!(missing.is_empty(), "packets {missing:?} are not in the fixtures");
    Ok(())
}

fn check(messages: &[(End, Bytes)], kinds: &mut BTreeSet<i32>) -> Result<()> {
    let mut is_snapshot = false;
    for (at, (end, message)) in messages.iter().enumerate() {
        if is_snapshot && *end == End::Listener {
            is_snapshot = false;
            continue;
        }
        let packet = same::<QuorumPacket>(message).with_context(|| format!("message {at}"))?;
        kinds.insert(packet.packet_type);
        is_snapshot |= packet.packet_type == SNAP;
        let data = packet.data.unwrap_or_default();
        match packet.packet_type {
            FOLLOWER_INFO | OBSERVER_INFO => drop(same::<LearnerInfo>(&data)?),
            PROPOSAL => drop(same::<Txn>(&data).with_context(|| format!("proposal {at}"))?),
            _ => {}
        }
    }
    Ok(())
}

/// The bytes decode as a `T`, and it encodes to them.
fn same<T: Jute>(bytes: &Bytes) -> Result<T> {
    let record = T::from_bytes(bytes)?;
    let again = record.to_bytes();
    ensure!(again == *bytes, "{bytes:x} became {again:x}");
    Ok(record)
}
