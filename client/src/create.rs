//! How a znode is to be created.

use std::time::Duration;

use bytes::Bytes;
use jute::data::Acl;

/// What kind of znode to create.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CreateMode {
    /// Stays until deleted.
    #[default]
    Persistent,
    /// Stays, and its name ends in a number: one more than that of the last child created before.
    PersistentSequential,
    /// Goes with its session.
    Ephemeral,
    /// Goes with its session, and its name ends in a number.
    EphemeralSequential,
    /// Goes some time after its last child has gone.
    Container,
    /// Goes when it has been childless and unmodified for this long. Servers have to be told to allow it:
    /// `extendedTypesEnabled=true`.
    PersistentWithTtl(Duration),
    /// The same, and its name ends in a number.
    PersistentSequentialWithTtl(Duration),
}

impl CreateMode {
    /// This mode, with an ACL other than [everything for everyone](Acl::open_unsafe).
    #[must_use]
    pub const fn with_acl(self, acl: Vec<Acl>) -> CreateOptions {
        CreateOptions { mode: self, acl: Some(acl) }
    }

    /// The number on the wire.
    pub(crate) const fn flags(self) -> i32 {
        use jute::CreateMode as Wire;
        match self {
            Self::Persistent => Wire::Persistent.code(),
            Self::PersistentSequential => Wire::PersistentSequential.code(),
            Self::Ephemeral => Wire::Ephemeral.code(),
            Self::EphemeralSequential => Wire::EphemeralSequential.code(),
            Self::Container => Wire::Container.code(),
            Self::PersistentWithTtl(_) => Wire::PersistentWithTtl.code(),
            Self::PersistentSequentialWithTtl(_) => Wire::PersistentSequentialWithTtl.code(),
        }
    }

    pub(crate) const fn is_sequential(self) -> bool {
        matches!(
            self,
            Self::PersistentSequential | Self::EphemeralSequential | Self::PersistentSequentialWithTtl(_)
        )
    }

    pub(crate) const fn ttl(self) -> Option<Duration> {
        match self {
            Self::PersistentWithTtl(ttl) | Self::PersistentSequentialWithTtl(ttl) => Some(ttl),
            _ => None,
        }
    }
}

/// A [`CreateMode`] and an ACL. A mode alone is one, too, with everything allowed to everyone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CreateOptions {
    pub(crate) mode: CreateMode,
    pub(crate) acl: Option<Vec<Acl>>,
}

impl From<CreateMode> for CreateOptions {
    fn from(mode: CreateMode) -> Self {
        Self { mode, acl: None }
    }
}

/// The data of a znode on its way to the server: bytes, text, or [null](Data::NULL).
///
/// [`Bytes`], `Vec<u8>` and `String` are taken over, what is borrowed is copied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Data(pub(crate) Option<Bytes>);

impl Data {
    /// No data, which ZooKeeper keeps apart from data of no bytes.
    pub const NULL: Self = Self(None);
}

impl From<&[u8]> for Data {
    fn from(bytes: &[u8]) -> Self {
        Self(Some(Bytes::copy_from_slice(bytes)))
    }
}

impl<const N: usize> From<&[u8; N]> for Data {
    fn from(bytes: &[u8; N]) -> Self {
        Self::from(&bytes[..])
    }
}

impl From<&str> for Data {
    fn from(text: &str) -> Self {
        Self::from(text.as_bytes())
    }
}

macro_rules! taken_over {
    ($($type:ty),*) => {$(
        impl From<$type> for Data {
            fn from(owned: $type) -> Self {
                Self(Some(owned.into()))
            }
        }
        impl From<&$type> for Data {
            fn from(borrowed: &$type) -> Self {
                Self::from(borrowed.clone())
            }
        }
    )*};
}
taken_over!(Bytes, Vec<u8>, String);
