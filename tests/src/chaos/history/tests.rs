use super::*;

const ZNODE: &str = "/znode";

/// A history, told call by call; zxids are the versions.
#[derive(Default)]
struct Told(History);

impl Told {
    fn call(&mut self, session: usize, op: Op, answer: Answer) -> &mut Self {
        let call = self.0.invoke(session, ZNODE, op);
        self.answer(call, answer)
    }

    fn answer(&mut self, call: CallId, answer: Answer) -> &mut Self {
        let zxid = match answer {
            Answer::Written(version) | Answer::Is(_, version) => Some(i64::from(version) + 1),
            _ => None,
        };
        self.0.answer(call, answer, zxid);
        self
    }

    fn refusal(&self) -> String {
        self.0.check().unwrap_err().to_string()
    }
}

#[test]
fn what_a_znode_does_alone_is_allowed() {
    let mut told = Told::default();
    told.call(1, Op::Get, Answer::NoNode)
        .call(1, Op::Set(1, None), Answer::NoNode)
        .call(1, Op::Create(2), Answer::Written(0))
        .call(2, Op::Create(3), Answer::NodeExists)
        .call(2, Op::Set(4, Some(1)), Answer::BadVersion)
        .call(2, Op::Set(5, Some(0)), Answer::Written(1))
        .call(1, Op::GetLatest, Answer::Is(5, 1));
    told.0.check().unwrap();
}

#[test]
fn a_plain_read_may_be_old() {
    let mut told = Told::default();
    told.call(1, Op::Create(1), Answer::Written(0)).call(2, Op::Get, Answer::NoNode);
    told.0.check().unwrap();
}

#[test]
fn a_fenced_read_may_not() {
    let mut told = Told::default();
    told.call(1, Op::Create(1), Answer::Written(0)).call(2, Op::GetLatest, Answer::NoNode);
    assert!(told.refusal().starts_with("writes and fenced reads are not linearizable"));
}

#[test]
fn an_acknowledged_write_may_not_get_lost() {
    let mut told = Told::default();
    told.call(1, Op::Create(1), Answer::Written(0)).call(1, Op::Set(2, None), Answer::Written(1)).call(
        2,
        Op::Set(3, None),
        Answer::Written(1),
    );
    assert!(told.refusal().starts_with("writes and fenced reads are not linearizable"));
}

#[test]
fn a_session_sees_its_own_write() {
    let mut told = Told::default();
    told.call(1, Op::Create(1), Answer::Written(0)).call(1, Op::Get, Answer::NoNode);
    assert!(told.refusal().starts_with("a session sees another order"));
}

#[test]
fn a_session_does_not_go_back() {
    let mut told = Told::default();
    told.call(1, Op::Create(1), Answer::Written(0))
        .call(1, Op::Set(2, None), Answer::Written(1))
        .call(2, Op::Get, Answer::Is(2, 1))
        .call(2, Op::Get, Answer::Is(1, 0));
    assert!(told.refusal().starts_with("a session sees another order"));
}

#[test]
fn a_session_does_not_go_back_on_another_znode_either() {
    let mut history = History::default();
    for (zxid, znode) in [(1, "/a"), (2, "/b")] {
        let call = history.invoke(1, znode, Op::Create(1));
        history.answer(call, Answer::Written(0), Some(zxid));
    }
    let call = history.invoke(2, "/b", Op::Get);
    history.answer(call, Answer::Is(1, 0), Some(2));
    history.check().unwrap();
    let call = history.invoke(2, "/a", Op::Get);
    history.answer(call, Answer::NoNode, None);
    assert!(history.check().unwrap_err().to_string().starts_with("it had seen 0x2"));
}

#[test]
fn a_write_in_doubt_happens_late_or_never_but_once() {
    let mut told = Told::default();
    told.call(1, Op::Create(1), Answer::Written(0));
    let _never_told = told.0.invoke(1, ZNODE, Op::Set(2, None));
    told.call(2, Op::GetLatest, Answer::Is(1, 0));
    told.0.check().unwrap();
    told.call(2, Op::GetLatest, Answer::Is(2, 1)).call(2, Op::Set(3, None), Answer::Written(2));
    told.0.check().unwrap();
    assert_eq!(told.0.in_doubt(), 1);
    told.call(2, Op::GetLatest, Answer::Is(2, 3));
    assert!(told.refusal().starts_with("writes and fenced reads are not linearizable"));
}

#[test]
fn what_did_not_happen_must_not_show() {
    let mut told = Told::default();
    told.call(1, Op::Create(1), Answer::Written(0));
    let failed = told.0.invoke(1, ZNODE, Op::Set(2, None));
    told.0.nothing_happened(failed);
    told.0.check().unwrap();
    told.call(1, Op::GetLatest, Answer::Is(2, 1));
    assert!(told.refusal().starts_with("writes and fenced reads are not linearizable"));
}

#[test]
fn of_two_writes_at_the_same_time_either_may_be_first() {
    for (first, second) in [(0, 1), (1, 0)] {
        let mut told = Told::default();
        told.call(3, Op::Create(9), Answer::Written(0));
        let calls = [1, 2].map(|session| told.0.invoke(session, ZNODE, Op::Set(session as u64, None)));
        told.answer(calls[0], Answer::Written(first + 1)).answer(calls[1], Answer::Written(second + 1));
        told.call(3, Op::GetLatest, Answer::Is(if first == 1 { 1 } else { 2 }, 2));
        told.0.check().unwrap();
    }
}
