//! The thread that talks to other servers, against Java's: votes, and trees both ways. What consensus would say is
//! scripted here; the bytes are real.

#![allow(clippy::disallowed_methods)] // Real servers take real time.

use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail, ensure};
use bytes::Bytes;
use client::Client;
use jute::Jute;
use jute::data::{Acl, StatPersisted};
use jute::txn::{SetDataTxn, Txn, TxnBody, TxnHeader};
use server::config::{PeerAddress, ServerId};
use server::runtime::quorum::{ObserverMasters, QuorumPorts, QuorumRim, QuorumSettings};
use server::storage::java_snapshot::write_body;
use server::storage::txn_log::LogEnd;
use server::storage::{self, LogOptions, SimDisk, SnapshotSource, TxnLog};
use server::tree::{TreeOptions, ZnodeRecord, to_data};
use server::zab::{Epoch, Input, LinkId, LinkWork, Notification, Packet, PeerState, Recipients, Vote, Zxid};
use tests::ensemble::{ELECTION_PORT, Ensemble, Id, Kind, PATIENCE, Plan, QUORUM_PORT};
use tests::service::four_letter_word_within;

const LOG_DIR: &str = "/log/version-2";

/// Stands in a server's place, and says what the test wants.
struct Impostor {
    rim: QuorumRim,
    inputs: Receiver<Input>,
}

impl Impostor {
    fn of(ensemble: &Ensemble, me: Id, disk: &SimDisk) -> Result<Self> {
        let members = ensemble.ids().into_iter().map(|id| {
            let host = ensemble.address(id).ip().to_string();
            let address = PeerAddress { host, quorum_port: QUORUM_PORT, election_port: ELECTION_PORT };
            (ServerId(id.into()), vec![address])
        });
        let listen = |port| -> Result<_> {
            let listener = TcpListener::bind((ensemble.address(me).ip(), port))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let host = ensemble.address(me).ip().to_string();
        let address = PeerAddress { host, quorum_port: QUORUM_PORT, election_port: ELECTION_PORT };
        let ports = QuorumPorts::opened(&address, listen(QUORUM_PORT)?, listen(ELECTION_PORT)?);
        let settings = QuorumSettings {
            me: ServerId(me.into()),
            members: members.collect(),
            multi_address: false,
            connect_timeout: PATIENCE,
            greeting_timeout: PATIENCE,
            keep_alive: false,
            data_bytes_max: 1 << 20,
            tree: TreeOptions::default(),
            log_dir: PathBuf::from(LOG_DIR),
            disk: Arc::new(disk.clone()),
            observer_masters: ObserverMasters::default(),
        };
        let (sender, inputs) = channel();
        let deliver = move |batch: &mut Vec<Input>| {
            batch.drain(..).for_each(|input| drop(sender.send(input)));
        };
        Ok(Self { rim: QuorumRim::start(settings, ports, Box::new(deliver))?, inputs })
    }

    fn order(&self, work: LinkWork) {
        self.rim.carry_out(&mut vec![work]);
    }

    fn send(&self, link: LinkId, packet: Packet) {
        self.order(LinkWork::Send { to: Recipients::One(link), packet });
    }

    fn vote(&self, to: &[Id], notification: &Notification) {
        for id in to {
            let (to, notification) = (ServerId((*id).into()), notification.clone());
            self.order(LinkWork::Notify { to, notification });
        }
    }

    /// The first of what comes that `find` finds something in.
    fn until<T>(&self, what: &str, mut find: impl FnMut(Input) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.inputs.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(input) => {
                    self.rim.taken();
                    if let Some(found) = find(input) {
                        return Ok(found);
                    }
                }
                Err(RecvTimeoutError::Timeout) => bail!("{what} did not come"),
                Err(RecvTimeoutError::Disconnected) => bail!("the thread has ended"),
            }
        }
    }

    /// The next packet that is no PING; those are answered.
    fn packet(&self, link: LinkId) -> Result<Packet> {
        self.until("a packet", |input| match input {
            Input::Packet { packet: Packet::Ping { zxid, .. }, .. } => {
                if matches!(link, LinkId::Leader(_)) {
                    self.send(link, Packet::Ping { zxid, touched: Some(Vec::new()) });
                }
                None
            }
            Input::Packet { link: from, packet } if from == link => Some(Ok(packet)),
            Input::LinkDown(down) if down == link => Some(Err(anyhow!("the link is down"))),
            _ => None,
        })?
    }

    /// Waits for these servers' votes.
    fn wait_for_votes(&self, mut wanted: Vec<(i64, PeerState, i64)>) -> Result<()> {
        let what = format!("votes {wanted:?}");
        self.until(&what, |input| {
            if let Input::Notification { from, notification: Notification { state, vote, .. } } = input {
                wanted.retain(|one| *one != (from.0, state, vote.leader.0));
            }
            wanted.is_empty().then_some(())
        })
    }
}

