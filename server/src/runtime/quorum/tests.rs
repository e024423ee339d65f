//! Two rims, or one and a bare socket, over loopback.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use jute::data::{Acl, StatPersisted};
use parking_lot::Mutex;

use super::*;
use crate::session::SessionId;
use crate::storage::java_snapshot::{SNAP_SIGNATURE, write_body};
use crate::storage::txn_log::LogEnd;
use crate::storage::{self, LogOptions, SimDisk, TxnLog};
use crate::tree::{TreeLoader, ZnodeRecord, to_data};
use crate::zab::{Epoch, Notification, Packet, PeerState, Recipients, Violation, Vote, Zxid};

/// Nothing here takes as long, unless it is broken.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

const LOG_DIR: &str = "/data/version-2";

/// A rim, and what it brought.
pub(super) struct Station {
    rim: Option<QuorumRim>,
    inputs: Receiver<Input>,
    pub(super) address: PeerAddress,
}

/// Ports that the kernel chose.
pub(super) fn ports() -> (QuorumPorts, PeerAddress) {
    let (quorum, election, address) = sockets();
    (QuorumPorts::opened(&address, quorum, election), address)
}

/// For the quorum, and for votes.
pub(super) fn sockets() -> (TcpListener, TcpListener, PeerAddress) {
    let open = || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    };
    let ((quorum, quorum_port), (election, election_port)) = (open(), open());
    let address = PeerAddress { host: "127.0.0.1".to_owned(), quorum_port, election_port };
    (quorum, election, address)
}

#[allow(clippy::disallowed_methods)] // A rim's patience.
pub(super) fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "it does not come about");
        std::thread::yield_now();
    }
}

pub(super) fn settings(me: i64, members: &[(i64, &PeerAddress)], disk: &SimDisk) -> QuorumSettings {
    QuorumSettings {
        me: ServerId(me),
        members: members.iter().map(|(id, address)| (ServerId(*id), vec![(*address).clone()])).collect(),
        multi_address: false,
        connect_timeout: PATIENCE,
        greeting_timeout: PATIENCE,
        keep_alive: true,
        data_bytes_max: 1 << 20,
        tree: TreeOptions::default(),
        log_dir: PathBuf::from(LOG_DIR),
        disk: Arc::new(disk.clone()),
        observer_masters: ObserverMasters::default(),
    }
}

/// Where a rim delivers, and who reads it.
fn inbox() -> (Deliver, Receiver<Input>) {
    let (sender, inputs) = channel();
    let deliver = move |batch: &mut Vec<Input>| {
        batch.drain(..).for_each(|input| drop(sender.send(input)));
    };
    (Box::new(deliver), inputs)
}

impl Station {
    pub(super) fn start(settings: QuorumSettings, (ports, address): (QuorumPorts, PeerAddress)) -> Self {
        let (deliver, inputs) = inbox();
        let rim = QuorumRim::start(settings, ports, deliver).unwrap();
        Self { rim: Some(rim), inputs, address }
    }

    /// Servers 1, .. with each other's addresses.
    fn several<const N: usize>(disk: &SimDisk) -> [Self; N] {
        let all: [_; N] = std::array::from_fn(|_| ports());
        let addresses: Vec<_> = all.iter().map(|(_, address)| address.clone()).collect();
        let members: Vec<_> = (1..).zip(&addresses).collect();
        let mut me = 0;
        all.map(|ports| {
            me += 1;
            Self::start(settings(me, &members, disk), ports)
        })
    }

    fn one() -> Self {
        let [station] = Self::several(&SimDisk::new(1));
        station
    }

    pub(super) fn rim(&self) -> &QuorumRim {
        self.rim.as_ref().unwrap()
    }

    pub(super) fn orders(&self, work: impl IntoIterator<Item = LinkWork>) {
        self.rim().carry_out(&mut work.into_iter().collect());
    }

    pub(super) fn next(&self) -> Input {
        let input = self.inputs.recv_timeout(PATIENCE).expect("nothing came");
        self.rim().taken();
        input
    }

