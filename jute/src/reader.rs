//! A cursor over bytes that came from elsewhere: it can only advance or fail. It never panics, and it
//! allocates nothing that the sender did not send.

use std::borrow::Cow;

use bytes::Bytes;
use nom::Parser;
use nom::bytes::complete::take;
use nom::combinator::{map_res, verify};
use nom::error::ErrorKind;
use nom::number::complete::{be_i32, be_i64, be_u8};

use crate::Ustring;

/// Why bytes are not the record they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{record}.{field}: {what}")]
pub struct DecodeError {
    /// The innermost record that was being read.
    pub record: &'static str,
    /// Its field.
    pub field: &'static str,
    /// What was wrong there.
    pub what: Flaw,
}

/// What can be wrong with the bytes of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// The bytes end inside the value.
    #[error("the bytes end early")]
    Truncated,
    /// A length or count is below -1, or above the number of bytes that follow.
    #[error("unreasonable length")]
    Length,
    /// Null stands where this service needs a value.
    #[error("null")]
    Null,
    /// A number has no meaning in this place.
    #[error("unknown value")]
    Unknown,
}

impl DecodeError {
    /// An error at a place that is no record's field.
    #[must_use]
    pub const fn new(record: &'static str, field: &'static str, what: Flaw) -> Self {
        Self { record, field, what }
    }

    /// Names the place, unless a record further in has done so.
    #[must_use]
    pub(crate) fn within(mut self, record: &'static str, field: &'static str) -> Self {
        if self.record.is_empty() {
            (self.record, self.field) = (record, field);
        }
        self
    }
}

type Parsed<'a, T> = nom::IResult<&'a [u8], T, nom::error::Error<&'a [u8]>>;

/// The cursor. Buffers and strings it yields are slices of the frame it reads.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    frame: &'a Bytes,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the front of `frame`.
    #[must_use]
    pub fn new(frame: &'a Bytes) -> Self {
        Self { frame, rest: frame }
    }

    /// How many bytes have not been read.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// What has not been read, without copying it.
    #[must_use]
    pub fn rest(&self) -> Bytes {
        self.frame.slice_ref(self.rest)
    }

    /// What has not been read.
    pub(crate) fn ahead(&self) -> &'a [u8] {
        self.rest
    }

    /// Advances behind `bytes`, if they come next.
    pub(crate) fn skip(&mut self, bytes: &[u8]) -> bool {
        let rest = self.rest.strip_prefix(bytes);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// # Errors
    /// When fewer than four bytes are left.
    pub fn int(&mut self) -> Result<i32, DecodeError> {
        self.run(be_i32)
    }

    /// # Errors
    /// When fewer than eight bytes are left.
    pub fn long(&mut self) -> Result<i64, DecodeError> {
        self.run(be_i64)
    }

    /// Any byte but 0 is true, as in Java's `DataInput`.
    ///
    /// # Errors
    /// When no byte is left.
    pub fn boolean(&mut self) -> Result<bool, DecodeError> {
        self.run(be_u8).map(|byte| byte != 0)
    }

    /// A `buffer`: a slice of the frame, or null.
    ///
    /// # Errors
    /// When the length is no length, or more than is left.
    pub fn buffer(&mut self) -> Result<Option<Bytes>, DecodeError> {
        let frame = self.frame;
        Ok(self.sized()?.map(|bytes| frame.slice_ref(bytes)))
    }

    /// A `ustring`, or null. Bytes that are not UTF-8 become U+FFFD, as Java's decoder has it.
    ///
    /// # Errors
    /// When the length is no length, or more than is left.
    pub fn string(&mut self) -> Result<Option<Ustring>, DecodeError> {
        let frame = self.frame;
        Ok(self.sized()?.map(|bytes| {
            Ustring::try_from(frame.slice_ref(bytes))
                .unwrap_or_else(|_| Ustring::from(String::from_utf8_lossy(bytes).into_owned()))
        }))
    }

    /// A `ustring` that is looked at and let go: borrowed, where [`Reader::string`] keeps the frame alive.
    ///
    /// # Errors
    /// When the length is no length, or more than is left; also for null.
    pub fn text(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        let bytes = self.sized()?.ok_or_else(|| self.null())?;
        Ok(std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed))
    }

    /// The count of a `vector`, or null. It is at most the number of bytes left, since no item is empty.
    ///
    /// # Errors
    /// When it is no count, or more than could follow.
    pub fn count(&mut self) -> Result<Option<usize>, DecodeError> {
        let count = self.length()?;
        if count.is_some_and(|count| count > self.rest.len()) {
            return Err(flaw(Flaw::Length));
        }
        Ok(count)
    }

    /// The error for a null where there must be a value.
    pub(crate) fn null(&self) -> DecodeError {
        flaw(Flaw::Null)
    }

    fn sized(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        let Some(len) = self.length()? else {
            return Ok(None);
        };
        if len > self.rest.len() {
            return Err(flaw(Flaw::Length));
        }
        self.run(take(len)).map(Some)
    }

    /// A length as jute writes it, -1 being null.
    fn length(&mut self) -> Result<Option<usize>, DecodeError> {
        self.run(map_res(verify(be_i32, |len| *len >= -1), |len| {
            Ok::<_, std::convert::Infallible>(usize::try_from(len).ok())
        }))
    }

    fn run<T>(
        &mut self,
        mut parser: impl Parser<&'a [u8], Output = T, Error = nom::error::Error<&'a [u8]>>,
    ) -> Result<T, DecodeError> {
        let parsed: Parsed<'a, T> = parser.parse_complete(self.rest);
        match parsed {
            Ok((rest, value)) => {
                self.rest = rest;
                Ok(value)
            }
            Err(nom::Err::Error(error) | nom::Err::Failure(error)) if error.code == ErrorKind::Verify => {
                Err(flaw(Flaw::Length))
            }
            Err(_) => Err(flaw(Flaw::Truncated)),
        }
    }
}

/// An error whose place the surrounding record will name.
fn flaw(what: Flaw) -> DecodeError {
    DecodeError { record: "", field: "", what }
}
