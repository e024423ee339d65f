//! Frames in words.

use std::fmt::Debug;

use bytes::{Buf as _, Bytes};
use jute::multi::{MultiResponse, MultiResult};
use jute::proto::{
    Create2Response, CreateResponse, ErrorResponse, ExistsResponse, GetAclResponse,
    GetAllChildrenNumberResponse, GetChildren2Response, GetChildrenResponse, GetDataResponse,
    GetEphemeralsResponse, ReplyHeader, SetAclResponse, SetDataResponse, SetSaslResponse, SyncResponse,
    WatcherEvent, WhoAmIResponse,
};
use jute::{ErrorCode, EventType, Jute, Op};

use super::mask::Mask;

/// A reply to `op`: its header on a line, its body on the next.
pub(super) fn reply(header: ReplyHeader, body: Bytes, op: i32, mask: &Mask) -> Vec<String> {
    let err = match ErrorCode::from_code(header.err) {
        Some(error) => error.to_string(),
        None => header.err.to_string(),
    };
    let head = format!("reply xid={} zxid={} err={err}", header.xid, mask.zxid(header.zxid));
    let body = if body.is_empty() { None } else { Some(self::body(op, body, mask)) };
    [Some(head), body].into_iter().flatten().collect()
}

/// An event. Its header stands on a line of its own, since servers' versions differ in it.
pub(super) fn event(header: ReplyHeader, body: &Bytes, mask: &Mask) -> Vec<String> {
    let what = match WatcherEvent::from_bytes(body) {
        Ok(event) if event.encoded_len() == body.len() => {
            let kind = EventType::from_code(event.event_type);
            let kind = kind.map_or_else(|| event.event_type.to_string(), |kind| format!("{kind:?}"));
            format!("event {kind} state={} {}", event.state, event.path)
        }
        _ => format!("event {}", raw(body)),
    };
    vec![what, format!("  event header zxid={} err={}", mask.zxid(header.zxid), header.err)]
}

fn body(op: i32, body: Bytes, mask: &Mask) -> String {
    let Some(op) = Op::from_code(op) else {
        return raw(&body);
    };
    match op {
        Op::Create => record::<CreateResponse>(&body, |_| {}),
        Op::Create2 | Op::CreateContainer | Op::CreateTtl => {
            record::<Create2Response>(&body, |it| mask.stat(&mut it.stat))
        }
        Op::Exists => record::<ExistsResponse>(&body, |it| mask.stat(&mut it.stat)),
        Op::GetData | Op::Reconfig => record::<GetDataResponse>(&body, |it| mask.stat(&mut it.stat)),
        Op::SetData => record::<SetDataResponse>(&body, |it| mask.stat(&mut it.stat)),
        Op::GetAcl => record::<GetAclResponse>(&body, |it| mask.stat(&mut it.stat)),
        Op::SetAcl => record::<SetAclResponse>(&body, |it| mask.stat(&mut it.stat)),
        Op::GetChildren => record::<GetChildrenResponse>(&body, |it| it.children.sort()),
        Op::GetChildren2 => record::<GetChildren2Response>(&body, |it| {
            it.children.sort();
            mask.stat(&mut it.stat);
        }),
        Op::Sync => record::<SyncResponse>(&body, |_| {}),
        Op::Multi | Op::MultiRead => record::<MultiResponse>(&body, |it| {
            it.results.iter_mut().for_each(|result| mask_result(result, mask));
        }),
        Op::GetEphemerals => record::<GetEphemeralsResponse>(&body, |it| it.ephemerals.sort()),
        Op::GetAllChildrenNumber => record::<GetAllChildrenNumberResponse>(&body, |_| {}),
        Op::AddWatch => record::<ErrorResponse>(&body, |_| {}),
        Op::WhoAmI => record::<WhoAmIResponse>(&body, |it| {
            it.client_info.sort_by(|a, b| (&a.auth_scheme, &a.user).cmp(&(&b.auth_scheme, &b.user)));
        }),
        Op::Sasl => record::<SetSaslResponse>(&body, |_| {}),
        _ => raw(&body),
    }
}

fn mask_result(result: &mut MultiResult, mask: &Mask) {
    match result {
        MultiResult::Create2(body) => mask.stat(&mut body.stat),
        MultiResult::SetData(stat) => mask.stat(stat),
        MultiResult::GetData(body) => mask.stat(&mut body.stat),
        MultiResult::GetChildren(body) => body.children.sort(),
        MultiResult::Create(_) | MultiResult::Delete | MultiResult::Check | MultiResult::Error(_) => {}
    }
}

/// `bytes` as a record, masked, if they are exactly its encoding.
fn record<R: Jute + Debug>(bytes: &Bytes, mask: impl FnOnce(&mut R)) -> String {
    match R::from_bytes(bytes) {
        Ok(mut record) if record.to_bytes() == *bytes => {
            mask(&mut record);
            format!("{record:?}")
        }
        _ => raw(bytes),
    }
}

pub(super) fn raw(bytes: &Bytes) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{} bytes {hex}", bytes.len())
}

/// Splits a frame behind its header; what has none is returned whole.
pub(super) fn split(mut frame: Bytes) -> Result<(ReplyHeader, Bytes), Bytes> {
    match ReplyHeader::from_bytes(&frame) {
        Ok(header) => {
            frame.advance(header.encoded_len());
            Ok((header, frame))
        }
        Err(_) => Err(frame),
    }
}
