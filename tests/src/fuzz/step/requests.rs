//! Requests that mean something: few paths, so that they meet each other.

use bytes::Bytes;
use jute::data::{Acl, AclList};
use jute::multi::{MultiOp, MultiRequest};
use jute::proto::*;
use jute::{Jute, Op, Ustring};

use super::Input;

/// An operation and its body.
pub(super) fn request(input: &mut Input<'_>) -> (Op, Bytes) {
    let choice = input.byte();
    match choice % 24 {
        0..6 => create(input),
        6..8 => (Op::Delete, DeleteRequest { path: path(input), version: version(input) }.to_bytes()),
        8..11 => (Op::SetData, set_data(input).to_bytes()),
        11 => (
            Op::SetAcl,
            SetAclRequest { path: path(input), acl: acl(input), version: version(input) }.to_bytes(),
        ),
        12..15 => multi(input),
        15 => (Op::Sync, SyncRequest { path: path(input) }.to_bytes()),
        16 => (Op::CloseSession, Bytes::new()),
        17 => (Op::DeleteContainer, DeleteContainerRequest { path: path(input) }.to_bytes()),
        18 => (Op::Reconfig, Bytes::copy_from_slice(input.few_bytes())),
        19 => (Op::Check, CheckVersionRequest { path: path(input), version: version(input) }.to_bytes()),
        _ => read(input),
    }
}

fn create(input: &mut Input<'_>) -> (Op, Bytes) {
    let op = input.one_of(&[Op::Create, Op::Create2, Op::CreateContainer, Op::CreateTtl]);
    if op == Op::CreateTtl {
        let ttl_ms = i64::from(input.short()) - 8;
        let request = CreateTtlRequest {
            path: path(input),
            data: input.data(),
            acl: acl(input),
            flags: input.one_of(&[5, 6, 0]),
            ttl_ms,
        };
        return (op, request.to_bytes());
    }
    (op, create_request(input).to_bytes())
}

fn create_request(input: &mut Input<'_>) -> CreateRequest {
    CreateRequest {
        flags: i32::from(input.byte() % 8),
        path: path(input),
        data: input.data(),
        acl: acl(input),
    }
}

fn set_data(input: &mut Input<'_>) -> SetDataRequest {
    SetDataRequest { path: path(input), version: version(input), data: data(input) }
}

/// Quotas are data, too.
fn data(input: &mut Input<'_>) -> Option<Bytes> {
    if input.byte().is_multiple_of(8) {
        let (count, bytes) = (input.byte().cast_signed(), input.byte().cast_signed());
        let text = format!("count={count},bytes={bytes}=;byteHardLimit={bytes};countHardLimit={count}");
        return Some(text.into());
    }
    input.data()
}

fn multi(input: &mut Input<'_>) -> (Op, Bytes) {
    let ops = (0..input.below(6)).map(|_| part(input)).collect();
    (Op::Multi, MultiRequest { ops }.to_bytes())
}

fn part(input: &mut Input<'_>) -> MultiOp {
    match input.byte() % 8 {
        0..3 => MultiOp::Create(create_request(input)),
        3 => MultiOp::Create2(create_request(input)),
        4 => MultiOp::SetData(set_data(input)),
        5 => MultiOp::Delete(DeleteRequest { path: path(input), version: version(input) }),
        6 => MultiOp::CreateContainer(create_request(input)),
        _ => MultiOp::Check(CheckVersionRequest { path: path(input), version: version(input) }),
    }
}

fn read(input: &mut Input<'_>) -> (Op, Bytes) {
    let watch = input.is();
    match input.byte() % 12 {
        0 => (Op::GetData, GetDataRequest { path: path(input), watch }.to_bytes()),
        1 => (Op::Exists, ExistsRequest { path: path(input), watch }.to_bytes()),
        2 => (Op::GetChildren, GetChildrenRequest { path: path(input), watch }.to_bytes()),
        3 => (Op::GetChildren2, GetChildren2Request { path: path(input), watch }.to_bytes()),
        4 => (Op::GetAcl, GetAclRequest { path: path(input) }.to_bytes()),
        5 => (Op::AddWatch, AddWatchRequest { path: path(input), mode: input.below(3) as i32 }.to_bytes()),
        6 => {
            let watcher_type = input.below(6) as i32;
            (Op::RemoveWatches, RemoveWatchesRequest { path: path(input), watcher_type }.to_bytes())
        }
        7 => (Op::GetAllChildrenNumber, GetAllChildrenNumberRequest { path: path(input) }.to_bytes()),
        8 => {
            let (data_watches, exist_watches) = (paths(input), paths(input));
            let relative_zxid = i64::from(input.byte());
            let watches =
                SetWatches { relative_zxid, data_watches, exist_watches, child_watches: paths(input) };
            (Op::SetWatches, watches.to_bytes())
        }
        9 => (Op::GetEphemerals, GetEphemeralsRequest { prefix_path: path(input) }.to_bytes()),
        10 => {
            let (data, children) = (path(input), path(input));
            let ops = vec![
                MultiOp::GetData(GetDataRequest { path: data, watch }),
                MultiOp::GetChildren(GetChildrenRequest { path: children, watch }),
            ];
            (Op::MultiRead, MultiRequest { ops }.to_bytes())
        }
        _ => (input.one_of(&[Op::WhoAmI, Op::Ping]), Bytes::new()),
    }
}

fn paths(input: &mut Input<'_>) -> Vec<Ustring> {
    (0..input.below(3)).map(|_| path(input)).collect()
}

fn path(input: &mut Input<'_>) -> Ustring {
    const PATHS: [&str; 24] = [
        "/a",
        "/b",
        "/a/a",
        "/a/b",
        "/b/a",
        "/a/a/a",
        "/a/b/c",
        "/c/",
        "/a/",
        "/a/a/",
        "/",
        "",
        "/zookeeper",
        "/zookeeper/quota",
        "/zookeeper/config",
        "/zookeeper/quota/a",
        "/zookeeper/quota/a/zookeeper_limits",
        "/zookeeper/quota/a/zookeeper_stats",
        "/zookeeper/quota/a/a",
        "/zookeeper/quota/a/a/zookeeper_limits",
        "/a/0000000000",
        "/a/0000000001",
        "/a/c0000000001",
        "/a/./b",
    ];
    match input.byte() {
        255 => String::from_utf8_lossy(input.few_bytes()).as_ref().into(),
        choice => PATHS[usize::from(choice) % PATHS.len()].into(),
    }
}

fn version(input: &mut Input<'_>) -> i32 {
    input.one_of(&[-1, -1, -1, 0, 1, 2, i32::MAX])
}

fn acl(input: &mut Input<'_>) -> AclList {
    let perms = i32::from(input.byte());
    let entries = match perms >> 5 {
        0 => vec![Acl::new(perms, "world", "anyone")],
        1 => vec![Acl::new(perms, "auth", "")],
        2 => vec![Acl::new(perms & 31, "digest", "a:b"), Acl::new(1, "world", "anyone")],
        3 => vec![Acl::new(perms & 31, "ip", "127.0.0.0/8")],
        4 => vec![Acl::new(perms & 31, "nosuch", "x")],
        _ => Acl::open_unsafe(),
    };
    entries.into()
}
