//! What is encoded is decoded to the same, wherever the stream is cut.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use jute::Ustring;
use jute::data::Id;
use proptest::collection::vec;
use proptest::prelude::*;

use super::decoder::{Decoder, Next, StreamFlaw};
use crate::config::ServerId;
use crate::session::SessionId;
use crate::zab::{
    Epoch, MalformedNotification, MalformedPacket, Notification, Packet, PeerState, Receiver, Run, Vote, Zxid,
};

const DATA_BYTES_MAX: usize = 2000;

fn data() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

fn zxid() -> impl Strategy<Value = Zxid> {
    any::<i64>().prop_map(Zxid)
}

fn run() -> impl Strategy<Value = Run> {
    (zxid(), 0_u8..4).prop_map(|(first, more)| Run::starting(first, more))
}

fn epoch() -> impl Strategy<Value = Epoch> {
    any::<u32>().prop_map(|epoch| Epoch(epoch >> 1))
}

/// What a leader sends, but for SNAP.
fn of_leader() -> impl Strategy<Value = Packet> {
    let record = || (zxid(), data());
    let leader = || any::<i64>().prop_map(ServerId);
    prop_oneof![
        (epoch(), any::<i32>()).prop_map(|(epoch, protocol)| Packet::LeaderInfo { epoch, protocol }),
        zxid().prop_map(Packet::Diff),
        zxid().prop_map(Packet::Trunc),
        (epoch(), data()).prop_map(|(epoch, config)| {
            let config = Some(config).filter(|text| !text.is_empty());
            Packet::NewLeader { epoch, config }
        }),
        Just(Packet::UpToDate),
        record().prop_map(|(zxid, record)| Packet::Proposal { zxid, record }),
        run().prop_map(Packet::Commit),
        (zxid(), leader()).prop_map(|(zxid, leader)| Packet::CommitAndActivate { zxid, leader }),
        record().prop_map(|(zxid, record)| Packet::Inform { zxid, record }),
        (record(), leader()).prop_map(|((zxid, record), leader)| Packet::InformAndActivate {
            zxid,
            leader,
            record
        }),
        zxid().prop_map(|zxid| Packet::Ping { zxid, touched: None }),
        (any::<i64>(), any::<bool>())
            .prop_map(|(session, is_valid)| Packet::Revalidated { session: SessionId(session), is_valid }),
        Just(Packet::Sync),
    ]
}

/// What a learner sends behind its first packet.
fn of_learner() -> impl Strategy<Value = Packet> {
    let id = ("[a-z]{0,8}", "\\PC{0,20}")
        .prop_map(|(scheme, id)| Id { scheme: Ustring::from(scheme), id: Ustring::from(id) });
    let touched = (any::<i64>(), any::<i32>()).prop_map(|(session, timeout)| (SessionId(session), timeout));
    prop_oneof![
        (zxid(), proptest::option::of(epoch()))
            .prop_map(|(last, current)| Packet::AckEpoch { last, current }),
        run().prop_map(Packet::Ack),
        (zxid(), vec(touched, 0..20))
            .prop_map(|(zxid, touched)| Packet::Ping { zxid, touched: Some(touched) }),
        (any::<i64>(), any::<i32>(), any::<i32>(), data(), vec(id, 0..4)).prop_map(
            |(session, cxid, op, body, identities)| {
                let identities: Arc<[Id]> = identities.into();
                Packet::Request { session: SessionId(session), cxid, op, body, identities }
            }
        ),
        (any::<i64>(), any::<i32>())
            .prop_map(|(session, timeout_ms)| Packet::Revalidate { session: SessionId(session), timeout_ms }),
    ]
}

fn learner_info() -> Packet {
    Packet::LearnerInfo {
        is_observer: true,
        accepted: Epoch(3),
        server: ServerId(2),
        protocol: 0x10000,
        config_version: 0x1_0000_0000,
    }
}

fn wire(packets: &[Packet]) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    packets.iter().for_each(|packet| packet.encode(&mut bytes));
    bytes.to_vec()
}

