//! Access control lists, each kept once however many znodes have it. ZooKeeper's `ReferenceCountedACLCache`.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::quality::FixedState;
use hashbrown::HashTable;
use jute::data::{Acl, AclList, Id, perms};

/// Names a list in the tree's [`Acls`].
pub(super) type AclId = u32;

/// `world:anyone` with every permission: what nearly all znodes have.
pub(super) const OPEN: AclId = 0;

/// The lists in use.
#[derive(Debug)]
#[doc(alias = "ReferenceCountedACLCache")]
pub(super) struct Acls {
    lists: Vec<Counted>,
    free: Vec<AclId>,
    by_content: HashTable<AclId>,
    hasher: FixedState,
}

#[derive(Debug)]
struct Counted {
    list: Arc<[Acl]>,
    /// Znodes that have it.
    users: u32,
}

impl Acls {
    pub(super) fn new(seed: u64) -> Self {
        let mut acls = Self {
            lists: Vec::new(),
            free: Vec::new(),
            by_content: HashTable::new(),
            hasher: FixedState::with_seed(seed),
        };
        // In use for ever, so that it keeps its id.
        let open = acls.acquire_shared(&Acl::open_unsafe().into());
        assert_eq!(open, OPEN, "the first list gets the first id");
        acls
    }

    pub(super) fn get(&self, id: AclId) -> &Arc<[Acl]> {
        &self.lists[id as usize].list
    }

    /// Counts one more user of a list with this content. What is kept of a new one shares no memory with it.
    pub(super) fn acquire(&mut self, acl: &AclList) -> AclId {
        if acl.is_open() {
            return self.use_again(OPEN);
        }
        self.acquire_with(acl, || acl.iter().map(detached).collect())
    }

    /// [`Acls::acquire`], which keeps this very list if it is new.
    pub(super) fn acquire_shared(&mut self, acl: &Arc<[Acl]>) -> AclId {
        if self.lists.first().is_some_and(|open| *open.list == **acl) {
            return self.use_again(OPEN);
        }
        self.acquire_with(acl, || Arc::clone(acl))
    }

    fn acquire_with(&mut self, acl: &[Acl], make: impl FnOnce() -> Arc<[Acl]>) -> AclId {
        let hash = self.hasher.hash_one(acl);
        let found = self.by_content.find(hash, |&id| *self.lists[id as usize].list == *acl).copied();
        if let Some(id) = found {
            return self.use_again(id);
        }
        let id = self.add(Counted { list: make(), users: 1 });
        self.by_content.insert_unique(hash, id, |&id| self.hasher.hash_one(&*self.lists[id as usize].list));
        id
    }

    fn use_again(&mut self, id: AclId) -> AclId {
        self.lists[id as usize].users += 1;
        id
    }

    fn add(&mut self, counted: Counted) -> AclId {
        if let Some(id) = self.free.pop() {
            self.lists[id as usize] = counted;
            return id;
        }
        self.lists.push(counted);
        AclId::try_from(self.lists.len() - 1).expect("there are fewer lists than znodes")
    }

    /// Counts one user less; the last one's list is dropped.
    pub(super) fn release(&mut self, id: AclId) {
        let counted = &mut self.lists[id as usize];
        counted.users -= 1;
        if counted.users > 0 {
            return;
        }
        let hash = self.hasher.hash_one(&*counted.list);
        counted.list = Arc::default();
        if let Ok(found) = self.by_content.find_entry(hash, |&other| other == id) {
            found.remove();
        }
        self.free.push(id);
    }

    /// How many different lists there are.
    pub(super) fn len(&self) -> usize {
        self.lists.len() - self.free.len()
    }
}

/// Whether everyone may read: no entries mean no restriction.
#[must_use]
pub fn is_world_readable(acl: &[Acl]) -> bool {
    let everyone = |acl: &Acl| acl.perms & perms::READ != 0 && acl.id == Id::anyone();
    acl.is_empty() || acl.iter().any(everyone)
}

/// A copy that does not hold on to the frame `acl` came in.
fn detached(acl: &Acl) -> Acl {
    Acl::new(acl.perms, &acl.id.scheme, &acl.id.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_kept_once_and_as_long_as_it_is_used() {
        let mut acls = Acls::new(0);
        let read = acls.acquire(&Acl::read_unsafe().into());
        assert_eq!(acls.acquire(&Acl::read_unsafe().into()), read);
        assert_eq!(acls.len(), 2);

        acls.release(read);
        assert_eq!(acls.get(read)[..], Acl::read_unsafe()[..]);
        acls.release(read);
        assert_eq!(acls.len(), 1);

        let mine = acls.acquire(&vec![Acl::new(perms::READ, "digest", "me:x")].into());
        assert_eq!(mine, read, "a free id is used again");
        assert_eq!(acls.acquire(&Acl::open_unsafe().into()), OPEN);
    }

    #[test]
    fn the_world_reads_what_says_so_and_what_says_nothing() {
        assert!(is_world_readable(&[]));
        assert!(is_world_readable(&Acl::read_unsafe()));
        assert!(!is_world_readable(&[Acl::new(perms::ALL & !perms::READ, "world", "anyone")]));
        assert!(!is_world_readable(&[Acl::new(perms::ALL, "ip", "anyone")]));
    }
}