    pub(super) fn next_packet(&self) -> Packet {
        match self.next() {
            Input::Packet { packet, .. } => packet,
            other => panic!("no packet: {other:?}"),
        }
    }

    fn next_vote(&self) -> (i64, i64) {
        match self.next() {
            Input::Notification { from, notification } => (from.0, notification.round),
            other => panic!("no vote: {other:?}"),
        }
    }

    /// The link that a learner's dialing made here.
    pub(super) fn next_learner(&self) -> LinkId {
        match self.next() {
            Input::LinkUp(link @ LinkId::Learner(_)) => link,
            other => panic!("no learner: {other:?}"),
        }
    }

    pub(super) fn expect_down(&self, link: LinkId) {
        let input = self.next();
        assert!(matches!(input, Input::LinkDown(down) if down == link), "{link:?} should be down: {input:?}");
    }

    /// A socket to the quorum port, and its link.
    fn dialed(&self) -> (TcpStream, LinkId) {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.address.quorum_port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        (stream, self.next_learner())
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        self.rim.take().into_iter().for_each(QuorumRim::stop);
    }
}

/// Nobody is told to wait for the next one: a proposal goes before this server's own sync begins.
#[test]
fn what_is_ordered_leaves_in_one_turn() {
    let (ports, address) = ports();
    let (deliver, inputs) = inbox();
    let settings = settings(1, &[(1, &address)], &SimDisk::new(1));
    let (rim, start) = QuorumRim::new(settings, ports, deliver);
    let mut sockets = start.open().unwrap();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, address.quorum_port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let link = until(|| {
        sockets.turn();
        match inputs.try_recv() {
            Ok(Input::LinkUp(link)) => Some(link),
            _ => None,
        }
    });
    rim.carry_out(&mut vec![LinkWork::Send { to: Recipients::One(link), packet: Packet::UpToDate }]);
    sockets.turn();
    let mut expected = BytesMut::new();
    Packet::UpToDate.encode(&mut expected);
    let mut got = vec![0; expected.len()];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(got, expected);
}

const TO_LEADER: LinkId = LinkId::Leader(1);

/// Server 2 dials server 1; the link as 1 sees it.
fn linked(leader: &Station, learner: &Station) -> LinkId {
    learner.orders([LinkWork::Dial { link: TO_LEADER, server: ServerId(1) }]);
    let input = learner.next();
    assert!(matches!(input, Input::LinkUp(TO_LEADER)), "{input:?}");
    let link = leader.next_learner();
    learner.orders([send(TO_LEADER, info())]);
    assert_eq!(leader.next_packet(), info());
    link
}

pub(super) fn send(link: LinkId, packet: Packet) -> LinkWork {
    LinkWork::Send { to: Recipients::One(link), packet }
}

fn info() -> Packet {
    Packet::LearnerInfo {
        is_observer: false,
        accepted: Epoch(1),
        server: ServerId(2),
        protocol: 0x10000,
        config_version: 0,
    }
}

pub(super) fn wire(packets: &[Packet]) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    packets.iter().for_each(|packet| packet.encode(&mut bytes));
    bytes.to_vec()
}

pub(super) fn proposal(zxid: i64, bytes: usize) -> Packet {
    Packet::Proposal { zxid: Zxid(zxid), record: vec![7; bytes].into() }
}

#[test]
fn packets_arrive_in_their_order_both_ways() {
    let [leader, learner] = Station::several(&SimDisk::new(1));
    let link = linked(&leader, &learner);
    let sent: Vec<_> =
        (1..500).map(|zxid| proposal(zxid, usize::try_from(zxid * 97 % 9000).unwrap())).collect();
    leader.orders(sent.iter().map(|packet| send(link, packet.clone())));
    for packet in &sent {
        assert_eq!(learner.next_packet(), *packet);
    }
    let acks: Vec<_> = (1..500).map(|zxid| Packet::Ack(Zxid(zxid).into())).collect();
    learner.orders(acks.iter().map(|ack| send(TO_LEADER, ack.clone())));
    let mut heard = Vec::new();
    while heard.len() < acks.len() {
        heard.extend(leader.next_packet().apart()); // However many of them were read at once.
    }
    assert_eq!(heard, acks);
}

