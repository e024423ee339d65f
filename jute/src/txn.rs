//! `org.apache.zookeeper.txn`: what a replica replays. A log record and a PROPOSAL hold a [`TxnHeader`], the
//! record its `txn_type` names, and possibly a [`TxnDigest`].

use bytes::{Bytes, BytesMut};

use crate::data::AclList;
use crate::reader::{DecodeError, Flaw, Reader};
use crate::record::{Jute, record};
use crate::{Op, Ustring};

record! {
    /// In front of every txn.
    #[derive(Copy)]
    pub struct TxnHeader {
        /// The session that asked; 0 where the service itself did.
        pub client_id: i64,
        /// The xid it asked with.
        pub cxid: i32,
        pub zxid: i64,
        /// The leader's wall clock, milliseconds since 1970.
        pub time_ms: i64,
        /// Code of an [`Op`]; -1 is [`ErrorTxn`].
        pub txn_type: i32,
    }

    /// The tree's digest after the txn.
    #[derive(Copy)]
    pub struct TxnDigest {
        /// 2.
        pub version: i32,
        pub tree_digest: i64,
    }

    /// A new znode, as old servers logged it; see [`CreateTxn`].
    pub struct CreateTxnV0 {
        pub path: Ustring,
        pub data: Option<Bytes>,
        pub acl: AclList,
        pub ephemeral: bool,
    }

    /// A new persistent or ephemeral znode.
    pub struct CreateTxn {
        pub path: Ustring,
        pub data: Option<Bytes>,
        pub acl: AclList,
        /// It belongs to the header's `client_id`.
        pub ephemeral: bool,
        /// What the parent's stored cversion becomes; -1 is one more than it is.
        pub parent_cversion: i32,
    }

    /// A new TTL znode.
    pub struct CreateTtlTxn {
        pub path: Ustring,
        pub data: Option<Bytes>,
        pub acl: AclList,
        /// What the parent's stored cversion becomes.
        pub parent_cversion: i32,
        pub ttl_ms: i64,
    }

    /// A new container.
    pub struct CreateContainerTxn {
        pub path: Ustring,
        pub data: Option<Bytes>,
        pub acl: AclList,
        /// What the parent's stored cversion becomes.
        pub parent_cversion: i32,
    }

    /// The end of a znode.
    pub struct DeleteTxn {
        pub path: Ustring,
    }

    /// New data, also of the configuration znode.
    pub struct SetDataTxn {
        pub path: Ustring,
        pub data: Option<Bytes>,
        /// The version it gets.
        pub version: i32,
    }

    /// A check that held, inside a multi.
    pub struct CheckVersionTxn {
        pub path: Ustring,
        /// One more than the version that was found.
        pub version: i32,
    }

    /// A new ACL.
    pub struct SetAclTxn {
        pub path: Ustring,
        pub acl: AclList,
        /// The `aversion` it gets.
        pub version: i32,
    }

    /// A new session, its id being the header's `client_id`.
    #[derive(Copy)]
    pub struct CreateSessionTxn {
        pub timeout_ms: i32,
    }

    /// The end of a session and of these ephemerals.
    pub struct CloseSessionTxn {
        pub paths_to_delete: Vec<Ustring>,
    }

    /// A request that was refused. It takes a zxid, and changes nothing.
    #[derive(Copy)]
    pub struct ErrorTxn {
        /// Code of an [`ErrorCode`](crate::ErrorCode).
        pub err: i32,
    }

    /// A part of a [`MultiTxn`]: the record that `txn_type` names, encoded.
    pub struct SubTxn {
        pub txn_type: i32,
        pub data: Option<Bytes>,
    }

    /// Several txns that happen at once.
    pub struct MultiTxn {
        pub txns: Vec<SubTxn>,
    }
}

impl TxnDigest {
    /// The only version in use: ZooKeeper's `DigestCalculator.DIGEST_VERSION`.
    pub const VERSION: i32 = 2;
}

/// The record behind a [`TxnHeader`]. `SerializeUtils.deserializeTxn`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // One variant per record above.
pub enum TxnBody {
    CreateSession(CreateSessionTxn),
    /// `None` where the log's writer listed no paths (`closeSessionTxn.enabled=false`, and before 3.6): the
    /// replica then deletes what the session owns.
    CloseSession(Option<CloseSessionTxn>),
    /// Logged by [`Op::Create`] and [`Op::Create2`].
    Create(CreateTxn),
    CreateTtl(CreateTtlTxn),
    CreateContainer(CreateContainerTxn),
    /// Logged by [`Op::Delete`] and [`Op::DeleteContainer`].
    Delete(DeleteTxn),
    SetData(SetDataTxn),
    /// New text of `/zookeeper/config`.
    Reconfig(SetDataTxn),
    SetAcl(SetAclTxn),
    CheckVersion(CheckVersionTxn),
    Multi(MultiTxn),
    Error(ErrorTxn),
}

