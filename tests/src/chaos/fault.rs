//! What can happen to an ensemble.

use std::fmt;

use anyhow::{Context, Result};

use crate::ensemble::{Ensemble, Id};

/// To whom it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Who leads just then.
    Leader,
    /// One who does not.
    Follower,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9`, and a start some time later.
    Kill(Target),
    /// SIGSTOP, and SIGCONT some time later.
    Pause(Target),
    /// No packets from or to other servers.
    Isolate(Target),
    /// Others hear it, and it does not hear them.
    Deafen(Target),
    /// It hears the others, and they do not hear it.
    Mute(Target),
    /// `kill -9` of all, at once.
    KillAll,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl Fault {
    /// Whether it needs a [divisible](crate::ensemble::Plan::divisible) ensemble.
    #[must_use]
    pub fn needs_division(self) -> bool {
        matches!(self, Self::Isolate(_) | Self::Deafen(_) | Self::Mute(_))
    }

    /// Whether those that are left are a service.
    #[must_use]
    pub fn spares_a_quorum(self) -> bool {
        self != Self::KillAll
    }

    /// Lets it happen; [`Struck::mend`] undoes it.
    ///
    /// # Errors
    /// When there is nobody to whom it could happen, or the system refuses.
    pub fn strike(self, ensemble: &mut Ensemble) -> Result<Struck> {
        let leader = ensemble.wait_for_leader_other_than(None)?;
        let victim = match self {
            Self::Kill(target)
            | Self::Pause(target)
            | Self::Isolate(target)
            | Self::Deafen(target)
            | Self::Mute(target) => choose(ensemble, target, leader)?,
            Self::KillAll => leader,
        };
        let others: Vec<_> = ensemble.ids().into_iter().filter(|id| *id != victim).collect();
        match self {
            Self::Kill(_) => ensemble.kill(victim)?,
            Self::Pause(_) => ensemble.place_mut(victim).pause()?,
            Self::Isolate(_) => ensemble.isolate(victim)?,
            Self::Deafen(_) => others.iter().try_for_each(|other| ensemble.cut(*other, victim))?,
            Self::Mute(_) => others.iter().try_for_each(|other| ensemble.cut(victim, *other))?,
            Self::KillAll => ensemble.ids().into_iter().try_for_each(|id| ensemble.kill(id))?,
        }
        Ok(Struck { fault: self, victim, deposed: (victim == leader).then_some(leader) })
    }
}

fn choose(ensemble: &Ensemble, target: Target, leader: Id) -> Result<Id> {
    match target {
        Target::Leader => Ok(leader),
        Target::Follower => {
            let mut ids = ensemble.ids().into_iter();
            ids.find(|id| *id != leader && ensemble.place(*id).is_running()).context("nobody follows")
        }
    }
}

/// What has happened, to whom.
#[derive(Debug)]
#[must_use = "it stays as it is until it is mended"]
pub struct Struck {
    fault: Fault,
    victim: Id,
    deposed: Option<Id>,
}

impl Struck {
    /// To whom.
    #[must_use]
    pub fn victim(&self) -> Id {
        self.victim
    }

    /// Waits until those that are left are a service again.
    ///
    /// # Errors
    /// When they are not, in time, or too few.
    pub fn wait_until_others_serve(&self, ensemble: &Ensemble) -> Result<()> {
        ensemble.wait_for_leader_other_than(self.deposed).map(drop)
    }

    /// Undoes it, and waits until everyone serves again.
    ///
    /// # Errors
    /// When somebody does not, in time.
    pub fn mend(self, ensemble: &mut Ensemble) -> Result<()> {
        match self.fault {
            Fault::Kill(_) => ensemble.start(self.victim)?,
            Fault::Pause(_) => ensemble.place_mut(self.victim).resume()?,
            Fault::Isolate(_) | Fault::Deafen(_) | Fault::Mute(_) => ensemble.heal()?,
            Fault::KillAll => ensemble.ids().into_iter().try_for_each(|id| ensemble.start(id))?,
        }
        ensemble.wait_until_all_serve()?;
        ensemble.wait_for_leader_other_than(None).map(drop)
    }
}
