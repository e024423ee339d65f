use super::*;

const EPHEMERAL: i32 = 1;
const SEQUENTIAL: i32 = 2;
const TTL: i32 = 5;

#[test]
fn create_answers_with_the_path_and_create2_with_the_stat_too() {
    let mut world = World::new();
    let client = world.client();
    assert_eq!(path_of(world.create(&client, "/a")), "/a");
    let Ok(ReplyBody::PathStat(path, stat)) = world.ask(&client, Op::Create2, &create("/b")) else {
        panic!("no stat");
    };
    assert_eq!((&*path, stat), ("/b", world.stat("/b")));
    assert_eq!((stat.czxid, stat.mzxid, stat.pzxid, stat.data_length), (3, 3, 3, 4));
}

#[test]
fn the_first_check_that_fails_is_the_answer_to_create() {
    let mut world = World::new();
    let client = world.client();
    world.ask(&client, Op::Create, &create_as("/closed", 0, only(perms::READ))).unwrap();
    world.ask(&client, Op::Create, &create_as("/mortal", EPHEMERAL, Acl::open_unsafe())).unwrap();
    let nobody = vec![Acl::new(perms::ALL, "nosuch", "x")];
    for (path, flags, acl, expected) in [
        ("no-slash", 9, nobody.clone(), ErrorCode::BadArguments),
        ("no-slash", TTL, nobody.clone(), ErrorCode::Unimplemented),
        ("no-slash", 0, nobody.clone(), ErrorCode::BadArguments),
        ("/nul\0", 0, nobody.clone(), ErrorCode::BadArguments),
        ("/missing/a", 0, nobody, ErrorCode::InvalidAcl),
        ("/missing/a", 0, vec![], ErrorCode::InvalidAcl),
        ("/missing/..", 0, Acl::open_unsafe(), ErrorCode::NoNode),
        ("a/b", 0, Acl::open_unsafe(), ErrorCode::NoNode),
        ("/closed/..", 0, Acl::open_unsafe(), ErrorCode::NoAuth),
        ("/a/", 0, Acl::open_unsafe(), ErrorCode::NoNode),
        ("/..", 0, Acl::open_unsafe(), ErrorCode::BadArguments),
        ("//x", 0, Acl::open_unsafe(), ErrorCode::BadArguments),
        ("/", 0, Acl::open_unsafe(), ErrorCode::NodeExists),
        ("/closed", 0, Acl::open_unsafe(), ErrorCode::NodeExists),
        ("/mortal/a", 0, Acl::open_unsafe(), ErrorCode::NoChildrenForEphemerals),
    ] {
        let answer = world.ask(&client, Op::Create, &create_as(path, flags, acl));
        assert_eq!(refused(answer), expected, "{path:?} flags {flags}");
    }
}

#[test]
fn a_session_that_is_gone_is_noticed_after_the_mode_and_before_the_path() {
    let mut world = World::new();
    let stranger = Client { session: SessionId(77), ..world.client() };
    let refusal = |world: &mut World, flags| {
        refused(world.ask(&stranger, Op::Create, &create_as("no-slash", flags, vec![])))
    };
    assert_eq!(refusal(&mut world, 9), ErrorCode::BadArguments);
    assert_eq!(refusal(&mut world, 0), ErrorCode::SessionExpired);
}

