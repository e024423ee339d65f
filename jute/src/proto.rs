//! `org.apache.zookeeper.proto`: what clients and servers say to each other.
//!
//! A frame holds a [`RequestHeader`] and the request's record, or a [`ReplyHeader`] and, where its `err` is
//! 0, the reply's. The handshake ([`ConnectRequest`], [`ConnectResponse`]) has no headers. Which record goes
//! with which operation is the table in [`crate::op`].

use bytes::Bytes;

use crate::Ustring;
use crate::data::{Acl, AclList, ClientInfo, Stat};
use crate::record::record;

record! {
    /// Opens or renews a session. Clients up to 3.3 end before [`ConnectTail::read_only`].
    pub struct ConnectRequest {
        /// Always 0.
        pub protocol_version: i32,
        /// The newest zxid this client has seen; a server that is behind it must not serve the client.
        pub last_zxid_seen: i64,
        /// The session timeout wished for, in milliseconds.
        pub timeout_ms: i32,
        /// 0 for a new session.
        pub session_id: i64,
        pub password: Option<Bytes>,
    }

    /// Answers a [`ConnectRequest`]; followed by [`ConnectTail`] exactly if the request was.
    pub struct ConnectResponse {
        /// Always 0.
        pub protocol_version: i32,
        /// The timeout granted, in milliseconds; 0 says that the session has expired.
        pub timeout_ms: i32,
        pub session_id: i64,
        /// 16 bytes.
        pub password: Option<Bytes>,
    }

    /// The byte that 3.4 added to both records of the handshake.
    pub struct ConnectTail {
        /// The client would accept, or the server is, a server cut off from its quorum.
        pub read_only: bool,
    }

    /// In front of every request.
    #[derive(Copy)]
    pub struct RequestHeader {
        /// Numbers the request within its connection; see [`xid`].
        pub xid: i32,
        /// Code of an [`Op`](crate::Op).
        pub op: i32,
    }

    /// In front of every reply and notification. 16 bytes.
    #[derive(Copy)]
    pub struct ReplyHeader {
        /// The request's xid, or one of [`xid`].
        pub xid: i32,
        /// The newest zxid applied on the server that answers.
        pub zxid: i64,
        /// Code of an [`ErrorCode`](crate::ErrorCode); 0 is success.
        pub err: i32,
    }

    /// In front of each part of a multi's request and reply. 9 bytes.
    #[derive(Copy)]
    pub struct MultiHeader {
        /// Code of an [`Op`](crate::Op), or -1 for an error or the end.
        pub op: i32,
        /// Nothing follows.
        pub done: bool,
        /// -1 in requests; 0 or the error code in replies.
        pub err: i32,
    }

    /// Body of [`Op::Auth`](crate::Op::Auth); answered by a header alone.
    pub struct AuthPacket {
        /// Always 0.
        pub auth_type: i32,
        pub scheme: Ustring,
        pub auth: Option<Bytes>,
    }

    /// Body of [`Op::SetWatches`](crate::Op::SetWatches): one-shot watches taken along to another connection.
    pub struct SetWatches {
        /// What changed after this zxid is told at once.
        pub relative_zxid: i64,
        pub data_watches: Vec<Ustring>,
        pub exist_watches: Vec<Ustring>,
        pub child_watches: Vec<Ustring>,
    }

    /// Body of [`Op::SetWatches2`](crate::Op::SetWatches2).
    pub struct SetWatches2 {
        /// What changed after this zxid is told at once, to one-shot watches only.
        pub relative_zxid: i64,
        pub data_watches: Vec<Ustring>,
        pub exist_watches: Vec<Ustring>,
        pub child_watches: Vec<Ustring>,
        pub persistent_watches: Vec<Ustring>,
        pub persistent_recursive_watches: Vec<Ustring>,
    }

    /// Body of [`Op::GetData`](crate::Op::GetData).
    pub struct GetDataRequest {
        pub path: Ustring,
        pub watch: bool,
    }