#[test]
fn what_goes_to_several_links_is_the_same_on_each() {
    let leader = Station::one();
    let (mut first, one) = leader.dialed();
    let (mut second, other) = leader.dialed();
    let packets = [proposal(1, 100), Packet::Commit(Zxid(1).into())];
    let to = Recipients::Many([one, other, LinkId::Learner(99)].into());
    leader.orders(packets.iter().map(|packet| LinkWork::Send { to: to.clone(), packet: packet.clone() }));
    let mut got = wire(&packets);
    for stream in [&mut first, &mut second] {
        got.fill(0);
        stream.read_exact(&mut got).unwrap();
        assert_eq!(got, wire(&packets));
    }
}

#[test]
fn a_closed_link_brings_out_what_was_sent_on_it_and_is_not_reported() {
    let leader = Station::one();
    let (mut stream, link) = leader.dialed();
    let packets = [proposal(1, 1 << 20), proposal(2, 1 << 20), Packet::UpToDate];
    leader.orders(packets.iter().map(|packet| send(link, packet.clone())));
    leader.orders([LinkWork::Close { link, why: None }]);
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap();
    assert!(got == wire(&packets), "{} bytes of {}", got.len(), wire(&packets).len());

    let (_, next) = leader.dialed(); // And nothing came before it.
    assert_ne!(next, link);
}

#[test]
fn a_link_of_one_who_broke_the_protocol_is_closed_at_once() {
    let leader = Station::one();
    let (mut stream, link) = leader.dialed();
    leader.orders([LinkWork::Close { link, why: Some(Violation::Silent) }]);
    assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
    leader.dialed();
}

#[test]
fn a_link_that_the_other_side_closes_is_reported_once() {
    let [leader, learner] = Station::several(&SimDisk::new(1));
    let link = linked(&leader, &learner);
    drop(learner);
    leader.expect_down(link);
    leader.dialed();
}

#[test]
fn garbage_closes_the_link_behind_what_was_right() {
    for garbage in [
        &[0, 0, 0, 99][..],                                            // No such packet.
        &[0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xfe], // Data of length -2.
        &[0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff], // More than there may be.
        &[0, 0, 0, 18, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255], // ACKEPOCH without one.
    ] {
        let leader = Station::one();
        let (mut stream, link) = leader.dialed();
        stream.write_all(&wire(&[info()])).unwrap();
        stream.write_all(garbage).unwrap();
        assert_eq!(leader.next_packet(), info());
        leader.expect_down(link);
    }
}

#[test]
fn who_does_not_read_is_let_go_before_too_much_waits_and_others_get_everything() {
    let [leader, learner] = Station::several(&SimDisk::new(1));
    let link = linked(&leader, &learner);
    let (_silent, stuck) = leader.dialed();
    let large = proposal(1, 1 << 20);
    for _ in 0..160 {
        let to = Recipients::Many([stuck, link].into());
        leader.orders([LinkWork::Send { to, packet: large.clone() }]);
        assert!(learner.next_packet() == large);
    }
    leader.expect_down(stuck);
}

#[test]
fn who_has_not_said_who_he_is_gets_no_memory() {
    let leader = Station::one();
    let (mut stream, link) = leader.dialed();
    stream.write_all(&wire(&[proposal(1, 2000)])).unwrap();
    leader.expect_down(link);
}

