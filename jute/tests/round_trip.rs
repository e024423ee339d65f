//! Every record survives encoding, and no bytes make a decoder panic.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use jute::data::{Acl, AclList, ClientInfo, Id, Stat, StatPersisted};
use jute::multi::{MultiOp, MultiRequest, MultiResponse, MultiResult};
use jute::persistence::FileHeader;
use jute::proto::*;
use jute::quorum::{LastIdentities, LearnerInfo, QuorumAuthPacket, QuorumPacket};
use jute::txn::*;
use jute::{Jute, Op, Reader, Ustring};
use proptest::collection::vec;
use proptest::prelude::*;

/// A value of any record, field by field.
trait Any: Sized {
    fn any() -> BoxedStrategy<Self>;
}

macro_rules! any_primitive {
    ($($type:ty => $strategy:expr;)*) => {$(
        impl Any for $type {
            fn any() -> BoxedStrategy<Self> {
                $strategy.boxed()
            }
        }
    )*};
}

any_primitive! {
    i32 => any::<i32>();
    i64 => any::<i64>();
    bool => any::<bool>();
    Bytes => vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    Ustring => ".{0,20}".prop_map(Ustring::from);
}

impl<T: Any + Clone + std::fmt::Debug + 'static> Any for Option<T> {
    fn any() -> BoxedStrategy<Self> {
        proptest::option::of(T::any()).boxed()
    }
}

impl<T: Any + Clone + std::fmt::Debug + 'static> Any for Vec<T> {
    fn any() -> BoxedStrategy<Self> {
        vec(T::any(), 0..4).boxed()
    }
}

impl<T: Any + Clone + std::fmt::Debug + 'static> Any for Arc<[T]> {
    fn any() -> BoxedStrategy<Self> {
        Vec::any().prop_map(Self::from).boxed()
    }
}

impl Any for AclList {
    fn any() -> BoxedStrategy<Self> {
        prop_oneof![Just(Self::OPEN_UNSAFE), Vec::any().prop_map(Self::from)].boxed()
    }
}

/// Names the fields of each record once: the strategy that fills them and the test that round-trips them follow.
macro_rules! records {
    ($( $test:ident $record:ident { $($field:ident),* } )*) => {
        $(
            impl Any for $record {
                fn any() -> BoxedStrategy<Self> {
                    let strategy = Just($record::default());
                    $(
                        let strategy = (strategy, Any::any()).prop_map(|(mut record, $field)| {
                            record.$field = $field;
                            record
                        });
                    )*
                    strategy.boxed()
                }
            }
        )*

        proptest! {
            $(
                #[test]
                fn $test(record in $record::any()) {
                    survives(&record)?;
                }
            )*

            #[test]
            fn no_bytes_make_a_record_panic(bytes in vec(any::<u8>(), 0..200)) {
                let bytes = Bytes::from(bytes);
                $( let _ = $record::from_bytes(&bytes); )*
                let _ = MultiRequest::from_bytes(&bytes);
                let _ = MultiResponse::from_bytes(&bytes);
                let _ = Txn::from_bytes(&bytes);
                for op in Op::ALL {
                    let _ = TxnBody::decode(op.code(), &mut Reader::new(&bytes));
                }
            }
        }
    };
}

