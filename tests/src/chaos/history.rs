//! What clients asked and were told, in the order in which it happened, and whether a service may say that.
//!
//! stateright's testers judge it znode by znode: what one znode's history admits depends on no other. Three promises
//! of ZooKeeper's are checked:
//!
//! - writes, and reads behind a fence, are linearizable;
//! - with all other reads too, each session sees its znodes in one order, its own writes included;
//! - no session goes back in time: having seen a transaction, on any znode, it never again sees another znode
//!   as it was before. Zxids tell, so this needs no search.

mod znode;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, anyhow, ensure};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialConsistencyTester};
use znode::Znode;

/// What is written. No two writes write the same.
pub type Value = u64;

/// What a client asks of one znode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// Create it.
    Create(Value),
    /// Set it, if a version is given only from that.
    Set(Value, Option<i32>),
    /// Read it, however old.
    Get,
    /// Read it, after a fence.
    GetLatest,
}

/// What it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// It is written, with this version.
    Written(i32),
    /// It has this value, and this version.
    Is(Value, i32),
    /// There is no such znode.
    NoNode,
    /// There is one already.
    NodeExists,
    /// It has another version.
    BadVersion,
}

/// One request and what became of it.
#[derive(Debug, Clone)]
struct Call {
    session: usize,
    znode: String,
    op: Op,
    invoked: usize,
    /// When it returned, and with what; `None` if nobody knows.
    returned: Option<(usize, Answer)>,
    /// The zxid in the znode's stat.
    zxid: Option<i64>,
}

/// Names a call until it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallId(usize);

/// All that was asked and told.
#[derive(Debug, Default)]
pub struct History {
    calls: Vec<Call>,
    /// Calls that had no effect, and say nothing.
    void: BTreeSet<usize>,
    now: usize,
}

impl History {
    /// A session, which has one request under way at most, asks.
    pub fn invoke(&mut self, session: usize, znode: &str, op: Op) -> CallId {
        let invoked = self.tick();
        self.calls.push(Call { session, znode: znode.to_owned(), op, invoked, returned: None, zxid: None });
        CallId(self.calls.len() - 1)
    }

    /// It is told; `zxid` is the one of the last change of the znode's data, if it was told that too.
    pub fn answer(&mut self, call: CallId, answer: Answer, zxid: Option<i64>) {
        let now = self.tick();
        let call = &mut self.calls[call.0];
        call.returned = Some((now, answer));
        call.zxid = zxid;
    }

    /// It will never be told, but nothing has happened, and nothing will. Without this nor an answer, the request
    /// takes effect at any time from its asking on, or never.
    pub fn nothing_happened(&mut self, call: CallId) {
        self.void.insert(call.0);
    }

    fn tick(&mut self) -> usize {
        self.now += 1;
        self.now
    }

    /// How many requests were answered.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.calls.iter().filter(|call| call.returned.is_some()).count()
    }

    /// How many writes have an outcome that nobody knows.
    #[must_use]
    pub fn in_doubt(&self) -> usize {
        self.calls().filter(|call| call.returned.is_none() && is_write(call.op)).count()
    }

    fn calls(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().enumerate().filter(|(at, _)| !self.void.contains(at)).map(|(_, call)| call)
    }

    /// Whether the service has kept its promises.
    ///
    /// # Errors
    /// Names the znode with which it has not, and shows its history.
    pub fn check(&self) -> Result<()> {
        let mut znodes: BTreeMap<&str, Vec<&Call>> = BTreeMap::new();
        for call in self.calls().filter(|call| call.returned.is_some() || is_write(call.op)) {
            znodes.entry(&call.znode).or_default().push(call);
        }
        for (znode, calls) in &znodes {
            let told = || format!("{znode}, in the order of asking:\n{}", lines(calls));
            let fenced: Vec<_> = calls.iter().copied().filter(|call| call.op != Op::Get).collect();
            let tester = LinearizabilityTester::new(Znode::with_history(&fenced));
            let is_linearizable = judge(tester, &fenced)?;
            ensure!(is_linearizable, "writes and fenced reads are not linearizable: {}", told());
            let tester = SequentialConsistencyTester::new(Znode::with_history(calls));
            ensure!(judge(tester, calls)?, "a session sees another order: {}", told());
        }
        self.check_no_session_goes_back(&znodes)
    }

    fn check_no_session_goes_back(&self, znodes: &BTreeMap<&str, Vec<&Call>>) -> Result<()> {
        let changes: BTreeMap<&str, BTreeSet<i64>> = znodes
            .iter()
            .map(|(znode, calls)| (*znode, calls.iter().filter_map(|call| call.zxid).collect()))
            .collect();
        let mut seen: BTreeMap<usize, i64> = BTreeMap::new();
        let mut answered: Vec<_> = self.calls().filter(|call| call.returned.is_some()).collect();
        answered.sort_by_key(|call| call.returned.map(|(at, _)| at));
        for call in answered {
            let seen = seen.entry(call.session).or_default();
            // An absent znode is older than every zxid that it ever had.
            let shown = match call.returned {
                Some((_, Answer::NoNode)) => 0,
                Some((_, Answer::NodeExists | Answer::BadVersion)) | None => continue,
                Some((_, Answer::Written(_) | Answer::Is(..))) => call.zxid.context("a stat has a zxid")?,
            };
            let mut known = changes.get(call.znode.as_str()).into_iter().flatten();
            if let Some(missed) = known.find(|zxid| (shown + 1..=*seen).contains(*zxid)) {
                let line = lines(&[call]);
                return Err(anyhow!("it had seen {seen:#x}, and goes back before {missed:#x}: {line}"));
            }
            *seen = shown.max(*seen);
        }
        Ok(())
    }
}

fn is_write(op: Op) -> bool {
    matches!(op, Op::Create(_) | Op::Set(..))
}

/// A thread of a tester.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Thread {
    /// A session, but for what was never answered.
    Session(usize),
    /// Nothing waits for that, so each is a thread of its own.
    InDoubt(usize),
}

/// Whether `tester` finds an order for these calls.
fn judge<T>(mut tester: T, calls: &[&Call]) -> Result<bool>
where
    T: ConsistencyTester<Thread, Znode>,
{
    let mut events = BTreeMap::new();
    for call in calls {
        let thread = match call.returned {
            Some((at, answer)) => {
                events.insert(at, (Thread::Session(call.session), Event::Return(answer)));
                Thread::Session(call.session)
            }
            None => Thread::InDoubt(call.invoked),
        };
        events.insert(call.invoked, (thread, Event::Invoke(call.op)));
    }
    for (thread, event) in events.into_values() {
        match event {
            Event::Invoke(op) => tester.on_invoke(thread, op),
            Event::Return(answer) => tester.on_return(thread, answer),
        }
        .map_err(|error| anyhow!("a session has two requests under way: {error}"))?;
    }
    Ok(tester.is_consistent())
}

enum Event {
    Invoke(Op),
    Return(Answer),
}

fn lines(calls: &[&Call]) -> String {
    let mut lines = String::new();
    for Call { session, op, invoked, returned, zxid, .. } in calls {
        let (until, answer) = match returned {
            Some((at, answer)) => (format!("{at}"), format!("{answer:?}")),
            None => ("..".to_owned(), "unknown".to_owned()),
        };
        let zxid = zxid.map(|zxid| format!(" {zxid:#x}")).unwrap_or_default();
        lines.push_str(&format!("  {invoked}-{until} session {session}: {op:?} -> {answer}{zxid}\n"));
    }
    lines
}

#[cfg(test)]
mod tests;