fn looking(leader: i64, zxid: Zxid, peer_epoch: Epoch) -> Notification {
    Notification {
        state: PeerState::Looking,
        vote: Vote { leader: ServerId(leader), zxid, peer_epoch },
        round: 1,
        version: Notification::VERSION,
        config: Bytes::new(),
    }
}

/// Two Java servers with a leader, and an impostor in the place of the third.
fn two_and(impostor: Id) -> Result<(Ensemble, Impostor)> {
    let mut ensemble = Plan::of(&[Kind::Java; 3]).prepare()?;
    let impostor_at = Impostor::of(&ensemble, impostor, &SimDisk::new(1))?;
    for id in ensemble.ids().into_iter().filter(|id| *id != impostor) {
        ensemble.start(id)?;
    }
    ensemble.wait_until_all_serve()?;
    Ok((ensemble, impostor_at))
}

#[test]
fn java_servers_with_larger_ids_keep_our_links_and_answer() -> Result<()> {
    let (ensemble, impostor) = two_and(1)?;
    // They have dialed it, for it votes.
    impostor.wait_for_votes(vec![(3, PeerState::Looking, 3), (2, PeerState::Looking, 3)])?;
    impostor.vote(&[2, 3], &looking(1, Zxid::ZERO, Epoch(0)));
    impostor.wait_for_votes(vec![(3, PeerState::Leading, 3), (2, PeerState::Following, 3)])?;
    impostor.rim.stop();
    drop(ensemble);
    Ok(())
}

#[tokio::test]
async fn a_java_leader_sends_us_its_votes_its_tree_and_its_txns() -> Result<()> {
    let (ensemble, impostor) = two_and(3)?;
    impostor.wait_for_votes(vec![(2, PeerState::Looking, 2), (1, PeerState::Looking, 2)])?;
    impostor.vote(&[1, 2], &looking(3, Zxid::ZERO, Epoch(0)));
    impostor.wait_for_votes(vec![(2, PeerState::Leading, 2), (1, PeerState::Following, 2)])?;

    let client = Client::connect(&ensemble.address(1).to_string()).await?;
    for number in 0..200 {
        client.create(&format!("/{number}"), "data".repeat(number), client::CreateMode::Persistent).await?;
    }
    let link = LinkId::Leader(1);
    impostor.order(LinkWork::Dial { link, server: ServerId(2) });
    impostor.until("the link", |input| matches!(input, Input::LinkUp(up) if up == link).then_some(()))?;
    impostor.send(
        link,
        Packet::LearnerInfo {
            is_observer: false,
            accepted: Epoch(0),
            server: ServerId(3),
            protocol: 0x10000,
            config_version: 0,
        },
    );
    let Packet::LeaderInfo { epoch, .. } = impostor.packet(link)? else { bail!("no LEADERINFO") };
    impostor.send(link, Packet::AckEpoch { last: Zxid::ZERO, current: Some(Epoch(0)) });
    let Packet::Snap(zxid) = impostor.packet(link)? else { bail!("no SNAP") };
    impostor.until("the tree", |input| matches!(input, Input::SnapshotReceived { .. }).then_some(()))?;
    let tree = impostor.rim.take_tree(link).context("no tree")?;
    ensure!(tree.last_zxid() == zxid);
    let last = tree.find("/199").context("no /199")?;
    ensure!(last.data() == Some("data".repeat(199).as_bytes()));

    while !matches!(impostor.packet(link)?, Packet::NewLeader { .. }) {}
    impostor.send(link, Packet::Ack(epoch.beginning().into()));
    while impostor.packet(link)? != Packet::UpToDate {}
    impostor.send(link, Packet::Ack(epoch.beginning().into()));
    client.set("/0", "new", None).await?;
    let Packet::Proposal { zxid, record } = impostor.packet(link)? else { bail!("no PROPOSAL") };
    let txn = Txn::from_bytes(&record)?;
    ensure!(txn.header.zxid == zxid.0);
    impostor.send(link, Packet::Ack(zxid.into()));
    ensure!(impostor.packet(link)? == Packet::Commit(zxid.into()));
    impostor.rim.stop();
    Ok(())
}

