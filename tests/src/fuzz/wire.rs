//! Records of the wire and of the log: no bytes panic, and what decodes encodes to bytes that decode to the same.

use std::fmt::Debug;

use bytes::Bytes;
use jute::data::{Acl, ClientInfo, StatPersisted};
use jute::multi::{MultiRequest, MultiResponse};
use jute::persistence::FileHeader;
use jute::proto::*;
use jute::quorum::{LearnerInfo, QuorumAuthPacket, QuorumPacket};
use jute::txn::{Txn, TxnBody};
use jute::{Jute, Op};

/// What clients send: a handshake, or a request behind its header.
pub(super) fn requests(input: &[u8]) {
    let frame = Bytes::copy_from_slice(input);
    stable::<ConnectRequest>(&frame);
    let Ok(header) = RequestHeader::from_bytes(&frame) else { return };
    let Some(op) = Op::from_code(header.op) else { return };
    let body = frame.slice(8..);
    match op {
        Op::Create | Op::Create2 | Op::CreateContainer => stable::<CreateRequest>(&body),
        Op::CreateTtl => stable::<CreateTtlRequest>(&body),
        Op::Delete => stable::<DeleteRequest>(&body),
        Op::DeleteContainer => stable::<DeleteContainerRequest>(&body),
        Op::Exists => stable::<ExistsRequest>(&body),
        Op::GetData => stable::<GetDataRequest>(&body),
        Op::SetData => stable::<SetDataRequest>(&body),
        Op::GetAcl => stable::<GetAclRequest>(&body),
        Op::SetAcl => stable::<SetAclRequest>(&body),
        Op::GetChildren => stable::<GetChildrenRequest>(&body),
        Op::GetChildren2 => stable::<GetChildren2Request>(&body),
        Op::Sync => stable::<SyncRequest>(&body),
        Op::Check => stable::<CheckVersionRequest>(&body),
        Op::Multi | Op::MultiRead => stable::<MultiRequest>(&body),
        Op::Reconfig => stable::<ReconfigRequest>(&body),
        Op::CheckWatches => stable::<CheckWatchesRequest>(&body),
        Op::RemoveWatches => stable::<RemoveWatchesRequest>(&body),
        Op::Auth => stable::<AuthPacket>(&body),
        Op::SetWatches => stable::<SetWatches>(&body),
        Op::SetWatches2 => stable::<SetWatches2>(&body),
        Op::Sasl => stable::<GetSaslRequest>(&body),
        Op::GetEphemerals => stable::<GetEphemeralsRequest>(&body),
        Op::GetAllChildrenNumber => stable::<GetAllChildrenNumberRequest>(&body),
        Op::AddWatch => stable::<AddWatchRequest>(&body),
        Op::Ping | Op::WhoAmI | Op::CreateSession | Op::CloseSession | Op::Error => {}
    }
}

/// What servers send to clients, each record chosen by the first byte.
pub(super) fn replies(input: &[u8]) {
    let Some((choice, body)) = input.split_first() else { return };
    let body = Bytes::copy_from_slice(body);
    match choice % 16 {
        0 => stable::<ConnectResponse>(&body),
        1 => stable::<ReplyHeader>(&body),
        2 => stable::<CreateResponse>(&body),
        3 => stable::<Create2Response>(&body),
        4 => stable::<GetDataResponse>(&body),
        5 => stable::<GetChildrenResponse>(&body),
        6 => stable::<GetChildren2Response>(&body),
        7 => stable::<GetAclResponse>(&body),
        8 => stable::<MultiResponse>(&body),
        9 => stable::<WatcherEvent>(&body),
        10 => stable::<GetEphemeralsResponse>(&body),
        11 => stable::<WhoAmIResponse>(&body),
        12 => stable::<SetSaslResponse>(&body),
        13 => stable::<SyncResponse>(&body),
        14 => stable::<SetDataResponse>(&body),
        _ => stable::<GetAllChildrenNumberResponse>(&body),
    }
}

/// What logs and snapshots hold and servers say to each other, each record chosen by the first byte.
pub(super) fn records(input: &[u8]) {
    let Some((choice, body)) = input.split_first() else { return };
    let body = Bytes::copy_from_slice(body);
    match choice % 8 {
        0 => quorum_packet(&body),
        1 => stable::<QuorumAuthPacket>(&body),
        2 => stable::<FileHeader>(&body),
        3 => stable::<StatPersisted>(&body),
        4 => stable::<Vec<Acl>>(&body),
        5 => stable::<Vec<ClientInfo>>(&body),
        _ => txn(&body),
    }
}

fn quorum_packet(bytes: &Bytes) {
    stable::<QuorumPacket>(bytes);
    let packet = QuorumPacket::from_bytes(bytes);
    if let Some(data) = packet.ok().and_then(|packet| packet.data) {
        stable::<LearnerInfo>(&data);
        txn(&data);
    }
}

fn txn(bytes: &Bytes) {
    let Ok(txn) = Txn::from_bytes(bytes) else { return };
    if let TxnBody::Multi(multi) = &txn.body {
        for part in &multi.txns {
            if let Ok(body) = part.body()
                && is_clear(&body)
            {
                assert_eq!(body.to_sub_txn(part.txn_type).body().as_ref(), Ok(&body));
            }
        }
    }
    let encoded = txn.to_bytes();
    assert_eq!(encoded.len(), txn.encoded_len());
    if is_clear(&txn.body) {
        assert_eq!(Txn::from_bytes(&encoded).as_ref(), Ok(&txn));
    }
}

/// Paths without a character are none, but a fuzzer writes them: two of them take as much room as a digest.
fn is_clear(body: &TxnBody) -> bool {
    !matches!(body, TxnBody::CloseSession(Some(txn)) if txn.paths_to_delete.iter().any(|path| path.is_empty()))
}

/// What decodes encodes to as many bytes as it says, and they decode to the same.
fn stable<T: Jute + PartialEq + Debug>(bytes: &Bytes) {
    if let Ok(record) = T::from_bytes(bytes) {
        let encoded = record.to_bytes();
        assert_eq!(encoded.len(), record.encoded_len());
        assert_eq!(T::from_bytes(&encoded).as_ref(), Ok(&record));
    }
}
