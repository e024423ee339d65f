//! What clients send: no bytes panic, and what decodes encodes to bytes that decode to the same.
#![no_main]

use bytes::Bytes;
use fuzz::stable;
use jute::multi::MultiRequest;
use jute::proto::*;
use jute::{Jute, Op};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let frame = Bytes::copy_from_slice(bytes);
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
});
