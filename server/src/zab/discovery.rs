//! Phase 1: a quorum promises the would-be leader an epoch that is newer than all before, and tells of its history.
//! ZAB paper, section "Discovery"; `Leader.getEpochToPropose`, `waitForEpochAck`, `Learner.registerWithLeader`.

use std::time::Duration;

use tracing::{debug, info};

use super::leader::{LeaderPhase, Leading, Stage};
use super::learner::LearnerStage;
use super::output::{DiskWork, LinkWork, Output, Recipients};
use super::packet::{PROTOCOL, Packet};
use super::{Epoch, LinkId, Peer, State, VISITORS_MAX, Violation, Zxid};
use crate::config::ServerId;

/// An epoch beyond this one is a lie: no ensemble has held so many elections, and it would leave none to propose.
const EPOCH_MAX: Epoch = Epoch(i32::MAX.cast_unsigned() - 1);

/// A learner who dialed while it is not known who leads.
#[derive(Debug)]
pub(super) struct Visitor {
    /// What it said of itself, once it has.
    greeting: Option<Greeting>,
    /// It is turned away then.
    turned_away_at: Duration,
}

/// A learner's first packet.
#[derive(Debug, Clone, Copy)]
struct Greeting {
    server: ServerId,
    is_observer: bool,
    accepted: Epoch,
}

impl Visitor {
    pub(super) fn deadline(&self) -> Duration {
        self.turned_away_at
    }
}

/// A send to one.
pub(super) fn send(link: LinkId, packet: Packet) -> Output {
    Output::Link(LinkWork::Send { to: Recipients::One(link), packet })
}

pub(super) fn close(link: LinkId, why: Option<Violation>) -> Output {
    Output::Link(LinkWork::Close { link, why })
}

// The leader's half.
impl Peer {
    pub(super) fn receive_visitor(&mut self, link: LinkId, now: Duration, out: &mut Vec<Output>) {
        if matches!(self.state, State::Learning(_)) {
            return out.push(close(link, None));
        }
        if self.visitors.len() >= VISITORS_MAX {
            return out.push(close(link, Some(Violation::TooMany)));
        }
        let turned_away_at = now + self.config.init_limit;
        self.visitors.insert(link, Visitor { greeting: None, turned_away_at });
    }

    pub(super) fn dismiss_silent_visitors(&mut self, now: Duration, out: &mut Vec<Output>) {
        let silent = self.visitors.extract_if(.., |_, visitor| visitor.turned_away_at <= now);
        out.extend(silent.map(|(link, _)| close(link, Some(Violation::Silent))));
    }

    /// This server follows somebody else: nobody will be let in.
    pub(super) fn dismiss_visitors(&mut self, out: &mut Vec<Output>) {
        out.extend(std::mem::take(&mut self.visitors).into_keys().map(|link| close(link, None)));
    }

    pub(super) fn on_visitor_packet(
        &mut self,
        link: LinkId,
        packet: Packet,
        now: Duration,
        out: &mut Vec<Output>,
    ) {
        match self.greeting_of(packet) {
            Ok(greeting) => {
                if let Some(visitor) = self.visitors.get_mut(&link) {
                    visitor.greeting = Some(greeting);
                }
                self.admit_visitors(now, out);
                if matches!(self.state, State::Looking(_)) && self.views.next.is_some() {
                    self.on_tick(now, out);
                }
            }
            Err(violation) => {
                self.visitors.remove(&link);
                out.push(close(link, Some(violation)));
            }
        }
    }

    /// Who has dialed this server to follow it, and so has elected it. While a reconfiguration is under way that counts: it
    /// may go by a membership in which it has no vote, and tell nobody.
    pub(super) fn would_be_followers(&self) -> impl Iterator<Item = ServerId> {
        let greetings = self.visitors.values().filter_map(|visitor| visitor.greeting);
        greetings.filter(|greeting| !greeting.is_observer).map(|greeting| greeting.server)
    }

    fn greeting_of(&self, packet: Packet) -> Result<Greeting, Violation> {
        match packet {
            Packet::LearnerInfo { protocol, .. } if protocol < PROTOCOL => Err(Violation::Version(protocol)),
            Packet::LearnerInfo { server, config_version, .. }
                if config_version > self.views.seen().version() =>
            {
                let (theirs, ours) = (config_version, self.views.seen().version());
                Err(Violation::NewerConfig { learner: server, theirs, ours })
            }
            Packet::LearnerInfo { accepted, .. } if accepted > EPOCH_MAX => {
                Err(Violation::AbsurdEpoch(accepted))
            }
            Packet::LearnerInfo { is_observer, accepted, server, .. } => {
                Ok(Greeting { server, is_observer, accepted })
            }
            other => {
                Err(Violation::OutOfPlace { packet: other.name(), phase: "a learner introduces itself" })
            }
        }
    }