#[test]
fn a_leader_that_cannot_be_reached_is_reported_and_holds_nobody_up() {
    let [leader, learner] = Station::several(&SimDisk::new(1));
    let nowhere = PeerAddress { host: "no-such-host.invalid".to_owned(), ..leader.address.clone() };
    let closed = PeerAddress { quorum_port: 1, ..leader.address.clone() };
    let members = [(1, leader.address.clone()), (7, nowhere), (8, closed)];
    learner.rim().set_members(
        members.map(|(id, address)| (ServerId(id), vec![address])).into(),
        Vec::new(),
        None,
    );
    for (number, server) in [(7, 7), (8, 8), (9, 9), (1, 1)] {
        learner.orders([LinkWork::Dial { link: LinkId::Leader(number), server: ServerId(server) }]);
    }
    let mut outcome = BTreeMap::new();
    while outcome.len() < 4 {
        match learner.next() {
            Input::LinkUp(link) => outcome.insert(link, true),
            Input::LinkDown(link) => outcome.insert(link, false),
            other => panic!("{other:?}"),
        };
    }
    let expected = [(1, true), (7, false), (8, false), (9, false)];
    assert_eq!(outcome, expected.map(|(number, up)| (LinkId::Leader(number), up)).into());
}

#[test]
fn a_leader_that_opens_its_port_late_is_reached() {
    let (quorum, _election, address) = sockets();
    drop(quorum); // Nobody listens there now.
    let (own, own_address) = ports();
    let members = [(1, &address), (2, &own_address)];
    let learner = Station::start(settings(2, &members, &SimDisk::new(1)), (own, own_address.clone()));
    learner.orders([LinkWork::Dial { link: TO_LEADER, server: ServerId(1) }]);
    let late = TcpListener::bind((Ipv4Addr::LOCALHOST, address.quorum_port)).unwrap();
    late.accept().unwrap();
    let input = learner.next();
    assert!(matches!(input, Input::LinkUp(TO_LEADER)), "{input:?}");
}

#[test]
fn a_server_whose_host_changes_listens_there_on_the_same_ports() {
    let station = Station::one();
    let moved = PeerAddress { host: "127.0.0.2".to_owned(), ..station.address.clone() };
    let doors = doors_of(std::slice::from_ref(&moved), false);
    station.rim().set_members([(ServerId(1), vec![moved.clone()])].into(), Vec::new(), Some(doors));
    let is_open = |host: &str, port| TcpStream::connect((host, port)).is_ok();
    for port in [moved.quorum_port, moved.election_port] {
        until(|| is_open("127.0.0.2", port).then_some(()));
        until(|| (!is_open("127.0.0.1", port)).then_some(()));
    }
}

#[test]
fn a_node_that_takes_nothing_is_not_buried() {
    let delivered = Arc::new(Mutex::new((0usize, 0usize)));
    let (ports, address) = ports();
    let (sender, inputs) = channel();
    let counting = Arc::clone(&delivered);
    let deliver = move |batch: &mut Vec<Input>| {
        let mut delivered = counting.lock();
        for input in batch.drain(..) {
            if let Input::Packet { packet: Packet::Request { body, .. }, .. } = &input {
                delivered.0 += body.len();
                delivered.1 = delivered.1.max(delivered.0);
            }
            let _ = sender.send(input);
        }
    };
    let settings = settings(1, &[(1, &address)], &SimDisk::new(1));
    let rim = QuorumRim::start(settings, ports, Box::new(deliver)).unwrap();
    let station = Station { rim: Some(rim), inputs, address };
    let (mut stream, _) = station.dialed();
    const REQUESTS: usize = 500;
    const BODY_BYTES: usize = 100_000;
    let request = Packet::Request {
        session: SessionId(1),
        cxid: 1,
        op: 1,
        body: vec![0; BODY_BYTES].into(),
        identities: Arc::new([]),
    };
    let writer = std::thread::spawn(move || {
        let bytes = wire(&[request]);
        stream.write_all(&wire(&[info()])).unwrap();
        (0..REQUESTS).for_each(|_| stream.write_all(&bytes).unwrap());
        stream
    });
    let mut seen = 0;
    while seen < REQUESTS {
        let input = station.inputs.recv_timeout(PATIENCE).expect("nothing came");
        seen += usize::from(matches!(input, Input::Packet { packet: Packet::Request { .. }, .. }));
        // Taken only once as much waits as may.
        if seen % (hub::UNTAKEN_BYTES_MAX / BODY_BYTES + 1) == 0 {
            delivered.lock().0 = 0;
            station.rim().taken();
        }
    }
    drop(writer.join().unwrap());
    let most = delivered.lock().1;
    assert!(most <= 2 * hub::UNTAKEN_BYTES_MAX, "{most} bytes were waiting");
}

