//! What the callers' tasks hand to the connection's task, and what comes back.

use bytes::{BufMut, Bytes, BytesMut};
use jute::{Jute, Op, Ustring, WatcherType};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::error::Error;
use crate::hosts::Host;
use crate::secret::Secret;
use crate::watch::{Registration, WatchId};

/// Where the answer to a request goes.
pub(crate) type ReplySender = oneshot::Sender<Result<Reply, Error>>;

/// Everything the connection's task can be asked for, in the order in which it was asked.
#[derive(Debug)]
pub(crate) enum Command {
    Request(Request),
    /// Authenticate this connection and all that follow.
    Authenticate {
        scheme: Ustring,
        auth: Secret,
        reply: ReplySender,
    },
    /// A persistent watch's, or a one-shot watch's, handle was dropped.
    Forget(WatchId),
    /// Other servers from now on.
    UpdateHosts(Vec<Host>),
    /// End the session.
    Close(ReplySender),
    /// Let go of the session without ending it.
    Detach(ReplySender),
}

/// An encoded request on its way.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) op: Op,
    /// The whole frame; the session fills in the xid.
    pub(crate) frame: BytesMut,
    /// What a successful answer does to this client's watches.
    pub(crate) effect: Option<WatchEffect>,
    pub(crate) reply: ReplySender,
    /// Its place among the requests in flight, given back when the request is dropped.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

/// What has to be done to the client's half of a watch once the server has done its own.
#[derive(Debug)]
pub(crate) enum WatchEffect {
    Set(Registration),
    Remove(Ustring, WatcherType),
}

/// A successful answer; the caller's task decodes the body.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    pub(crate) body: Bytes,
}

/// Where the xid stands in a frame.
const XID: std::ops::Range<usize> = 4..8;

/// A frame with an empty xid.
pub(crate) fn encode_frame(op: Op, body: &impl Jute) -> BytesMut {
    let payload = 8 + body.encoded_len();
    let mut frame = BytesMut::with_capacity(4 + payload);
    frame.put_u32(u32::try_from(payload).unwrap_or(u32::MAX)); // Too long is refused before it is sent.
    frame.put_i32(0);
    frame.put_i32(op.code());
    body.encode(&mut frame);
    frame
}

/// Numbers an encoded frame.
pub(crate) fn set_xid(frame: &mut [u8], xid: i32) {
    frame[XID].copy_from_slice(&xid.to_be_bytes());
}

/// The body of an operation that asks with a header alone.
#[derive(Debug)]
pub(crate) struct Empty;

impl Jute for Empty {
    fn encode(&self, _: &mut BytesMut) {}
    fn decode(_: &mut jute::Reader<'_>) -> Result<Self, jute::DecodeError> {
        Ok(Self)
    }
    fn encoded_len(&self) -> usize {
        0
    }
}
