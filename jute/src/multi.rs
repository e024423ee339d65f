//! Multi and multiRead: lists of operations in one request, each behind a [`MultiHeader`].
//! `MultiOperationRecord`, `MultiResponse`.

use bytes::BytesMut;

use crate::Op;
use crate::data::Stat;
use crate::proto::{
    CheckVersionRequest, Create2Response, CreateRequest, CreateResponse, CreateTtlRequest, DeleteRequest,
    ErrorResponse, GetChildrenRequest, GetChildrenResponse, GetDataRequest, GetDataResponse, MultiHeader,
    SetDataRequest, SetDataResponse,
};
use crate::reader::{DecodeError, Flaw, Reader};
use crate::record::Jute;

/// One part of a multi's or multiRead's request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // One variant per operation.
pub enum MultiOp {
    Create(CreateRequest),
    Create2(CreateRequest),
    CreateContainer(CreateRequest),
    CreateTtl(CreateTtlRequest),
    Delete(DeleteRequest),
    SetData(SetDataRequest),
    Check(CheckVersionRequest),
    GetData(GetDataRequest),
    GetChildren(GetChildrenRequest),
}

/// One part of the reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MultiResult {
    /// Of `create`.
    Create(CreateResponse),
    /// Of `create2`, `createContainer`, `createTTL`.
    Create2(Create2Response),
    /// Of `delete`.
    Delete,
    /// Of `setData`.
    SetData(Stat),
    /// Of `check`.
    Check,
    /// Of `getData`.
    GetData(GetDataResponse),
    /// Of `getChildren`.
    GetChildren(GetChildrenResponse),
    /// An error code; 0 for a part in front of the one that failed.
    Error(i32),
}

/// Body of [`Op::Multi`] (writes and checks) or [`Op::MultiRead`] (reads).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MultiRequest {
    /// In the order in which they take effect.
    pub ops: Vec<MultiOp>,
}

/// Answers [`Op::Multi`] and [`Op::MultiRead`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MultiResponse {
    /// One for each part of the request.
    pub results: Vec<MultiResult>,
}

impl MultiOp {
    /// The operation it is.
    #[must_use]
    pub const fn op(&self) -> Op {
        match self {
            Self::Create(_) => Op::Create,
            Self::Create2(_) => Op::Create2,
            Self::CreateContainer(_) => Op::CreateContainer,
            Self::CreateTtl(_) => Op::CreateTtl,
            Self::Delete(_) => Op::Delete,
            Self::SetData(_) => Op::SetData,
            Self::Check(_) => Op::Check,
            Self::GetData(_) => Op::GetData,
            Self::GetChildren(_) => Op::GetChildren,
        }
    }

    /// It belongs into a multiRead.
    #[must_use]
    pub const fn is_read(&self) -> bool {
        matches!(self, Self::GetData(_) | Self::GetChildren(_))
    }

    fn encode_body(&self, out: &mut BytesMut) {
        match self {
            Self::Create(body) | Self::Create2(body) | Self::CreateContainer(body) => body.encode(out),
            Self::CreateTtl(body) => body.encode(out),
            Self::Delete(body) => body.encode(out),
            Self::SetData(body) => body.encode(out),
            Self::Check(body) => body.encode(out),
            Self::GetData(body) => body.encode(out),
            Self::GetChildren(body) => body.encode(out),
        }
    }

    fn body_len(&self) -> usize {
        match self {
            Self::Create(body) | Self::Create2(body) | Self::CreateContainer(body) => body.encoded_len(),
            Self::CreateTtl(body) => body.encoded_len(),
            Self::Delete(body) => body.encoded_len(),
            Self::SetData(body) => body.encoded_len(),
            Self::Check(body) => body.encoded_len(),
            Self::GetData(body) => body.encoded_len(),
            Self::GetChildren(body) => body.encoded_len(),
        }
    }
}

const HEADER_BYTES: usize = 9;

impl Jute for MultiRequest {
    fn encode(&self, out: &mut BytesMut) {
        for part in &self.ops {
            MultiHeader { op: part.op().code(), done: false, err: -1 }.encode(out);
            part.encode_body(out);
        }
        MultiHeader::END.encode(out);
    }

