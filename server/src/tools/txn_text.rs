//! A txn as `TxnLogToolkit` prints it.

use std::fmt::Write;

use bytes::Bytes;
use jute::Op;
use jute::data::Acl;
use jute::txn::{MultiTxn, Txn, TxnBody};

use super::date::short_date;

/// Who, when, what: all of a txn but its digest.
pub(super) fn txn_text(txn: &Txn) -> String {
    let header = &txn.header;
    format!(
        "{} session 0x{:x} cxid 0x{:x} zxid 0x{:x} {} {}",
        short_date(header.time_ms),
        header.client_id,
        header.cxid,
        header.zxid,
        op_name(header.txn_type),
        body_text(&txn.body)
    )
}

fn op_name(code: i32) -> String {
    let name = match Op::from_code(code) {
        Some(Op::Create) => "create",
        Some(Op::Create2) => "create2",
        Some(Op::CreateTtl) => "createTTL",
        Some(Op::CreateContainer) => "createContainer",
        Some(Op::Delete) => "delete",
        Some(Op::DeleteContainer) => "deleteContainer",
        Some(Op::SetData) => "setData",
        Some(Op::SetAcl) => "setACL",
        Some(Op::Reconfig) => "reconfig",
        Some(Op::Check) => "check",
        Some(Op::Multi) => "multi",
        Some(Op::CreateSession) => "createSession",
        Some(Op::CloseSession) => "closeSession",
        Some(Op::Error) => "error",
        _ => return format!("unknown {code}"),
    };
    name.to_owned()
}

fn body_text(body: &TxnBody) -> String {
    match body {
        TxnBody::Create(txn) => format!(
            "{},{},{},{},{}",
            txn.path,
            data_text(txn.data.as_ref()),
            acl_list(&txn.acl),
            txn.ephemeral,
            txn.parent_cversion
        ),
        TxnBody::CreateContainer(txn) => {
            let data = data_text(txn.data.as_ref());
            format!("{},{data},{},{}", txn.path, acl_list(&txn.acl), txn.parent_cversion)
        }
        TxnBody::CreateTtl(txn) => {
            let data = data_text(txn.data.as_ref());
            format!("{},{data},{},{},{}", txn.path, acl_list(&txn.acl), txn.parent_cversion, txn.ttl_ms)
        }
        TxnBody::SetData(txn) | TxnBody::Reconfig(txn) => {
            format!("{},{},{}", txn.path, data_text(txn.data.as_ref()), txn.version)
        }
        TxnBody::Delete(txn) => csv_string(&txn.path),
        TxnBody::SetAcl(txn) => {
            let entries: Vec<_> = txn.acl.iter().map(|entry| format!("s{{{}}}", acl_text(entry))).collect();
            format!("{},v{{{}}},{}", csv_string(&txn.path), entries.join(","), txn.version)
        }
        TxnBody::CheckVersion(txn) => format!("{},{}", csv_string(&txn.path), txn.version),
        TxnBody::CreateSession(txn) => txn.timeout_ms.to_string(),
        TxnBody::CloseSession(None) => String::new(),
        TxnBody::CloseSession(Some(txn)) => {
            let paths: Vec<_> = txn.paths_to_delete.iter().map(|path| csv_string(path)).collect();
            format!("v{{{}}}", paths.join(","))
        }
        TxnBody::Error(txn) => txn.err.to_string(),
        TxnBody::Multi(txn) => multi_text(txn),
    }
}

/// ZooKeeper prints the parts' bytes; we print what they say.
fn multi_text(multi: &MultiTxn) -> String {
    let parts = multi.txns.iter().map(|part| {
        let text = part.body().map_or_else(|error| error.to_string(), |body| body_text(&body));
        format!("{}:{text}", op_name(part.txn_type))
    });
    parts.collect::<Vec<_>>().join(";")
}

fn data_text(data: Option<&Bytes>) -> String {
    data.map_or_else(String::new, |data| String::from_utf8_lossy(data).into_owned())
}

/// A Java list of records, each of which ends its line.
fn acl_list(acl: &[Acl]) -> String {
    let entries: Vec<_> = acl.iter().map(|entry| format!("{}\n", acl_text(entry))).collect();
    format!("[{}]", entries.join(", "))
}

fn acl_text(entry: &Acl) -> String {
    format!("{},s{{{},{}}}", entry.perms, csv_string(&entry.id.scheme), csv_string(&entry.id.id))
}

/// A string in jute's CSV: an apostrophe, and what would end the field escaped.
fn csv_string(text: &str) -> String {
    let mut out = String::from("'");
    for char in text.chars() {
        match char {
            '\0' | '\n' | '\r' | '%' | ',' | '}' => {
                let _ = write!(out, "%{:02X}", u32::from(char));
            }
            _ => out.push(char),
        }
    }
    out
}
