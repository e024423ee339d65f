//! One znode: how it is kept, and how it is looked at. ZooKeeper's `DataNode`, `EphemeralType`.

use std::sync::Arc;

use ecow::EcoString;
use jute::data::{Acl, Stat, StatPersisted};

use super::acl::AclId;
use super::cut::Data;
use super::path_index::{Component, ROOT_ID};
use super::{Tree, TreeOptions, ZnodeRecord};
use crate::session::SessionId;

/// What becomes of a znode without anyone deleting it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(alias = "EphemeralType")]
pub enum ZnodeKind {
    /// Nothing.
    Persistent,
    /// It goes with this session, and has no children.
    Ephemeral(SessionId),
    /// It goes some time after its last child has gone.
    Container,
    /// It goes when it has no children and its data was not set for so many milliseconds.
    Ttl(i64),
}

/// The owner of containers.
const CONTAINER_OWNER: i64 = i64::MIN;
/// The top byte of an owner that is a lifetime.
const EXTENDED: i64 = 0xff << 56;
/// What stands for a lifetime in the two bytes below it.
const FEATURE: i64 = 0xffff << 40;

impl ZnodeKind {
    /// Longest lifetime, in milliseconds.
    pub const TTL_MAX_MS: i64 = (1 << 40) - 1;

    /// What a stored owner means. Without extended types, the owner of a TTL znode reads as a session's id: so
    /// ZooKeeper reads it.
    #[must_use]
    pub fn of_owner(owner: i64, options: &TreeOptions) -> Self {
        match owner {
            0 => Self::Persistent,
            CONTAINER_OWNER => Self::Container,
            _ if options.extended_types && is_ttl(owner, options) => Self::Ttl(owner & Self::TTL_MAX_MS),
            session => Self::Ephemeral(SessionId(session)),
        }
    }

    /// What to store for it. A lifetime must be in `1..=TTL_MAX_MS`.
    #[must_use]
    pub fn to_owner(self) -> i64 {
        match self {
            Self::Persistent => 0,
            Self::Ephemeral(session) => session.0,
            Self::Container => CONTAINER_OWNER,
            Self::Ttl(ttl_ms) => EXTENDED | ttl_ms,
        }
    }
}

fn is_ttl(owner: i64, options: &TreeOptions) -> bool {
    options.emulate_353_ttl && owner < 0 || owner & (EXTENDED | FEATURE) == EXTENDED
}

/// A znode as it is kept: 96 bytes, its data, and [`Family`] if it ever had children.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// The last component of its path.
    pub(super) name: EcoString,
    pub(super) data: Data,
    pub(super) parent: u32,
    /// Its place among the parent's children.
    pub(super) slot: u32,
    pub(super) tag: Tag,
    /// Its part of the tree's digest, if the tag says so.
    pub(super) digest: u32,
    pub(super) version: i32,
    pub(super) aversion: i32,
    pub(super) czxid: i64,
    pub(super) mzxid: i64,
    pub(super) ctime: i64,
    pub(super) mtime: i64,
    /// Raw: see [`ZnodeKind::of_owner`].
    pub(super) owner: i64,
    pub(super) family: Option<Box<Family>>,
}

/// What a znode has once it has had a child.
#[derive(Debug, Default)]
pub(super) struct Family {
    pub(super) children: Vec<u32>,
    /// Counts creations.
    pub(super) cversion: i32,
    pub(super) pzxid: i64,
}

/// The ACL's id, and a few bits beside it.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tag(u32);

impl Tag {
    const WORLD_READABLE: u32 = 1 << 31;
    /// Changed since the last cut.
    const DIRTY: u32 = 1 << 30;
    /// Was part of the last cut, or of what was loaded.
    const STORED: u32 = 1 << 29;
    const DIGEST_KNOWN: u32 = 1 << 28;
    const ACL: u32 = Self::DIGEST_KNOWN - 1;

    fn has(self, bit: u32) -> bool {
        self.0 & bit != 0
    }

    fn set(&mut self, bit: u32, on: bool) {
        self.0 = if on { self.0 | bit } else { self.0 & !bit };
    }
}

impl Node {
    pub(super) fn acl(&self) -> AclId {
        self.tag.0 & Tag::ACL
    }

    pub(super) fn set_acl(&mut self, acl: AclId, world_readable: bool) {
        assert!(acl <= Tag::ACL, "fewer than 2^28 different ACLs, not {acl}");
        self.tag.0 = self.tag.0 & !Tag::ACL | acl;
        self.tag.set(Tag::WORLD_READABLE, world_readable);
    }

