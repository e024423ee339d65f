//! Does this server still lead? Before it answers a sync, a leader asks its followers, and a quorum must answer: each
//! answer says that its sender followed this leader after the sync was asked for, so what another leader may have
//! committed came later. Java's leaders take it for granted, and one that was cut off answers from its past until it
//! notices. "Consensus: Bridging Theory and Practice", Ongaro, section 6.4; what asks here is a PING.
//!
//! One round of PINGs is under way at a time, and whoever comes meanwhile waits for the next. A learner answers each
//! that comes behind its UPTODATE, once and in order, so answers are counted. A commit of something that was proposed after
//! the sync says as much: its quorum still followed. So a sync never holds up a commit.

use std::collections::VecDeque;
use std::sync::Arc;

use super::discovery::send;
use super::leader::Leading;
use super::output::{LinkWork, Output, Recipients};
use super::packet::Packet;
use super::{LinkId, Peer, State, Zxid};

/// A leader's question whether it still leads: [`Peer::has_confirmed`] says if it was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Confirmation(u64);

/// The rounds of a leader, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// The last one that was sent.
    asked: u64,
    /// The last one that a quorum answered.
    answered: u64,
    /// The last one that somebody waits for.
    wanted: u64,
}

/// A learner's sync.
#[derive(Debug)]
struct Sync {
    link: LinkId,
    /// It is answered behind the commit of this one, and ahead of the next.
    after: Zxid,
    confirmation: Confirmation,
}

/// Learners' syncs that are not answered, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Syncs(VecDeque<Sync>);

impl Rounds {
    /// What a learner that is in step from now on is taken to have answered.
    pub(super) fn last(&self) -> u64 {
        self.asked
    }
}

impl Peer {
    /// Asks whether this server still leads as of now; soon or later [`Peer::has_confirmed`], or it does not.
    pub fn confirm(&mut self, out: &mut Vec<Output>) -> Confirmation {
        let State::Leading(leading) = &mut self.state else {
            return Confirmation(u64::MAX);
        };
        // A round that is under way may have been answered before this was asked.
        leading.rounds.wanted = leading.rounds.asked + 1;
        let confirmation = Confirmation(leading.rounds.wanted);
        self.ask_if_wanted(out);
        confirmation
    }

    /// This server led after that was asked.
    #[must_use]
    pub fn has_confirmed(&self, confirmation: Confirmation) -> bool {
        matches!(&self.state, State::Leading(leading) if confirmation.0 <= leading.rounds.answered)
    }

    /// Answers a learner's sync behind the commit of all that was proposed before, and ahead of the next one: Java's
    /// learners take what comes for the answers to what they asked, in that order, and one out of turn leaves
    /// every later request of their clients without an answer.
    #[doc(alias = "processSync")]
    pub fn answer_sync(&mut self, link: LinkId, out: &mut Vec<Output>) {
        let after = self.tail.back().map_or(self.log.committed, |(last, _)| *last);
        let confirmation = self.confirm(out);
        if let State::Leading(leading) = &mut self.state {
            leading.syncs.0.push_back(Sync { link, after, confirmation });
            self.answer_confirmed_syncs(out);
        }
    }

    /// The next round, unless one is under way.
    fn ask_if_wanted(&mut self, out: &mut Vec<Output>) {
        if let State::Leading(leading) = &self.state
            && leading.rounds.answered == leading.rounds.asked
            && leading.rounds.wanted > leading.rounds.asked
        {
            self.ping_all(out);
        }
    }

    /// Asks everybody for a sign of life.
    pub(super) fn ping_all(&mut self, out: &mut Vec<Output>) {
        let State::Leading(leading) = &mut self.state else {
            return;
        };
        let zxid = self.log.logged.max(leading.epoch.beginning());
        for to in [&leading.followers, &leading.observers] {
            if !to.is_empty() {
                let packet = Packet::Ping { zxid, touched: None };
                out.push(Output::Link(LinkWork::Send { to: Recipients::Many(Arc::clone(to)), packet }));
            }
        }
        leading.rounds.asked += 1;
        self.count_answers(out);
    }

    /// A learner in step answered its oldest PING.
    pub(super) fn on_pong(&mut self, link: LinkId, out: &mut Vec<Output>) {
        if let State::Leading(leading) = &mut self.state
            && let Some(learner) = leading.learners.get_mut(&link)
            && learner.answered < leading.rounds.asked
        {
            learner.answered += 1;
            self.count_answers(out);
        }
    }

    /// Which round has a quorum now? A lone leader is its own.
    fn count_answers(&mut self, out: &mut Vec<Output>) {
        let State::Leading(leading) = &self.state else {
            return;
        };
        let me = (leading.rounds.asked, self.config.me);
        let answers = leading.synced_followers().map(|learner| (learner.answered, learner.server));
        let answers: Vec<_> = answers.chain([me]).collect();
        let has_quorum = |round: u64| {
            let servers = answers.iter().filter(|(answered, _)| *answered >= round);
            self.views.is_quorum(servers.map(|(_, server)| *server))
        };
        let answered = answers.iter().map(|(answered, _)| *answered).filter(|round| has_quorum(*round)).max();
        let State::Leading(leading) = &mut self.state else {
            return;
        };
        if answered > Some(leading.rounds.answered) {
            leading.rounds.answered = answered.unwrap_or_default();
            self.answer_confirmed_syncs(out);
            self.ask_if_wanted(out);
        }
    }

    fn answer_confirmed_syncs(&mut self, out: &mut Vec<Output>) {
        if let State::Leading(leading) = &mut self.state {
            leading.answer_syncs_behind(self.log.committed, out);
        }
    }
}

impl Leading {
    /// This one is about to be committed: whoever asked before it was proposed has the answer, that this server led.
    pub(super) fn answer_syncs_before(&mut self, zxid: Zxid, out: &mut Vec<Output>) {
        self.answer_syncs(|sync, _| sync.after < zxid, out);
    }

    /// All up to this one is committed.
    pub(super) fn answer_syncs_behind(&mut self, zxid: Zxid, out: &mut Vec<Output>) {
        self.answer_syncs(|sync, rounds| sync.after <= zxid && sync.confirmation.0 <= rounds.answered, out);
    }

    fn answer_syncs(&mut self, is_due: impl Fn(&Sync, &Rounds) -> bool, out: &mut Vec<Output>) {
        while let Some(sync) = self.syncs.0.pop_front_if(|sync| is_due(sync, &self.rounds)) {
            if self.learners.contains_key(&sync.link) {
                out.push(send(sync.link, Packet::Sync));
            }
        }
    }
}
