//! Fast leader election: who has the newest history among those who can talk. ZooKeeper's `FastLeaderElection`.
//!
//! Its outcome need not be right, only likely: discovery and synchronisation see to it that a leader without all
//! that was committed never leads. So votes may get lost, and a decision may come early.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use tracing::{debug, info, warn};

use super::notification::{Notification, PeerState, Vote};
use super::output::{LinkWork, Output};
use super::{Epoch, Peer, Zxid};
use crate::config::ServerId;

/// A quorum agrees, but not everybody was heard: so long we wait for a better vote. Java waits for 200 ms, which is
/// most of the time for which a dead leader's clients wait.
const FINALIZE_WAIT: Duration = Duration::from_millis(20);

/// So many intervals between notifications an election may take while a reconfiguration is under way, until it is
/// tried in the other way: see [`Election::reconsider_at`]. Two that are out of step must meet in both.
const AMONG_ALL: u32 = 10;
const AMONG_CURRENT: u32 = 15;

/// No ensemble has held so many elections: a round beyond is no round, and there would be none after it.
const ROUND_MAX: i64 = i64::MAX / 2;

/// What a server said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ballot {
    vote: Vote,
    round: i64,
    state: PeerState,
    has_version: bool,
}

/// One round of votes, while nobody leads.
#[derive(Debug)]
#[doc(alias = "FastLeaderElection")]
pub(super) struct Election {
    /// Whom this server votes for by now.
    proposal: Vote,
    /// What was heard in this round.
    ballots: BTreeMap<ServerId, Ballot>,
    /// What those say who have a leader, of whatever round.
    settled: BTreeMap<ServerId, Ballot>,
    /// When those were answered last that have no vote here.
    answered: BTreeMap<ServerId, Duration>,
    /// Since a quorum agrees: when it is final.
    final_at: Option<Duration>,
    resend_at: Duration,
    resend_interval: Duration,
    /// A reconfiguration is under way. Whoever has not heard of it elects no newcomer, who may have the newest history for
    /// those who have: they would wait for each other for ever. So, by turns, only current members are candidates.
    reconsider_at: Option<Duration>,
}

/// Whom an election found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Elected {
    pub(super) vote: Vote,
    pub(super) round: i64,
}

impl Peer {
    /// Begins the next round: everybody is told of this server's own vote.
    pub(super) fn look(&mut self, now: Duration, out: &mut Vec<Output>) -> Election {
        self.round += 1;
        let proposal = self.own_vote();
        info!(round = self.round, zxid = %proposal.zxid, epoch = proposal.peer_epoch.0, "looking for a leader");
        let intervals = if self.prefers_current { AMONG_CURRENT } else { AMONG_ALL };
        let patience = self.config.notification_interval_min * intervals;
        let mut election = Election {
            proposal,
            ballots: BTreeMap::new(),
            settled: BTreeMap::new(),
            answered: BTreeMap::new(),
            final_at: None,
            resend_at: now + self.config.notification_interval_min,
            resend_interval: self.config.notification_interval_min,
            reconsider_at: self.views.next.is_some().then_some(now + patience),
        };
        self.cast(&mut election);
        self.tell_vote(&election, out);
        election
    }

    /// What this server votes for before it has heard of anybody.
    #[doc(alias = "getInitId")]
    fn own_vote(&self) -> Vote {
        if self.views.is_voter(self.config.me) {
            let leader = self.endorsed.unwrap_or(self.config.me);
            Vote { leader, zxid: self.vote_zxid(), peer_epoch: self.promises.current }
        } else {
            Vote { leader: ServerId(i64::MIN), zxid: Zxid(i64::MIN), peer_epoch: Epoch(0) }
        }
    }

    /// A server that may have lost its data says so, and nobody votes for it.
    fn vote_zxid(&self) -> Zxid {
        if self.config.maybe_lost && self.log.logged == Zxid::ZERO { Zxid(-1) } else { self.log.logged }
    }

    /// This server's own ballot, which it needs no link for.
    fn cast(&self, election: &mut Election) {
        let (vote, round) = (election.proposal, self.round);
        if self.views.is_voter(self.config.me) {
            let ballot = Ballot { vote, round, state: PeerState::Looking, has_version: true };
            election.ballots.insert(self.config.me, ballot);
        }
    }

    /// `FastLeaderElection.sendNotifications`.
    fn tell_vote(&self, election: &Election, out: &mut Vec<Output>) {
        for to in self.views.voters().filter(|id| *id != self.config.me) {
            out.push(self.notify(to, PeerState::Looking, election.proposal, self.round));
        }
    }