    pub(super) fn is_world_readable(&self) -> bool {
        self.tag.has(Tag::WORLD_READABLE)
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.tag.has(Tag::DIRTY)
    }

    pub(super) fn set_dirty(&mut self, dirty: bool) {
        self.tag.set(Tag::DIRTY, dirty);
    }

    pub(super) fn is_stored(&self) -> bool {
        self.tag.has(Tag::STORED)
    }

    pub(super) fn set_stored(&mut self, stored: bool) {
        self.tag.set(Tag::STORED, stored);
    }

    /// Its part of the tree's digest, if it was computed since it last changed.
    pub(super) fn digest(&self) -> Option<u64> {
        self.tag.has(Tag::DIGEST_KNOWN).then_some(self.digest.into())
    }

    #[allow(clippy::cast_possible_truncation)] // A znode's digest is a CRC of 32 bits.
    pub(super) fn set_digest(&mut self, digest: u64) {
        self.digest = digest as u32;
        self.tag.set(Tag::DIGEST_KNOWN, true);
    }

    pub(super) fn bytes(&self) -> Option<&[u8]> {
        self.data.as_ref().map(|data| &data.slice)
    }

    pub(super) fn data_len(&self) -> usize {
        self.bytes().map_or(0, <[u8]>::len)
    }

    pub(super) fn children(&self) -> &[u32] {
        self.family.as_ref().map_or(&[], |family| &family.children)
    }

    pub(super) fn cversion(&self) -> i32 {
        self.family.as_ref().map_or(0, |family| family.cversion)
    }

    pub(super) fn pzxid(&self) -> i64 {
        self.family.as_ref().map_or(self.czxid, |family| family.pzxid)
    }

    /// Its family, which it gets if it has none.
    pub(super) fn family(&mut self) -> &mut Family {
        let pzxid = self.czxid;
        self.family.get_or_insert_with(|| Box::new(Family { pzxid, ..Family::default() }))
    }

    pub(super) fn persisted_stat(&self) -> StatPersisted {
        StatPersisted {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime: self.ctime,
            mtime: self.mtime,
            version: self.version,
            cversion: self.cversion(),
            aversion: self.aversion,
            ephemeral_owner: self.owner,
            pzxid: self.pzxid(),
        }
    }

    /// Takes over all that a stored record tells.
    pub(super) fn set_persisted_stat(&mut self, stat: &StatPersisted) {
        self.czxid = stat.czxid;
        self.mzxid = stat.mzxid;
        self.ctime = stat.ctime;
        self.mtime = stat.mtime;
        self.version = stat.version;
        self.aversion = stat.aversion;
        self.owner = stat.ephemeral_owner;
        if self.family.is_some() || stat.cversion != 0 || stat.pzxid != stat.czxid {
            let family = self.family();
            family.cversion = stat.cversion;
            family.pzxid = stat.pzxid;
        }
    }
}

impl Component for Node {
    fn name(&self) -> &str {
        &self.name
    }

    fn parent(&self) -> u32 {
        self.parent
    }
}

/// A znode, looked at.
#[derive(Clone, Copy)]
#[doc(alias = "DataNode")]
pub struct Znode<'a> {
    pub(super) tree: &'a Tree,
    pub(super) id: u32,
    pub(super) node: &'a Node,
}

