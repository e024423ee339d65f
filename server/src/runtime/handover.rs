//! Leadership given away on purpose: when an operator asks for it (the admin server's `handover`), and by a leader
//! that is about to stop. Nothing that clients asked for is lost, and nobody has to find out that the leader is gone.

use std::thread;
use std::time::Duration;

use tracing::info;

use super::shared::Shared;
use crate::config::ServerId;
use crate::node::Event;
use crate::zab::{PeerState, PeerStatus};

/// What is waited for beyond the tick after which the node itself gives up: the election, and a busy machine.
const ELECTION_TIME_MAX: Duration = Duration::from_secs(2);
const CHECK_INTERVAL: Duration = Duration::from_millis(2);

/// Why leadership stays where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotHandedOver {
    /// There is nothing to hand over.
    #[error("this server does not lead")]
    NotLeading,
    /// Nobody is in step, or nobody could be brought there in time.
    #[error("no follower could take over")]
    NoSuccessor,
}

impl Shared {
    fn peer_status(&self) -> Option<PeerStatus> {
        self.status.lock().peer
    }

    fn leads(&self) -> bool {
        self.peer_status().is_some_and(|peer| peer.state == PeerState::Leading)
    }

    /// Has this server lead no more, once a follower has everything.
    pub(super) fn give_leadership_away(&self) -> Result<(), NotHandedOver> {
        if !self.leads() {
            return Err(NotHandedOver::NotLeading);
        }
        if self.peer_status().is_none_or(|peer| peer.synced_followers == 0) {
            return Err(NotHandedOver::NoSuccessor);
        }
        info!("leadership is to be handed over");
        self.queue.send(&mut vec![Event::HandOver]);
        let patience = self.config.tick + ELECTION_TIME_MAX;
        if self.wait_until(patience, || !self.leads()) { Ok(()) } else { Err(NotHandedOver::NoSuccessor) }
    }

    /// The same; returns who leads then.
    pub(super) fn hand_leadership_over(&self) -> Result<ServerId, NotHandedOver> {
        self.give_leadership_away()?;
        let mut successor = None;
        self.wait_until(ELECTION_TIME_MAX, || {
            let learned = self.peer_status().filter(|peer| peer.serves);
            successor = learned.and_then(|peer| peer.leader);
            successor.is_some()
        });
        successor.filter(|successor| self.config.my_id != Some(*successor)).ok_or(NotHandedOver::NoSuccessor)
    }

    fn wait_until(&self, patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
        let until = self.clock.monotonic() + patience;
        while !condition() {
            if self.clock.monotonic() >= until {
                return false;
            }
            thread::sleep(CHECK_INTERVAL);
        }
        true
    }
}
