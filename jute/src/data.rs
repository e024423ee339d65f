//! `org.apache.zookeeper.data`: what clients and servers both know of a znode.

use std::fmt;
use std::ops::Deref;

use bytes::BytesMut;

use crate::Ustring;
use crate::reader::{DecodeError, Reader};
use crate::record::{Jute, record};

/// Who: an authentication scheme and a name within it, such as `digest` and `user:hash`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash, PartialOrd, Ord)]
pub struct Id {
    /// Names who judges `id`.
    pub scheme: Ustring,
    /// The name.
    pub id: Ustring,
}

/// [`Id::anyone`], encoded.
const ANYONE: &[u8] = b"\0\0\0\x05world\0\0\0\x06anyone";

/// By hand, since a null reads as an empty string. kazoo writes the name that goes with `auth` as one, where ZooKeeper
/// never looks at it; a scheme that is null is one that nobody knows.
impl Jute for Id {
    fn encode(&self, out: &mut BytesMut) {
        self.scheme.encode(out);
        self.id.encode(out);
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if input.skip(ANYONE) {
            return Ok(Self::anyone()); // As nearly always; shared with no frame.
        }
        let mut string = |field| {
            let string: Option<Ustring> =
                Jute::decode(input).map_err(|error: DecodeError| error.within("Id", field))?;
            Ok(string.unwrap_or_default())
        };
        Ok(Self { scheme: string("scheme")?, id: string("id")? })
    }
    fn encoded_len(&self) -> usize {
        self.scheme.encoded_len() + self.id.encoded_len()
    }
}

record! {
    /// One entry of an access control list.
    #[derive(Hash)]
    pub struct Acl {
        /// [`perms`] bits.
        pub perms: i32,
        pub id: Id,
    }

    /// What a client learns of a znode besides its data. 68 bytes.
    #[derive(Copy)]
    pub struct Stat {
        /// Zxid of the txn that created the znode.
        pub czxid: i64,
        /// Zxid of the txn that last changed its data.
        pub mzxid: i64,
        /// When it was created, milliseconds since 1970.
        pub ctime: i64,
        /// When its data last changed, milliseconds since 1970.
        pub mtime: i64,
        /// How often its data changed.
        pub version: i32,
        /// How often children were created or deleted.
        pub cversion: i32,
        /// How often its ACL changed.
        pub aversion: i32,
        /// The session that owns an ephemeral znode; 0 for every other kind.
        pub ephemeral_owner: i64,
        /// Bytes of data; 0 for null data.
        pub data_length: i32,
        pub num_children: i32,
        /// Zxid of the txn that last created or deleted a child.
        pub pzxid: i64,
    }

    /// A [`Stat`] as snapshots hold it: `cversion` counts creations only, `ephemeral_owner` also marks
    /// containers and TTL znodes, and what can be counted is left out. 60 bytes.
    #[derive(Copy)]
    pub struct StatPersisted {
        pub czxid: i64,
        pub mzxid: i64,
        pub ctime: i64,
        pub mtime: i64,
        pub version: i32,
        pub cversion: i32,
        pub aversion: i32,
        pub ephemeral_owner: i64,
        pub pzxid: i64,
    }

    /// One identity of a connection, as `whoAmI` tells it.
    pub struct ClientInfo {
        pub auth_scheme: Ustring,
        pub user: Ustring,
    }
}

/// An access control list in a request or a txn. The one that nearly all of them have takes no memory of its own, and
/// whoever has it in hand need not look at it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct AclList(Listed);

/// Not [`Listed::Entries`] if it is [`Listed::Open`].
#[derive(Clone, PartialEq, Eq, Hash)]
enum Listed {
    /// [`Acl::open_unsafe`].
    Open,
    Entries(Vec<Acl>),
}

/// [`Acl::open_unsafe`].
static OPEN: [Acl; 1] = [Acl { perms: perms::ALL, id: Id::anyone() }];
/// The same, encoded.
const OPEN_ENCODED: &[u8] = b"\0\0\0\x01\0\0\0\x1f\0\0\0\x05world\0\0\0\x06anyone";

