//! What the server says to clients, as bytes.

use bytes::{Bytes, BytesMut};
use jute::data::Stat;
use jute::frame::write_frame;
use jute::proto::{
    ConnectResponse, ConnectTail, Create2Response, CreateResponse, GetDataResponse, ReplyHeader,
    SetDataResponse,
};
use jute::{ErrorCode, EventType, Jute, Ustring};

use crate::node::ReplyBody;
use crate::pipeline::read::write_notification;
use crate::session::SessionId;
use crate::zab::Zxid;

/// A header, and what `body` writes behind it.
fn write_reply(out: &mut BytesMut, header: ReplyHeader, body: impl FnOnce(&mut BytesMut)) {
    write_frame(out, |out| {
        header.encode(out);
        body(out);
    });
}

/// A header alone.
pub(super) fn write_header(out: &mut BytesMut, xid: i32, zxid: Zxid, error: Option<ErrorCode>) {
    let err = error.map_or(0, ErrorCode::code);
    write_reply(out, ReplyHeader { xid, zxid: zxid.0, err }, |_| {});
}

/// A record that is answered out of band: its zxid is 0.
pub(super) fn write_record(out: &mut BytesMut, xid: i32, record: &impl Jute) {
    write_reply(out, ReplyHeader { xid, zxid: 0, err: 0 }, |out| record.encode(out));
}

/// The answer to a write.
pub(super) fn write_answer(
    out: &mut BytesMut,
    xid: i32,
    zxid: Zxid,
    error: Option<ErrorCode>,
    body: ReplyBody,
) {
    let err = error.map_or(0, ErrorCode::code);
    write_reply(out, ReplyHeader { xid, zxid: zxid.0, err }, |out| match body {
        ReplyBody::Empty => {}
        ReplyBody::Path(path) => CreateResponse { path }.encode(out),
        ReplyBody::PathStat(path, stat) => Create2Response { path, stat }.encode(out),
        ReplyBody::Stat(stat) => SetDataResponse { stat }.encode(out),
        ReplyBody::DataStat(data, stat) => write_data(out, data, stat),
        ReplyBody::Multi(response) => response.encode(out),
    });
}

fn write_data(out: &mut BytesMut, data: Option<Bytes>, stat: Stat) {
    GetDataResponse { data, stat }.encode(out);
}

/// A notification's frame, the same for all who watch.
pub(super) fn notification(zxid: Zxid, event: EventType, path: Ustring) -> BytesMut {
    let mut out = BytesMut::new();
    write_notification(zxid, event, path, &mut out);
    out
}

/// The handshake's good end. `read_only`: whether this server is; `None` for clients who don't know such servers.
pub(super) fn write_connected(
    out: &mut BytesMut,
    session: SessionId,
    timeout_ms: i32,
    password: &[u8; 16],
    read_only: Option<bool>,
) {
    write_frame(out, |out| {
        let password = Some(Bytes::copy_from_slice(password));
        ConnectResponse { protocol_version: 0, timeout_ms, session_id: session.0, password }.encode(out);
        if let Some(read_only) = read_only {
            ConnectTail { read_only }.encode(out);
        }
    });
}

/// The handshake's other end: zeros say that the session has expired.
pub(super) fn write_expired(out: &mut BytesMut, has_tail: bool) {
    write_connected(out, SessionId(0), 0, &[0; 16], has_tail.then_some(false));
}
