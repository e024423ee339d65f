use jute::multi::{MultiResponse, MultiResult};
use jute::proto::*;
use jute::txn::{CreateSessionTxn, CreateTxn, Txn, TxnBody, TxnHeader};
use jute::{EventType, Ustring};
use proptest::prelude::*;

use super::*;

const ME: SessionId = SessionId(0x1001);
const CONNECTION: ConnectionId = ConnectionId { shard: 0, slot: 7, generation: 0 };

/// A tree, and one connection that reads it.
struct World {
    tree: Tree,
    watches: Mutex<Watches>,
    identities: Vec<Id>,
    schemes: Schemes,
}

impl World {
    /// `/a` with data and two children, `/null` without data, `/mine` an ephemeral, `/closed` of alice's.
    fn new() -> Self {
        let mut world = Self {
            tree: Tree::default(),
            watches: Mutex::default(),
            identities: vec![Id::new("ip", "127.0.0.1")],
            schemes: Schemes::default(),
        };
        world.apply(-10, TxnBody::CreateSession(CreateSessionTxn { timeout_ms: 1000 }));
        world.create("/a", Some("data"), Acl::open_unsafe(), false);
        world.create("/a/x", Some(""), Acl::open_unsafe(), false);
        world.create("/a/y", Some(""), Acl::open_unsafe(), false);
        world.create("/null", None, Acl::open_unsafe(), false);
        world.create("/mine", Some(""), Acl::open_unsafe(), true);
        let closed =
            vec![Acl::new(perms::ADMIN, "digest", "alice:hash"), Acl::new(perms::READ, "digest", "bob:hash")];
        world.create("/closed", Some("secret"), closed, false);
        world
    }

    fn create(&mut self, path: &str, data: Option<&'static str>, acl: Vec<Acl>, ephemeral: bool) {
        let data = data.map(|data| Bytes::from_static(data.as_bytes()));
        let txn = CreateTxn { path: path.into(), data, acl: acl.into(), ephemeral, parent_cversion: -1 };
        self.apply(1, TxnBody::Create(txn));
    }

    fn apply(&mut self, txn_type: i32, body: TxnBody) {
        let zxid = self.tree.last_zxid().0 + 1;
        let header = TxnHeader { client_id: ME.0, cxid: 0, zxid, time_ms: zxid, txn_type };
        self.tree.apply(&Txn { header, body, digest: None }, &mut Vec::new());
    }

    fn known_as(mut self, user: &str) -> Self {
        self.identities.push(Id::new("digest", user));
        self
    }

    fn frames(&self, op: Op, body: &Bytes) -> Vec<Bytes> {
        let who = Reader {
            connection: CONNECTION,
            session: ME,
            identities: &self.identities,
            schemes: &self.schemes,
        };
        let mut out = BytesMut::from(&b"what was there"[..]);
        answer(&self.tree, &self.watches, who, 42, op.code(), body, &mut out);
        let mut written = out.split_off(b"what was there".len());
        let mut frames = Vec::new();
        while !written.is_empty() {
            let len = i32::from_be_bytes(written[..4].try_into().unwrap());
            let frame = written.split_to(4 + usize::try_from(len).unwrap());
            frames.push(frame.freeze().slice(4..));
        }
        frames
    }

    /// The reply, after checking its header.
    fn read<T: Jute>(&self, op: Op, asked: &impl Jute) -> Result<T, ErrorCode> {
        let frames = self.frames(op, &asked.to_bytes());
        assert_eq!(frames.len(), 1);
        let input = &mut Input::new(&frames[0]);
        let header = ReplyHeader::decode(input).unwrap();
        assert_eq!((header.xid, header.zxid), (42, self.tree.last_zxid().0));
        if let Some(error) = ErrorCode::from_code(header.err) {
            assert_eq!(input.remaining(), 0, "a refusal has no record");
            return Err(error);
        }
        let record = T::decode(input).unwrap();
        assert_eq!(input.remaining(), 0);
        Ok(record)
    }

    fn get_data(&self, path: &str) -> Result<GetDataResponse, ErrorCode> {
        self.read(Op::GetData, &GetDataRequest { path: path.into(), watch: false })
    }

