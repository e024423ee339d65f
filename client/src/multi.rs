//! Several operations in one request.

use jute::data::Stat;
use jute::multi::{MultiOp, MultiRequest, MultiResponse, MultiResult as Part};
use jute::proto::{CheckVersionRequest, DeleteRequest, GetChildrenRequest, GetDataRequest, SetDataRequest};
use jute::reader::Flaw;
use jute::{DecodeError, ErrorCode, Op};

use crate::client::{Client, Create, Znode, any, decode, encode_create, owned};
use crate::create::{CreateOptions, Data};
use crate::error::{Error, Result};

/// Several writes that all happen, in one transaction and in this order, or none. See [`Client::multi`].
#[derive(Debug)]
#[must_use = "a multi does nothing until it is committed"]
#[doc(alias = "Transaction")]
pub struct Multi<'c> {
    client: &'c Client,
    parts: MultiRequest,
    /// The first thing that was wrong while building; commit tells it.
    flaw: Option<Error>,
}

/// What became of one part of a [`Multi`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MultiResult {
    /// Of `create`.
    Created {
        /// With the number that a sequential mode appended.
        path: String,
        /// The new znode's; servers before 3.9 tell it of containers and TTL znodes only.
        stat: Option<Stat>,
    },
    /// Of `set`.
    Set(Stat),
    /// Of `delete`.
    Deleted,
    /// Of `check`.
    Checked,
}

impl<'c> Multi<'c> {
    pub(crate) fn new(client: &'c Client) -> Self {
        Self { client, parts: MultiRequest::default(), flaw: None }
    }

    /// See [`Client::create`].
    pub fn create(self, path: &str, data: impl Into<Data>, options: impl Into<CreateOptions>) -> Self {
        let Data(data) = data.into();
        let create = encode_create(self.client.chroot_ref(), Op::Create2, path, data, &options.into());
        self.with(create.map(|create| match create {
            Create::Plain(Op::CreateContainer, body) => MultiOp::CreateContainer(body),
            Create::Plain(_, body) => MultiOp::Create2(body),
            Create::Ttl(body) => MultiOp::CreateTtl(body),
        }))
    }

    /// See [`Client::delete`].
    pub fn delete(self, path: &str, version: impl Into<Option<i32>>) -> Self {
        let version = any(version.into());
        let path = self.client.chroot_ref().resolve(path);
        self.with(path.map(|path| MultiOp::Delete(DeleteRequest { path, version })))
    }

    /// See [`Client::set`].
    pub fn set(self, path: &str, data: impl Into<Data>, version: impl Into<Option<i32>>) -> Self {
        let (Data(data), version) = (data.into(), any(version.into()));
        let path = self.client.chroot_ref().resolve(path);
        self.with(path.map(|path| MultiOp::SetData(SetDataRequest { path, data, version })))
    }

    /// The znode must exist, and have `version` if one is given.
    pub fn check(self, path: &str, version: impl Into<Option<i32>>) -> Self {
        let version = any(version.into());
        let path = self.client.chroot_ref().resolve(path);
        self.with(path.map(|path| MultiOp::Check(CheckVersionRequest { path, version })))
    }

    /// Sends it. The answer has a result for each part, in order.
    ///
    /// # Errors
    /// [`Error::MultiRefused`] names the first part that the service refused; see [`Error`].
    pub async fn commit(self) -> Result<Vec<MultiResult>> {
        if let Some(flaw) = self.flaw {
            return Err(flaw);
        }
        let body = self.client.ask(Op::Multi, "/", &self.parts, None).await?;
        let results = decode::<MultiResponse>(Op::Multi, &body)?.results;
        if let Some((index, code)) = first_refusal(&results) {
            return Err(Error::MultiRefused { code, index });
        }
        results.into_iter().map(|part| self.result(part)).collect()
    }

