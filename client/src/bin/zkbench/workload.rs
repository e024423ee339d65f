//! What the load consists of: a mix of operations, its requests encoded beforehand.

use std::rc::Rc;
use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use jute::data::AclList;
use jute::proto::{
    CreateRequest, DeleteRequest, ExistsRequest, GetChildren2Request, GetDataRequest, SetDataRequest,
    SyncRequest,
};
use jute::{CreateMode, Op};

use crate::connection::request_frame;

/// An operation as the command line names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Get,
    Set,
    Exists,
    Children,
    Sync,
    Create,
    Delete,
}

impl Kind {
    /// It needs the keys to be there.
    pub(crate) const fn uses_keys(self) -> bool {
        !matches!(self, Self::Create | Self::Delete)
    }
}

impl FromStr for Kind {
    type Err = anyhow::Error;
    fn from_str(name: &str) -> anyhow::Result<Self> {
        Ok(match name {
            "get" => Self::Get,
            "set" => Self::Set,
            "exists" => Self::Exists,
            "children" => Self::Children,
            "sync" => Self::Sync,
            "create" => Self::Create,
            "delete" => Self::Delete,
            _ => bail!("no operation {name}: get, set, exists, children, sync, create or delete"),
        })
    }
}

/// Operations with their shares, such as `get` or `get=90,set=10`.
#[derive(Debug, Clone)]
pub(crate) struct Mix {
    text: String,
    /// A hundred entries, one for each percent.
    percents: Vec<Kind>,
}

impl Mix {
    /// As it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// `kind` is part of it.
    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.percents.contains(&kind)
    }

    /// Any part of it needs the keys to be there.
    pub(crate) fn uses_keys(&self) -> bool {
        self.percents.iter().any(|kind| kind.uses_keys())
    }

    fn single(&self) -> Option<Kind> {
        let first = *self.percents.first()?;
        self.percents.iter().all(|kind| *kind == first).then_some(first)
    }
}

impl FromStr for Mix {
    type Err = anyhow::Error;
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let mut percents = Vec::with_capacity(100);
        for part in text.split(',') {
            let (name, share) = part.split_once('=').unwrap_or((part, "100"));
            let share: usize = share.parse().with_context(|| format!("the share in {part}"))?;
            percents.extend(std::iter::repeat_n(name.parse::<Kind>()?, share.min(101)));
        }
        ensure!(percents.len() == 100, "the shares of {text} add up to {}, not to 100", percents.len());
        Ok(Self { text: text.to_owned(), percents })
    }
}

/// Frames of equal length, one for each key.
#[derive(Debug)]
struct Frames {
    bytes: Vec<u8>,
    stride: usize,
}

impl Frames {
    fn encode<Body: jute::Jute>(op: Op, count: usize, body: impl Fn(usize) -> Body) -> Self {
        let bytes: Vec<u8> = (0..count).flat_map(|key| request_frame(op, &body(key))).collect();
        Self { stride: bytes.len() / count, bytes }
    }

    fn nth(&self, key: usize) -> &[u8] {
        &self.bytes[key * self.stride..][..self.stride]
    }
}

/// The requests of a mix that do not depend on the connection.
#[derive(Debug)]
pub(crate) struct Requests {
    mix: Mix,
    keys: usize,
    value: Bytes,
    get: Frames,
    set: Frames,
    exists: Frames,
    children: Frames,
    sync: Frames,
}

/// The path of key number `key`.
pub(crate) fn key_path(root: &str, key: usize) -> String {
    format!("{root}/keys/k{key:07}")
}

impl Requests {
    /// Encodes them all.
    pub(crate) fn encode(root: &str, mix: &Mix, keys: usize, value_bytes: usize) -> Self {
        let value = Bytes::from(vec![b'x'; value_bytes]);
        let path = |key| key_path(root, key).into();
        let parent = || format!("{root}/keys").into();
        Self {
            mix: mix.clone(),
            keys,
            get: Frames::encode(Op::GetData, keys, |key| GetDataRequest { path: path(key), watch: false }),
            set: Frames::encode(Op::SetData, keys, |key| SetDataRequest {
                path: path(key),
                data: Some(value.clone()),
                version: -1,
            }),
            exists: Frames::encode(Op::Exists, keys, |key| ExistsRequest { path: path(key), watch: false }),
            children: Frames::encode(Op::GetChildren2, 1, |_| GetChildren2Request {
                path: parent(),
                watch: false,
            }),
            sync: Frames::encode(Op::Sync, 1, |_| SyncRequest { path: parent() }),
            value,
        }
    }
}