    /// Lets in whoever has introduced itself, if this server leads.
    pub(super) fn admit_visitors(&mut self, now: Duration, out: &mut Vec<Output>) {
        let State::Leading(leading) = &mut self.state else {
            return;
        };
        let mut is_outdated = false;
        let introduced = self.visitors.extract_if(.., |_, visitor| visitor.greeting.is_some());
        for (link, visitor) in introduced {
            let Some(Greeting { server, is_observer, accepted }) = visitor.greeting else { continue };
            if server == self.config.me {
                out.push(close(link, Some(Violation::OwnId(server))));
                continue;
            }
            if self.views.is_voter(server)
                && let Some(foreign) = leading.foreign_history(server)
            {
                out.push(close(link, Some(foreign)));
                continue;
            }
            // It may have lost its first link, and this server has not noticed. But of two with one id, the first stays:
            // else they would drive each other out for ever.
            if leading.has_heard_from(server, now, self.config.tick) {
                out.push(close(link, Some(Violation::Duplicate(server))));
                continue;
            }
            let gone: Vec<_> = leading.links_of(server).collect();
            for old in gone {
                out.push(close(old, Some(Violation::Silent)));
                leading.remove(old, out);
            }
            debug!(%server, is_observer, accepted = accepted.0, "a learner came");
            leading.admit(link, server, is_observer, accepted, now);
            let is_proposed = leading.phase > LeaderPhase::Gathering;
            is_outdated |= is_proposed && accepted > leading.epoch && self.views.is_voter(server);
            if leading.phase >= LeaderPhase::Promised {
                leading.invite(link, out);
            }
        }
        if is_outdated {
            // It may never follow this one; the next election's epoch is newer than its promise.
            return self.look_again("a voter has promised a newer epoch", now, out);
        }
        self.propose_epoch(out);
    }

    /// Once a quorum is here: an epoch that none of it has promised to anybody.
    #[doc(alias = "getEpochToPropose")]
    pub(super) fn propose_epoch(&mut self, out: &mut Vec<Output>) {
        let State::Leading(leading) = &mut self.state else {
            return;
        };
        if leading.phase != LeaderPhase::Gathering {
            return;
        }
        let followers = leading.learners.values().filter(|learner| learner.may_count(&self.views));
        let here: Vec<_> = followers.map(|learner| (learner.server, learner.accepted)).collect();
        let servers = here.iter().map(|(server, _)| *server).chain([self.config.me]);
        if !self.views.is_quorum(servers) {
            return;
        }
        let promised = here.iter().map(|(_, accepted)| *accepted).fold(self.promises.accepted, Ord::max);
        leading.epoch = promised.next();
        leading.phase = LeaderPhase::Promising;
        self.disk_works += 1;
        out.push(Output::Disk(DiskWork::SaveAcceptedEpoch(leading.epoch)));
        self.number_initial_membership(out);
    }

    /// This server itself has promised the epoch.
    pub(super) fn on_leader_promised(&mut self, now: Duration, out: &mut Vec<Output>) {
        let State::Leading(leading) = &mut self.state else {
            return;
        };
        if leading.phase != LeaderPhase::Promising {
            return;
        }
        leading.phase = LeaderPhase::Promised;
        leading.due = now + self.config.init_limit;
        let waiting: Vec<_> = leading.learners.keys().copied().collect();
        for link in waiting {
            leading.invite(link, out);
        }
        self.count_promises(out);
    }

    /// A learner has promised the epoch, or had done so before.
    pub(super) fn on_ack_epoch(
        &mut self,
        link: LinkId,
        last: Zxid,
        current: Option<Epoch>,
        now: Duration,
        out: &mut Vec<Output>,
    ) {
        let State::Leading(leading) = &mut self.state else {
            return;
        };
        let Some(learner) = leading.learners.get_mut(&link) else {
            return;
        };
        learner.stage = Stage::Promised { last, counts: current.is_some() };
        let is_newer = current.is_some_and(|current| (current, last) > leading.own_history);
        if leading.phase >= LeaderPhase::Noted {
            self.begin_sync(link, out);
        } else if is_newer && leading.phase < LeaderPhase::Noting {
            // Without what it has, this server must not lead: unless a quorum has promised, and so none has it.
            self.look_again("a learner has a newer history", now, out);
        } else {
            self.count_promises(out);
        }
    }

