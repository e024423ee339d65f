//! What the tasks of the thread share: what they were told, and the way to the node.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::desk::Desk;
use super::greeting::Endpoint;
use super::masters::Masters;
use super::stream::SocketSetup;
use super::{Deliver, QuorumSettings};
use crate::config::{PeerAddress, ServerId};
use crate::zab::Input;

/// Bytes of packets that the node has not taken yet. With more, no link is read.
pub(super) const UNTAKEN_BYTES_MAX: usize = 8 << 20;

pub(super) struct Hub {
    pub(super) settings: QuorumSettings,
    pub(super) desk: Arc<Desk>,
    members: RefCell<BTreeMap<ServerId, Vec<PeerAddress>>>,
    pub(super) masters: RefCell<Masters>,
    deliver: RefCell<Deliver>,
    /// Empty, with room for what a link reads at once.
    pub(super) scratch: RefCell<Vec<Input>>,
}

impl Hub {
    pub(super) fn new(mut settings: QuorumSettings, desk: Arc<Desk>, deliver: Deliver) -> Self {
        let members = RefCell::new(std::mem::take(&mut settings.members));
        let masters = std::mem::take(&mut settings.observer_masters.masters);
        let masters = RefCell::new(Masters::new(settings.me, masters));
        Self { settings, desk, members, masters, deliver: RefCell::new(deliver), scratch: RefCell::default() }
    }

    /// Takes `inputs`, that were `bytes` on the wire, to the node; the vector is empty then.
    pub(super) fn deliver(&self, inputs: &mut Vec<Input>, bytes: usize) {
        if !inputs.is_empty() {
            self.desk.untaken_bytes.fetch_add(bytes, SeqCst);
            (self.deliver.borrow_mut())(inputs);
            inputs.clear();
        }
    }

    /// Waits until the node has taken most of what it was brought.
    pub(super) async fn room(&self) {
        let is_full = || self.desk.untaken_bytes.load(SeqCst) > UNTAKEN_BYTES_MAX;
        while is_full() {
            let mut taken = std::pin::pin!(self.desk.taken.notified());
            taken.as_mut().enable();
            if is_full() {
                taken.await;
            }
        }
    }

    /// Even if this server is none any more, or not yet, it says where it listens.
    pub(super) fn set_members(&self, mut members: BTreeMap<ServerId, Vec<PeerAddress>>) {
        let mut known = self.members.borrow_mut();
        if let Some(own) = known.remove(&self.settings.me) {
            members.entry(self.settings.me).or_insert(own);
        }
        *known = members;
    }

    pub(super) fn is_member(&self, server: ServerId) -> bool {
        self.members.borrow().contains_key(&server)
    }

    /// Where `server` leads, if it does.
    pub(super) fn quorum_endpoints(&self, server: ServerId) -> Vec<Endpoint> {
        self.endpoints(server, |address| address.quorum_port)
    }

    /// Where `server` lets observers through to the leader, if it does.
    pub(super) fn master_endpoints(&self, server: ServerId) -> Vec<Endpoint> {
        let port = self.settings.observer_masters.port;
        port.map(|port| self.endpoints(server, |_| port)).unwrap_or_default()
    }

    /// On which addresses this server awaits observers. `None`: on every one.
    pub(super) fn observers_doors(&self) -> Vec<Option<String>> {
        if self.settings.observer_masters.listen_everywhere {
            return vec![None];
        }
        let mut hosts: Vec<_> =
            self.quorum_endpoints(self.settings.me).into_iter().map(|(host, _)| Some(host)).collect();
        hosts.dedup();
        hosts
    }

    /// Where `server` listens for votes.
    pub(super) fn election_endpoints(&self, server: ServerId) -> Vec<Endpoint> {
        self.endpoints(server, |address| address.election_port)
    }

    fn endpoints(&self, server: ServerId, port: impl Fn(&PeerAddress) -> u16) -> Vec<Endpoint> {
        let members = self.members.borrow();
        let addresses = members.get(&server).map(Vec::as_slice).unwrap_or_default();
        addresses.iter().map(|address| (address.host.clone(), port(address))).collect()
    }

    /// For connections that are supposed to live, and of which nobody else sees when they do not.
    pub(super) fn election_sockets(&self) -> SocketSetup {
        SocketSetup { silence_max: Some(self.settings.greeting_timeout), ..self.quorum_sockets() }
    }

    /// For connections whose silence the peer watches over.
    pub(super) fn quorum_sockets(&self) -> SocketSetup {
        SocketSetup {
            connect_timeout: self.settings.connect_timeout,
            keep_alive: self.settings.keep_alive,
            silence_max: None,
        }
    }
}
