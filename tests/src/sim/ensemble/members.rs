//! Reconfigurations: which value of a txn means which membership. Everybody can be a voter, an observer or nobody, and can
//! have moved.

use bytes::{Bytes, BytesMut};
use jute::txn::{SetDataTxn, Txn, TxnBody, TxnHeader};
use jute::{Jute, Op};
use rand::RngExt;
use rand::rngs::StdRng;
use server::config::{Member, Membership, PeerAddress, Role};
use server::zab::Zxid;

use super::plan::id_of;

/// Set in the value of a reconfiguration.
const RECONFIG: u64 = 1 << 63;
/// Each server has three bits of the value: it votes, it observes, it has moved.
const BITS: u64 = 3;
/// Above them stands a number that makes the value unique.
const NUMBER_AT: u64 = 24;

/// A reconfiguration of so many servers, of whom at least one votes.
pub(super) fn draw(servers: usize, number: u64, dice: &mut StdRng) -> u64 {
    let sure = dice.random_range(0..servers);
    let mut value = RECONFIG | (number << NUMBER_AT);
    for at in 0..servers {
        let role = if at == sure || dice.random_bool(0.6) { 1 } else { 2 * u64::from(dice.random_bool(0.3)) };
        let has_moved = u64::from(dice.random_bool(0.1));
        value |= (role | (has_moved << 2)) << (BITS * at as u64);
    }
    value
}

/// The membership that a txn brings, if it is a reconfiguration.
pub(super) fn membership_of(zxid: Zxid, value: u64) -> Option<Membership> {
    if value & RECONFIG == 0 {
        return None;
    }
    let bits = |at: usize| (value >> (BITS * at as u64)) & 7;
    let of_bits = |at: usize| {
        let role = match bits(at) & 3 {
            1 => Role::Participant,
            2 => Role::Observer,
            _ => return None,
        };
        Some((id_of(at), member(at, role, bits(at) & 4 != 0)))
    };
    let members = (0..NUMBER_AT as usize / BITS as usize).filter_map(of_bits).collect();
    Some(Membership { members, version: zxid.0, ..Membership::default() })
}

/// The server at this place, as a line of the configuration has it.
pub(super) fn member(at: usize, role: Role, has_moved: bool) -> Member {
    let quorum_port = 1 + 2 * u16::from(has_moved);
    let address = PeerAddress { host: format!("h{at}"), quorum_port, election_port: quorum_port + 1 };
    Member { addresses: vec![address], role, client: None }
}

/// The record of a reconfiguration. As every record of this world, it begins with the value.
pub(super) fn record_of(value: u64) -> Option<Bytes> {
    let data = Some(membership_of(Zxid::ZERO, value)?.to_text().into());
    let (client_id, txn_type) = (value.cast_signed(), Op::Reconfig.code());
    let header = TxnHeader { client_id, cxid: 0, zxid: 0, time_ms: 0, txn_type };
    let body = TxnBody::Reconfig(SetDataTxn { path: "/zookeeper/config".into(), data, version: -1 });
    let mut record = BytesMut::new();
    Txn { header, body, digest: None }.encode(&mut record);
    Some(record.freeze())
}
