//! A session under whatever may happen, in any order.

use proptest::prelude::*;

use super::*;

/// What may happen to a session, in any order.
#[derive(Debug, Clone)]
enum Step {
    Ask,
    Cancel(usize),
    Answer { err: bool },
    Notify,
    Dial,
    Grant,
    Disconnect,
    Pass(u64),
    Close,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Ask),
        2 => any::<usize>().prop_map(Step::Cancel),
        6 => any::<bool>().prop_map(|err| Step::Answer { err }),
        1 => Just(Step::Notify),
        3 => Just(Step::Dial),
        3 => Just(Step::Grant),
        1 => Just(Step::Disconnect),
        1 => (0..3000_u64).prop_map(Step::Pass),
        1 => Just(Step::Close),
    ];
    prop::collection::vec(step, 0..80)
}

proptest! {
    /// Every request has one outcome, requests are sent in order and at most once, and a state that is
    /// terminal stays.
    #[test]
    fn whatever_happens_requests_keep_their_order_and_have_one_outcome(steps in steps()) {
        let mut world = World::new();
        let mut answers: Vec<Option<Answer>> = Vec::new();
        let mut on_the_wire: VecDeque<i32> = VecDeque::new();
        let mut last_sent = -1_i64;
        for step in steps {
            let before = world.state();
            match step {
                Step::Ask => {
                    let path = format!("/{}", answers.len());
                    let answer = world.ask(Op::SetData, &path);
                    answers.push(Some(answer));
                }
                Step::Cancel(which) if !answers.is_empty() => {
                    let which = which % answers.len();
                    answers[which] = None;
                }
                Step::Answer { err } => if let Some(xid) = on_the_wire.pop_front() {
                    let err = if err { ErrorCode::BadVersion.code() } else { 0 };
                    world.answer(xid, 1, err).unwrap();
                },
                Step::Notify if world.session.is_online() => world.notify(EventType::NodeCreated, "/1", 1),
                Step::Dial if world.session.phase == Phase::Offline => {
                    world.dial();
                }
                Step::Grant if world.session.phase == Phase::Handshake => world.grant(SESSION, TIMEOUT, false),
                Step::Disconnect => {
                    world.session.on_disconnected();
                    on_the_wire.clear();
                }
                Step::Pass(ms) => {
                    let alive = world.pass(Duration::from_millis(ms));
                    if !alive {
                        world.session.on_disconnected();
                        on_the_wire.clear();
                    }
                }
                Step::Close => drop(world.close()),
                _ => {}
            }
            for seen in world.seen() {
                if seen.op == Op::SetData.code() {
                    let request = GetDataRequest::from_bytes(&seen.body).unwrap();
                    let number: i64 = request.path[1..].parse().unwrap();
                    prop_assert!(number > last_sent, "{number} after {last_sent}");
                    last_sent = number;
                }
                if seen.xid > 0 {
                    on_the_wire.push_back(seen.xid);
                }
            }
            prop_assert!(!before.is_terminal() || world.state() == before);
        }
        world.session.end(SessionState::Closed);
        for answer in answers.iter_mut().flatten() {
            // Either told, or dropped because the session was over when it was asked for.
            prop_assert!(!matches!(answer.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
        }
    }

    #[test]
    fn no_frame_makes_a_session_panic(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 1..20),
        online in any::<bool>(),
    ) {
        let mut world = World::new();
        if online { world.connect() } else { world.dial() };
        let _answers: Vec<_> = (0..3).map(|_| world.ask(Op::GetData, "/a")).collect();
        for frame in frames {
            if world.session.on_frame(&frame.into(), world.now).is_err() {
                break;
            }
        }
    }
}