impl AclList {
    /// Everything for everyone: `ZooDefs.Ids.OPEN_ACL_UNSAFE`.
    pub const OPEN_UNSAFE: Self = Self(Listed::Open);

    /// It is [`AclList::OPEN_UNSAFE`].
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.0, Listed::Open)
    }
}

impl From<Vec<Acl>> for AclList {
    fn from(entries: Vec<Acl>) -> Self {
        Self(if *entries == OPEN { Listed::Open } else { Listed::Entries(entries) })
    }
}

/// No entry.
impl Default for AclList {
    fn default() -> Self {
        Self(Listed::Entries(Vec::new()))
    }
}

impl Deref for AclList {
    type Target = [Acl];

    fn deref(&self) -> &[Acl] {
        match &self.0 {
            Listed::Open => &OPEN,
            Listed::Entries(entries) => entries,
        }
    }
}

impl fmt::Debug for AclList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// As a `Vec<Acl>`.
impl Jute for AclList {
    fn encode(&self, out: &mut BytesMut) {
        match &self.0 {
            Listed::Open => out.extend_from_slice(OPEN_ENCODED),
            Listed::Entries(entries) => entries.encode(out),
        }
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if input.skip(OPEN_ENCODED) {
            return Ok(Self::OPEN_UNSAFE);
        }
        Ok(Vec::decode(input)?.into())
    }
    fn encoded_len(&self) -> usize {
        match &self.0 {
            Listed::Open => OPEN_ENCODED.len(),
            Listed::Entries(entries) => entries.encoded_len(),
        }
    }
}

/// The bits of [`Acl::perms`]. `ZooDefs.Perms`.
pub mod perms {
    /// Read data and list children.
    pub const READ: i32 = 1;
    /// Set data.
    pub const WRITE: i32 = 2;
    /// Create children.
    pub const CREATE: i32 = 4;
    /// Delete children.
    pub const DELETE: i32 = 8;
    /// Set the ACL.
    pub const ADMIN: i32 = 16;
    /// All of them.
    pub const ALL: i32 = READ | WRITE | CREATE | DELETE | ADMIN;

    /// By their letters, as people read them: `cdrwa` is all.
    #[doc(alias = "getPermString")]
    #[must_use]
    pub fn letters(bits: i32) -> String {
        let all = [(CREATE, 'c'), (DELETE, 'd'), (READ, 'r'), (WRITE, 'w'), (ADMIN, 'a')];
        all.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, letter)| *letter).collect()
    }
}

impl Acl {
    /// `perms` for whoever `scheme` knows as `id`.
    #[must_use]
    pub fn new(perms: i32, scheme: &str, id: &str) -> Self {
        Self { perms, id: Id::new(scheme, id) }
    }

    /// Everything for everyone: `ZooDefs.Ids.OPEN_ACL_UNSAFE`.
    #[must_use]
    pub fn open_unsafe() -> Vec<Self> {
        vec![Self { perms: perms::ALL, id: Id::anyone() }]
    }

    /// Reading for everyone: `ZooDefs.Ids.READ_ACL_UNSAFE`.
    #[must_use]
    pub fn read_unsafe() -> Vec<Self> {
        vec![Self { perms: perms::READ, id: Id::anyone() }]
    }

    /// Everything for the creator, as which she must have authenticated: `ZooDefs.Ids.CREATOR_ALL_ACL`.
    #[must_use]
    pub fn creator_all() -> Vec<Self> {
        vec![Self { perms: perms::ALL, id: Id::from_static("auth", "") }]
    }
}

impl Id {
    /// An id of `scheme`.
    #[must_use]
    pub fn new(scheme: &str, id: &str) -> Self {
        Self { scheme: scheme.into(), id: id.into() }
    }

    const fn from_static(scheme: &'static str, id: &'static str) -> Self {
        Self { scheme: Ustring::from_static(scheme), id: Ustring::from_static(id) }
    }

    /// `world:anyone`.
    #[must_use]
    pub const fn anyone() -> Self {
        Self::from_static("world", "anyone")
    }
}
