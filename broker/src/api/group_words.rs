//! Between the wire's words and those of the groups.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::protocol::StrBytes;

/// A name of its own: a slice would keep the whole frame it came in.
pub(super) fn name(text: &StrBytes) -> Arc<str> {
    text.as_str().into()
}

/// The name behind `text`, if there is one.
pub(super) fn name_or_none(text: Option<&StrBytes>) -> Option<Arc<str>> {
    text.map(name)
}

/// Bytes of their own.
pub(super) fn copied(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

pub(super) fn word(name: &Arc<str>) -> StrBytes {
    StrBytes::from_string(name.to_string())
}

pub(super) fn word_or_none(name: Option<&Arc<str>>) -> Option<StrBytes> {
    name.map(word)
}

/// The code of an outcome, 0 if all is well.
pub(super) fn code<T>(outcome: &Result<T, ResponseError>) -> i16 {
    outcome.as_ref().map_or_else(ResponseError::code, |_| 0)
}
