//! Numbers at their end.

use jute::txn::{CreateTxn, SetAclTxn, SetDataTxn, Txn, TxnBody, TxnHeader};

use super::*;

/// A server whose tree is what `bodies` make of an empty one.
fn world_after(bodies: impl IntoIterator<Item = TxnBody>) -> World {
    let mut world = World::new();
    let mut tree = Tree::new(TreeOptions::default());
    for (zxid, body) in (1..).zip(bodies) {
        let header = TxnHeader { zxid, ..TxnHeader::default() };
        tree.replay(&Txn { header, body, digest: None });
    }
    world.server = Lockstep::new(NodeConfig::default(), tree, Now::default());
    world
}

fn created(path: &str, parent_cversion: i32) -> TxnBody {
    let acl = Acl::open_unsafe();
    TxnBody::Create(CreateTxn {
        path: path.into(),
        data: None,
        acl: acl.into(),
        ephemeral: false,
        parent_cversion,
    })
}

/// Replicas of any make must agree, and Java's never let a cversion go back, not even by wrapping: so it stays, and
/// with it the next sequential name.
#[test]
fn a_parent_that_has_counted_to_the_end_counts_no_further() {
    let mut world = world_after([created("/q", 1), created("/q/a", i32::MAX)]);
    let client = world.client();
    let before = world.stat("/q");

    let asked = create_as("/q/n", 2, Acl::open_unsafe());
    assert_eq!(path_of(world.ask(&client, Op::Create, &asked)), "/q/n2147483647");
    assert_eq!(refused(world.ask(&client, Op::Create, &asked)), ErrorCode::NodeExists);
    assert!(world.create(&client, "/q/b").is_ok(), "other names are free");

    let after = world.stat("/q");
    assert_eq!(after.pzxid, before.pzxid);
    // What clients see is twice the creates less the children there are.
    assert_eq!(after.cversion, before.cversion.wrapping_sub(2));
    assert_eq!(world.server.node.status().counters.digest_mismatches, 0);
}

#[test]
fn pipelined_creates_agree_with_the_tree_about_a_parent_at_its_end() {
    let mut world = world_after([created("/q", 1), created("/q/a", i32::MAX - 1)]);
    let client = world.client();
    let asks = (0..4).map(|xid| client.write(xid, Op::Create, &create_as("/q/n", 2, Acl::open_unsafe())));
    let answers: Vec<_> = world.server.run(asks).into_iter().map(answer_of).collect();
    let [first, second, third, fourth] = <[Answer; 4]>::try_from(answers).unwrap();
    assert_eq!(path_of(first), "/q/n2147483646");
    assert_eq!(path_of(second), "/q/n2147483647");
    assert_eq!([refused(third), refused(fourth)], [ErrorCode::NodeExists; 2]);
    assert_eq!(world.server.node.status().counters.digest_mismatches, 0);
}

#[test]
fn versions_go_on_from_the_smallest() {
    let set = SetDataTxn { path: "/a".into(), data: None, version: i32::MAX };
    let acl = SetAclTxn { path: "/a".into(), acl: AclList::OPEN_UNSAFE, version: i32::MAX };
    let mut world = world_after([created("/a", 1), TxnBody::SetData(set), TxnBody::SetAcl(acl)]);
    let client = world.client();

    assert!(world.set_data(&client, "/a", i32::MAX).is_ok());
    assert_eq!(world.stat("/a").version, i32::MIN);
    assert_eq!(refused(world.set_data(&client, "/a", i32::MAX)), ErrorCode::BadVersion);
    assert!(world.set_data(&client, "/a", i32::MIN).is_ok());

    let asked = SetAclRequest { path: "/a".into(), acl: AclList::OPEN_UNSAFE, version: i32::MAX };
    assert!(world.ask(&client, Op::SetAcl, &asked).is_ok());
    assert_eq!(world.stat("/a").aversion, i32::MIN);
    assert_eq!(world.server.node.status().counters.digest_mismatches, 0);
}

/// The version before 0 is -1 once it has wrapped, and -1 is any: what was asked with it never fails.
#[test]
fn a_wrapped_version_of_minus_one_is_any() {
    let set = SetDataTxn { path: "/a".into(), data: None, version: -1 };
    let mut world = world_after([created("/a", 1), TxnBody::SetData(set)]);
    let client = world.client();
    assert_eq!(refused(world.set_data(&client, "/a", 0)), ErrorCode::BadVersion);
    assert!(world.set_data(&client, "/a", -1).is_ok());
    assert_eq!(world.stat("/a").version, 0);
}

#[test]
fn a_lone_server_counts_on_into_the_next_epoch() {
    let mut world = World::new();
    let mut tree = Tree::new(TreeOptions::default());
    tree.advance_to(Zxid(0xffff_fffd));
    world.server = Lockstep::new(NodeConfig::default(), tree, Now::default());
    let client = world.client();
    assert!(world.create(&client, "/a").is_ok());
    assert!(world.create(&client, "/a/b").is_ok());
    assert!(world.set_data(&client, "/a", -1).is_ok());
    assert!(world.delete(&client, "/a/b", -1).is_ok());

    let stat = world.stat("/a");
    assert_eq!([stat.czxid, stat.mzxid, stat.pzxid], [0xffff_ffff, 0x1_0000_0001, 0x1_0000_0002]);
    let zxids: Vec<_> = world.log().iter().map(|txn| txn.header.zxid).collect();
    assert!(zxids.is_sorted(), "{zxids:x?}");
    assert_eq!(world.server.node.status().counters.digest_mismatches, 0);
}
