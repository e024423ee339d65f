//! Requests, read as far as their op code, and replies that are right in length.

use bytes::{BufMut as _, Bytes};
use jute::data::Stat;
use jute::proto::{ConnectResponse, ConnectTail, GetDataResponse};
use jute::{Jute as _, Op, OpKind};

/// Replies, but for length and header.
#[derive(Debug)]
pub(super) struct Answers {
    handshake: Vec<u8>,
    data: Vec<u8>,
    stat: Vec<u8>,
    path: Vec<u8>,
}

/// Cuts a stream into frames, the first of which is the handshake.
#[derive(Debug, Default)]
pub(super) struct RequestStream {
    partial: Vec<u8>,
    greeted: bool,
}

impl Answers {
    /// Gets answer with `value_size` bytes of data.
    pub(super) fn new(value_size: usize) -> Self {
        let response = ConnectResponse {
            protocol_version: 0,
            timeout_ms: 30_000,
            session_id: 1,
            password: Some(Bytes::from_static(&[0; 16])),
        };
        let handshake = [response.to_bytes(), ConnectTail { read_only: false }.to_bytes()].concat();
        let data = GetDataResponse { data: Some(vec![b'x'; value_size].into()), stat: Stat::default() };
        Self {
            handshake,
            data: data.to_bytes().to_vec(),
            stat: Stat::default().to_bytes().to_vec(),
            path: jute::Ustring::from_static("/zkbench/run-0000000000/c0000/n0000000000").to_bytes().to_vec(),
        }
    }

    fn body(&self, op: Option<Op>) -> &[u8] {
        match op {
            Some(Op::GetData) => &self.data,
            Some(Op::SetData | Op::Exists) => &self.stat,
            Some(Op::Create) => &self.path,
            _ => &[],
        }
    }
}

impl RequestStream {
    /// Appends the replies to all requests that `bytes` completes; true if there is a write among them.
    pub(super) fn consume(&mut self, bytes: &[u8], answers: &Answers, replies: &mut Vec<u8>) -> bool {
        if self.partial.is_empty() {
            let (used, writes) = self.answer(bytes, answers, replies);
            self.partial.extend_from_slice(&bytes[used..]);
            return writes;
        }
        self.partial.extend_from_slice(bytes);
        let mut pending = std::mem::take(&mut self.partial);
        let (used, writes) = self.answer(&pending, answers, replies);
        pending.drain(..used);
        self.partial = pending;
        writes
    }

    /// The same; returns also how many bytes were whole frames.
    fn answer(&mut self, bytes: &[u8], answers: &Answers, replies: &mut Vec<u8>) -> (usize, bool) {
        let (mut rest, mut writes) = (bytes, false);
        while let Some((prefix, after)) = rest.split_first_chunk::<4>()
            && let Some((frame, after)) = after.split_at_checked(u32::from_be_bytes(*prefix) as usize)
        {
            rest = after;
            if !self.greeted {
                self.greeted = true;
                replies.put_u32(answers.handshake.len() as u32);
                replies.extend_from_slice(&answers.handshake);
                continue;
            }
            let Some((header, _)) = frame.split_first_chunk::<8>() else {
                continue;
            };
            let op = Op::from_code(i32::from_be_bytes([header[4], header[5], header[6], header[7]]));
            writes |= op.is_some_and(|op| op.kind() == OpKind::Write);
            let body = answers.body(op);
            replies.put_u32(16 + body.len() as u32);
            replies.extend_from_slice(&header[..4]);
            replies.extend_from_slice(&[0; 12]);
            replies.extend_from_slice(body);
        }
        (bytes.len() - rest.len(), writes)
    }
}