    /// Reads and writes in one list are refused, as are operations that have no place in either.
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const UNKNOWN: DecodeError = DecodeError::new("MultiRequest", "ops", Flaw::Unknown);
        let mut ops: Vec<MultiOp> = Vec::new();
        loop {
            let header = MultiHeader::decode(input)?;
            if header.done {
                return Ok(Self { ops });
            }
            let part = match Op::from_code(header.op).ok_or(UNKNOWN)? {
                Op::Create => MultiOp::Create(Jute::decode(input)?),
                Op::Create2 => MultiOp::Create2(Jute::decode(input)?),
                Op::CreateContainer => MultiOp::CreateContainer(Jute::decode(input)?),
                Op::CreateTtl => MultiOp::CreateTtl(Jute::decode(input)?),
                Op::Delete => MultiOp::Delete(Jute::decode(input)?),
                Op::SetData => MultiOp::SetData(Jute::decode(input)?),
                Op::Check => MultiOp::Check(Jute::decode(input)?),
                Op::GetData => MultiOp::GetData(Jute::decode(input)?),
                Op::GetChildren => MultiOp::GetChildren(Jute::decode(input)?),
                _ => return Err(UNKNOWN),
            };
            if ops.first().is_some_and(|first| first.is_read() != part.is_read()) {
                return Err(UNKNOWN);
            }
            ops.push(part);
        }
    }

    fn encoded_len(&self) -> usize {
        let parts: usize = self.ops.iter().map(|part| HEADER_BYTES + part.body_len()).sum();
        parts + HEADER_BYTES
    }
}

impl MultiResult {
    const fn header(&self) -> MultiHeader {
        let (op, err) = match self {
            Self::Create(_) => (Op::Create.code(), 0),
            Self::Create2(_) => (Op::Create2.code(), 0),
            Self::Delete => (Op::Delete.code(), 0),
            Self::SetData(_) => (Op::SetData.code(), 0),
            Self::Check => (Op::Check.code(), 0),
            Self::GetData(_) => (Op::GetData.code(), 0),
            Self::GetChildren(_) => (Op::GetChildren.code(), 0),
            Self::Error(err) => (-1, *err),
        };
        MultiHeader { op, done: false, err }
    }
}

impl Jute for MultiResponse {
    fn encode(&self, out: &mut BytesMut) {
        for result in &self.results {
            result.header().encode(out);
            match result {
                MultiResult::Create(body) => body.encode(out),
                MultiResult::Create2(body) => body.encode(out),
                MultiResult::Delete | MultiResult::Check => {}
                MultiResult::SetData(stat) => SetDataResponse { stat: *stat }.encode(out),
                MultiResult::GetData(body) => body.encode(out),
                MultiResult::GetChildren(body) => body.encode(out),
                MultiResult::Error(err) => ErrorResponse { err: *err }.encode(out),
            }
        }
        MultiHeader::END.encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const UNKNOWN: DecodeError = DecodeError::new("MultiResponse", "results", Flaw::Unknown);
        let mut results = Vec::new();
        loop {
            let header = MultiHeader::decode(input)?;
            if header.done {
                return Ok(Self { results });
            }
            results.push(match Op::from_code(header.op).ok_or(UNKNOWN)? {
                Op::Create => MultiResult::Create(Jute::decode(input)?),
                Op::Create2 | Op::CreateContainer | Op::CreateTtl => {
                    MultiResult::Create2(Jute::decode(input)?)
                }
                Op::Delete => MultiResult::Delete,
                Op::SetData => MultiResult::SetData(SetDataResponse::decode(input)?.stat),
                Op::Check => MultiResult::Check,
                Op::GetData => MultiResult::GetData(Jute::decode(input)?),
                Op::GetChildren => MultiResult::GetChildren(Jute::decode(input)?),
                Op::Error => MultiResult::Error(ErrorResponse::decode(input)?.err),
                _ => return Err(UNKNOWN),
            });
        }
    }

    fn encoded_len(&self) -> usize {
        let body = |result: &MultiResult| match result {
            MultiResult::Create(body) => body.encoded_len(),
            MultiResult::Create2(body) => body.encoded_len(),
            MultiResult::Delete | MultiResult::Check => 0,
            MultiResult::SetData(stat) => stat.encoded_len(),
            MultiResult::GetData(body) => body.encoded_len(),
            MultiResult::GetChildren(body) => body.encoded_len(),
            MultiResult::Error(_) => 4,
        };
        self.results.iter().map(|result| HEADER_BYTES + body(result)).sum::<usize>() + HEADER_BYTES
    }
}
