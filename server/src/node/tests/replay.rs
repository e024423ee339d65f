use std::time::Duration;

use jute::data::StatPersisted;
use jute::multi::{MultiOp, MultiRequest};
use jute::txn::Txn;
use proptest::prelude::*;

use super::*;

/// Something a client may ask, small enough that requests often meet.
#[derive(Debug, Clone)]
enum Wish {
    Create { path: &'static str, flags: i32, acl: i32 },
    Delete { path: &'static str, version: i32 },
    SetData { path: &'static str, data: &'static str, version: i32 },
    SetAcl { path: &'static str, acl: i32 },
    Multi(Vec<Wish>),
    Close,
}

const PATHS: [&str; 9] =
    ["/", "/a", "/a/b", "/a/b/c", "/d", "/d/e", "/a/", "/zookeeper/quota/x", "/zookeeper/config"];

fn path() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&PATHS[..])
}

fn part() -> impl Strategy<Value = Wish> {
    let acl = || prop::sample::select(&[perms::ALL, perms::ALL, perms::ALL & !perms::CREATE][..]);
    prop_oneof![
        4 => (path(), 0..5_i32, acl()).prop_map(|(path, flags, acl)| Wish::Create { path, flags, acl }),
        2 => (path(), -1..2_i32).prop_map(|(path, version)| Wish::Delete { path, version }),
        3 => (path(), prop::sample::select(&["", "x", "yy"][..]), -1..3_i32)
            .prop_map(|(path, data, version)| Wish::SetData { path, data, version }),
    ]
}

fn wish() -> impl Strategy<Value = Wish> {
    prop_oneof![
        8 => part(),
        1 => (path(), Just(perms::ALL)).prop_map(|(path, acl)| Wish::SetAcl { path, acl }),
        3 => prop::collection::vec(part(), 0..5).prop_map(Wish::Multi),
        1 => Just(Wish::Close),
    ]
}

impl Wish {
    fn event(&self, client: &Client) -> Event {
        match self {
            Self::Create { path, flags, acl } => {
                client.write(1, Op::Create, &create_as(path, *flags, only(*acl)))
            }
            Self::Delete { path, version } => {
                client.write(1, Op::Delete, &DeleteRequest { path: (*path).into(), version: *version })
            }
            Self::SetData { path, data, version } => {
                client.write(1, Op::SetData, &set_data(path, data, *version))
            }
            Self::SetAcl { path, acl } => {
                let asked = SetAclRequest { path: (*path).into(), acl: only(*acl).into(), version: -1 };
                client.write(1, Op::SetAcl, &asked)
            }
            Self::Multi(parts) => {
                let ops = parts.iter().filter_map(Self::part).collect();
                client.write(1, Op::Multi, &MultiRequest { ops })
            }
            Self::Close => client.write_bytes(1, Op::CloseSession.code(), Bytes::new()),
        }
    }