/// Feeds `bytes` in pieces that end at `cuts`.
fn decode(receiver: Receiver, bytes: &[u8], cuts: &[usize]) -> Result<Vec<Packet>, StreamFlaw> {
    let mut decoder = Decoder::new(receiver, DATA_BYTES_MAX);
    let (mut buffer, mut packets) = (BytesMut::new(), Vec::new());
    let mut from = 0;
    let mut ends: Vec<_> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    ends.sort_unstable();
    ends.push(bytes.len());
    for end in ends {
        buffer.extend_from_slice(&bytes[from..end]);
        from = end;
        assert_eq!(decoder.decode(&mut buffer, |packet| packets.push(packet))?, Next::Packet);
    }
    assert!(buffer.is_empty(), "{} bytes are left", buffer.len());
    Ok(packets)
}

proptest! {
    #[test]
    fn a_learner_reads_what_its_leader_wrote(
        packets in vec(of_leader(), 0..30), cuts in vec(any::<usize>(), 0..30)
    ) {
        let each: Vec<_> = packets.iter().cloned().flat_map(Packet::apart).collect();
        prop_assert_eq!(decode(Receiver::Learner, &wire(&packets), &cuts).unwrap(), each);
    }

    #[test]
    fn a_leader_reads_what_a_learner_wrote(
        more in vec(of_learner(), 0..30), cuts in vec(any::<usize>(), 0..30)
    ) {
        let mut packets = vec![learner_info()];
        packets.extend(more);
        let each: Vec<_> = packets.iter().cloned().flat_map(Packet::apart).collect();
        prop_assert_eq!(decode(Receiver::Leader, &wire(&packets), &cuts).unwrap(), each);
    }

    #[test]
    fn any_bytes_are_packets_or_a_flaw(bytes in vec(any::<u8>(), 0..200), cuts in vec(any::<usize>(), 0..4)) {
        let mut decoder = Decoder::new(Receiver::Learner, DATA_BYTES_MAX);
        let (mut buffer, mut packets) = (BytesMut::from(&*bytes), Vec::new());
        let whole = decoder.decode(&mut buffer, |packet| packets.push(packet));
        if whole == Ok(Next::Packet) && buffer.is_empty() {
            prop_assert_eq!(decode(Receiver::Learner, &bytes, &cuts).unwrap(), packets);
        }
    }

    #[test]
    fn votes_are_read_as_they_were_written(
        state in 0..4usize, leader: i64, zxid in zxid(), peer_epoch in epoch(), round: i64, config in data()
    ) {
        use PeerState::{Following, Leading, Looking, Observing};
        let state = [Looking, Following, Leading, Observing][state];
        let vote = Vote { leader: ServerId(leader), zxid, peer_epoch };
        let notification = Notification { state, vote, round, version: Notification::VERSION, config };
        prop_assert_eq!(Notification::decode(notification.encode()).unwrap(), notification);
    }

    #[test]
    fn any_bytes_are_a_vote_or_none(bytes in vec(any::<u8>(), 0..100)) {
        if let Ok(vote) = Notification::decode(bytes.into()) {
            prop_assert!(vote.config.len() < 100);
        }
    }
}

/// One of each kind that a learner may get.
fn samples() -> Vec<Packet> {
    let record = Bytes::from_static(b"a record of some length");
    let (zxid, leader) = (Zxid(0x1_0000_0002), ServerId(3));
    vec![
        Packet::LeaderInfo { epoch: Epoch(4), protocol: 0x10000 },
        Packet::Diff(zxid),
        Packet::Trunc(zxid),
        Packet::Proposal { zxid, record: record.clone() },
        Packet::Commit(zxid.into()),
        Packet::CommitAndActivate { zxid, leader },
        Packet::NewLeader { epoch: Epoch(4), config: Some(Bytes::from_static(b"version=0")) },
        Packet::UpToDate,
        Packet::Inform { zxid, record: record.clone() },
        Packet::InformAndActivate { zxid, leader, record },
        Packet::Ping { zxid, touched: Some(vec![(SessionId(9), 4000)]) },
        Packet::Revalidated { session: SessionId(9), is_valid: true },
        Packet::Sync,
    ]
}