records! {
    id Id { scheme, id }
    acl Acl { perms, id }
    stat Stat { czxid, mzxid, ctime, mtime, version, cversion, aversion, ephemeral_owner, data_length, num_children, pzxid }
    stat_persisted StatPersisted { czxid, mzxid, ctime, mtime, version, cversion, aversion, ephemeral_owner, pzxid }
    client_info ClientInfo { auth_scheme, user }
    connect_request ConnectRequest { protocol_version, last_zxid_seen, timeout_ms, session_id, password }
    connect_response ConnectResponse { protocol_version, timeout_ms, session_id, password }
    connect_tail ConnectTail { read_only }
    request_header RequestHeader { xid, op }
    reply_header ReplyHeader { xid, zxid, err }
    multi_header MultiHeader { op, done, err }
    auth_packet AuthPacket { auth_type, scheme, auth }
    set_watches SetWatches { relative_zxid, data_watches, exist_watches, child_watches }
    set_watches2 SetWatches2 { relative_zxid, data_watches, exist_watches, child_watches, persistent_watches, persistent_recursive_watches }
    get_data_request GetDataRequest { path, watch }
    get_data_response GetDataResponse { data, stat }
    set_data_request SetDataRequest { path, data, version }
    set_data_response SetDataResponse { stat }
    reconfig_request ReconfigRequest { joining_servers, leaving_servers, new_members, cur_config_id }
    get_sasl_request GetSaslRequest { token }
    set_sasl_response SetSaslResponse { token }
    create_request CreateRequest { path, data, acl, flags }
    create_ttl_request CreateTtlRequest { path, data, acl, flags, ttl_ms }
    create_response CreateResponse { path }
    create2_response Create2Response { path, stat }
    delete_request DeleteRequest { path, version }
    delete_container_request DeleteContainerRequest { path }
    get_children_request GetChildrenRequest { path, watch }
    get_children_response GetChildrenResponse { children }
    get_children2_request GetChildren2Request { path, watch }
    get_children2_response GetChildren2Response { children, stat }
    get_all_children_number_request GetAllChildrenNumberRequest { path }
    get_all_children_number_response GetAllChildrenNumberResponse { total_number }
    check_version_request CheckVersionRequest { path, version }
    sync_request SyncRequest { path }
    sync_response SyncResponse { path }
    get_acl_request GetAclRequest { path }
    get_acl_response GetAclResponse { acl, stat }
    set_acl_request SetAclRequest { path, acl, version }
    set_acl_response SetAclResponse { stat }
    add_watch_request AddWatchRequest { path, mode }
    watcher_event WatcherEvent { event_type, state, path }
    error_response ErrorResponse { err }
    exists_request ExistsRequest { path, watch }
    exists_response ExistsResponse { stat }
    check_watches_request CheckWatchesRequest { path, watcher_type }
    remove_watches_request RemoveWatchesRequest { path, watcher_type }
    get_ephemerals_request GetEphemeralsRequest { prefix_path }
    get_ephemerals_response GetEphemeralsResponse { ephemerals }
    who_am_i_response WhoAmIResponse { client_info }
    learner_info LearnerInfo { server_id, protocol_version, config_version }
    quorum_packet QuorumPacket { packet_type, zxid, data, authinfo }
    quorum_auth_packet QuorumAuthPacket { magic, status, token }
    file_header FileHeader { magic, version, dbid }
    txn_header TxnHeader { client_id, cxid, zxid, time_ms, txn_type }
    txn_digest TxnDigest { version, tree_digest }
    create_txn_v0 CreateTxnV0 { path, data, acl, ephemeral }
    create_txn CreateTxn { path, data, acl, ephemeral, parent_cversion }
    create_ttl_txn CreateTtlTxn { path, data, acl, parent_cversion, ttl_ms }
    create_container_txn CreateContainerTxn { path, data, acl, parent_cversion }
    delete_txn DeleteTxn { path }
    set_data_txn SetDataTxn { path, data, version }
    check_version_txn CheckVersionTxn { path, version }
    set_acl_txn SetAclTxn { path, acl, version }
    create_session_txn CreateSessionTxn { timeout_ms }
    close_session_txn CloseSessionTxn { paths_to_delete }
    error_txn ErrorTxn { err }
    sub_txn SubTxn { txn_type, data }
    multi_txn MultiTxn { txns }
}

fn survives<T: Jute + PartialEq + std::fmt::Debug>(record: &T) -> Result<(), TestCaseError> {
    let bytes = record.to_bytes();
    prop_assert_eq!(bytes.len(), record.encoded_len());

    let mut input = Reader::new(&bytes);
    prop_assert_eq!(&T::decode(&mut input)?, record);
    prop_assert_eq!(input.remaining(), 0);

    // Whatever is missing, the decoder says so.
    for end in 0..bytes.len() {
        prop_assert!(T::from_bytes(&bytes.slice(..end)).is_err(), "{end} of {} bytes suffice", bytes.len());
    }
    Ok(())
}