    /// Body of [`Op::SetData`](crate::Op::SetData).
    pub struct SetDataRequest {
        pub path: Ustring,
        pub data: Option<Bytes>,
        /// The version it must have; -1 is any.
        pub version: i32,
    }

    /// Body of [`Op::Reconfig`](crate::Op::Reconfig); answered by [`GetDataResponse`].
    pub struct ReconfigRequest {
        pub joining_servers: Option<Ustring>,
        pub leaving_servers: Option<Ustring>,
        pub new_members: Option<Ustring>,
        /// The configuration it must replace; -1 is any.
        pub cur_config_id: i64,
    }

    /// Answers [`Op::SetData`](crate::Op::SetData).
    #[derive(Copy)]
    pub struct SetDataResponse {
        pub stat: Stat,
    }

    /// Body of [`Op::Sasl`](crate::Op::Sasl).
    pub struct GetSaslRequest {
        pub token: Option<Bytes>,
    }

    /// Answers [`Op::Sasl`](crate::Op::Sasl).
    pub struct SetSaslResponse {
        pub token: Option<Bytes>,
    }

    /// Body of [`Op::Create`](crate::Op::Create), [`Op::Create2`](crate::Op::Create2) and
    /// [`Op::CreateContainer`](crate::Op::CreateContainer).
    pub struct CreateRequest {
        pub path: Ustring,
        pub data: Option<Bytes>,
        pub acl: AclList,
        /// A [`CreateMode`](crate::CreateMode), judged by the server: a bad one is answered, not a broken frame.
        pub flags: i32,
    }

    /// Body of [`Op::CreateTtl`](crate::Op::CreateTtl).
    pub struct CreateTtlRequest {
        pub path: Ustring,
        pub data: Option<Bytes>,
        pub acl: AclList,
        /// A [`CreateMode`](crate::CreateMode).
        pub flags: i32,
        /// How long the znode may stay childless and unmodified.
        pub ttl_ms: i64,
    }

    /// Body of [`Op::Delete`](crate::Op::Delete).
    pub struct DeleteRequest {
        pub path: Ustring,
        /// The version it must have; -1 is any.
        pub version: i32,
    }

    /// Body of [`Op::DeleteContainer`](crate::Op::DeleteContainer).
    pub struct DeleteContainerRequest {
        pub path: Ustring,
    }

    /// Body of [`Op::GetChildren`](crate::Op::GetChildren).
    pub struct GetChildrenRequest {
        pub path: Ustring,
        pub watch: bool,
    }

    /// Body of [`Op::GetAllChildrenNumber`](crate::Op::GetAllChildrenNumber).
    pub struct GetAllChildrenNumberRequest {
        pub path: Ustring,
    }

    /// Body of [`Op::GetChildren2`](crate::Op::GetChildren2).
    pub struct GetChildren2Request {
        pub path: Ustring,
        pub watch: bool,
    }

    /// Body of [`Op::Check`](crate::Op::Check) inside a multi.
    pub struct CheckVersionRequest {
        pub path: Ustring,
        pub version: i32,
    }

    /// Body of [`Op::Sync`](crate::Op::Sync).
    pub struct SyncRequest {
        pub path: Ustring,
    }

    /// Answers [`Op::Sync`](crate::Op::Sync).
    pub struct SyncResponse {
        pub path: Ustring,
    }

    /// Body of [`Op::GetAcl`](crate::Op::GetAcl).
    pub struct GetAclRequest {
        pub path: Ustring,
    }

    /// Body of [`Op::SetAcl`](crate::Op::SetAcl).
    pub struct SetAclRequest {
        pub path: Ustring,
        pub acl: AclList,
        /// The `aversion` it must have; -1 is any.
        pub version: i32,
    }

    /// Answers [`Op::SetAcl`](crate::Op::SetAcl).
    #[derive(Copy)]
    pub struct SetAclResponse {
        pub stat: Stat,
    }

    /// Body of [`Op::AddWatch`](crate::Op::AddWatch); answered by [`ErrorResponse`].
    pub struct AddWatchRequest {
        pub path: Ustring,
        /// An [`AddWatchMode`](crate::AddWatchMode).
        pub mode: i32,
    }

