//! What no log may show.

use std::fmt;

use bytes::Bytes;

/// A password, or what a client proves its identity with: `{:?}` does not tell it.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) Bytes);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<T: Into<Bytes>> From<T> for Secret {
    fn from(secret: T) -> Self {
        Self(secret.into())
    }
}