#[test]
fn the_log_is_sent_between_what_was_sent_before_and_after() {
    let disk = SimDisk::new(1);
    let mut log = TxnLog::open(Arc::new(disk.clone()), LogOptions::new(LOG_DIR), &LogEnd::default()).unwrap();
    for zxid in 1..=2000 {
        log.append(Zxid(zxid), &record(zxid)).unwrap();
    }
    log.sync().unwrap();
    let [leader, learner] = Station::several(&disk);
    let link = linked(&leader, &learner);
    leader.orders([
        send(link, Packet::Diff(Zxid(1999))),
        LinkWork::SendLog { link, after: Zxid(10), upto: Zxid(1999) },
        send(link, Packet::UpToDate),
    ]);
    assert_eq!(learner.next_packet(), Packet::Diff(Zxid(1999)));
    for zxid in 11..=1999 {
        assert_eq!(learner.next_packet(), Packet::Proposal { zxid: Zxid(zxid), record: record(zxid) });
        assert_eq!(learner.next_packet(), Packet::Commit(Zxid(zxid).into()));
    }
    assert_eq!(learner.next_packet(), Packet::UpToDate);
}

/// A log's record must begin as a txn does.
fn record(zxid: i64) -> Bytes {
    use jute::Jute;
    use jute::txn::{ErrorTxn, Txn, TxnBody, TxnHeader};
    let header = TxnHeader { client_id: 1, cxid: 1, zxid, time_ms: 7, txn_type: -1 };
    Txn { header, body: TxnBody::Error(ErrorTxn { err: -101 }), digest: None }.to_bytes()
}

#[test]
fn a_log_that_ends_early_ends_the_link() {
    let disk = SimDisk::new(1);
    let [leader, learner] = Station::several(&disk);
    let link = linked(&leader, &learner);
    leader.orders([LinkWork::SendLog { link, after: Zxid(10), upto: Zxid(20) }]);
    leader.expect_down(link);
    learner.expect_down(TO_LEADER);
}

const ZNODES: usize = 20_000;

/// A tree of some megabytes.
struct Copy {
    stops_at: usize,
}

fn znode(at: usize) -> (String, ZnodeRecord) {
    let path = if at == 0 { "/".to_owned() } else { format!("/{at}") };
    let data = format!("{at}").repeat(at % 40);
    let stat = StatPersisted { czxid: 3, mzxid: 4, ..StatPersisted::default() };
    (path, ZnodeRecord { data: to_data(Some(data.as_bytes())), acl: Acl::open_unsafe().into(), stat })
}

impl SnapshotSource for Copy {
    fn write_body(&mut self, out: &mut dyn Write) -> storage::Result<()> {
        let end = self.stops_at;
        let mut walk = |sink: &mut storage::snapshot::ZnodeSink<'_>| {
            (0..end).map(znode).try_for_each(|(path, record)| sink(&path, &record))
        };
        write_body(out, &PathBuf::from("snapshot"), &[(SessionId(7), 4000)], None, &mut walk)
    }
}