/// The requests of one connection, one after the other.
#[derive(Debug)]
pub(crate) struct Script {
    requests: Rc<Requests>,
    single: Option<Kind>,
    random: u64,
    create: Numbered,
    delete: Numbered,
}

impl Script {
    /// For a connection that creates and deletes below `own`, where `created` znodes are already.
    pub(crate) fn new(requests: Rc<Requests>, own: &str, created: u64, seed: u64) -> Self {
        let create = create_frame(own, &requests.value);
        let delete =
            request_frame(Op::Delete, &DeleteRequest { path: numbered_path(own, 0).into(), version: -1 });
        Self {
            single: requests.mix.single(),
            requests,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            create: Numbered { next: created, ..Numbered::new(create.to_vec(), own) },
            delete: Numbered::new(delete.to_vec(), own),
        }
    }

    /// Appends the next request; false when there is nothing left to delete, and nothing else to do.
    pub(crate) fn append_next(&mut self, out: &mut Vec<u8>) -> bool {
        let kind = match self.single {
            Some(kind) => kind,
            None => {
                let percent = self.below(100);
                self.requests.mix.percents[percent]
            }
        };
        let key = if self.requests.keys == 1 { 0 } else { self.below(self.requests.keys) };
        let requests = &*self.requests;
        match kind {
            Kind::Get => out.extend_from_slice(requests.get.nth(key)),
            Kind::Set => out.extend_from_slice(requests.set.nth(key)),
            Kind::Exists => out.extend_from_slice(requests.exists.nth(key)),
            Kind::Children => out.extend_from_slice(requests.children.nth(0)),
            Kind::Sync => out.extend_from_slice(requests.sync.nth(0)),
            Kind::Create => self.create.append_next(out),
            Kind::Delete if self.delete.next < self.create.next => self.delete.append_next(out),
            Kind::Delete if self.single.is_some() => return false,
            Kind::Delete => self.create.append_next(out),
        }
        true
    }

    /// xorshift64*, and a multiplication instead of a division.
    fn below(&mut self, bound: usize) -> usize {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let high = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        ((high * bound as u64) >> 32) as usize
    }
}

/// A request whose path ends in ten digits that count up.
#[derive(Debug)]
pub(crate) struct Numbered {
    frame: Vec<u8>,
    digits_at: usize,
    next: u64,
}

impl Numbered {
    /// Of `frame`, whose first string is [`numbered_path`] of `own`.
    fn new(frame: Vec<u8>, own: &str) -> Self {
        // Length, xid and op code, the string's length, then the path.
        Self { digits_at: 16 + own.len() + 2, frame, next: 0 }
    }

    /// Creates of znodes with `value` below `own`.
    pub(crate) fn creates(own: &str, value: &Bytes) -> Self {
        Self::new(create_frame(own, value).to_vec(), own)
    }

    /// Appends the next one.
    pub(crate) fn append_next(&mut self, out: &mut Vec<u8>) {
        let mut rest = self.next;
        for digit in self.frame[self.digits_at..self.digits_at + 10].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        self.next += 1;
        out.extend_from_slice(&self.frame);
    }
}

fn numbered_path(own: &str, number: u64) -> String {
    format!("{own}/n{number:010}")
}

fn create_frame(own: &str, value: &Bytes) -> bytes::BytesMut {
    let request = CreateRequest {
        path: numbered_path(own, 0).into(),
        data: Some(value.clone()),
        acl: AclList::OPEN_UNSAFE,
        flags: CreateMode::Persistent.code(),
    };
    request_frame(Op::Create, &request)
}

#[cfg(test)]
mod tests {
    use jute::Jute as _;

    use super::*;

    #[test]
    fn shares_must_add_up_to_a_hundred() {
        assert!("get".parse::<Mix>().is_ok_and(|mix| mix.single() == Some(Kind::Get)));
        assert!("get=90,set=10".parse::<Mix>().is_ok_and(|mix| mix.single().is_none()));
        assert!("get=90,set=20".parse::<Mix>().is_err());
        assert!("get=90".parse::<Mix>().is_err());
        assert!("put".parse::<Mix>().is_err());
    }

    #[test]
    fn deletes_follow_the_creates_in_order() {
        let mix: Mix = "delete".parse().unwrap();
        let requests = Rc::new(Requests::encode("/r", &mix, 1, 3));
        let mut script = Script::new(requests, "/r/c0", 2, 1);
        for number in 0..2 {
            let mut out = Vec::new();
            assert!(script.append_next(&mut out));
            let body = Bytes::from(out).slice(12..);
            assert_eq!(DeleteRequest::from_bytes(&body).unwrap().path, format!("/r/c0/n{number:010}"));
        }
        assert!(!script.append_next(&mut Vec::new()), "two were created, two are deleted");
    }
}