    fn part(&self) -> Option<MultiOp> {
        Some(match self {
            Self::Create { path, flags, acl } => MultiOp::Create(create_as(path, *flags, only(*acl))),
            Self::Delete { path, version } => {
                MultiOp::Delete(DeleteRequest { path: (*path).into(), version: *version })
            }
            Self::SetData { path, data, version } => MultiOp::SetData(set_data(path, data, *version)),
            Self::SetAcl { .. } | Self::Multi(_) | Self::Close => return None,
        })
    }
}

/// A znode's data, ACL and stat.
type Contents = (Option<Vec<u8>>, Vec<Acl>, StatPersisted);

/// Everything that replicas must agree on.
fn contents(tree: &Tree) -> Vec<(String, Contents)> {
    let mut all = Vec::new();
    tree.visit(|path, znode| {
        let data = znode.data().map(<[u8]>::to_vec);
        all.push((path.to_owned(), (data, znode.acl().to_vec(), znode.persisted_stat())));
    });
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all
}

/// The log, replayed on an empty tree; each txn's digest is checked as it is reached.
fn replayed(log: &[Txn]) -> Tree {
    let mut tree = Tree::new(TreeOptions::default());
    for txn in log {
        tree.apply(txn, &mut Vec::new());
        if let Some(digest) = txn.digest {
            assert_eq!(digest.tree_digest.cast_unsigned(), tree.digest(), "after {txn:?}");
        }
    }
    tree
}

/// Runs `wishes` of three clients, as many at a time as `batches` say, of which the log sometimes lags behind.
fn run(wishes: &[(usize, Wish)], batches: &[(usize, bool)]) -> World {
    let mut world = World::new();
    let clients = [world.client(), world.client(), world.client()];
    let mut rest = wishes;
    let mut deliveries = Vec::new();
    for (count, lags) in batches.iter().cycle() {
        let (now, later) = rest.split_at((*count).min(rest.len()));
        rest = later;
        let events = now.iter().map(|(client, wish)| wish.event(&clients[*client]));
        let last = world.server.step(events, &mut deliveries);
        let persisted = last.map(|last| if *lags && !rest.is_empty() { Zxid(last.0 - 1) } else { last });
        world.server.settle(persisted, &mut deliveries);
        if rest.is_empty() {
            break;
        }
    }
    assert_eq!(deliveries.len(), wishes.len(), "every request is answered once");
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_replayed_log_gives_the_same_tree_and_every_digest_on_the_way(
        wishes in prop::collection::vec((0..3_usize, wish()), 1..60),
        batches in prop::collection::vec((1..8_usize, any::<bool>()), 1..10),
    ) {
        let world = run(&wishes, &batches);
        let replica = replayed(&world.log());
        prop_assert_eq!(contents(&replica), contents(&world.server.tree));
        prop_assert_eq!(replica.recompute_digest(), world.server.tree.digest());
        let status = world.server.node.status();
        prop_assert_eq!((status.pending_paths, status.counters.digest_mismatches), (0, 0));
    }

    #[test]
    fn how_requests_are_batched_makes_no_difference(
        wishes in prop::collection::vec((0..3_usize, wish()), 1..40),
        batches in prop::collection::vec((1..8_usize, any::<bool>()), 1..10),
    ) {
        let one_by_one = run(&wishes, &[(1, false)]);
        let batched = run(&wishes, &batches);
        prop_assert_eq!(one_by_one.log(), batched.log());
    }
}

/// A request's bytes as a client may send them: sound, cut short, changed in places, or noise.
fn bytes() -> impl Strategy<Value = (i32, Bytes)> {
    let sound = wish().prop_map(|wish| {
        let nobody = Client {
            connection: ConnectionId { shard: 0, slot: 0, generation: 0 },
            session: SessionId(0),
            identities: [].into(),
        };
        match wish.event(&nobody) {
            Event::Write(request) => (request.op, request.body),
            other => panic!("{other:?}"),
        }
    });
    let noise = prop::collection::vec(any::<u8>(), 0..60).prop_map(Bytes::from);
    let op = prop::sample::select(Op::ALL).prop_map(Op::code);
    let damaged = (sound, any::<prop::sample::Index>(), any::<u8>(), any::<bool>()).prop_map(
        |((op, body), at, byte, cut)| {
            let mut body = body.to_vec();
            if !body.is_empty() {
                let at = at.index(body.len());
                body[at] = byte;
                body.truncate(if cut { at } else { body.len() });
            }
            (op, Bytes::from(body))
        },
    );
    prop_oneof![(op, noise), damaged]
}

proptest! {
    #[test]
    fn no_bytes_of_a_client_stop_the_node(requests in prop::collection::vec(bytes(), 1..30)) {
        let mut world = World::with(NodeConfig { extended_types: true, ..NodeConfig::default() });
        let client = world.client();
        let requests: Vec<_> =
            requests.into_iter().map(|(op, body)| client.write_bytes(1, op, body)).collect();
        let asked = requests.len();
        prop_assert_eq!(world.server.run(requests).len(), asked);
        let counters = world.server.node.status().counters;
        prop_assert_eq!(counters.digest_mismatches, 0);
    }
}

#[test]
fn the_first_txn_of_an_empty_tree_has_its_digest() {
    let mut world = World::new();
    let client = world.client();
    assert_eq!(world.log()[0].digest.unwrap().tree_digest, 1_371_985_504);
    world.create(&client, "/a").unwrap();
    assert_ne!(world.log()[1].digest.unwrap().tree_digest, 1_371_985_504);
}

#[test]
fn without_digests_txns_carry_none() {
    let mut world = World::with(NodeConfig { digests: false, ..NodeConfig::default() });
    let client = world.client();
    world.create(&client, "/a").unwrap();
    assert!(world.log().iter().all(|txn| txn.digest.is_none()));
}

#[test]
fn cuts_come_by_txns_or_by_dirty_znodes_and_wait_for_the_store() {
    use crate::node::CutPolicy;
    let cuts = |policy| {
        let mut world = World::with(NodeConfig { cuts: policy, ..NodeConfig::default() });
        let client = world.client();
        for name in 0..20 {
            world.create(&client, &format!("/{name}")).unwrap();
        }
        world
    };
    let policy = CutPolicy { txns_max: 5, dirty_max: 1000, unwritten_max: 100, ..CutPolicy::default() };
    assert_eq!(cuts(policy).server.cuts.len(), 4);
    let policy = CutPolicy { txns_max: 1000, dirty_max: 5, unwritten_max: 100, ..CutPolicy::default() };
    assert!(cuts(policy).server.cuts.len() >= 4);
    let mut world =
        cuts(CutPolicy { txns_max: 5, dirty_max: 1000, unwritten_max: 1, ..CutPolicy::default() });
    assert_eq!(world.server.cuts.len(), 1);
    world.server.run([Event::SnapshotWritten { cuts: 1 }]);
    assert_eq!(world.server.cuts.len(), 2);
}

#[test]
fn what_a_burst_has_changed_is_handed_out_in_parts_when_it_is_over() {
    use crate::node::CutPolicy;
    let cuts =
        CutPolicy { dirty_max: 30, unwritten_max: 1, busy_txns_per_second: 50, ..CutPolicy::default() };
    let mut world = World::with(NodeConfig { cuts, ..NodeConfig::default() });
    let client = world.client();
    let at = |millis| Some(Duration::from_millis(millis));
    for burst in 0..2 {
        world.server.now.monotonic = Duration::from_millis(100 * burst);
        (0..20).for_each(|name| drop(world.create(&client, &format!("/{burst}-{name}"))));
    }
    assert_eq!((world.server.cuts.len(), world.server.node.deadline()), (0, at(200)));
    assert!(world.server.node.status().puts_cut_off);
    for (now, cuts, next) in [(200, 0, at(300)), (300, 1, None)] {
        world.server.now.monotonic = Duration::from_millis(now);
        let mut deliveries = Vec::new();
        world.server.step([Event::Tick], &mut deliveries);
        assert!(world.server.node.is_behind(), "so the tree will be asked for");
        world.server.settle(None, &mut deliveries);
        assert_eq!(world.server.cuts.len(), cuts);
        assert!(next.is_none() || world.server.node.deadline() == next);
    }
}
