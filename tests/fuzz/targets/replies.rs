//! What servers send, each record chosen by the first byte.
#![no_main]

use bytes::Bytes;
use fuzz::stable;
use jute::multi::MultiResponse;
use jute::proto::*;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, body)) = bytes.split_first() else { return };
    let body = Bytes::copy_from_slice(body);
    match choice % 14 {
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
        _ => stable::<SyncResponse>(&body),
    }
});