    fn watches(&self, path: &str, watcher_type: WatcherType) -> bool {
        let asked = CheckWatchesRequest { path: path.into(), watcher_type: watcher_type.code() };
        match self.read::<Nothing>(Op::CheckWatches, &asked) {
            Ok(_) => true,
            Err(ErrorCode::NoWatcher) => false,
            Err(other) => panic!("{other}"),
        }
    }
}

/// A reply without a record.
#[derive(Debug, PartialEq)]
struct Nothing;

impl Jute for Nothing {
    fn encode(&self, _: &mut BytesMut) {}
    fn decode(_: &mut Input<'_>) -> Result<Self, DecodeError> {
        Ok(Self)
    }
    fn encoded_len(&self) -> usize {
        0
    }
}

#[test]
fn data_comes_with_the_stat_and_null_stays_null() {
    let world = World::new();
    let response = world.get_data("/a").unwrap();
    assert_eq!(response.data.as_deref(), Some(&b"data"[..]));
    assert_eq!(response.stat, world.tree.find("/a").unwrap().stat());
    assert_eq!((response.stat.num_children, response.stat.cversion), (2, 2));
    assert_eq!(world.get_data("/null").unwrap().data, None);
}

#[test]
fn a_path_that_cannot_be_is_just_not_there() {
    let world = World::new();
    for path in ["/missing", "/a/", "a", "//", "/a\0"] {
        assert_eq!(world.get_data(path), Err(ErrorCode::NoNode), "{path:?}");
    }
    assert!(world.get_data("").is_ok(), "the root, as ZooKeeper has it");
}

#[test]
fn who_may_not_read_learns_nothing() {
    let world = World::new();
    let path = || Ustring::from("/closed");
    assert_eq!(world.get_data("/closed"), Err(ErrorCode::NoAuth));
    let exists = ExistsRequest { path: path(), watch: true };
    assert_eq!(world.read::<ExistsResponse>(Op::Exists, &exists), Err(ErrorCode::NoAuth));
    assert!(!world.watches("/closed", WatcherType::Any));
    let children = GetChildrenRequest { path: path(), watch: true };
    assert_eq!(world.read::<Nothing>(Op::GetChildren, &children), Err(ErrorCode::NoAuth));
    assert_eq!(world.read::<Nothing>(Op::GetChildren2, &children), Err(ErrorCode::NoAuth));
    let count = GetAllChildrenNumberRequest { path: path() };
    assert_eq!(world.read::<Nothing>(Op::GetAllChildrenNumber, &count), Err(ErrorCode::NoAuth));
    assert_eq!(world.read::<Nothing>(Op::GetAcl, &GetAclRequest { path: path() }), Err(ErrorCode::NoAuth));
}

#[test]
fn who_may_read_reads() {
    let world = World::new().known_as("bob:hash");
    assert_eq!(world.get_data("/closed").unwrap().data.as_deref(), Some(&b"secret"[..]));
}

#[test]
fn exists_watches_what_is_not_there_yet() {
    let world = World::new();
    let asked = ExistsRequest { path: "/missing".into(), watch: true };
    assert_eq!(world.read::<ExistsResponse>(Op::Exists, &asked), Err(ErrorCode::NoNode));
    assert!(world.watches("/missing", WatcherType::Data));
    let asked = ExistsRequest { path: "/a\0".into(), watch: true };
    assert_eq!(world.read::<ExistsResponse>(Op::Exists, &asked), Err(ErrorCode::BadArguments));
}

#[test]
fn other_reads_watch_only_what_they_find() {
    let world = World::new();
    let data = |path: &str| GetDataRequest { path: path.into(), watch: true };
    world.read::<GetDataResponse>(Op::GetData, &data("/missing")).unwrap_err();
    world.read::<GetDataResponse>(Op::GetData, &data("/a")).unwrap();
    assert!(!world.watches("/missing", WatcherType::Any));
    assert!(world.watches("/a", WatcherType::Data) && !world.watches("/a", WatcherType::Children));
    let children = GetChildrenRequest { path: "/".into(), watch: true };
    world.read::<GetChildrenResponse>(Op::GetChildren, &children).unwrap();
    assert!(world.watches("/", WatcherType::Children) && !world.watches("/", WatcherType::Data));
}

#[test]
fn children_come_with_or_without_the_stat() {
    let world = World::new();
    let asked = GetChildrenRequest { path: "/a".into(), watch: false };
    let mut plain: GetChildrenResponse = world.read(Op::GetChildren, &asked).unwrap();
    let with_stat: GetChildren2Response = world.read(Op::GetChildren2, &asked).unwrap();
    assert_eq!(plain.children, with_stat.children);
    assert_eq!(with_stat.stat, world.tree.find("/a").unwrap().stat());
    plain.children.sort();
    assert_eq!(plain.children, ["x", "y"]);
}

