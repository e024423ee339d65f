//! Observers between a leader and those who let them through, over loopback.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use super::tests::{PATIENCE, Station, ports, proposal, send, settings, sockets, until, wire};
use super::*;
use crate::config::Config;
use crate::runtime::member::observer_masters;
use crate::storage::SimDisk;
use crate::zab::{Epoch, LinkId, Packet, Zxid};

const LEADER: ServerId = ServerId(1);

fn greeting(is_observer: bool) -> Packet {
    Packet::LearnerInfo {
        is_observer,
        accepted: Epoch(1),
        server: ServerId(7),
        protocol: 0x10000,
        config_version: 0,
    }
}

/// A leader, and a follower with a door for observers.
struct Pair {
    leader: Station,
    follower: Station,
    port: u16,
    passing: Arc<AtomicUsize>,
}

impl Pair {
    fn new() -> Self {
        let disk = SimDisk::new(1);
        let (of_leader, of_follower) = (ports(), ports());
        let members = [(1, &of_leader.1), (2, &of_follower.1)];
        let port = free_port();
        let mut settings_of_follower = settings(2, &members, &disk);
        settings_of_follower.observer_masters.port = Some(port);
        let passing = Arc::clone(&settings_of_follower.observer_masters.passing);
        let leader = Station::start(settings(1, &members, &disk), of_leader);
        let follower = Station::start(settings_of_follower, of_follower);
        Self { leader, follower, port, passing }
    }

    fn following() -> Self {
        let pair = Self::new();
        pair.follower.rim().play(Part::Follows(LEADER));
        pair
    }

    /// An observer who got through, and its link as the leader sees it.
    fn observer(&self) -> (TcpStream, LinkId) {
        let stream = knock(self.port, greeting(true));
        let link = self.leader.next_learner();
        assert_eq!(self.leader.next_packet(), greeting(true));
        (stream, link)
    }
}

/// Somebody who dials a follower's door, and says this.
fn knock(port: u16, packet: Packet) -> TcpStream {
    let mut stream = until(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&wire(&[packet])).unwrap();
    stream
}

/// One that the kernel has just had back.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(bytes) => bytes == 0,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn an_observer_and_the_leader_hear_each_other_through_a_follower() {
    let pair = Pair::following();
    let (mut stream, link) = pair.observer();
    until(|| (pair.passing.load(Relaxed) == 1).then_some(()));

    let packets: Vec<_> = (1..100).map(|zxid| proposal(zxid, 10_000)).collect();
    pair.leader.orders(packets.iter().map(|packet| send(link, packet.clone())));
    let mut got = vec![0; wire(&packets).len()];
    stream.read_exact(&mut got).unwrap();
    assert!(got == wire(&packets));
    stream.write_all(&wire(&[Packet::Ack(Zxid(5).into())])).unwrap();
    assert_eq!(pair.leader.next_packet(), Packet::Ack(Zxid(5).into()));

    drop(stream);
    pair.leader.expect_down(link);
    until(|| (pair.passing.load(Relaxed) == 0).then_some(()));
}

#[test]
fn an_observer_whom_the_leader_lets_go_is_let_go() {
    let pair = Pair::following();
    let (mut stream, link) = pair.observer();
    pair.leader.orders([LinkWork::Close { link, why: None }]);
    assert!(is_closed(&mut stream));
}

#[test]
fn who_does_not_follow_lets_nobody_through_any_more() {
    let pair = Pair::following();
    let (mut stream, link) = pair.observer();
    pair.follower.rim().play(Part::Other);
    assert!(is_closed(&mut stream));
    pair.leader.expect_down(link);
    until(|| TcpStream::connect((Ipv4Addr::LOCALHOST, pair.port)).err());

    pair.follower.rim().play(Part::Follows(LEADER));
    pair.observer();
}

#[test]
fn the_leader_hears_of_nobody_who_is_no_observer() {
    let pair = Pair::following();
    assert!(is_closed(&mut knock(pair.port, greeting(false))));
    assert!(is_closed(&mut knock(pair.port, Packet::UpToDate)));
    pair.observer(); // And nobody came before it.
}

#[test]
fn an_observer_that_finds_no_leader_behind_the_door_is_let_go() {
    let Pair { leader, follower: _follower, port, .. } = Pair::following();
    drop(leader);
    assert!(is_closed(&mut knock(port, greeting(true))));
}

