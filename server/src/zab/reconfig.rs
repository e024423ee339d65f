//! Reconfiguration: the ensemble agrees on who belongs to it as on anything else, by a txn. From its proposal on nothing
//! is decided without a quorum of the old membership and one of the new; with its commit the new one takes over, and
//! if the leader is not in it, so does the leader that the old one names. Dynamic reconfiguration of primary/backup
//! clusters, Shraer et al.; `Leader.tryToCommit`, `QuorumPeer.processReconfig`.

use std::time::Duration;

use bytes::Bytes;
use jute::txn::{Txn, TxnBody};
use jute::{Jute, Op};
use tracing::{info, warn};

use super::election::Elected;
use super::leader::{LeaderPhase, Leading, Stage};
use super::notification::Vote;
use super::output::{DiskWork, Output, Told};
use super::views::View;
use super::{Peer, Quorum, State, Zxid};
use crate::config::{Membership, ServerId};

impl Peer {
    /// The membership that is committed, as far as this server knows.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        &self.views.current.membership
    }

    /// Another one is proposed.
    #[must_use]
    pub fn is_reconfiguring(&self) -> bool {
        self.views.next.is_some()
    }

    /// Whether this leader and the followers in step would be a quorum of `membership`. Who is to observe since the last
    /// reconfiguration is about to leave: it would come back as an observer, and count no more.
    #[doc(alias = "isQuorumSynced")]
    #[must_use]
    pub fn is_quorum_synced(&self, membership: &Membership) -> bool {
        let State::Leading(leading) = &self.state else {
            return false;
        };
        let followers = leading.synced_followers().map(|learner| learner.server);
        let followers = followers.filter(|id| !self.views.current.is_observer(*id));
        Quorum::new(membership).is_quorum(followers.chain([self.config.me]))
    }

    /// Takes note of the membership that a txn brings, before the txn is logged.
    pub(super) fn foresee(&mut self, zxid: Zxid, record: &Bytes, out: &mut Vec<Output>) {
        if !self.config.reconfig || !is_reconfig(record) {
            return;
        }
        match membership_in(record) {
            Some(membership) => {
                self.expect(View::new(Membership { version: zxid.0, ..membership }), out);
            }
            None => warn!(%zxid, "a reconfiguration that cannot be read"),
        }
    }

    /// From here on the quorums of `view` are needed too, if it is new.
    pub(super) fn expect(&mut self, view: View, out: &mut Vec<Output>) {
        if view.version() > self.views.seen().version() {
            self.views.next = Some(view);
            self.save_views(out);
        }
    }

    /// The log ends at `zxid` now, and whatever was proposed behind that is void.
    pub(super) fn forget_views_after(&mut self, zxid: Zxid, out: &mut Vec<Output>) {
        if self.views.next.take_if(|next| next.version() > zxid.0).is_some() {
            self.save_views(out);
        }
    }

    /// The disk has another history now: what the old one proposed is void, however that compares.
    pub(super) fn change_history(&mut self, out: &mut Vec<Output>) {
        let current = self.views.current.version();
        self.views.next = self.installing.take().filter(|view| view.version() > current);
        self.save_views(out);
    }

    /// `view` is committed.
    pub(super) fn adopt(&mut self, view: View, out: &mut Vec<Output>) {
        info!(version = format_args!("{:#x}", view.version()), "a new membership");
        self.views.next.take_if(|next| next.version() <= view.version());
        self.is_observer = view.is_observer(self.config.me);
        self.views.current = view;
        self.save_views(out);
    }

    pub(super) fn save_views(&self, out: &mut Vec<Output>) {
        let membership = |view: &View| view.membership.clone();
        let (current, next) = (membership(&self.views.current), self.views.next.as_ref().map(membership));
        out.push(Output::Disk(DiskWork::SaveMembership { current, next }));
    }

    /// Whether this server's membership is newer than the one that another tells of.
    pub(super) fn knows_newer_view(&self, text: &Bytes) -> bool {
        let current = &self.views.current;
        if !self.config.reconfig || *text == current.text {
            return false;
        }
        let told = std::str::from_utf8(text).ok().and_then(|text| Membership::parse(text).ok());
        told.is_some_and(|told| told.version < current.version())
    }

    /// The membership that a server tells of, if reconfigurations are allowed and it is newer than `than`.
    pub(super) fn newer_view(&self, text: &Bytes, than: &View) -> Option<View> {
        if !self.config.reconfig || text.is_empty() || *text == than.text {
            return None;
        }
        let membership = std::str::from_utf8(text).ok().and_then(|text| Membership::parse(text).ok());
        if membership.is_none() {
            warn!("another server tells of a membership that cannot be read");
        }
        membership.filter(|told| told.version > than.version()).map(View::new)
    }

    /// While nobody leads: somebody knows of a newer membership, which is committed.
    pub(super) fn learn_membership(&mut self, text: &Bytes, out: &mut Vec<Output>) -> bool {
        match self.newer_view(text, &self.views.current) {
            Some(view) => {
                self.adopt(view, out);
                true
            }
            None => false,
        }
    }

    /// An initial membership is as good as any other that somebody starts with. Its first leader gives it a version,
    /// so that it is newer than those.
    pub(super) fn number_initial_membership(&mut self, out: &mut Vec<Output>) {
        let State::Leading(leading) = &self.state else {
            return;
        };
        if self.config.reconfig && self.views.seen().version() == 0 {
            let version = leading.epoch.beginning().0;
            let initial = Membership::clone(&self.views.current.membership);
            self.expect(View::new(Membership { version, ..initial }), out);
        }
    }

    /// Newcomers wait while a reconfiguration is under way: a Java learner takes the membership that comes with
    /// NEWLEADER for committed. If it cannot be committed without them, the quorum is lost, and so is this reign.
    pub(super) fn holds_newcomers(&self) -> bool {
        let serves = matches!(&self.state, State::Leading(leading) if leading.phase == LeaderPhase::Serving);
        serves && self.views.next.is_some()
    }

    /// Who leads once the membership that is proposed takes over: this server, if it stays where it is; else the
    /// follower who has acknowledged most.
    #[doc(alias = "getDesignatedLeader")]
    pub(super) fn designated_leader(&self, leading: &Leading) -> ServerId {
        let me = self.config.me;
        let Some(next) = &self.views.next else {
            return me;
        };
        let addresses = |view: &View| {
            let member = view.membership.members.get(&me);
            let endpoint = |address: &crate::config::PeerAddress| (address.host.clone(), address.quorum_port);
            member.map(|member| member.addresses.iter().map(endpoint).collect::<Vec<_>>())
        };
        if next.quorum.is_candidate(me) && addresses(next) == addresses(&self.views.current) {
            return me;
        }
        let candidates =
            leading.synced_followers().filter(|learner| next.quorum.is_candidate(learner.server));
        candidates.max_by_key(|learner| (learner.acked, learner.server)).map_or(me, |learner| learner.server)
    }

    /// The txn that proposed the next membership is committed; a leader's half.
    pub(super) fn activate_as_leader(&mut self, designated: ServerId, now: Duration, out: &mut Vec<Output>) {
        if let Some(next) = self.views.next.take() {
            self.adopt(next, out);
        }
        if designated == self.config.me {
            self.sync_all(now, out);
        } else {
            info!(leader = %designated, "another server is to lead the new membership");
            self.take_designated_office(designated, now, out);
        }
    }

    /// The leader commits a reconfiguration; a learner's half. What is known already has taken effect already.
    #[doc(alias = "processReconfig")]
    pub(super) fn activate_as_learner(
        &mut self,
        zxid: Zxid,
        designated: ServerId,
        now: Duration,
        out: &mut Vec<Output>,
    ) {
        let Some(next) = self.views.next.take_if(|next| next.version() == zxid.0) else {
            return;
        };
        let observed = self.observes();
        self.adopt(next, out);
        let State::Learning(learning) = &self.state else {
            return;
        };
        if learning.elected.vote.leader != designated || self.observes() != observed {
            self.take_designated_office(designated, now, out);
        }
    }

    /// Follows the designated leader, or is it, without an election.
    fn take_designated_office(&mut self, leader: ServerId, now: Duration, out: &mut Vec<Output>) {
        self.leave("the membership has changed", out);
        out.push(Output::Told(Told::Look));
        let vote = Vote { leader, zxid: self.log.logged, peer_epoch: self.promises.current };
        self.take_office(Some(Elected { vote, round: self.round }), now, out);
    }
}

impl Leading {
    /// The followers in step, whether they count or not.
    pub(super) fn synced_followers(&self) -> impl Iterator<Item = &super::leader::Learner> + Clone {
        self.learners.values().filter(|learner| !learner.is_observer && learner.stage == Stage::InStep)
    }
}

/// Where a record says what kind of txn it is: behind session, cxid, zxid and time.
const TYPE_AT: usize = 8 + 4 + 8 + 8;

/// Is it the record of a reconfiguration? It costs next to nothing to ask.
fn is_reconfig(record: &[u8]) -> bool {
    let code = record.get(TYPE_AT..).and_then(<[u8]>::first_chunk);
    code.is_some_and(|code| i32::from_be_bytes(*code) == Op::Reconfig.code())
}

fn membership_in(record: &Bytes) -> Option<Membership> {
    let TxnBody::Reconfig(txn) = Txn::from_bytes(record).ok()?.body else {
        return None;
    };
    Membership::parse(std::str::from_utf8(&txn.data?).ok()?).ok()
}