impl TxnBody {
    /// Appends the record; its type code is not part of it.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::CreateSession(txn) => txn.encode(out),
            Self::CloseSession(Some(txn)) => txn.encode(out),
            Self::CloseSession(None) => {}
            Self::Create(txn) => txn.encode(out),
            Self::CreateTtl(txn) => txn.encode(out),
            Self::CreateContainer(txn) => txn.encode(out),
            Self::Delete(txn) => txn.encode(out),
            Self::SetData(txn) | Self::Reconfig(txn) => txn.encode(out),
            Self::SetAcl(txn) => txn.encode(out),
            Self::CheckVersion(txn) => txn.encode(out),
            Self::Multi(txn) => txn.encode(out),
            Self::Error(txn) => txn.encode(out),
        }
    }

    /// How many bytes [`TxnBody::encode`] appends.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        match self {
            Self::CreateSession(txn) => txn.encoded_len(),
            Self::CloseSession(txn) => txn.as_ref().map_or(0, Jute::encoded_len),
            Self::Create(txn) => txn.encoded_len(),
            Self::CreateTtl(txn) => txn.encoded_len(),
            Self::CreateContainer(txn) => txn.encoded_len(),
            Self::Delete(txn) => txn.encoded_len(),
            Self::SetData(txn) | Self::Reconfig(txn) => txn.encoded_len(),
            Self::SetAcl(txn) => txn.encoded_len(),
            Self::CheckVersion(txn) => txn.encoded_len(),
            Self::Multi(txn) => txn.encoded_len(),
            Self::Error(txn) => txn.encoded_len(),
        }
    }

    /// Reads the record that `txn_type` names.
    ///
    /// # Errors
    /// When no txn has this type, or the bytes are not its record.
    pub fn decode(txn_type: i32, input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const UNKNOWN: DecodeError = DecodeError::new("TxnHeader", "txn_type", Flaw::Unknown);
        Ok(match Op::from_code(txn_type).ok_or(UNKNOWN)? {
            Op::CreateSession => Self::CreateSession(Jute::decode(input)?),
            Op::CloseSession if lists_no_paths(input) => Self::CloseSession(None),
            Op::CloseSession => Self::CloseSession(Some(Jute::decode(input)?)),
            Op::Create | Op::Create2 => Self::Create(decode_create(input)?),
            Op::CreateTtl => Self::CreateTtl(Jute::decode(input)?),
            Op::CreateContainer => Self::CreateContainer(Jute::decode(input)?),
            Op::Delete | Op::DeleteContainer => Self::Delete(Jute::decode(input)?),
            Op::SetData => Self::SetData(Jute::decode(input)?),
            Op::Reconfig => Self::Reconfig(Jute::decode(input)?),
            Op::SetAcl => Self::SetAcl(Jute::decode(input)?),
            Op::Check => Self::CheckVersion(Jute::decode(input)?),
            Op::Multi => Self::Multi(Jute::decode(input)?),
            Op::Error => Self::Error(Jute::decode(input)?),
            _ => return Err(UNKNOWN),
        })
    }

    /// The record as a part of a multi. `txn_type` is told apart from the body where two ops share one.
    #[must_use]
    pub fn to_sub_txn(&self, txn_type: i32) -> SubTxn {
        let mut data = BytesMut::with_capacity(self.encoded_len());
        self.encode(&mut data);
        SubTxn { txn_type, data: Some(data.freeze()) }
    }
}

/// A closeSession's record is left out where no paths are listed; a digest may follow all the same. Its version
/// would be the number of paths then, and two paths take more room than a digest.
fn lists_no_paths(input: &Reader<'_>) -> bool {
    let mut ahead = input.clone();
    let digest = TxnDigest::decode(&mut ahead).is_ok_and(|digest| digest.version == TxnDigest::VERSION);
    input.remaining() == 0 || (digest && ahead.remaining() == 0)
}

/// Falls back to the older record, which ends before the parent's cversion.
fn decode_create(input: &mut Reader<'_>) -> Result<CreateTxn, DecodeError> {
    let mut older = input.clone();
    match CreateTxn::decode(input) {
        Ok(txn) => Ok(txn),
        Err(error) => {
            let CreateTxnV0 { path, data, acl, ephemeral } =
                CreateTxnV0::decode(&mut older).map_err(|_| error)?;
            *input = older;
            Ok(CreateTxn { path, data, acl, ephemeral, parent_cversion: -1 })
        }
    }
}

impl SubTxn {
    /// The part's record.
    ///
    /// # Errors
    /// See [`TxnBody::decode`]; null data is an error too.
    pub fn body(&self) -> Result<TxnBody, DecodeError> {
        let data = self.data.as_ref().ok_or(DecodeError::new("SubTxn", "data", Flaw::Null))?;
        TxnBody::decode(self.txn_type, &mut Reader::new(data))
    }
}

/// What a log record and a PROPOSAL hold: who asked, what to do, and the digest of the tree afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Txn {
    /// Who asked, when, and in which order.
    pub header: TxnHeader,
    /// What to do.
    pub body: TxnBody,
    /// `None` where its writer keeps no digests, and for refused requests.
    pub digest: Option<TxnDigest>,
}

impl Jute for Txn {
    fn encode(&self, out: &mut BytesMut) {
        self.header.encode(out);
        self.body.encode(out);
        if let Some(digest) = &self.digest {
            digest.encode(out);
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let header = TxnHeader::decode(input)?;
        let body = TxnBody::decode(header.txn_type, input)?;
        let digest = if input.remaining() == 0 { None } else { Some(TxnDigest::decode(input)?) };
        Ok(Self { header, body, digest })
    }

    fn encoded_len(&self) -> usize {
        let digest = self.digest.as_ref().map_or(0, Jute::encoded_len);
        self.header.encoded_len() + self.body.encoded_len() + digest
    }
}