#[test]
fn a_stream_may_be_cut_at_every_byte() {
    let (packets, bytes) = (samples(), wire(&samples()));
    for cut in 0..=bytes.len() {
        assert_eq!(decode(Receiver::Learner, &bytes, &[cut]).unwrap(), packets, "cut at {cut}");
    }
    let each: Vec<_> = (0..=bytes.len()).collect();
    assert_eq!(decode(Receiver::Learner, &bytes, &each).unwrap(), packets);
}

#[test]
fn a_snapshot_ends_the_packets() {
    let mut bytes = wire(&[Packet::Diff(Zxid(1)), Packet::Snap(Zxid(7))]);
    bytes.extend(b"no packet");
    let mut decoder = Decoder::new(Receiver::Learner, DATA_BYTES_MAX);
    let (mut buffer, mut packets) = (BytesMut::from(&*bytes), Vec::new());
    assert_eq!(decoder.decode(&mut buffer, |packet| packets.push(packet)), Ok(Next::Snapshot(Zxid(7))));
    assert_eq!(packets, [Packet::Diff(Zxid(1)), Packet::Snap(Zxid(7))]);
    assert_eq!(&*buffer, b"no packet");
}

#[test]
fn a_length_that_is_none_is_refused_before_its_data_come() {
    let mut head = wire(&[Packet::Proposal { zxid: Zxid(1), record: Bytes::new() }]);
    head.truncate(4 + 8);
    for (len, is_wrong) in [(-2, true), (i32::MIN, true), (2001, true), (i32::MAX, true), (2000, false)] {
        let bytes = [&head[..], &i32::to_be_bytes(len)].concat();
        let mut decoder = Decoder::new(Receiver::Learner, DATA_BYTES_MAX);
        let outcome = decoder.decode(&mut BytesMut::from(&*bytes), drop);
        let expected =
            if is_wrong { Err(StreamFlaw::Length { what: "data", len }) } else { Ok(Next::Packet) };
        assert_eq!(outcome, expected);
    }
}

#[test]
fn only_a_learner_that_said_who_it_is_may_send_much() {
    let large = Packet::Revalidate { session: SessionId(1), timeout_ms: 1 };
    let request = Packet::Request {
        session: SessionId(1),
        cxid: 1,
        op: 1,
        body: vec![0; 1500].into(),
        identities: Arc::new([]),
    };
    assert!(decode(Receiver::Leader, &wire(std::slice::from_ref(&request)), &[]).is_err());
    let packets = [learner_info(), large, request];
    assert_eq!(decode(Receiver::Leader, &wire(&packets), &[]).unwrap(), packets);
}

#[test]
fn a_packet_of_no_kind_is_refused_at_its_first_number() {
    let mut decoder = Decoder::new(Receiver::Leader, DATA_BYTES_MAX);
    let outcome = decoder.decode(&mut BytesMut::from(&99i32.to_be_bytes()[..]), drop);
    assert_eq!(outcome, Err(StreamFlaw::Malformed(MalformedPacket::Type(99))));
}

#[test]
fn votes_of_all_ages_are_read() {
    let newest = Notification {
        state: PeerState::Following,
        vote: Vote { leader: ServerId(2), zxid: Zxid(0x5_0000_0009), peer_epoch: Epoch(6) },
        round: 3,
        version: Notification::VERSION,
        config: Bytes::from_static(b"version=0"),
    };
    let bytes = newest.encode();
    let without_config = Notification { version: 0, config: Bytes::new(), ..newest.clone() };
    assert_eq!(Notification::decode(bytes.slice(..36)).unwrap(), without_config);
    let of_zxid = Vote { peer_epoch: Epoch(5), ..newest.vote };
    let oldest = Notification { vote: of_zxid, ..without_config };
    assert_eq!(Notification::decode(bytes.slice(..28)).unwrap(), oldest);
    assert_eq!(Notification::decode(bytes.slice(..27)), Err(MalformedNotification::TooShort(27)));
    let short = bytes.slice(..bytes.len() - 1);
    assert_eq!(Notification::decode(short), Err(MalformedNotification::ConfigLength(9, 8)));
}