#[test]
fn a_refusal_takes_a_zxid_and_is_logged_without_a_digest() {
    let mut world = World::new();
    let client = world.client();
    refused(world.delete(&client, "/missing", -1));
    world.create(&client, "/a").unwrap();
    let log = world.log();
    assert_eq!(log.iter().map(|txn| txn.header.zxid).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(log[1].header.txn_type, Op::Error.code());
    assert_eq!(log[1].digest, None);
    assert_eq!(world.stat("/a").czxid, 3);
}

#[test]
fn numbers_count_all_creates_below_a_parent() {
    let mut world = World::new();
    let client = world.client();
    world.create(&client, "/q").unwrap();
    world.create(&client, "/q/plain").unwrap();
    let numbered = |world: &mut World, prefix| {
        path_of(world.ask(&client, Op::Create, &create_as(prefix, SEQUENTIAL, Acl::open_unsafe())))
    };
    assert_eq!(numbered(&mut world, "/q/n-"), "/q/n-0000000001");
    world.delete(&client, "/q/plain", -1).unwrap();
    assert_eq!(numbered(&mut world, "/q/"), "/q/0000000002");
    assert_eq!(numbered(&mut world, "/"), "/0000000001");
}

#[test]
fn pipelined_creates_get_numbers_of_their_own() {
    let mut world = World::new();
    let client = world.client();
    world.create(&client, "/q").unwrap();
    let asked = create_as("/q/n-", SEQUENTIAL, Acl::open_unsafe());
    let events: Vec<_> = (0..3).map(|xid| client.write(xid, Op::Create, &asked)).collect();
    let paths: Vec<_> = world.server.run(events).into_iter().map(|reply| path_of(answer_of(reply))).collect();
    assert_eq!(paths, ["/q/n-0000000000", "/q/n-0000000001", "/q/n-0000000002"]);
}

#[test]
fn pipelined_writes_build_on_each_other() {
    let mut world = World::new();
    let client = world.client();
    let delete = |path: &str| DeleteRequest { path: path.into(), version: -1 };
    let replies = world.server.run([
        client.write(1, Op::Create, &create("/a")),
        client.write(2, Op::Create, &create("/a/b")),
        client.write(3, Op::SetData, &set_data("/a", "x", 0)),
        client.write(4, Op::SetData, &set_data("/a", "x", 0)),
        client.write(5, Op::Delete, &delete("/a")),
        client.write(6, Op::Delete, &delete("/a/b")),
        client.write(7, Op::Delete, &delete("/a")),
        client.write(8, Op::Create, &create("/a/c")),
    ]);
    let errors: Vec<_> = replies.into_iter().map(|reply| answer_of(reply).err()).collect();
    assert_eq!(
        errors,
        [
            None,
            None,
            None,
            Some(ErrorCode::BadVersion),
            Some(ErrorCode::NotEmpty),
            None,
            None,
            Some(ErrorCode::NoNode)
        ]
    );
}

#[test]
fn nothing_is_answered_before_it_is_on_disk() {
    let mut world = World::new();
    let client = world.client();
    let mut delivered = Vec::new();
    let events = [client.write(1, Op::Create, &create("/a")), client.write(2, Op::Create, &create("/b"))];
    let last = world.server.step(events, &mut delivered).unwrap();
    world.server.settle(Some(Zxid(last.0 - 1)), &mut delivered);
    assert_eq!(delivered.len(), 1);
    assert!(world.has("/a") && !world.has("/b"));
    // What is still under way counts for those who ask later.
    let later = world.server.step([client.write(3, Op::Create, &create("/b"))], &mut delivered);
    world.server.settle(later, &mut delivered);
    let errors: Vec<_> = delivered.into_iter().map(|reply| answer_of(reply).err()).collect();
    assert_eq!(errors, [None, None, Some(ErrorCode::NodeExists)]);
}

#[test]
fn the_first_check_that_fails_is_the_answer_to_delete() {
    let mut world = World::new();
    let client = world.client();
    world.create(&client, "/a").unwrap();
    world.create(&client, "/a/b").unwrap();
    world.ask(&client, Op::Create, &create_as("/closed", 0, only(perms::CREATE))).unwrap();
    for (path, version, expected) in [
        ("no-slash", 0, ErrorCode::BadArguments),
        ("/", -1, ErrorCode::BadArguments),
        ("/zookeeper", -1, ErrorCode::BadArguments),
        ("/zookeeper/quota", -1, ErrorCode::BadArguments),
        ("/zookeeper/config", -1, ErrorCode::BadArguments),
        ("/missing/a", -1, ErrorCode::NoNode),
        ("/closed/missing", -1, ErrorCode::NoAuth),
        ("/missing", -1, ErrorCode::NoNode),
        ("/a", 7, ErrorCode::BadVersion),
        ("/a", -1, ErrorCode::NotEmpty),
    ] {
        assert_eq!(refused(world.delete(&client, path, version)), expected, "{path} {version}");
    }
    world.delete(&client, "/a/b", 0).unwrap();
    world.delete(&client, "/a", 0).unwrap();
}

#[test]
fn the_first_check_that_fails_is_the_answer_to_set_data() {
    let mut world = World::new();
    let client = world.client();
    world.ask(&client, Op::Create, &create_as("/closed", 0, only(perms::READ))).unwrap();
    world.create(&client, "/a").unwrap();
    for (path, version, expected) in [
        ("/a/", -1, ErrorCode::BadArguments),
        ("a", -1, ErrorCode::BadArguments),
        ("/missing", -1, ErrorCode::NoNode),
        ("/closed", 9, ErrorCode::NoAuth),
        ("/a", 1, ErrorCode::BadVersion),
    ] {
        assert_eq!(refused(world.set_data(&client, path, version)), expected, "{path} {version}");
    }
    world.set_data(&client, "/a", 0).unwrap();
    let Ok(ReplyBody::Stat(stat)) = world.set_data(&client, "/a", -1) else {
        panic!("no stat");
    };
    assert_eq!(stat.version, 2);
    assert_eq!(stat, world.stat("/a"));
}

#[test]
fn the_first_check_that_fails_is_the_answer_to_set_acl() {
    let mut world = World::new();
    let client = world.client();
    world.ask(&client, Op::Create, &create_as("/closed", 0, only(perms::ALL & !perms::ADMIN))).unwrap();
    world.create(&client, "/a").unwrap();
    let asked =
        |path: &str, acl: Vec<Acl>, version| SetAclRequest { path: path.into(), acl: acl.into(), version };
    for (path, acl, version, expected) in [
        ("a", vec![], 0, ErrorCode::BadArguments),
        ("/missing", vec![], 0, ErrorCode::InvalidAcl),
        ("/missing", Acl::open_unsafe(), 0, ErrorCode::NoNode),
        ("/closed", Acl::open_unsafe(), 9, ErrorCode::NoAuth),
        ("/a", Acl::open_unsafe(), 9, ErrorCode::BadVersion),
    ] {
        let answer = world.ask(&client, Op::SetAcl, &asked(path, acl, version));
        assert_eq!(refused(answer), expected, "{path} {version}");
    }
    let before = world.stat("/a");
    let Ok(ReplyBody::Stat(stat)) = world.ask(&client, Op::SetAcl, &asked("/a", only(perms::READ), 0)) else {
        panic!("no stat");
    };
    assert_eq!(stat, Stat { aversion: 1, ..before });
    assert_eq!(refused(world.set_data(&client, "/a", -1)), ErrorCode::NoAuth);
}

#[test]
fn an_acl_under_way_counts() {
    let mut world = World::new();
    let client = world.client();
    world.create(&client, "/a").unwrap();
    let close = SetAclRequest { path: "/a".into(), acl: only(perms::READ).into(), version: -1 };
    let replies = world.server.run([
        client.write(1, Op::SetAcl, &close),
        client.write(2, Op::SetData, &set_data("/a", "x", -1)),
        client.known_as("super", "").write(3, Op::SetData, &set_data("/a", "x", -1)),
    ]);
    let errors: Vec<_> = replies.into_iter().map(|reply| answer_of(reply).err()).collect();
    assert_eq!(errors, [None, Some(ErrorCode::NoAuth), None]);
}

#[test]
fn the_creator_owns_what_auth_says() {
    let mut world = World::new();
    let alice = world.client().known_as("digest", "alice:hash");
    let bob = world.client().known_as("digest", "bob:hash");
    world.ask(&alice, Op::Create, &create_as("/hers", 0, Acl::creator_all())).unwrap();
    assert_eq!(refused(world.set_data(&bob, "/hers", -1)), ErrorCode::NoAuth);
    world.set_data(&alice, "/hers", -1).unwrap();
    let nobody = world.client();
    let answer = world.ask(&nobody, Op::Create, &create_as("/mine", 0, Acl::creator_all()));
    assert_eq!(refused(answer), ErrorCode::InvalidAcl);
}

#[test]
fn a_ttl_must_fit_the_mode_and_forty_bits() {
    let mut world = World::with(NodeConfig { extended_types: true, ..NodeConfig::default() });
    let client = world.client();
    let asked = |flags, ttl_ms| CreateTtlRequest {
        path: "/t".into(),
        data: None,
        acl: AclList::OPEN_UNSAFE,
        flags,
        ttl_ms,
    };
    for (flags, ttl_ms) in [(TTL, 0), (TTL, -1), (TTL, 1 << 40), (0, 5), (0, -1), (EPHEMERAL, -1)] {
        let answer = world.ask(&client, Op::CreateTtl, &asked(flags, ttl_ms));
        assert_eq!(refused(answer), ErrorCode::BadArguments, "flags {flags}, {ttl_ms} ms");
    }
    let answer = world.ask(&client, Op::Create, &create_as("/t", TTL, Acl::open_unsafe()));
    assert_eq!(refused(answer), ErrorCode::BadArguments);
    assert_eq!(path_of(world.ask(&client, Op::CreateTtl, &asked(TTL, (1 << 40) - 1))), "/t");
    assert_eq!(world.stat("/t").ephemeral_owner, 0);
    assert_eq!(path_of(world.create(&client, "/t/child")), "/t/child");
}

#[test]
fn empty_containers_and_forgotten_ttl_znodes_are_reaped() {
    let mut world = World::with(NodeConfig { extended_types: true, ..NodeConfig::default() });
    let client = world.client();
    for path in ["/used", "/unused", "/full"] {
        world.ask(&client, Op::CreateContainer, &create_as(path, 4, Acl::open_unsafe())).unwrap();
    }
    for path in ["/used/a", "/full/a"] {
        world.create(&client, path).unwrap();
    }
    world.delete(&client, "/used/a", -1).unwrap();
    for (path, ttl_ms) in [("/brief", 1000), ("/long", 1_000_000)] {
        let (path, acl) = (path.into(), Acl::open_unsafe());
        let asked = CreateTtlRequest { path, data: None, acl: acl.into(), flags: TTL, ttl_ms };
        world.ask(&client, Op::CreateTtl, &asked).unwrap();
    }

    world.advance_ms(59_999);
    world.server.run([Event::Touched(vec![client.session]), Event::Tick]);
    assert!(world.has("/used") && world.has("/brief"));
    world.advance_ms(1);
    world.server.run([Event::Tick]);
    let left: Vec<_> =
        ["/used", "/unused", "/full", "/brief", "/long"].into_iter().filter(|path| world.has(path)).collect();
    assert_eq!(left, ["/unused", "/full", "/long"]);
    assert_eq!(world.server.node.status().counters.reaped, 2);
}

#[test]
fn what_the_service_does_of_itself_clients_may_not() {
    let mut world = World::new();
    let client = world.client();
    world.create(&client, "/a").unwrap();
    let asked = DeleteContainerRequest { path: "/a".into() };
    let delivered = world.deliveries(&client, Op::DeleteContainer, &asked);
    assert!(matches!(
        delivered[..],
        [Delivery::Reply { error: Some(ErrorCode::Unimplemented), close: true, .. }]
    ));
    assert!(world.has("/a"));
}

#[test]
fn an_unknown_operation_is_refused_and_the_connection_closes() {
    let mut world = World::new();
    let client = world.client();
    for op in [999, Op::Check.code(), Op::CreateSession.code(), Op::Error.code()] {
        let delivered = world.server.run([client.write_bytes(1, op, Bytes::new())]);
        let [Delivery::Reply { zxid: Zxid(-1), error, close: true, .. }] = delivered[..] else {
            panic!("{op}: {delivered:?}");
        };
        assert_eq!(error, Some(ErrorCode::Unimplemented), "{op}");
    }
    assert_eq!(world.log().len(), 1);
}

#[test]
fn bytes_that_are_no_record_are_refused_and_the_connection_stays() {
    let mut world = World::new();
    let client = world.client();
    let before = world.log().len();
    for op in
        [Op::Create, Op::CreateTtl, Op::Delete, Op::SetData, Op::SetAcl, Op::Reconfig, Op::Sync, Op::Multi]
    {
        let delivered = world.server.run([client.write_bytes(1, op.code(), Bytes::from_static(b"\0\0"))]);
        let [Delivery::Reply { error, close: false, .. }] = delivered[..] else {
            panic!("{op:?}: {delivered:?}");
        };
        assert_eq!(error, Some(ErrorCode::MarshallingError), "{op:?}");
        let txns = usize::from(op == Op::Multi);
        assert_eq!(
            world.log().len() - before,
            txns,
            "{op:?}: only a multi takes its zxid before it is decoded"
        );
    }
}

#[test]
fn reconfig_needs_an_ensemble() {
    let asked = ReconfigRequest::default();
    let mut world = World::new();
    let client = world.client();
    assert_eq!(refused(world.ask(&client, Op::Reconfig, &asked)), ErrorCode::ReconfigDisabled);
    let mut world = World::with(NodeConfig { reconfig: true, ..NodeConfig::default() });
    let client = world.client();
    assert_eq!(refused(world.ask(&client, Op::Reconfig, &asked)), ErrorCode::Unimplemented);
}

#[test]
fn a_sync_is_answered_in_its_turn() {
    let mut world = World::new();
    let client = world.client();
    let delivered = world.server.run([
        client.write(1, Op::Create, &create("/a")),
        client.write(2, Op::Sync, &SyncRequest { path: "/whatever".into() }),
        client.write(3, Op::Create, &create("/b")),
    ]);
    let xids_and_zxids: Vec<_> = delivered
        .iter()
        .map(|delivery| match delivery {
            Delivery::Reply { xid, zxid, error: None, .. } => (*xid, zxid.0),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(xids_and_zxids, [(1, 2), (2, 2), (3, 3)]);
    assert_eq!(path_of(answer_of(delivered[1].clone())), "/whatever");
}

#[test]
fn hard_quotas_are_kept_where_they_are_enforced() {
    for enforce_quota in [false, true] {
        let mut world = World::with(NodeConfig { enforce_quota, ..NodeConfig::default() });
        let client = world.client();
        world.create(&client, "/a").unwrap();
        world.create(&client, "/zookeeper/quota/a").unwrap();
        let limits = CreateRequest {
            data: Some(Bytes::from_static(b"count=-1,bytes=-1=;byteHardLimit=10;countHardLimit=2")),
            ..create("/zookeeper/quota/a/zookeeper_limits")
        };
        world.ask(&client, Op::Create, &limits).unwrap();
        world.create(&client, "/zookeeper/quota/a/zookeeper_stats").unwrap();

        world.create(&client, "/a/b").unwrap();
        let more = world.create(&client, "/a/c").err();
        let larger = world.ask(&client, Op::SetData, &set_data("/a/b", "12345678", -1)).err();
        let expected = enforce_quota.then_some(ErrorCode::QuotaExceeded);
        assert_eq!((more, larger), (expected, expected), "enforced: {enforce_quota}");
        assert_eq!(world.server.node.over_quota().exceeded.pop_first().as_deref(), Some("/a"));
    }
}

#[test]
fn soft_quotas_let_pass_what_the_operator_is_told_of() {
    for enforce_quota in [false, true] {
        let mut world = World::with(NodeConfig { enforce_quota, ..NodeConfig::default() });
        let client = world.client();
        world.create(&client, "/a").unwrap();
        world.create(&client, "/zookeeper/quota/a").unwrap();
        let limits = CreateRequest {
            data: Some(Bytes::from_static(b"count=2,bytes=-1")),
            ..create("/zookeeper/quota/a/zookeeper_limits")
        };
        world.ask(&client, Op::Create, &limits).unwrap();
        world.create(&client, "/zookeeper/quota/a/zookeeper_stats").unwrap();

        world.create(&client, "/a/b").unwrap();
        assert!(world.server.node.over_quota().exceeded.is_empty());
        world.create(&client, "/a/c").unwrap();
        assert_eq!(world.server.node.over_quota().exceeded.pop_first().as_deref(), Some("/a"));
    }
}
