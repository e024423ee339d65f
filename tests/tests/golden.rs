//! Bytes of a Java server: ours are the same. Its frames are decoded and encoded again, and so are the records of its log;
//! what comes out is compared with what went in.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::{Bytes, BytesMut};
use jute::multi::{MultiRequest, MultiResponse};
use jute::proto::*;
use jute::txn::Txn;
use jute::{Jute, Op, Reader};
use server::storage::{Disk, OsDisk, TxnLogReader};
use server::zab::Zxid;
use tests::capture::requests::{create, create_as, delete, exists};
use tests::golden::{Exchange, from_text, record, to_text};
use tests::hostile::{PATIENCE, RawClient};
use tests::peer;
use tests::process::wait_until;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

#[test]
#[ignore = "writes the fixture anew, from a Java server"]
fn capture_frames() -> Result<()> {
    let java = peer::start()?;
    fs::write(fixture("java_frames.txt"), to_text(&record(java.address())?))?;
    let_a_container_be_reaped(java.address())?;
    let log = fs::read(java.dir().join("data/version-2/log.1"))?;
    // Room was made ahead of it, in zeros.
    let end = log.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    fs::create_dir_all(fixture("java_log"))?;
    fs::write(fixture("java_log/log.1"), &log[..end])?;
    Ok(())
}

fn let_a_container_be_reaped(server: std::net::SocketAddr) -> Result<()> {
    let mut client = RawClient::with_session(server, 30_000)?;
    client.call(Op::CreateContainer, &create_as("/reaped", "", 4))?;
    client.call(Op::Create, &create("/reaped/child", ""))?;
    client.call(Op::Delete, &delete("/reaped/child", -1))?;
    let is_gone = || client.call(Op::Exists, &exists("/reaped")).is_ok_and(|(header, _)| header.err != 0);
    ensure!(wait_until(PATIENCE, is_gone), "the container stays");
    Ok(())
}

#[test]
fn frames_of_a_java_server_are_ours_to_the_byte() -> Result<()> {
    let exchanges = from_text(&fs::read_to_string(fixture("java_frames.txt"))?)?;
    let seen: BTreeSet<_> =
        exchanges.iter().filter_map(|exchange| Op::from_code(exchange.op?)).map(Op::code).collect();
    ensure!(seen.len() == 28, "{} operations", seen.len());
    for (at, exchange) in exchanges.iter().enumerate() {
        check(exchange).with_context(|| format!("exchange {at}, op {:?}", exchange.op))?;
    }
    Ok(())
}

fn check(exchange: &Exchange) -> Result<()> {
    let (reply, events) = exchange.came.split_last().context("no reply")?;
    let Some(op) = exchange.op else {
        same::<Both<ConnectRequest, ConnectTail>>(&exchange.sent)?;
        return same::<Both<ConnectResponse, ConnectTail>>(reply);
    };
    let op = Op::from_code(op).context("no operation")?;
    check_request(op, &exchange.sent).context("the request")?;
    events.iter().try_for_each(same::<Both<ReplyHeader, WatcherEvent>>).context("an event")?;
    check_reply(op, reply).context("the reply")
}

fn check_request(op: Op, frame: &Bytes) -> Result<()> {
    same::<RequestHeader>(&frame.slice(..8))?;
    let body = &frame.slice(8..);
    match op {
        Op::Create | Op::Create2 | Op::CreateContainer => same::<CreateRequest>(body),
        Op::CreateTtl => same::<CreateTtlRequest>(body),
        Op::Delete => same::<DeleteRequest>(body),
        Op::Exists => same::<ExistsRequest>(body),
        Op::GetData => same::<GetDataRequest>(body),
        Op::SetData => same::<SetDataRequest>(body),
        Op::GetAcl => same::<GetAclRequest>(body),
        Op::SetAcl => same::<SetAclRequest>(body),
        Op::GetChildren => same::<GetChildrenRequest>(body),
        Op::GetChildren2 => same::<GetChildren2Request>(body),
        Op::Sync => same::<SyncRequest>(body),
        Op::Multi | Op::MultiRead => same::<MultiRequest>(body),
        Op::Reconfig => same::<ReconfigRequest>(body),
        Op::CheckWatches => same::<CheckWatchesRequest>(body),
        Op::RemoveWatches => same::<RemoveWatchesRequest>(body),
        Op::Auth => same::<AuthPacket>(body),
        Op::SetWatches => same::<SetWatches>(body),
        Op::SetWatches2 => same::<SetWatches2>(body),
        Op::Sasl => same::<GetSaslRequest>(body),
        Op::GetEphemerals => same::<GetEphemeralsRequest>(body),
        Op::GetAllChildrenNumber => same::<GetAllChildrenNumberRequest>(body),
        Op::AddWatch => same::<AddWatchRequest>(body),
        _ => {
            ensure!(body.is_empty(), "a body where there is none");
            Ok(())
        }
    }
}