    fn notify(&self, to: ServerId, state: PeerState, vote: Vote, round: i64) -> Output {
        let config: Bytes = self.views.current.text.clone();
        let notification = Notification { state, vote, round, version: Notification::VERSION, config };
        Output::Link(LinkWork::Notify { to, notification })
    }

    /// A vote while this server has a leader, or is one: whoever looks for one is told. But not by an observer, whose
    /// word counts for nothing: a voter answers it whatever it says, and so they would go on for ever. Unless it knows of
    /// a newer membership: whoever takes that over has no more to ask.
    pub(super) fn on_vote_in_office(
        &self,
        from: ServerId,
        heard: &Notification,
        elected: Elected,
        out: &mut Vec<Output>,
    ) {
        if heard.state == PeerState::Looking
            && (self.views.is_voter(self.config.me) || self.knows_newer_view(&heard.config))
        {
            out.push(self.notify(from, self.state_name(), elected.vote, elected.round));
        }
    }

    /// Whether somebody who looks for a leader has heard of a better one than was `elected` here.
    pub(super) fn has_found_better(&self, heard: &Notification, elected: &Elected) -> bool {
        heard.state == PeerState::Looking
            && heard.round >= elected.round
            && self.is_better(&heard.vote, &elected.vote)
    }

    /// A vote while this server looks, too. Returns whom it elected, if it is decided now.
    pub(super) fn on_vote_looking(
        &mut self,
        election: &mut Election,
        from: ServerId,
        heard: &Notification,
        now: Duration,
        out: &mut Vec<Output>,
    ) -> Option<Elected> {
        if !self.views.is_voter(from) {
            if heard.state == PeerState::Looking {
                self.answer_stranger(election, from, &heard.config, now, out);
            }
            return None;
        }
        if heard.round > ROUND_MAX {
            warn!(%from, round = heard.round, "a vote in a round that no election has reached");
            return None;
        }
        if !self.views.is_voter(heard.vote.leader) {
            debug!(%from, leader = %heard.vote.leader, "a vote for a server that does not vote");
            return None;
        }
        let ballot = Ballot {
            vote: heard.vote,
            round: heard.round,
            state: heard.state,
            has_version: heard.version > 0,
        };
        match heard.state {
            PeerState::Looking => self.on_fellow_seeker(election, from, ballot, now, out),
            PeerState::Observing => None,
            PeerState::Following | PeerState::Leading => self.on_settled(election, from, ballot),
        }
    }

    /// Two that go by different memberships may each be a stranger to the other, and each answer the other's answers:
    /// so none is answered twice in a moment.
    fn answer_stranger(
        &self,
        election: &mut Election,
        from: ServerId,
        config: &Bytes,
        now: Duration,
        out: &mut Vec<Output>,
    ) {
        let interval = self.config.notification_interval_min;
        if election.answered.get(&from).is_some_and(|answered| now < *answered + interval) {
            return;
        }
        election.answered.insert(from, now);
        if self.knows_newer_view(config) {
            out.push(self.notify(from, PeerState::Looking, election.proposal, self.round));
        } else {
            self.answer_seeker(election, from, out);
        }
    }

    fn answer_seeker(&self, election: &Election, from: ServerId, out: &mut Vec<Output>) {
        if self.views.is_voter(self.config.me) {
            out.push(self.notify(from, PeerState::Looking, election.proposal, self.round));
        }
    }

    fn on_fellow_seeker(
        &mut self,
        election: &mut Election,
        from: ServerId,
        ballot: Ballot,
        now: Duration,
        out: &mut Vec<Output>,
    ) -> Option<Elected> {
        if ballot.round < self.round {
            self.answer_seeker(election, from, out); // It may not have heard of this round.
            return None;
        }
        if self.vote_zxid() == Zxid(-1) || ballot.vote.zxid == Zxid(-1) {
            return None;
        }
        if ballot.round > self.round {
            self.round = ballot.round;
            election.ballots.clear();
            let own = self.own_vote();
            let proposal = if self.is_better(&ballot.vote, &own) { ballot.vote } else { own };
            self.propose_candidate(election, proposal, out);
        } else if self.is_better(&ballot.vote, &election.proposal) {
            self.propose_candidate(election, ballot.vote, out);
        } else if self.is_better(&election.proposal, &ballot.vote)
            && election.ballots.get(&from) != Some(&ballot)
        {
            // When it was told of ours, it may have had a leader still. It would wait for the next time.
            self.answer_seeker(election, from, out);
        }
        election.ballots.insert(from, ballot);
        self.count(election, now)
    }

    fn propose_candidate(&self, election: &mut Election, proposal: Vote, out: &mut Vec<Output>) {
        election.proposal = proposal;
        election.final_at = None;
        self.cast(election);
        self.tell_vote(election, out);
    }