/// An observer's rim, two followers that it is to dial, and the leader.
struct Dialer {
    observer: Station,
    leader: Station,
    followers: [TcpListener; 2],
    dialed: u32,
}

impl Dialer {
    fn new() -> Self {
        let disk = SimDisk::new(1);
        let (of_leader, of_observer) = (ports(), ports());
        let hosts = ["127.0.0.2", "127.0.0.3"];
        // They have the same port, as a zoo.cfg has it.
        let followers = until(|| {
            let one = TcpListener::bind((hosts[0], 0)).ok()?;
            let port = one.local_addr().ok()?.port();
            Some([one, TcpListener::bind((hosts[1], port)).ok()?])
        });
        let port = followers[0].local_addr().unwrap().port();
        let [two, three] = hosts.map(|host| PeerAddress { host: host.to_owned(), ..of_observer.1.clone() });
        let members = [(1, &of_leader.1), (2, &two), (3, &three), (7, &of_observer.1)];
        let mut settings_of_observer = settings(7, &members, &disk);
        settings_of_observer.observer_masters = ObserverMasters {
            port: Some(port),
            masters: [1, 2, 3].map(ServerId).into(),
            ..ObserverMasters::default()
        };
        let leader = Station::start(settings(1, &members, &disk), of_leader);
        let observer = Station::start(settings_of_observer, of_observer);
        followers.iter().for_each(|follower| follower.set_nonblocking(true).unwrap());
        Self { observer, leader, followers, dialed: 0 }
    }

    fn dial(&mut self) -> LinkId {
        self.dialed += 1;
        let link = LinkId::Leader(self.dialed);
        self.observer.orders([LinkWork::Dial { link, server: LEADER }]);
        let input = self.observer.next();
        assert!(matches!(input, Input::LinkUp(up) if up == link), "{input:?}");
        link
    }

    /// Which follower it dials now.
    fn turn(&mut self) -> (usize, TcpStream, LinkId) {
        let link = self.dial();
        let accept = |listener: &TcpListener| listener.accept().ok().map(|(stream, _)| stream);
        let accepted = until(|| (0..2).find_map(|at| Some((at, accept(&self.followers[at])?))));
        (accepted.0, accepted.1, link)
    }
}

#[test]
fn an_observer_dials_one_follower_after_the_other_and_the_leader_when_none_lets_it_through() {
    let mut dialer = Dialer::new();
    let (first, stream, link) = dialer.turn();
    drop(stream);
    dialer.observer.expect_down(link);
    let (second, stream, link) = dialer.turn();
    assert_ne!(first, second);
    drop(stream);
    dialer.observer.expect_down(link);
    dialer.dial();
    dialer.leader.next_learner();
    assert_eq!(dialer.turn().0, first);
}

#[test]
fn an_observer_that_was_in_step_looks_for_a_follower_again_before_it_dials_the_leader() {
    let mut dialer = Dialer::new();
    let (first, second) = (dialer.turn(), dialer.turn());
    dialer.observer.rim().play(Part::Observes);
    let (third, fourth) = (dialer.turn(), dialer.turn());
    assert_eq!([third.0, fourth.0], [first.0, second.0]);
}

#[test]
fn an_observer_dials_the_leader_when_no_follower_listens() {
    let mut dialer = Dialer::new();
    dialer.followers = [sockets(), sockets()].map(|(quorum, ..)| quorum);
    dialer.dial();
    dialer.leader.next_learner();
}

#[test]
fn observers_have_observer_masters_and_followers_have_none() {
    let masters = |me, key: &str| {
        let text = format!(
            "dataDir=/d\nclientPort=1\ninitLimit=5\nsyncLimit=5\n{key}\n\
             server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2:observer\n"
        );
        let ensemble = Config::parse(&text, Path::new("zoo.cfg"), &[]).unwrap().ensemble;
        observer_masters(&ensemble.membership, &ensemble, ServerId(me))
    };
    assert_eq!(masters(3, "observerMasterPort=2191"), [1, 2].map(ServerId));
    assert_eq!(masters(2, "observerMasterPort=2191"), []);
    assert_eq!(masters(3, "observerMasterPort="), []);
}