    #[doc(alias = "waitForEpochAck")]
    fn count_promises(&mut self, out: &mut Vec<Output>) {
        let State::Leading(leading) = &mut self.state else {
            return;
        };
        if leading.phase != LeaderPhase::Promised {
            return;
        }
        let followers = leading.learners.values().filter(|learner| learner.may_count(&self.views));
        let promised = followers.filter(|learner| learner.has_promised());
        let servers = promised.map(|learner| learner.server).chain([self.config.me]);
        if !self.views.is_quorum(servers) {
            return;
        }
        info!(epoch = leading.epoch.0, "a quorum promised the epoch");
        leading.phase = LeaderPhase::Noting;
        self.disk_works += 1;
        out.push(Output::Disk(DiskWork::SaveCurrentEpoch(leading.epoch)));
    }

    /// From here on this server's history is the epoch's.
    pub(super) fn on_reign_noted(&mut self, now: Duration, out: &mut Vec<Output>) {
        let State::Leading(leading) = &mut self.state else {
            return;
        };
        if leading.phase != LeaderPhase::Noting {
            return;
        }
        leading.phase = LeaderPhase::Noted;
        leading.due = now + self.config.init_limit;
        self.sync_all(now, out);
    }
}

impl Leading {
    /// Another ensemble's data must not depose a leader that serves, and be elected instead. Who has no vote cannot: what
    /// it said when it had one may be long untrue, and is not said anew.
    ///
    /// A voter of this ensemble may have promised a newer epoch, but cannot have had a history in it: a quorum would
    /// have promised it too, and left this leader.
    fn foreign_history(&self, server: ServerId) -> Option<Violation> {
        let theirs = *self.histories.get(&server)?;
        let is_foreign = self.phase == LeaderPhase::Serving && theirs > self.epoch;
        is_foreign.then_some(Violation::ForeignHistory { server, theirs, ours: self.epoch })
    }

    /// LEADERINFO, to a learner that has introduced itself.
    fn invite(&mut self, link: LinkId, out: &mut Vec<Output>) {
        if let Some(learner) = self.learners.get_mut(&link)
            && learner.stage == Stage::Greeted
        {
            learner.stage = Stage::Invited;
            out.push(send(link, Packet::LeaderInfo { epoch: self.epoch, protocol: PROTOCOL }));
        }
    }
}

// The learner's half.
impl Peer {
    /// The link to the leader stands: FOLLOWERINFO, OBSERVERINFO.
    pub(super) fn on_leader_reached(&mut self, link: LinkId, now: Duration, out: &mut Vec<Output>) {
        let is_observer = self.observes();
        let State::Learning(learning) = &mut self.state else {
            return out.push(close(link, None));
        };
        if learning.link != link || learning.stage != LearnerStage::Dialing {
            return out.push(close(link, None));
        }
        learning.stage = LearnerStage::Greeted;
        learning.silent_at = now + self.config.init_limit;
        let info = Packet::LearnerInfo {
            is_observer,
            accepted: self.promises.accepted,
            server: self.config.me,
            protocol: PROTOCOL,
            config_version: self.views.current.version(),
        };
        out.push(send(link, info));
    }

    pub(super) fn on_leader_info(&mut self, epoch: Epoch, out: &mut Vec<Output>) -> Result<(), Violation> {
        // Nobody counts an observer's promises: all it must not do is to go back behind what it has served.
        let promised = if self.observes() { self.promises.current } else { self.promises.accepted };
        let accepted = self.promises.accepted;
        let State::Learning(learning) = &mut self.state else {
            return Ok(());
        };
        if epoch < promised {
            return Err(Violation::OldEpoch { proposed: epoch, accepted: promised });
        }
        if epoch > EPOCH_MAX {
            return Err(Violation::AbsurdEpoch(epoch)); // Having promised it, this server could follow nobody else.
        }
        learning.epoch = epoch;
        if epoch <= accepted {
            // Promised before, perhaps to somebody else: it must not count twice.
            self.tell_history(None, out);
        } else {
            // On disk before it is said: else, after a crash, an older epoch could be promised.
            learning.stage = LearnerStage::Promising;
            self.disk_works += 1;
            out.push(Output::Disk(DiskWork::SaveAcceptedEpoch(epoch)));
        }
        Ok(())
    }

    /// ACKEPOCH.
    pub(super) fn tell_history(&mut self, current: Option<Epoch>, out: &mut Vec<Output>) {
        // Only where it does not count: a would-be leader must not think that it has more than this server.
        let wants_snapshot = self.wants_snapshot && current.is_none();
        let last = if wants_snapshot { Zxid::ZERO } else { self.log.logged };
        let State::Learning(learning) = &mut self.state else {
            return;
        };
        learning.stage = LearnerStage::Promised;
        learning.claims_nothing = wants_snapshot;
        out.push(send(learning.link, Packet::AckEpoch { last, current }));
    }
}