    fn result(&self, part: Part) -> Result<MultiResult> {
        let created = |path: &str, stat| MultiResult::Created {
            path: self.client.chroot_ref().strip(path).to_owned(),
            stat,
        };
        Ok(match part {
            Part::Create(znode) => created(&znode.path, None),
            Part::Create2(znode) => created(&znode.path, Some(znode.stat)),
            Part::SetData(stat) => MultiResult::Set(stat),
            Part::Delete => MultiResult::Deleted,
            Part::Check => MultiResult::Checked,
            Part::GetData(_) | Part::GetChildren(_) | Part::Error(_) => {
                return Err(out_of_place(Op::Multi));
            }
        })
    }

    fn with(mut self, part: Result<MultiOp>) -> Self {
        match part {
            Ok(part) => self.parts.ops.push(part),
            Err(flaw) => _ = self.flaw.get_or_insert(flaw),
        }
        self
    }
}

/// In a refused multi the parts in front of the culprit say 0, and those behind it `RuntimeInconsistency`.
fn first_refusal(results: &[Part]) -> Option<(usize, ErrorCode)> {
    results.iter().enumerate().find_map(|(index, part)| match part {
        Part::Error(err) if *err != 0 => {
            Some((index, ErrorCode::from_code(*err).unwrap_or(ErrorCode::SystemError)))
        }
        _ => None,
    })
}

fn out_of_place(op: Op) -> Error {
    Error::BadReply { op, cause: DecodeError::new("MultiResponse", "results", Flaw::Unknown) }
}

/// Several reads in one request. See [`Client::multi_read`].
#[derive(Debug)]
#[must_use = "a multi does nothing until it is sent"]
pub struct MultiRead<'c> {
    client: &'c Client,
    parts: MultiRequest,
    paths: Vec<Box<str>>,
    flaw: Option<Error>,
}

/// What one part of a [`MultiRead`] has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MultiReadResult {
    /// Of `get`.
    Znode(Znode),
    /// Of `children`.
    Children(Vec<String>),
}

impl<'c> MultiRead<'c> {
    pub(crate) fn new(client: &'c Client) -> Self {
        Self { client, parts: MultiRequest::default(), paths: Vec::new(), flaw: None }
    }

    /// See [`Client::get`].
    pub fn get(self, path: &str) -> Self {
        self.with(path, |path| MultiOp::GetData(GetDataRequest { path, watch: false }))
    }

    /// See [`Client::children`].
    pub fn children(self, path: &str) -> Self {
        self.with(path, |path| MultiOp::GetChildren(GetChildrenRequest { path, watch: false }))
    }

    /// Sends it. The answer has a result for each part, in order.
    ///
    /// # Errors
    /// When the whole failed; see [`Error`].
    pub async fn fetch(self) -> Result<Vec<Result<MultiReadResult>>> {
        if let Some(flaw) = self.flaw {
            return Err(flaw);
        }
        let body = self.client.ask(Op::MultiRead, "/", &self.parts, None).await?;
        let results = decode::<MultiResponse>(Op::MultiRead, &body)?.results;
        let results = results.into_iter().zip(self.paths);
        Ok(results.map(|(part, path)| Self::result(part, path)).collect())
    }

    fn result(part: Part, path: Box<str>) -> Result<MultiReadResult> {
        match part {
            Part::GetData(response) => Ok(MultiReadResult::Znode(Znode::new(response))),
            Part::GetChildren(response) => Ok(MultiReadResult::Children(owned(response.children))),
            Part::Error(err) => {
                let code = ErrorCode::from_code(err).unwrap_or(ErrorCode::SystemError);
                Err(Error::Refused { code, path })
            }
            _ => Err(out_of_place(Op::MultiRead)),
        }
    }

    fn with(mut self, path: &str, part: impl FnOnce(jute::Ustring) -> MultiOp) -> Self {
        match self.client.chroot_ref().resolve(path) {
            Ok(resolved) => {
                self.parts.ops.push(part(resolved));
                self.paths.push(path.into());
            }
            Err(flaw) => _ = self.flaw.get_or_insert(flaw),
        }
        self
    }
}
