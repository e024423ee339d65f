//! A znode by the book, which knows what will be asked of it.
//!
//! The testers try every order that their rules admit and remember no dead end. So this znode refuses at once what
//! could only lead to one: a version that some answer names is written by the request that the answers say,
//! and no version is left behind that somebody is still to be shown. Every order in which all answers are
//! right has these properties; no history passes or fails for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use stateright::semantics::SequentialSpec;

use super::{Answer, Call, Op, Value};

/// The version of a znode that is not there.
const ABSENT: i32 = -1;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Znode {
    state: Option<(Value, i32)>,
    facts: Arc<Facts>,
    /// How often each version is still to be shown.
    awaited: BTreeMap<i32, usize>,
}

/// What the answers tell.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
struct Facts {
    versions: BTreeMap<Value, i32>,
    values: BTreeMap<i32, Value>,
}

impl Znode {
    /// Absent, and with all of `calls` ahead of it.
    pub(super) fn with_history(calls: &[&Call]) -> Self {
        let mut facts = Facts::default();
        let mut awaited = BTreeMap::new();
        for call in calls {
            let known = match (call.op, call.returned.map(|(_, answer)| answer)) {
                (Op::Create(value) | Op::Set(value, _), Some(Answer::Written(version))) => (value, version),
                (_, Some(Answer::Is(value, version))) => {
                    *awaited.entry(version).or_default() += 1;
                    (value, version)
                }
                (_, Some(Answer::NoNode)) => {
                    *awaited.entry(ABSENT).or_default() += 1;
                    continue;
                }
                _ => continue,
            };
            facts.versions.insert(known.0, known.1);
            facts.values.insert(known.1, known.0);
        }
        Self { state: None, facts: Arc::new(facts), awaited }
    }

    fn version(&self) -> i32 {
        self.state.map_or(ABSENT, |(_, version)| version)
    }

    fn write(&mut self, value: Value) -> Answer {
        let version = self.version() + 1;
        let is_other = |known: Option<&i32>| known.is_some_and(|known| *known != version);
        let has_other = |known: Option<&Value>| known.is_some_and(|known| *known != value);
        if self.awaited.get(&self.version()).is_some_and(|times| *times > 0)
            || is_other(self.facts.versions.get(&value))
            || has_other(self.facts.values.get(&version))
        {
            // No client was told this of a write that it made.
            return Answer::BadVersion;
        }
        self.state = Some((value, version));
        Answer::Written(version)
    }

    fn show(&mut self, answer: Answer) -> Answer {
        let version = self.version();
        if let Some(times) = self.awaited.get_mut(&version) {
            *times = times.saturating_sub(1);
        }
        answer
    }
}

impl SequentialSpec for Znode {
    type Op = Op;
    type Ret = Answer;

    fn invoke(&mut self, op: &Op) -> Answer {
        match (*op, self.state) {
            (Op::Create(_), Some(_)) => Answer::NodeExists,
            (Op::Create(value), None) => self.write(value),
            (_, None) => self.show(Answer::NoNode),
            (Op::Set(_, Some(expected)), Some((_, version))) if expected != version => Answer::BadVersion,
            (Op::Set(value, _), Some(_)) => self.write(value),
            (Op::Get | Op::GetLatest, Some((value, version))) => self.show(Answer::Is(value, version)),
        }
    }
}