#[test]
fn a_tree_arrives_between_what_was_sent_before_and_after() {
    let [leader, learner] = Station::several(&SimDisk::new(1));
    let link = linked(&leader, &learner);
    for round in 1..=3 {
        leader.rim().offer_snapshot(link, Box::new(Copy { stops_at: ZNODES }));
        leader.orders([
            send(link, Packet::Snap(Zxid(round))),
            LinkWork::SendSnapshot { link },
            send(link, proposal(round + 1, 100)),
            send(link, Packet::Commit(Zxid(round + 1).into())),
        ]);
        assert_eq!(learner.next_packet(), Packet::Snap(Zxid(round)));
        let input = learner.next();
        assert!(matches!(input, Input::SnapshotReceived { link: TO_LEADER }), "{input:?}");
        assert_eq!(learner.next_packet(), proposal(round + 1, 100));
        assert_eq!(learner.next_packet(), Packet::Commit(Zxid(round + 1).into()));

        assert!(learner.rim().take_tree(LinkId::Leader(9)).is_none(), "another link's");
        let tree = learner.rim().take_tree(TO_LEADER).unwrap();
        assert_eq!(tree.last_zxid(), Zxid(round));
        assert_eq!(tree.sessions().collect::<Vec<_>>(), [(SessionId(7), 4000)]);
        let mut sent = TreeLoader::new(TreeOptions::default());
        (0..ZNODES).map(znode).for_each(|(path, record)| sent.znode(&path, record).unwrap());
        assert_eq!(tree.recompute_digest(), sent.finish(Zxid(round), None).recompute_digest());
        assert!(learner.rim().take_tree(TO_LEADER).is_none(), "it is taken once");
    }
}

#[test]
fn a_snapshot_that_nobody_opened_ends_the_link() {
    let [leader, learner] = Station::several(&SimDisk::new(1));
    let link = linked(&leader, &learner);
    leader.orders([LinkWork::SendSnapshot { link }]);
    leader.expect_down(link);
    learner.expect_down(TO_LEADER);
}

#[test]
fn what_is_no_whole_tree_is_none_and_ends_the_link() {
    let mut body = Vec::new();
    Copy { stops_at: 100 }.write_body(&mut body).unwrap();
    let signed = [&*body, SNAP_SIGNATURE].concat();
    let mut unsigned = signed.clone();
    *unsigned.last_mut().unwrap() ^= 1;
    let garbage = vec![0x55; 100];
    for sent in [&signed[..signed.len() / 2], &signed[..signed.len() - 1], &unsigned, &garbage, &[]] {
        let (quorum, _election, address) = sockets();
        let (own, own_address) = ports();
        let members = [(1, &address), (2, &own_address)];
        let learner = Station::start(settings(2, &members, &SimDisk::new(1)), (own, own_address.clone()));
        learner.orders([LinkWork::Dial { link: TO_LEADER, server: ServerId(1) }]);
        quorum.set_nonblocking(false).unwrap();
        let (mut leader, _) = quorum.accept().unwrap();
        leader.write_all(&wire(&[Packet::Snap(Zxid(5))])).unwrap();
        leader.write_all(sent).unwrap();
        drop(leader);
        assert!(matches!(learner.next(), Input::LinkUp(TO_LEADER)));
        assert_eq!(learner.next_packet(), Packet::Snap(Zxid(5)));
        learner.expect_down(TO_LEADER);
        assert!(learner.rim().take_tree(TO_LEADER).is_none());
    }
}

fn vote(round: i64) -> Notification {
    Notification {
        state: PeerState::Looking,
        vote: Vote { leader: ServerId(1), zxid: Zxid(5), peer_epoch: Epoch(1) },
        round,
        version: Notification::VERSION,
        config: Bytes::from_static(b"server.1=..\nversion=0"),
    }
}

fn tell(to: i64, round: i64) -> LinkWork {
    LinkWork::Notify { to: ServerId(to), notification: vote(round) }
}

/// Takes votes until this one came.
fn hear(station: &Station, from: i64, round: i64) {
    while station.next_vote() != (from, round) {}
}

#[test]
fn votes_reach_everybody_whoever_dials() {
    let stations: [Station; 3] = Station::several(&SimDisk::new(1));
    for round in 1..=3 {
        for (me, station) in (1..).zip(&stations) {
            station.orders((1..=3).filter(|to| *to != me).map(|to| tell(to, round * 10 + me)));
        }
        for (me, station) in (1..).zip(&stations) {
            let mut missing: Vec<_> =
                (1..=3).filter(|id| *id != me).map(|id| (id, round * 10 + id)).collect();
            while !missing.is_empty() {
                let heard = station.next_vote();
                missing.retain(|vote| *vote != heard);
            }
        }
    }
}