fn check_reply(op: Op, frame: &Bytes) -> Result<()> {
    same::<ReplyHeader>(&frame.slice(..16))?;
    let body = &frame.slice(16..);
    if ReplyHeader::from_bytes(frame)?.err != 0 {
        ensure!(body.is_empty(), "a body behind an error");
        return Ok(());
    }
    match op {
        Op::Create => same::<CreateResponse>(body),
        Op::Create2 | Op::CreateContainer | Op::CreateTtl => same::<Create2Response>(body),
        Op::Exists => same::<ExistsResponse>(body),
        Op::GetData => same::<GetDataResponse>(body),
        Op::SetData => same::<SetDataResponse>(body),
        Op::GetAcl => same::<GetAclResponse>(body),
        Op::SetAcl => same::<SetAclResponse>(body),
        Op::GetChildren => same::<GetChildrenResponse>(body),
        Op::GetChildren2 => same::<GetChildren2Response>(body),
        Op::Sync => same::<SyncResponse>(body),
        Op::Multi | Op::MultiRead => same::<MultiResponse>(body),
        Op::AddWatch => same::<ErrorResponse>(body),
        Op::GetEphemerals => same::<GetEphemeralsResponse>(body),
        Op::GetAllChildrenNumber => same::<GetAllChildrenNumberResponse>(body),
        Op::WhoAmI => same::<WhoAmIResponse>(body),
        Op::Sasl => same::<SetSaslResponse>(body),
        _ => {
            ensure!(body.is_empty(), "a body where there is none");
            Ok(())
        }
    }
}

/// The bytes decode as a `T`, wholly, and it encodes to them.
fn same<T: Jute>(bytes: &Bytes) -> Result<()> {
    let mut input = Reader::new(bytes);
    let record = T::decode(&mut input)?;
    ensure!(input.remaining() == 0, "{} bytes are left", input.remaining());
    let again = record.to_bytes();
    ensure!(again == *bytes, "{bytes:x} became {again:x}");
    Ok(())
}

/// Two records behind each other.
struct Both<A, B>(A, B);

impl<A: Jute, B: Jute> Jute for Both<A, B> {
    fn encode(&self, out: &mut BytesMut) {
        self.0.encode(out);
        self.1.encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, jute::DecodeError> {
        Ok(Self(A::decode(input)?, B::decode(input)?))
    }

    fn encoded_len(&self) -> usize {
        self.0.encoded_len() + self.1.encoded_len()
    }
}

/// The log that the server kept meanwhile has every kind of txn that clients can cause.
#[test]
fn txns_of_a_java_server_are_ours_to_the_byte() -> Result<()> {
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let mut reader = TxnLogReader::open(disk, &fixture("java_log"), Zxid(0))?;
    let mut kinds = BTreeSet::new();
    while let Some(record) = reader.next_record()? {
        let txn = Txn::from_bytes(&record.payload).with_context(|| format!("{}", record.zxid))?;
        ensure!(txn.to_bytes() == record.payload, "{} became {:x}", record.zxid, txn.to_bytes());
        kinds.insert(txn.header.txn_type);
    }
    let wanted = [
        Op::CreateSession,
        Op::CloseSession,
        Op::Error,
        Op::Create,
        Op::Create2,
        Op::Delete,
        Op::SetData,
        Op::SetAcl,
        Op::Multi,
        Op::CreateContainer,
        Op::CreateTtl,
        Op::DeleteContainer,
    ];
    let missing: Vec<_> = wanted.iter().filter(|op| !kinds.contains(&op.code())).collect();
    ensure!(missing.is_empty(), "{missing:?} are not in the fixture");
    Ok(())
}