    /// Body of a notification, whose header's xid is [`xid::NOTIFICATION`].
    pub struct WatcherEvent {
        /// An [`EventType`](crate::EventType).
        pub event_type: i32,
        /// 3, SyncConnected, whenever a server sends it.
        pub state: i32,
        pub path: Ustring,
    }

    /// A part of a multi's reply that failed, and the whole reply to addWatch.
    #[derive(Copy)]
    pub struct ErrorResponse {
        pub err: i32,
    }

    /// Answers [`Op::Create`](crate::Op::Create).
    pub struct CreateResponse {
        /// With the number that a sequential mode appended.
        pub path: Ustring,
    }

    /// Answers [`Op::Create2`](crate::Op::Create2) and its kin.
    pub struct Create2Response {
        /// With the number that a sequential mode appended.
        pub path: Ustring,
        pub stat: Stat,
    }

    /// Body of [`Op::Exists`](crate::Op::Exists).
    pub struct ExistsRequest {
        pub path: Ustring,
        pub watch: bool,
    }

    /// Answers [`Op::Exists`](crate::Op::Exists).
    #[derive(Copy)]
    pub struct ExistsResponse {
        pub stat: Stat,
    }

    /// Answers [`Op::GetData`](crate::Op::GetData) and [`Op::Reconfig`](crate::Op::Reconfig).
    pub struct GetDataResponse {
        pub data: Option<Bytes>,
        pub stat: Stat,
    }

    /// Answers [`Op::GetChildren`](crate::Op::GetChildren). No order is promised.
    pub struct GetChildrenResponse {
        pub children: Vec<Ustring>,
    }

    /// Answers [`Op::GetAllChildrenNumber`](crate::Op::GetAllChildrenNumber).
    #[derive(Copy)]
    pub struct GetAllChildrenNumberResponse {
        /// Descendants at every depth.
        pub total_number: i32,
    }

    /// Answers [`Op::GetChildren2`](crate::Op::GetChildren2). No order is promised.
    pub struct GetChildren2Response {
        pub children: Vec<Ustring>,
        pub stat: Stat,
    }

    /// Answers [`Op::GetAcl`](crate::Op::GetAcl).
    pub struct GetAclResponse {
        pub acl: Vec<Acl>,
        pub stat: Stat,
    }

    /// Body of [`Op::CheckWatches`](crate::Op::CheckWatches).
    pub struct CheckWatchesRequest {
        pub path: Ustring,
        /// A [`WatcherType`](crate::WatcherType).
        pub watcher_type: i32,
    }

    /// Body of [`Op::RemoveWatches`](crate::Op::RemoveWatches).
    pub struct RemoveWatchesRequest {
        pub path: Ustring,
        /// A [`WatcherType`](crate::WatcherType).
        pub watcher_type: i32,
    }

    /// Body of [`Op::GetEphemerals`](crate::Op::GetEphemerals).
    pub struct GetEphemeralsRequest {
        /// A plain prefix, not bound to whole path components.
        pub prefix_path: Ustring,
    }

    /// Answers [`Op::GetEphemerals`](crate::Op::GetEphemerals).
    pub struct GetEphemeralsResponse {
        pub ephemerals: Vec<Ustring>,
    }

    /// Answers [`Op::WhoAmI`](crate::Op::WhoAmI).
    pub struct WhoAmIResponse {
        pub client_info: Vec<ClientInfo>,
    }
}

/// Xids that do not number a request.
pub mod xid {
    /// A watch event, sent without being asked for.
    pub const NOTIFICATION: i32 = -1;
    /// Pings and their replies.
    pub const PING: i32 = -2;
    /// Auth packets and their replies.
    pub const AUTH: i32 = -4;
    /// `setWatches`, `setWatches2` and their replies.
    pub const SET_WATCHES: i32 = -8;
}

impl MultiHeader {
    /// Closes the list of parts, in requests and replies.
    pub const END: Self = Self { op: -1, done: true, err: -1 };
}