#[test]
fn descendants_are_counted_at_every_depth() {
    let world = World::new();
    let count = |path: &str| {
        let asked = GetAllChildrenNumberRequest { path: path.into() };
        world.read::<GetAllChildrenNumberResponse>(Op::GetAllChildrenNumber, &asked).unwrap().total_number
    };
    assert_eq!((count("/a"), count("/a/x"), count("/")), (2, 0, 9));
}

#[test]
fn hashes_are_for_administrators() {
    let acl = |user: &str| {
        let world = World::new().known_as(user);
        let asked = GetAclRequest { path: "/closed".into() };
        let response: GetAclResponse = world.read(Op::GetAcl, &asked).unwrap();
        response.acl.into_iter().map(|entry| entry.id.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(acl("bob:hash"), ["alice:x", "bob:x"]);
    assert_eq!(acl("alice:hash"), ["alice:hash", "bob:hash"]);
}

#[test]
fn ephemerals_are_the_sessions_own_by_plain_prefix() {
    let world = World::new();
    let ephemerals = |prefix: Option<&str>| {
        let asked = prefix.map(Ustring::from);
        world.read::<GetEphemeralsResponse>(Op::GetEphemerals, &asked).unwrap().ephemerals
    };
    for all in [None, Some(""), Some("/"), Some(" / "), Some("/mi")] {
        assert_eq!(ephemerals(all), ["/mine"], "{all:?}");
    }
    assert!(ephemerals(Some("/a")).is_empty());
}

#[test]
fn each_part_of_a_multi_read_stands_for_itself() {
    let world = World::new();
    let data = |path: &str| MultiOp::GetData(GetDataRequest { path: path.into(), watch: true });
    let children = MultiOp::GetChildren(GetChildrenRequest { path: "/a/x".into(), watch: true });
    let asked = MultiRequest { ops: vec![data("/a"), data("/missing"), data("/closed"), children] };
    let response: MultiResponse = world.read(Op::MultiRead, &asked).unwrap();
    assert_eq!(
        response.results,
        [
            MultiResult::GetData(world.get_data("/a").unwrap()),
            MultiResult::Error(ErrorCode::NoNode.code()),
            MultiResult::Error(ErrorCode::NoAuth.code()),
            MultiResult::GetChildren(GetChildrenResponse { children: vec![] }),
        ]
    );
    assert!(!world.watches("/a", WatcherType::Any));
    let writes =
        MultiRequest { ops: vec![MultiOp::Delete(DeleteRequest { path: "/a".into(), version: -1 })] };
    let frames = world.frames(Op::MultiRead, &writes.to_bytes());
    let input = &mut Input::new(&frames[0]);
    assert_eq!(ReplyHeader::decode(input).unwrap().err, ErrorCode::MarshallingError.code());
    assert_eq!(MultiResponse::decode(input).unwrap().results, [], "Java answers with the list it has begun");
    assert_eq!(input.remaining(), 0);
}

#[test]
fn a_watch_that_stays_is_set_anywhere_and_removed_by_its_kind() {
    let world = World::new();
    let add = |mode| AddWatchRequest { path: "/closed/missing".into(), mode };
    let added: ErrorResponse = world.read(Op::AddWatch, &add(1)).unwrap();
    assert_eq!(added.err, 0);
    assert_eq!(world.read::<ErrorResponse>(Op::AddWatch, &add(2)), Err(ErrorCode::MarshallingError));
    assert!(world.watches("/closed/missing", WatcherType::PersistentRecursive));
    let remove = |kind: i32| RemoveWatchesRequest { path: "/closed/missing".into(), watcher_type: kind };
    let removed = |kind| world.read::<Nothing>(Op::RemoveWatches, &remove(kind));
    assert_eq!(removed(9), Err(ErrorCode::MarshallingError));
    assert_eq!(removed(WatcherType::Data.code()), Err(ErrorCode::NoWatcher));
    assert_eq!(removed(WatcherType::PersistentRecursive.code()), Ok(Nothing));
    assert_eq!(removed(WatcherType::Any.code()), Err(ErrorCode::NoWatcher));
}

#[test]
fn events_that_were_missed_come_before_the_answer() {
    let world = World::new();
    let asked = SetWatches {
        relative_zxid: 1,
        data_watches: vec!["/a".into(), "/gone".into()],
        exist_watches: vec!["/null".into(), "/missing".into()],
        child_watches: vec!["/a".into(), "/a/x".into()],
    };
    let mut frames = world.frames(Op::SetWatches, &asked.to_bytes());
    let reply = frames.pop().unwrap();
    assert_eq!(ReplyHeader::from_bytes(&reply).unwrap().xid, 42);
    assert_eq!(reply.len(), 16);

    let events: Vec<_> = frames.iter().map(event).collect();
    let expected = [
        (EventType::NodeDataChanged, "/a"),
        (EventType::NodeDeleted, "/gone"),
        (EventType::NodeCreated, "/null"),
        (EventType::NodeChildrenChanged, "/a"),
        (EventType::NodeChildrenChanged, "/a/x"),
    ];
    assert_eq!(events, expected.map(|(event, path)| (event.code(), path.to_owned())));
    assert!(world.watches("/missing", WatcherType::Data));
}

fn event(frame: &Bytes) -> (i32, String) {
    let input = &mut Input::new(frame);
    let header = ReplyHeader::decode(input).unwrap();
    assert_eq!((header.xid, header.zxid, header.err), (-1, -1, 0));
    let event = WatcherEvent::decode(input).unwrap();
    assert_eq!(event.state, 3);
    (event.event_type, event.path.to_string())
}

#[test]
fn persistent_watches_are_brought_along_without_events() {
    let world = World::new();
    let asked = SetWatches2 {
        persistent_watches: vec!["/a".into()],
        persistent_recursive_watches: vec!["/null".into()],
        ..SetWatches2::default()
    };
    assert_eq!(world.frames(Op::SetWatches2, &asked.to_bytes()).len(), 1);
    assert!(world.watches("/a", WatcherType::Persistent));
    assert!(world.watches("/null", WatcherType::PersistentRecursive));
}

#[test]
fn a_client_is_told_who_it_is() {
    let world = World::new().known_as("bob:hash");
    let who: WhoAmIResponse = world.read(Op::WhoAmI, &Nothing).unwrap();
    let users: Vec<_> = who.client_info.iter().map(|info| &*info.user).collect();
    assert_eq!(users, ["127.0.0.1", "bob"]);
}

#[test]
fn a_ping_is_answered_as_one_whatever_its_xid() {
    let frames = World::new().frames(Op::Ping, &Bytes::new());
    let header = ReplyHeader::from_bytes(&frames[0]).unwrap();
    assert_eq!((header.xid, header.err, frames[0].len()), (-2, 0, 16));
}

#[test]
fn bytes_that_are_no_record_are_refused() {
    let world = World::new();
    for op in [
        Op::GetData,
        Op::Exists,
        Op::GetChildren,
        Op::GetChildren2,
        Op::GetAllChildrenNumber,
        Op::GetAcl,
        Op::GetEphemerals,
        Op::MultiRead,
        Op::AddWatch,
        Op::CheckWatches,
        Op::RemoveWatches,
        Op::SetWatches,
        Op::SetWatches2,
    ] {
        let frames = world.frames(op, &Bytes::from_static(b"\0\0\0"));
        let header = ReplyHeader::from_bytes(&frames[0]).unwrap();
        assert_eq!(header.err, ErrorCode::MarshallingError.code(), "{op:?}");
    }
    let null_path = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0]);
    let header = ReplyHeader::from_bytes(&world.frames(Op::GetData, &null_path)[0]).unwrap();
    assert_eq!(header.err, ErrorCode::MarshallingError.code());
}

proptest! {
    #[test]
    fn any_bytes_get_one_reply(
        op in prop::sample::select(Op::ALL),
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            ("/[a-z/]{0,4}", prop::collection::vec(any::<u8>(), 0..9))
                .prop_map(|(path, rest)| [&Ustring::from(path).to_bytes()[..], &rest].concat()),
        ],
    ) {
        let world = World::new();
        let frames = world.frames(op, &Bytes::from(body));
        let replies = frames.iter().filter(|frame| ReplyHeader::from_bytes(frame).unwrap().xid != -1);
        prop_assert_eq!(replies.count(), 1);
    }
}