fn any_write() -> BoxedStrategy<MultiOp> {
    prop_oneof![
        Any::any().prop_map(MultiOp::Create),
        Any::any().prop_map(MultiOp::Create2),
        Any::any().prop_map(MultiOp::CreateContainer),
        Any::any().prop_map(MultiOp::CreateTtl),
        Any::any().prop_map(MultiOp::Delete),
        Any::any().prop_map(MultiOp::SetData),
        Any::any().prop_map(MultiOp::Check),
    ]
    .boxed()
}

fn any_read() -> BoxedStrategy<MultiOp> {
    prop_oneof![Any::any().prop_map(MultiOp::GetData), Any::any().prop_map(MultiOp::GetChildren)].boxed()
}

fn any_result() -> BoxedStrategy<MultiResult> {
    prop_oneof![
        Any::any().prop_map(MultiResult::Create),
        Any::any().prop_map(MultiResult::Create2),
        Just(MultiResult::Delete),
        Any::any().prop_map(MultiResult::SetData),
        Just(MultiResult::Check),
        Any::any().prop_map(MultiResult::GetData),
        Any::any().prop_map(MultiResult::GetChildren),
        Any::any().prop_map(MultiResult::Error),
    ]
    .boxed()
}

fn any_body() -> BoxedStrategy<(i32, TxnBody)> {
    let typed = |op: Op| move |body| (op.code(), body);
    prop_oneof![
        Any::any().prop_map(TxnBody::CreateSession).prop_map(typed(Op::CreateSession)),
        Any::any().prop_map(|txn| TxnBody::CloseSession(Some(txn))).prop_map(typed(Op::CloseSession)),
        Any::any().prop_map(TxnBody::Create).prop_map(typed(Op::Create2)),
        Any::any().prop_map(TxnBody::CreateTtl).prop_map(typed(Op::CreateTtl)),
        Any::any().prop_map(TxnBody::CreateContainer).prop_map(typed(Op::CreateContainer)),
        Any::any().prop_map(TxnBody::Delete).prop_map(typed(Op::DeleteContainer)),
        Any::any().prop_map(TxnBody::SetData).prop_map(typed(Op::SetData)),
        Any::any().prop_map(TxnBody::Reconfig).prop_map(typed(Op::Reconfig)),
        Any::any().prop_map(TxnBody::SetAcl).prop_map(typed(Op::SetAcl)),
        Any::any().prop_map(TxnBody::CheckVersion).prop_map(typed(Op::Check)),
        Any::any().prop_map(TxnBody::Multi).prop_map(typed(Op::Multi)),
        Any::any().prop_map(TxnBody::Error).prop_map(typed(Op::Error)),
    ]
    .boxed()
}

proptest! {
    #[test]
    fn multi_request(ops in prop_oneof![vec(any_write(), 0..5), vec(any_read(), 0..5)]) {
        survives(&MultiRequest { ops })?;
    }

    #[test]
    fn multi_response(results in vec(any_result(), 0..5)) {
        survives(&MultiResponse { results })?;
    }

    #[test]
    fn reads_and_writes_do_not_mix_in_a_multi(write in any_write(), read in any_read()) {
        let bytes = MultiRequest { ops: vec![write, read] }.to_bytes();
        prop_assert!(MultiRequest::from_bytes(&bytes).is_err());
    }

    #[test]
    fn txn((txn_type, body) in any_body(), header in TxnHeader::any(), digest in Option::<TxnDigest>::any()) {
        let txn = Txn { header: TxnHeader { txn_type, ..header }, body, digest };
        let mut bytes = BytesMut::new();
        txn.encode(&mut bytes);
        prop_assert_eq!(bytes.len(), txn.encoded_len());
        prop_assert_eq!(Txn::from_bytes(&bytes.freeze())?, txn);
    }
}

#[test]
fn a_count_that_promises_more_than_came_allocates_nothing() {
    let bytes = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    assert!(GetChildrenResponse::from_bytes(&bytes).is_err());
}