#[test]
fn a_server_that_comes_late_hears_the_newest_vote() {
    for (early, late) in [(1, 2), (2, 1)] {
        let (early_ports, late_ports) = (ports(), ports());
        let members = [(early, &early_ports.1.clone()), (late, &late_ports.1.clone())];
        drop(late_ports.0);
        let disk = SimDisk::new(1);
        let first = Station::start(settings(early, &members, &disk), early_ports);
        first.orders((1..=20).map(|round| tell(late, round)));

        let again = || {
            let open = |port| {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
                listener.set_nonblocking(true).unwrap();
                listener
            };
            let address = late_ports.1.clone();
            let (quorum, election) = (open(address.quorum_port), open(address.election_port));
            (QuorumPorts::opened(&address, quorum, election), address)
        };
        let second = Station::start(settings(late, &members, &disk), again());
        assert_eq!(second.next_vote(), (early, 20));
        first.orders([tell(late, 21)]);
        assert_eq!(second.next_vote(), (early, 21));
        drop(second);

        // It comes back, and asks: what was said last is said again.
        let third = Station::start(settings(late, &members, &disk), again());
        third.orders([tell(early, 30)]);
        hear(&first, late, 30);
        assert_eq!(third.next_vote(), (early, 21));
    }
}

#[test]
fn a_server_that_is_in_no_configuration_can_be_answered() {
    for stranger in [5, -3] {
        let member = Station::one();
        let (own, own_address) = ports();
        let members = [(1, &member.address), (stranger, &own_address)];
        let unknown =
            Station::start(settings(stranger, &members, &SimDisk::new(1)), (own, own_address.clone()));
        unknown.orders([tell(1, 1)]);
        assert_eq!(member.next_vote(), (stranger, 1));
        member.orders([tell(stranger, 2)]);
        assert_eq!(unknown.next_vote(), (1, 2));
    }
}

#[test]
fn a_greeting_is_sent_in_one_piece_and_the_smaller_id_hangs_up() {
    let (_quorum, election, address) = sockets();
    election.set_nonblocking(false).unwrap();
    let (own, own_address) = ports();
    let members = [(1, &own_address), (2, &address)];
    let station = Station::start(settings(1, &members, &SimDisk::new(1)), (own, own_address.clone()));
    station.orders([tell(2, 1)]);
    let (mut stream, _) = election.accept().unwrap();
    let text = format!("127.0.0.1:{}", own_address.election_port);
    let mut expected = Vec::new();
    expected.extend((-65536i64).to_be_bytes());
    expected.extend(1i64.to_be_bytes());
    expected.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
    expected.extend(text.as_bytes());
    let mut got = [0; 100];
    let len = stream.read(&mut got).unwrap();
    assert_eq!(got[..len], expected);
    assert_eq!(stream.read(&mut got).unwrap(), 0, "server 2 is to dial back");
}

#[test]
fn a_message_that_cannot_be_read_is_skipped_and_one_without_end_closes_the_link() {
    let station = Station::one();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, station.address.election_port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = Vec::new();
    bytes.extend((-65536i64).to_be_bytes());
    bytes.extend(2i64.to_be_bytes());
    bytes.extend(11u32.to_be_bytes());
    bytes.extend(b"127.0.0.1:1");
    bytes.extend(5u32.to_be_bytes());
    bytes.extend(b"short");
    let vote = vote(4).encode();
    bytes.extend(u32::try_from(vote.len()).unwrap().to_be_bytes());
    bytes.extend(&vote);
    stream.write_all(&bytes).unwrap();
    assert_eq!(station.next_vote(), (2, 4));
    stream.write_all(&u32::MAX.to_be_bytes()).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
}
