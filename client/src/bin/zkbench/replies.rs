//! Replies, read by their headers only.

/// What the header of a reply says, its zxid left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) xid: i32,
    pub(crate) err: i32,
}

/// Length, xid, zxid, err.
const HEAD_BYTES: usize = 20;

/// Finds the headers in a stream of replies, however it is cut into reads. Keeps at most one header.
#[derive(Debug, Default)]
pub(crate) struct ReplyStream {
    /// The start of a header whose end has not arrived.
    head: [u8; HEAD_BYTES],
    have: usize,
    /// How much of a reply's body is still to come.
    body_left: usize,
}

impl ReplyStream {
    /// Tells `on_reply` of every header that `bytes` completes.
    pub(crate) fn consume(&mut self, mut bytes: &[u8], mut on_reply: impl FnMut(Head)) {
        loop {
            let skipped = self.body_left.min(bytes.len());
            self.body_left -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return;
            }
            if self.have == 0
                && let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>()
            {
                self.body_left = body_len(head);
                bytes = rest;
                on_reply(parse(head));
                continue;
            }
            let taken = (HEAD_BYTES - self.have).min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == HEAD_BYTES {
                self.have = 0;
                self.body_left = body_len(&self.head);
                on_reply(parse(&self.head));
            }
        }
    }
}

fn int(head: &[u8; HEAD_BYTES], at: usize) -> i32 {
    i32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
}

fn body_len(head: &[u8; HEAD_BYTES]) -> usize {
    usize::try_from(int(head, 0)).unwrap_or(0).saturating_sub(HEAD_BYTES - 4)
}

fn parse(head: &[u8; HEAD_BYTES]) -> Head {
    Head { xid: int(head, 4), err: int(head, 16) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(xid: i32, err: i32, body: &[u8]) -> Vec<u8> {
        let mut bytes = i32::try_from(16 + body.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(xid.to_be_bytes());
        bytes.extend(7i64.to_be_bytes());
        bytes.extend(err.to_be_bytes());
        bytes.extend(body);
        bytes
    }

    #[test]
    fn headers_are_found_wherever_the_stream_is_cut() {
        let bytes = [reply(1, 0, b"four"), reply(-1, 0, &[9; 40]), reply(2, -101, b"")].concat();
        let expected = [Head { xid: 1, err: 0 }, Head { xid: -1, err: 0 }, Head { xid: 2, err: -101 }];
        for chunk in 1..=bytes.len() {
            let mut stream = ReplyStream::default();
            let mut heads = Vec::new();
            for piece in bytes.chunks(chunk) {
                stream.consume(piece, |head| heads.push(head));
            }
            assert_eq!(heads, expected, "cut every {chunk} bytes");
        }
    }
}
