use jute::multi::{MultiOp, MultiRequest, MultiResult};
use jute::txn::TxnBody;

use super::*;

fn multi(ops: impl Into<Vec<MultiOp>>) -> MultiRequest {
    MultiRequest { ops: ops.into() }
}

fn delete(path: &str) -> MultiOp {
    MultiOp::Delete(DeleteRequest { path: path.into(), version: -1 })
}

fn check(path: &str, version: i32) -> MultiOp {
    MultiOp::Check(CheckVersionRequest { path: path.into(), version })
}

fn results(answer: Answer) -> Vec<MultiResult> {
    match answer.unwrap() {
        ReplyBody::Multi(response) => response.results,
        other => panic!("not a multi's: {other:?}"),
    }
}

#[test]
fn parts_see_what_those_before_them_did_and_share_a_zxid() {
    let mut world = World::new();
    let client = world.client();
    let asked = multi([
        MultiOp::Create(create("/a")),
        MultiOp::Create2(create("/a/b")),
        MultiOp::SetData(set_data("/a/b", "x", 0)),
        check("/a/b", 1),
        delete("/a/b"),
    ]);
    let results = results(world.ask(&client, Op::Multi, &asked));
    let MultiResult::Create2(ref created) = results[1] else {
        panic!("{results:?}");
    };
    assert_eq!((&*created.path, created.stat.czxid, created.stat.version), ("/a/b", 2, 0));
    assert!(matches!(results[0], MultiResult::Create(_)));
    assert!(matches!(results[2], MultiResult::SetData(stat) if stat.version == 1));
    assert_eq!(results[3..], [MultiResult::Check, MultiResult::Delete]);
    assert_eq!((world.stat("/a").czxid, world.stat("/a").pzxid, world.stat("/a").cversion), (2, 2, 2));
}

#[test]
fn a_multi_happens_wholly_or_not_at_all() {
    let mut world = World::new();
    let client = world.client();
    world.create(&client, "/a").unwrap();
    let before = world.stat("/");
    let asked = multi([
        MultiOp::Create(create("/b")),
        MultiOp::SetData(set_data("/a", "x", -1)),
        delete("/missing"),
        MultiOp::Create(create("/c")),
    ]);
    let results = results(world.ask(&client, Op::Multi, &asked));
    let code = |error: ErrorCode| MultiResult::Error(error.code());
    assert_eq!(
        results,
        [
            MultiResult::Error(0),
            MultiResult::Error(0),
            code(ErrorCode::NoNode),
            code(ErrorCode::RuntimeInconsistency)
        ]
    );
    assert!(!world.has("/b") && world.stat("/a").version == 0);
    assert_eq!(world.stat("/"), before);
}

#[test]
fn a_failed_multi_leaves_nothing_to_those_behind_it() {
    let mut world = World::new();
    let client = world.client();
    world.create(&client, "/q").unwrap();
    let numbered = create_as("/q/n-", 2, Acl::open_unsafe());
    let failing = multi([MultiOp::Create(numbered.clone()), delete("/q"), MultiOp::Create(create("/x"))]);
    let mut delivered = world.server.run([
        client.write(1, Op::Create, &numbered),
        client.write(2, Op::Multi, &failing),
        client.write(3, Op::Create, &numbered),
        client.write(4, Op::Create, &create("/x")),
    ]);
    assert_eq!(path_of(answer_of(delivered.pop().unwrap())), "/x");
    assert_eq!(path_of(answer_of(delivered.pop().unwrap())), "/q/n-0000000001");
}

#[test]
fn a_failed_multi_is_logged_with_what_was_good_and_with_a_digest() {
    let mut world = World::new();
    let client = world.client();
    let asked = multi([MultiOp::Create(create("/a")), delete("/missing"), delete("/a")]);
    world.ask(&client, Op::Multi, &asked).unwrap();
    let log = world.log();
    let TxnBody::Multi(logged) = &log[1].body else {
        panic!("{:?}", log[1]);
    };
    assert_eq!(logged.txns.iter().map(|part| part.txn_type).collect::<Vec<_>>(), [1, -1, -1]);
    let digest = log[1].digest.unwrap().tree_digest;
    assert_eq!(digest, i64::try_from(world.server.tree.digest()).unwrap());
}

#[test]
fn the_mode_decides_what_kind_of_znode_a_part_creates() {
    let mut world = World::new();
    let client = world.client();
    let asked = multi([MultiOp::Create(create_as("/c", 4, Acl::open_unsafe()))]);
    let results = results(world.ask(&client, Op::Multi, &asked));
    assert!(matches!(results[..], [MultiResult::Create2(_)]), "{results:?}");
    assert_eq!(world.server.tree.find("/c").unwrap().kind(), crate::tree::ZnodeKind::Container);
}

#[test]
fn a_create2_is_logged_as_replicas_of_all_versions_know_it() {
    let mut world = World::new();
    let client = world.client();
    let results = results(world.ask(&client, Op::Multi, &multi([MultiOp::Create2(create("/a"))])));
    assert!(matches!(results[..], [MultiResult::Create2(_)]), "{results:?}");
    let TxnBody::Multi(logged) = &world.log()[1].body else {
        panic!("no multi");
    };
    assert_eq!(logged.txns[0].txn_type, Op::Create.code());
}

#[test]
fn an_empty_multi_does_nothing_well() {
    let mut world = World::new();
    let client = world.client();
    assert_eq!(results(world.ask(&client, Op::Multi, &multi([]))), []);
}

#[test]
fn reads_and_unknown_modes_make_a_multi_undecodable() {
    let mut world = World::new();
    let client = world.client();
    let read = MultiOp::GetData(GetDataRequest { path: "/".into(), watch: false });
    let odd = MultiOp::Create(create_as("/a", 9, Acl::open_unsafe()));
    let endless = MultiOp::Create2(create_as("/a", 5, Acl::open_unsafe()));
    for part in [read, odd, endless] {
        let answer = world.ask(&client, Op::Multi, &multi([part]));
        assert_eq!(refused(answer), ErrorCode::MarshallingError);
    }
}

#[test]
fn a_check_that_fails_fails_the_multi() {
    let mut world = World::new();
    let client = world.client();
    world.ask(&client, Op::Create, &create_as("/closed", 0, only(perms::WRITE))).unwrap();
    world.create(&client, "/a").unwrap();
    for (part, expected) in [
        (check("a", 0), ErrorCode::BadArguments),
        (check("/missing", 0), ErrorCode::NoNode),
        (check("/closed", 9), ErrorCode::NoAuth),
        (check("/a", 9), ErrorCode::BadVersion),
    ] {
        let results = results(world.ask(&client, Op::Multi, &multi([part])));
        assert_eq!(results, [MultiResult::Error(expected.code())]);
    }
}

#[test]
fn parts_of_a_session_that_is_gone_are_refused() {
    let mut world = World::new();
    let stranger = Client { session: SessionId(77), ..world.client() };
    let asked = multi([check("/", -1), check("/", -1)]);
    let results = results(world.ask(&stranger, Op::Multi, &asked));
    assert_eq!(
        results,
        [
            MultiResult::Error(ErrorCode::SessionExpired.code()),
            MultiResult::Error(ErrorCode::RuntimeInconsistency.code())
        ]
    );
}