impl<'a> Znode<'a> {
    /// Its data; null is not empty.
    #[must_use]
    pub fn data(self) -> Option<&'a [u8]> {
        self.node.bytes()
    }

    /// Its data, shared with the tree: what is cloned stays as it is when the znode changes.
    #[must_use]
    pub fn shared_data(self) -> Data {
        self.node.data.clone()
    }

    /// What clients learn of it: `cversion` counts creations and deletions of children, and only sessions are
    /// owners.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // Bounded by memory and frames.
    pub fn stat(self) -> Stat {
        let node = self.node;
        let num_children = node.children().len() as i32;
        Stat {
            czxid: node.czxid,
            mzxid: node.mzxid,
            ctime: node.ctime,
            mtime: node.mtime,
            version: node.version,
            cversion: node.cversion().wrapping_mul(2).wrapping_sub(num_children),
            aversion: node.aversion,
            ephemeral_owner: match self.kind() {
                ZnodeKind::Ephemeral(session) => session.0,
                _ => 0,
            },
            data_length: node.data_len() as i32,
            num_children,
            pzxid: node.pzxid(),
        }
    }

    /// What replicas agree on and snapshots hold: `cversion` counts creations, the owner is raw.
    #[must_use]
    pub fn persisted_stat(self) -> StatPersisted {
        self.node.persisted_stat()
    }

    /// The txn that last set its data.
    #[must_use]
    pub fn mzxid(self) -> i64 {
        self.node.mzxid
    }

    /// The txn that last created or deleted a child.
    #[must_use]
    pub fn pzxid(self) -> i64 {
        self.node.pzxid()
    }

    /// Who may do what.
    #[must_use]
    pub fn acl(self) -> &'a Arc<[Acl]> {
        self.tree.acls.get(self.node.acl())
    }

    /// Whether its ACL lets everyone read, known without looking at it.
    #[must_use]
    pub fn is_world_readable(self) -> bool {
        self.node.is_world_readable()
    }

    /// Names of its children, in no order that means anything.
    pub fn children(self) -> impl ExactSizeIterator<Item = &'a str> {
        self.node.children().iter().map(|&child| self.tree.nodes[child].name.as_str())
    }

    /// How many children it has.
    #[must_use]
    pub fn child_count(self) -> usize {
        self.node.children().len()
    }

    /// What becomes of it.
    #[must_use]
    pub fn kind(self) -> ZnodeKind {
        ZnodeKind::of_owner(self.node.owner, &self.tree.options)
    }

    /// Its full path.
    #[must_use]
    pub fn path(self) -> String {
        self.tree.path_of(self.id)
    }

    /// Its part of the tree's digest; 0 while digests are off.
    #[must_use]
    pub fn digest(self) -> u64 {
        if self.tree.options.digest { self.tree.digest_of(self.node, &self.path()) } else { 0 }
    }

    /// [`Znode::digest`] of one that was found at `path`, which is then not put together anew.
    #[must_use]
    pub fn digest_at(self, path: &str) -> u64 {
        if self.tree.options.digest { self.tree.digest_of(self.node, path) } else { 0 }
    }

    /// The znode above; `None` for the root.
    #[must_use]
    pub fn parent(self) -> Option<Self> {
        (self.id != ROOT_ID).then(|| self.tree.znode(self.node.parent))
    }

    /// All that is stored of it.
    #[must_use]
    pub fn record(self) -> ZnodeRecord {
        ZnodeRecord { data: self.shared_data(), acl: Arc::clone(self.acl()), stat: self.persisted_stat() }
    }
}

impl std::fmt::Debug for Znode<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Znode").field("path", &self.path()).field("stat", &self.stat()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXTENDED_TYPES: TreeOptions =
        TreeOptions { digest: true, extended_types: true, emulate_353_ttl: false, hash_seed: 0 };

    #[test]
    fn a_node_takes_96_bytes() {
        assert_eq!(size_of::<Node>(), 96);
    }

    #[test]
    fn owners_mean_what_zookeeper_means_by_them() {
        for kind in [
            ZnodeKind::Persistent,
            ZnodeKind::Ephemeral(SessionId(0x0100_0000_0000_0001)),
            ZnodeKind::Container,
            ZnodeKind::Ttl(1),
            ZnodeKind::Ttl(ZnodeKind::TTL_MAX_MS),
        ] {
            assert_eq!(ZnodeKind::of_owner(kind.to_owner(), &EXTENDED_TYPES), kind);
        }
        assert_eq!(ZnodeKind::Ttl(5).to_owner().to_be_bytes(), [0xff, 0, 0, 0, 0, 0, 0, 5]);
    }

    #[test]
    fn without_extended_types_a_ttl_znode_reads_as_an_ephemeral() {
        let owner = ZnodeKind::Ttl(5).to_owner();
        let plain = TreeOptions { extended_types: false, ..EXTENDED_TYPES };
        assert_eq!(ZnodeKind::of_owner(owner, &plain), ZnodeKind::Ephemeral(SessionId(owner)));
    }

    #[test]
    fn lifetimes_of_3_5_3_are_read_when_asked_to() {
        let emulated = TreeOptions { emulate_353_ttl: true, ..EXTENDED_TYPES };
        assert_eq!(ZnodeKind::of_owner(i64::MIN | 77, &emulated), ZnodeKind::Ttl(77));
        assert_eq!(ZnodeKind::of_owner(i64::MIN, &emulated), ZnodeKind::Container);
        assert_eq!(ZnodeKind::of_owner(ZnodeKind::Ttl(77).to_owner(), &emulated), ZnodeKind::Ttl(77));
    }
}
