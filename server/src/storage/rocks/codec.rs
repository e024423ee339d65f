//! Znodes as keys and values of the database.
//!
//! A key is the path without its leading slash, every other slash become a zero byte (which no path may
//! contain): so the database's order is that of a walk, parents before their children, subtrees in one piece.
//!
//! A value is a byte of [flags](flag), then variable-length integers (seven bits a byte, low ones first; signed
//! ones zigzag), an ACL if it is not the usual one, and the data up to the end.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use jute::Jute;
use jute::data::{Acl, AclList, StatPersisted};
use triomphe::ThinArc;

use crate::tree::ZnodeRecord;

/// What a value holds; the parts that are not there have their usual value.
mod flag {
    /// Data; without it, data is null.
    pub(super) const DATA: u8 = 1;
    /// `mzxid` and `mtime`, as differences to `czxid` and `ctime`.
    pub(super) const CHANGED: u8 = 2;
    /// `pzxid`, as a difference to `czxid`.
    pub(super) const CHILDREN: u8 = 4;
    /// The three versions.
    pub(super) const VERSIONS: u8 = 8;
    /// `ephemeral_owner`.
    pub(super) const OWNER: u8 = 16;
    /// An ACL other than everything for everyone: its length, and its jute encoding.
    pub(super) const ACL: u8 = 32;
}

/// Appends the key of `path` to `key`.
pub(super) fn encode_path(path: &str, key: &mut Vec<u8>) {
    let relative = path.strip_prefix('/').unwrap_or(path);
    key.extend(relative.bytes().map(|byte| if byte == b'/' { 0 } else { byte }));
}

/// Appends the path of `key` to `path`; `None` if it is no path's.
pub(super) fn decode_path(key: &[u8], path: &mut String) -> Option<()> {
    path.push('/');
    let mut names = std::str::from_utf8(key).ok()?.split('\0');
    path.push_str(names.next()?);
    for name in names {
        path.push('/');
        path.push_str(name);
    }
    Some(())
}

/// Appends the value of `record` to `value`.
pub(super) fn encode_record(record: &ZnodeRecord, value: &mut Vec<u8>) {
    let stat = &record.stat;
    let flags = flags(record);
    value.push(flags);
    put_varint(value, stat.czxid.cast_unsigned());
    put_varint(value, stat.ctime.cast_unsigned());
    if flags & flag::CHANGED != 0 {
        put_signed(value, stat.mzxid.wrapping_sub(stat.czxid));
        put_signed(value, stat.mtime.wrapping_sub(stat.ctime));
    }
    if flags & flag::CHILDREN != 0 {
        put_signed(value, stat.pzxid.wrapping_sub(stat.czxid));
    }
    if flags & flag::VERSIONS != 0 {
        for version in [stat.version, stat.cversion, stat.aversion] {
            put_signed(value, version.into());
        }
    }
    if flags & flag::OWNER != 0 {
        value.put_i64(stat.ephemeral_owner);
    }
    if flags & flag::ACL != 0 {
        let mut acl = BytesMut::new();
        record.acl.len_prefixed(&mut acl);
        put_varint(value, acl.len() as u64);
        value.extend_from_slice(&acl);
    }
    if let Some(data) = &record.data {
        value.extend_from_slice(&data.slice);
    }
}

fn flags(record: &ZnodeRecord) -> u8 {
    let stat = &record.stat;
    let part = |there: bool, flag: u8| if there { flag } else { 0 };
    part(record.data.is_some(), flag::DATA)
        | part(stat.mzxid != stat.czxid || stat.mtime != stat.ctime, flag::CHANGED)
        | part(stat.pzxid != stat.czxid, flag::CHILDREN)
        | part((stat.version, stat.cversion, stat.aversion) != (0, 0, 0), flag::VERSIONS)
        | part(stat.ephemeral_owner != 0, flag::OWNER)
        | part(*record.acl != *AclList::OPEN_UNSAFE, flag::ACL)
}

/// The jute encoding of a vector, of a slice.
trait LenPrefixed {
    fn len_prefixed(&self, out: &mut BytesMut);
}

impl LenPrefixed for [Acl] {
    fn len_prefixed(&self, out: &mut BytesMut) {
        out.put_i32(i32::try_from(self.len()).expect("an ACL came in a frame, whose length is an i32"));
        for entry in self {
            entry.encode(out);
        }
    }
}

/// Decodes values; ACLs that were seen before are shared.
#[derive(Debug)]
pub(super) struct RecordDecoder {
    open: Arc<[Acl]>,
    seen: HashMap<Vec<u8>, Arc<[Acl]>>,
}

impl RecordDecoder {
    pub(super) fn new() -> Self {
        Self { open: Acl::open_unsafe().into(), seen: HashMap::new() }
    }

    /// The znode in `value`; `None` if it is none.
    pub(super) fn decode(&mut self, mut value: &[u8]) -> Option<ZnodeRecord> {
        let input = &mut value;
        let (flags, stat) = flags_and_stat(input)?;
        let acl = if flags & flag::ACL == 0 { Arc::clone(&self.open) } else { self.acl(input)? };
        let data = (flags & flag::DATA != 0).then(|| ThinArc::from_header_and_slice((), input));
        Some(ZnodeRecord { data, acl, stat })
    }

    /// Has seen the ACL in `value`; `None` if it is none.
    pub(super) fn learn_acl(&mut self, mut value: &[u8]) -> Option<()> {
        if value.first()? & flag::ACL != 0 {
            let input = &mut value;
            flags_and_stat(input)?;
            self.acl(input)?;
        }
        Some(())
    }

