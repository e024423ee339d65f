//! What the targets share.

use bytes::Bytes;
use jute::Jute;

/// What decodes encodes to as many bytes as it says, and they decode to the same.
pub fn stable<T: Jute + PartialEq + std::fmt::Debug>(bytes: &Bytes) {
    if let Ok(record) = T::from_bytes(bytes) {
        let encoded = record.to_bytes();
        assert_eq!(encoded.len(), record.encoded_len());
        assert_eq!(T::from_bytes(&encoded).as_ref(), Ok(&record));
    }
}