    /// Decided once all voters agree; if only a quorum does, after a moment in which nothing better came.
    fn count(&self, election: &mut Election, now: Duration) -> Option<Elected> {
        let (vote, round) = (election.proposal, self.round);
        let agrees = |ballot: &Ballot| ballot.vote == vote && ballot.round == round;
        let mut in_favour: BTreeSet<_> =
            election.ballots.iter().filter(|(_, ballot)| agrees(ballot)).map(|(id, _)| *id).collect();
        if vote.leader == self.config.me && self.views.next.is_some() {
            in_favour.extend(self.would_be_followers().filter(|id| self.views.is_voter(*id)));
        }
        if !self.views.is_quorum(in_favour.iter().copied()) {
            election.final_at = None;
            return None;
        }
        if in_favour.len() == self.views.voters().count() {
            return Some(Elected { vote, round });
        }
        let final_at = *election.final_at.get_or_insert(now + FINALIZE_WAIT);
        (final_at <= now).then_some(Elected { vote, round })
    }

    /// Somebody has a leader: join, if a quorum has that leader, and it says so itself.
    #[doc(alias = "receivedFollowingNotification")]
    fn on_settled(&mut self, election: &mut Election, from: ServerId, ballot: Ballot) -> Option<Elected> {
        let Ballot { vote, round, .. } = ballot;
        if round == self.round {
            election.ballots.insert(from, ballot);
            if self.has_joined_quorum(&election.ballots, &ballot)
                && self.leads_indeed(&election.ballots, &ballot)
            {
                return Some(Elected { vote, round });
            }
        }
        election.settled.insert(from, ballot);
        if self.has_joined_quorum(&election.settled, &ballot) && self.leads_indeed(&election.settled, &ballot)
        {
            self.round = round;
            return Some(Elected { vote, round });
        }
        None
    }

    fn has_joined_quorum(&self, ballots: &BTreeMap<ServerId, Ballot>, ballot: &Ballot) -> bool {
        let agreeing = ballots.iter().filter(|(_, other)| agree(other, ballot)).map(|(id, _)| *id);
        self.views.is_any_quorum(agreeing)
    }

    /// Without its own word, a server that died would be elected over and over.
    #[doc(alias = "checkLeader")]
    fn leads_indeed(&self, ballots: &BTreeMap<ServerId, Ballot>, ballot: &Ballot) -> bool {
        let leader = ballot.vote.leader;
        if leader == self.config.me {
            return ballot.round == self.round;
        }
        ballots.get(&leader).is_some_and(|own| own.state == PeerState::Leading)
    }

    /// By epoch, then zxid, then id; a server without weight never.
    #[doc(alias = "totalOrderPredicate")]
    fn is_better(&self, new: &Vote, old: &Vote) -> bool {
        let is_preferred = |id| !self.prefers_current || self.views.current.quorum.is_candidate(id);
        let rank = |vote: &Vote| (is_preferred(vote.leader), vote.peer_epoch, vote.zxid, vote.leader);
        self.views.is_candidate(new.leader) && rank(new) > rank(old)
    }

    /// Time passes: what a quorum agreed on may be final; who was silent is told again.
    pub(super) fn on_election_tick(
        &mut self,
        election: &mut Election,
        now: Duration,
        out: &mut Vec<Output>,
    ) -> Option<Elected> {
        if election.final_at.is_some_and(|at| at <= now) {
            return self.count(election, now);
        }
        if election.reconsider_at.is_some_and(|at| at <= now) {
            self.prefers_current = !self.prefers_current;
            *election = self.look(now, out);
        }
        if election.resend_at <= now {
            self.tell_vote(election, out);
            let longer = election.resend_interval * 2;
            election.resend_interval = longer.min(self.config.notification_interval_max);
            election.resend_at = now + election.resend_interval;
        }
        // A lone voter hears of nobody.
        if election.final_at.is_none() { self.count(election, now) } else { None }
    }
}

impl Election {
    /// When [`Peer::on_election_tick`] has something to do.
    pub(super) fn deadline(&self) -> Duration {
        let rare = self.final_at.into_iter().chain(self.reconsider_at);
        rare.fold(self.resend_at, Duration::min)
    }
}

/// Do two ballots mean the same leader? Those who have one may know it by different zxids. `Vote.equals`.
fn agree(one: &Ballot, other: &Ballot) -> bool {
    if one.state == PeerState::Looking || other.state == PeerState::Looking {
        return one.vote == other.vote && one.round == other.round;
    }
    let same_leader = one.vote.leader == other.vote.leader;
    same_leader && (one.has_version != other.has_version || one.vote.peer_epoch == other.vote.peer_epoch)
}