/// Some znodes, parents first.
struct Znodes(usize);

impl SnapshotSource for Znodes {
    fn write_body(&mut self, out: &mut dyn Write) -> storage::Result<()> {
        let usual = ["/", "/zookeeper", "/zookeeper/config", "/zookeeper/quota"].map(str::to_owned);
        let mut walk = |sink: &mut storage::snapshot::ZnodeSink<'_>| {
            let mut paths = usual.iter().cloned().chain((1..).map(|at| format!("/{at}"))).take(self.0);
            paths.try_for_each(|path| {
                let (data, stat) = (to_data(Some(path.as_bytes())), StatPersisted::default());
                sink(&path, &ZnodeRecord { data, acl: Acl::open_unsafe().into(), stat })
            })
        };
        write_body(out, Path::new("snapshot"), &[], None, &mut walk)
    }
}

const EPOCH: Epoch = Epoch(7);
const ZNODES: usize = 5000;
/// What is in the log behind the snapshot.
const TXNS: u32 = 1000;

fn set_data(zxid: Zxid) -> Bytes {
    let header = TxnHeader { client_id: 1, cxid: 1, zxid: zxid.0, time_ms: 7, txn_type: 5 };
    let version = i32::try_from(zxid.counter()).expect("a small number");
    let body = SetDataTxn { path: "/1".into(), data: Some(format!("txn {version}").into()), version };
    Txn { header, body: TxnBody::SetData(body), digest: None }.to_bytes()
}

fn log_of(txns: u32) -> Result<SimDisk> {
    let disk = SimDisk::new(1);
    let mut log = TxnLog::open(Arc::new(disk.clone()), LogOptions::new(LOG_DIR), &LogEnd::default())?;
    for counter in 1..=txns {
        let zxid = Zxid::new(EPOCH, counter);
        log.append(zxid, &set_data(zxid))?;
    }
    log.sync()?;
    Ok(disk)
}

#[test]
fn a_java_follower_takes_our_tree_and_our_log() -> Result<()> {
    let mut ensemble = Plan::of(&[Kind::Java; 3]).prepare()?;
    let impostor = Impostor::of(&ensemble, 3, &log_of(TXNS)?)?;
    let last = Zxid::new(EPOCH, TXNS);
    ensemble.start(1)?;
    impostor.vote(&[1], &looking(3, last, EPOCH));
    let link = impostor.until("a learner", |input| match input {
        Input::LinkUp(link) => Some(link),
        _ => None,
    })?;
    ensure!(matches!(impostor.packet(link)?, Packet::LearnerInfo { server: ServerId(1), .. }));
    let epoch = EPOCH.next();
    impostor.send(link, Packet::LeaderInfo { epoch, protocol: 0x10000 });
    ensure!(matches!(impostor.packet(link)?, Packet::AckEpoch { last: Zxid::ZERO, .. }));

    let zxid = Zxid::new(EPOCH, 10);
    impostor.rim.offer_snapshot(link, Box::new(Znodes(ZNODES)));
    impostor.send(link, Packet::Snap(zxid));
    impostor.order(LinkWork::SendSnapshot { link });
    impostor.order(LinkWork::SendLog { link, after: zxid, upto: last });
    impostor.send(link, Packet::NewLeader { epoch, config: None });
    ensure!(impostor.packet(link)? == Packet::Ack(epoch.beginning().into()));
    impostor.send(link, Packet::UpToDate);

    ensemble.wait_until_serving(1)?;
    let znodes = ensemble.monitored(1, "zk_znode_count")?;
    ensure!(znodes == i64::try_from(ZNODES)? + 1, "{znodes} znodes, the root twice");
    let served = four_letter_word_within(ensemble.address(1), "srvr", PATIENCE)?;
    ensure!(served.contains(&format!("Zxid: {last}\n")), "{served}");
    impostor.rim.stop();
    Ok(())
}