    /// All ACLs that were seen but the usual one.
    pub(super) fn acls(&self) -> impl Iterator<Item = Arc<[Acl]>> {
        self.seen.values().cloned()
    }

    fn acl(&mut self, input: &mut &[u8]) -> Option<Arc<[Acl]>> {
        let len = usize::try_from(varint(input)?).ok()?;
        let encoded = take(input, len)?;
        if let Some(acl) = self.seen.get(encoded) {
            return Some(Arc::clone(acl));
        }
        let acl: Arc<[Acl]> = Vec::from_bytes(&Bytes::copy_from_slice(encoded)).ok()?.into();
        self.seen.insert(encoded.to_vec(), Arc::clone(&acl));
        Some(acl)
    }
}

/// What stands in front of the ACL.
fn flags_and_stat(input: &mut &[u8]) -> Option<(u8, StatPersisted)> {
    let flags = take(input, 1)?[0];
    let czxid = varint(input)?.cast_signed();
    let ctime = varint(input)?.cast_signed();
    let mut stat =
        StatPersisted { czxid, mzxid: czxid, pzxid: czxid, ctime, mtime: ctime, ..StatPersisted::default() };
    if flags & flag::CHANGED != 0 {
        stat.mzxid = czxid.wrapping_add(signed(input)?);
        stat.mtime = ctime.wrapping_add(signed(input)?);
    }
    if flags & flag::CHILDREN != 0 {
        stat.pzxid = czxid.wrapping_add(signed(input)?);
    }
    if flags & flag::VERSIONS != 0 {
        stat.version = signed(input)?.try_into().ok()?;
        stat.cversion = signed(input)?.try_into().ok()?;
        stat.aversion = signed(input)?.try_into().ok()?;
    }
    if flags & flag::OWNER != 0 {
        stat.ephemeral_owner = i64::from_be_bytes(take(input, 8)?.try_into().ok()?);
    }
    Some((flags, stat))
}

fn take<'a>(input: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = input.split_at_checked(len)?;
    *input = rest;
    Some(taken)
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_varint(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

fn varint(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for (at, byte) in input.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            *input = &input[at + 1..];
            return Some(value);
        }
    }
    None
}

fn signed(input: &mut &[u8]) -> Option<i64> {
    let value = varint(input)?;
    Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
}

/// Decodes `input` as a value, then as a key: what comes out encodes to what decodes to the same. For fuzzers.
#[cfg(feature = "fuzzing")]
pub fn fuzz_database_records(input: &[u8]) {
    let mut decoder = RecordDecoder::new();
    if let Some(record) = decoder.decode(input) {
        let mut value = Vec::new();
        encode_record(&record, &mut value);
        let again = decoder.decode(&value).expect("what was encoded decodes");
        assert_eq!((&again.data, &again.acl, again.stat), (&record.data, &record.acl, record.stat));
    }
    let mut path = String::new();
    if decode_path(input, &mut path).is_some() && !path.is_empty() {
        let (mut key, mut again) = (Vec::new(), String::new());
        encode_path(&path, &mut key);
        decode_path(&key, &mut again).expect("what was encoded decodes");
        assert_eq!(again, path);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_record() -> impl Strategy<Value = ZnodeRecord> {
        let data = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..50));
        let acl = prop_oneof![
            Just(Acl::open_unsafe()),
            Just(Acl::read_unsafe()),
            Just(vec![]),
            Just(vec![Acl::new(3, "digest", "user:hash"), Acl::new(31, "ip", "10.0.0.0/8")]),
        ];
        let numbers = (any::<[i64; 6]>(), any::<[i32; 3]>(), any::<u8>());
        (data, acl, numbers).prop_map(|(data, acl, (long, int, usual))| {
            // Each part is as likely to have its usual value as not.
            let pick = |bit: u8, usual_value: i64, other: i64| {
                if usual & (1 << bit) == 0 { usual_value } else { other }
            };
            let int = if usual & 8 == 0 { [0; 3] } else { int };
            let stat = StatPersisted {
                czxid: long[0],
                ctime: long[1],
                mzxid: pick(0, long[0], long[2]),
                mtime: pick(0, long[1], long[3]),
                pzxid: pick(1, long[0], long[4]),
                ephemeral_owner: pick(2, 0, long[5]),
                version: int[0],
                cversion: int[1],
                aversion: int[2],
            };
            let data = data.map(|data| ThinArc::from_header_and_slice((), &data));
            ZnodeRecord { data, acl: acl.into(), stat }
        })
    }

    proptest! {
        #[test]
        fn a_znode_comes_back_as_it_was(record in any_record()) {
            let mut value = Vec::new();
            encode_record(&record, &mut value);
            let decoded = RecordDecoder::new().decode(&value).unwrap();
            prop_assert_eq!(decoded.stat, record.stat);
            prop_assert_eq!(decoded.acl, record.acl);
            prop_assert_eq!(decoded.data.map(|data| data.slice.to_vec()), record.data.map(|data| data.slice.to_vec()));
        }

        #[test]
        fn no_value_panics(value in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = RecordDecoder::new().decode(&value);
        }

        #[test]
        fn keys_are_in_the_order_of_a_walk(a in "(/[!-.0-9a-c]{1,3}){0,3}", b in "(/[!-.0-9a-c]{1,3}){0,3}") {
            let key = |path: &str| { let mut key = Vec::new(); encode_path(path, &mut key); key };
            let names = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
            prop_assert_eq!(key(&a).cmp(&key(&b)), names(&a).cmp(&names(&b)));
            let mut path = String::new();
            decode_path(&key(&a), &mut path).unwrap();
            prop_assert_eq!(path, if a.is_empty() { "/".to_owned() } else { a });
        }
    }
}
