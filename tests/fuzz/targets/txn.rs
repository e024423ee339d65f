//! What logs and proposals hold.
#![no_main]

use bytes::Bytes;
use jute::Jute;
use jute::txn::{Txn, TxnBody};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(txn) = Txn::from_bytes(&Bytes::copy_from_slice(bytes)) else { return };
    if let TxnBody::Multi(multi) = &txn.body {
        for part in &multi.txns {
            let _ = part.body();
        }
    }
    let encoded = txn.to_bytes();
    assert_eq!(encoded.len(), txn.encoded_len());
    // A closeSession without paths and its digest read as one with paths; ZooKeeper's bytes are no clearer.
    if !matches!(txn.body, TxnBody::CloseSession(None)) {
        assert_eq!(Txn::from_bytes(&encoded).as_ref(), Ok(&txn));
    }
});
