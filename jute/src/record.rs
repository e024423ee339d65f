//! Records: what a line of `zookeeper.jute` is in Rust, and the table from which encoding, decoding and
//! size follow.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use crate::Ustring;
use crate::reader::{DecodeError, Reader};

/// A value with a jute encoding: a record, or one of the types its fields are made of.
pub trait Jute: Sized {
    /// Appends the encoding to `out`.
    fn encode(&self, out: &mut BytesMut);
    /// Reads one value off the front of `input`.
    ///
    /// # Errors
    /// When the bytes end early, or a length exceeds what is left; `input` is then of no further use.
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError>;
    /// How many bytes [`Jute::encode`] appends.
    fn encoded_len(&self) -> usize;

    /// The encoding as a buffer of its own.
    fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.encoded_len());
        self.encode(&mut out);
        out.freeze()
    }

    /// Decodes `bytes`, of which buffers in the result are slices. Bytes behind the value are left alone,
    /// as ZooKeeper leaves them.
    ///
    /// # Errors
    /// See [`Jute::decode`].
    fn from_bytes(bytes: &Bytes) -> Result<Self, DecodeError> {
        Self::decode(&mut Reader::new(bytes))
    }
}

macro_rules! fixed_width {
    ($($type:ty, $len:literal, $put:ident, $read:ident);* $(;)?) => {$(
        impl Jute for $type {
            fn encode(&self, out: &mut BytesMut) {
                out.$put(*self);
            }
            fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
                input.$read()
            }
            fn encoded_len(&self) -> usize {
                $len
            }
        }
    )*};
}
fixed_width! {
    i32, 4, put_i32, int;
    i64, 8, put_i64, long;
}

impl Jute for bool {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u8(u8::from(*self));
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.boolean()
    }
    fn encoded_len(&self) -> usize {
        1
    }
}

/// A length or count as jute writes it. Nothing that fits in memory as one frame is longer.
fn length(len: usize) -> i32 {
    i32::try_from(len).expect("a jute length is below 2^31: frames are bounded far lower")
}

/// `buffer`, never null.
impl Jute for Bytes {
    fn encode(&self, out: &mut BytesMut) {
        out.put_i32(length(self.len()));
        out.put_slice(self);
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.buffer()?.ok_or_else(|| input.null())
    }
    fn encoded_len(&self) -> usize {
        4 + self.len()
    }
}

/// `buffer`, where length -1 is null, and null is not empty.
impl Jute for Option<Bytes> {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Some(bytes) => bytes.encode(out),
            None => out.put_i32(-1),
        }
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.buffer()
    }
    fn encoded_len(&self) -> usize {
        4 + self.as_ref().map_or(0, Bytes::len)
    }
}

/// `ustring`, never null.
impl Jute for Ustring {
    fn encode(&self, out: &mut BytesMut) {
        out.put_i32(length(self.len()));
        out.put_slice(self.as_bytes());
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.string()?.ok_or_else(|| input.null())
    }
    fn encoded_len(&self) -> usize {
        4 + self.len()
    }
}

/// `ustring`, where length -1 is null.
impl Jute for Option<Ustring> {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Some(string) => string.encode(out),
            None => out.put_i32(-1),
        }
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.string()
    }
    fn encoded_len(&self) -> usize {
        4 + self.as_ref().map_or(0, |string| string.len())
    }
}

/// `vector`. A null vector (count -1) reads as an empty one: no record gives the two different meanings,
/// but for those whose field is an `Option<Vec<_>>`.
impl<T: Jute> Jute for Vec<T> {
    fn encode(&self, out: &mut BytesMut) {
        encode_items(self, out);
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Option::<Self>::decode(input)?.unwrap_or_default())
    }
    fn encoded_len(&self) -> usize {
        4 + self.iter().map(Jute::encoded_len).sum::<usize>()
    }
}

/// `vector`, where count -1 is null.
impl<T: Jute> Jute for Option<Vec<T>> {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Some(items) => items.encode(out),
            None => out.put_i32(-1),
        }
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let Some(count) = input.count()? else {
            return Ok(None);
        };
        // Every item takes at least a byte, which `count` has checked against what is left. Its size in
        // memory may be larger than on the wire, so room is made as items really come.
        let mut items = Vec::with_capacity(count.min(64));
        for _ in 0..count {
            items.push(T::decode(input)?);
        }
        Ok(Some(items))
    }
    fn encoded_len(&self) -> usize {
        4 + self.iter().flatten().map(Jute::encoded_len).sum::<usize>()
    }
}

fn encode_items<T: Jute>(items: &[T], out: &mut BytesMut) {
    out.put_i32(length(items.len()));
    for item in items {
        item.encode(out);
    }
}

/// As `Option<Vec<_>>`, for what several share.
impl<T: Jute> Jute for Option<Arc<[T]>> {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Some(items) => encode_items(items, out),
            None => out.put_i32(-1),
        }
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Option::<Vec<T>>::decode(input)?.map(Arc::from))
    }
    fn encoded_len(&self) -> usize {
        4 + self.iter().flat_map(|items| items.iter()).map(Jute::encoded_len).sum::<usize>()
    }
}

/// Declares records as `zookeeper.jute` lists them: one line a field, in wire order. The struct, its
/// [`Jute`] implementation and the names in its [`DecodeError`]s follow from the table.
macro_rules! record {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[$field_meta:meta])* pub $field:ident : $type:ty ),* $(,)?
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        #[allow(missing_docs)] // A field is documented where its name leaves a question.
        pub struct $name {
            $( $(#[$field_meta])* pub $field: $type, )*
        }

        impl $crate::record::Jute for $name {
            fn encode(&self, out: &mut bytes::BytesMut) {
                $( $crate::record::Jute::encode(&self.$field, out); )*
                let _ = out;
            }
            fn decode(input: &mut $crate::reader::Reader<'_>) -> Result<Self, $crate::reader::DecodeError> {
                Ok(Self {$(
                    $field: <$type as $crate::record::Jute>::decode(input)
                        .map_err(|error| error.within(stringify!($name), stringify!($field)))?,
                )*})
            }
            fn encoded_len(&self) -> usize {
                0 $( + $crate::record::Jute::encoded_len(&self.$field) )*
            }
        }
    )*};
}
pub(crate) use record;
