//! Requests, written short.

use bytes::Bytes;
use jute::data::{Acl, AclList};
use jute::multi::{MultiOp, MultiRequest};
use jute::proto::{
    AddWatchRequest, AuthPacket, CheckVersionRequest, CheckWatchesRequest, CreateRequest, CreateTtlRequest,
    DeleteRequest, ExistsRequest, GetAclRequest, GetChildren2Request, GetChildrenRequest, GetDataRequest,
    RemoveWatchesRequest, SetAclRequest, SetDataRequest,
};
use jute::{AddWatchMode, CreateMode, WatcherType};

/// A persistent znode, open to all.
pub fn create(path: &str, data: &str) -> CreateRequest {
    create_as(path, data, CreateMode::Persistent.code())
}

/// Any flags, open to all.
pub fn create_as(path: &str, data: &str, flags: i32) -> CreateRequest {
    CreateRequest { path: path.into(), data: Some(bytes(data)), acl: AclList::OPEN_UNSAFE, flags }
}

/// A persistent znode with an ACL.
pub fn create_with(path: &str, acl: Vec<Acl>) -> CreateRequest {
    CreateRequest {
        path: path.into(),
        data: Some(Bytes::new()),
        acl: acl.into(),
        flags: CreateMode::Persistent.code(),
    }
}

/// A znode with a time to live.
pub fn create_ttl(path: &str, flags: i32, ttl_ms: i64) -> CreateTtlRequest {
    CreateTtlRequest { path: path.into(), data: Some(bytes("t")), acl: AclList::OPEN_UNSAFE, flags, ttl_ms }
}

/// Delete, if the version is this one.
pub fn delete(path: &str, version: i32) -> DeleteRequest {
    DeleteRequest { path: path.into(), version }
}

/// Data, if the version is this one.
pub fn set(path: &str, data: &str, version: i32) -> SetDataRequest {
    SetDataRequest { path: path.into(), data: Some(bytes(data)), version }
}

/// Data, without a watch.
pub fn get(path: &str) -> GetDataRequest {
    GetDataRequest { path: path.into(), watch: false }
}

/// Data, with a watch.
pub fn get_watching(path: &str) -> GetDataRequest {
    GetDataRequest { path: path.into(), watch: true }
}

/// Existence, without a watch.
pub fn exists(path: &str) -> ExistsRequest {
    ExistsRequest { path: path.into(), watch: false }
}

/// Existence, with a watch.
pub fn exists_watching(path: &str) -> ExistsRequest {
    ExistsRequest { path: path.into(), watch: true }
}

/// Children, without a watch.
pub fn children(path: &str) -> GetChildrenRequest {
    GetChildrenRequest { path: path.into(), watch: false }
}

/// Children, with a watch.
pub fn children_watching(path: &str) -> GetChildrenRequest {
    GetChildrenRequest { path: path.into(), watch: true }
}

/// Children and stat, without a watch.
pub fn children2(path: &str) -> GetChildren2Request {
    GetChildren2Request { path: path.into(), watch: false }
}

/// The ACL.
pub fn get_acl(path: &str) -> GetAclRequest {
    GetAclRequest { path: path.into() }
}

/// An ACL, if its version is this one.
pub fn set_acl(path: &str, acl: Vec<Acl>, version: i32) -> SetAclRequest {
    SetAclRequest { path: path.into(), acl: acl.into(), version }
}

/// Credentials.
pub fn auth(scheme: &str, credentials: &str) -> AuthPacket {
    AuthPacket { auth_type: 0, scheme: scheme.into(), auth: Some(bytes(credentials)) }
}

/// One entry of an ACL.
pub fn acl(perms: i32, scheme: &str, id: &str) -> Vec<Acl> {
    vec![Acl::new(perms, scheme, id)]
}

/// A watch that stays.
pub fn add_watch(path: &str, mode: AddWatchMode) -> AddWatchRequest {
    AddWatchRequest { path: path.into(), mode: mode.code() }
}

/// Is there such a watch?
pub fn check_watches(path: &str, kind: WatcherType) -> CheckWatchesRequest {
    CheckWatchesRequest { path: path.into(), watcher_type: kind.code() }
}

/// No such watches any more.
pub fn remove_watches(path: &str, kind: WatcherType) -> RemoveWatchesRequest {
    RemoveWatchesRequest { path: path.into(), watcher_type: kind.code() }
}

/// A part of a multi: the version must be this one.
pub fn check(path: &str, version: i32) -> MultiOp {
    MultiOp::Check(CheckVersionRequest { path: path.into(), version })
}

/// Several at once.
pub fn multi(ops: &[MultiOp]) -> MultiRequest {
    MultiRequest { ops: ops.to_vec() }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}
