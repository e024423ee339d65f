//! What can happen to an ensemble.

use std::fmt;

use anyhow::Result;

use crate::ensemble::{Ensemble, Id};

/// To whom it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Who leads just then.
    Leader,
    /// One who does not.
    Follower,
    /// The leader and as many others as there may be lost.
    Minority,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9`, and a start some time later.
    Kill(Target),
    /// SIGSTOP, and SIGCONT some time later.
    Pause(Target),
    /// No packets between these and the other servers.
    Isolate(Target),
    /// Others hear them, and they do not hear the others.
    Deafen(Target),
    /// They hear the others, and the others do not hear them.
    Mute(Target),
    /// The leader and one of its followers do not hear each other. All others hear everybody.
    Estrange,
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
        matches!(self, Self::Isolate(_) | Self::Deafen(_) | Self::Mute(_) | Self::Estrange)
    }

    /// Whether those that are left are a service.
    #[must_use]
    pub fn spares_a_quorum(self) -> bool {
        self != Self::KillAll
    }

    fn victims(self, ensemble: &Ensemble, leader: Id) -> Result<Vec<Id>> {
        Ok(match self {
            Self::Kill(target)
            | Self::Pause(target)
            | Self::Isolate(target)
            | Self::Deafen(target)
            | Self::Mute(target) => choose(ensemble, target, leader)?,
            Self::Estrange => choose(ensemble, Target::Follower, leader)?,
            Self::KillAll => ensemble.ids(),
        })
    }

    /// Lets it happen; [`Struck::mend`] undoes it.
    ///
    /// # Errors
    /// When there is nobody to whom it could happen, or the system refuses.
    pub fn strike(self, ensemble: &mut Ensemble) -> Result<Struck> {
        let leader = ensemble.wait_for_leader_other_than(None)?;
        let victims = self.victims(ensemble, leader)?;
        let others: Vec<_> = ensemble.ids().into_iter().filter(|id| !victims.contains(id)).collect();
        for victim in &victims {
            let mut all_others = others.iter();
            match self {
                Self::Kill(_) | Self::KillAll => ensemble.kill(*victim)?,
                Self::Pause(_) => ensemble.place_mut(*victim).pause()?,
                Self::Isolate(_) => all_others.try_for_each(|other| ensemble.part(*other, *victim))?,
                Self::Deafen(_) => all_others.try_for_each(|other| ensemble.cut(*other, *victim))?,
                Self::Mute(_) => all_others.try_for_each(|other| ensemble.cut(*victim, *other))?,
                Self::Estrange => ensemble.part(leader, *victim)?,
            }
        }
        let deposed = victims.contains(&leader).then_some(leader);
        Ok(Struck { fault: self, victims, deposed })
    }
}

fn choose(ensemble: &Ensemble, target: Target, leader: Id) -> Result<Vec<Id>> {
    let followers = ensemble.ids().into_iter().filter(|id| *id != leader && ensemble.place(*id).is_running());
    Ok(match target {
        Target::Leader => vec![leader],
        Target::Follower => followers.take(1).collect(),
        Target::Minority => {
            [leader].into_iter().chain(followers).take((ensemble.ids().len() - 1) / 2).collect()
        }
    })
}

/// What has happened, to whom.
#[derive(Debug)]
#[must_use = "it stays as it is until it is mended"]
pub struct Struck {
    fault: Fault,
    victims: Vec<Id>,
    deposed: Option<Id>,
}

impl Struck {
    /// To whom.
    #[must_use]
    pub fn victims(&self) -> &[Id] {
        &self.victims
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
            Fault::Kill(_) | Fault::KillAll => self.victims.iter().try_for_each(|id| ensemble.start(*id))?,
            Fault::Pause(_) => self.victims.iter().try_for_each(|id| ensemble.place_mut(*id).resume())?,
            Fault::Isolate(_) | Fault::Deafen(_) | Fault::Mute(_) | Fault::Estrange => ensemble.heal()?,
        }
        ensemble.wait_until_all_serve()?;
        ensemble.wait_for_leader_other_than(None).map(drop)
    }
}