#[test]
fn null_is_not_empty() {
    let null = GetSaslRequest { token: None }.to_bytes();
    let empty = GetSaslRequest { token: Some(Bytes::new()) }.to_bytes();
    assert_eq!(&null[..], [0xff; 4]);
    assert_eq!(&empty[..], [0; 4]);
    assert_eq!(GetSaslRequest::from_bytes(&null).expect("null decodes").token, None);
    assert_eq!(GetSaslRequest::from_bytes(&empty).expect("empty decodes").token, Some(Bytes::new()));
}

#[test]
fn an_acl_list_is_a_vector_and_open_however_it_came() {
    let (open, read) = (Acl::open_unsafe(), Acl::read_unsafe());
    let same = [open.clone(), read.clone(), Vec::new(), [open.clone(), read.clone()].concat()];
    for entries in same {
        let (list, encoded) = (AclList::from(entries.clone()), entries.to_bytes());
        assert_eq!(*list, *entries);
        assert_eq!((list.to_bytes(), list.encoded_len()), (encoded.clone(), encoded.len()));
        let decoded = AclList::from_bytes(&encoded).unwrap();
        assert_eq!(decoded, list);
        assert_eq!(decoded.is_open(), entries == open);
    }
    let null = Bytes::from_static(&[0xff; 4]);
    assert!(AclList::from_bytes(&null).unwrap().is_empty(), "a null vector is an empty one");
}

#[test]
fn an_acl_whose_name_is_null_is_as_kazoo_writes_it() {
    let kazoo =
        Bytes::from_static(&[0, 0, 0, 31, 0, 0, 0, 4, b'a', b'u', b't', b'h', 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(Acl::from_bytes(&kazoo).expect("decodes"), Acl::new(31, "auth", ""));
}

#[test]
fn a_string_that_is_no_utf8_reads_as_java_reads_it() {
    let bytes = Bytes::from_static(&[0, 0, 0, 3, b'/', 0xff, b'a']);
    assert_eq!(SyncRequest::from_bytes(&bytes).expect("decodes").path, "/\u{fffd}a");
}

#[test]
fn buffers_are_slices_of_the_frame() {
    let bytes =
        SetDataRequest { path: "/a".into(), data: Some(Bytes::from_static(b"value")), version: 1 }.to_bytes();
    let data = SetDataRequest::from_bytes(&bytes).expect("decodes").data.expect("has data");
    let frame = bytes.as_ptr_range();
    assert!(frame.contains(&data.as_ptr()));
}

#[test]
fn a_create_without_the_parents_cversion_is_an_old_one() {
    let old = CreateTxnV0 { path: "/a".into(), data: None, acl: AclList::OPEN_UNSAFE, ephemeral: true };
    let body = TxnBody::decode(Op::Create.code(), &mut Reader::new(&old.to_bytes())).expect("decodes");
    let TxnBody::Create(txn) = body else { panic!("{body:?} is no create") };
    assert_eq!((txn.path, txn.ephemeral, txn.parent_cversion), (old.path, true, -1));
}

proptest! {
    /// Whatever came before it, and wherever the stream ends.
    #[test]
    fn a_stream_of_quorum_packets_is_what_each_is_alone(
        packets in vec((QuorumPacket::any(), 1..3_usize), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let packets: Vec<_> = packets.iter().flat_map(|(packet, times)| vec![packet.clone(); *times]).collect();
        let mut stream = BytesMut::new();
        packets.iter().for_each(|packet| packet.encode(&mut stream));
        let whole = stream.freeze();
        let mut last = LastIdentities::default();
        for end in [whole.len(), cut.index(whole.len() + 1)] {
            let bytes = whole.slice(..end);
            let (mut next, mut alone) = (Reader::new(&bytes), Reader::new(&bytes));
            while alone.remaining() > 0 {
                let expected = QuorumPacket::decode(&mut alone);
                prop_assert_eq!(&QuorumPacket::decode_next(&mut next, &mut last), &expected);
                if expected.is_err() {
                    break;
                }
                prop_assert_eq!(next.remaining(), alone.remaining());
            }
        }
    }
}
