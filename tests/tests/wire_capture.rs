//! The same script for the Java server and for ours: what they answer must be the same bytes.

use anyhow::Result;
use tests::capture::{Difference, assert_alike, capture, scenarios};
use tests::{peer, zkserver};

/// Where ours follows 3.9 and the peer is a 3.8.
const MEANT: &[Difference] = &[Difference {
    sent: "*",
    first: "  event header zxid=-1 err=0",
    second: "  event header zxid=* err=0",
    reason: "since 3.9 a notification carries the zxid of the txn that it is about",
}];

/// What the capture masks is enough: without this, a pass of the other test would prove nothing.
#[test]
fn two_java_servers_answer_alike() -> Result<()> {
    let (one, other) = (peer::start()?, peer::start()?);
    let first = capture(one.address(), scenarios::ALL)?;
    let second = capture(other.address(), scenarios::ALL)?;
    assert_alike(&first, &second, &[]);
    Ok(())
}

#[test]
#[ignore = "3.9's differences from the 3.8.0 peer are not all in the table of meant ones yet"]
fn ours_answers_as_java_does() -> Result<()> {
    let (java, ours) = (peer::start()?, zkserver::start()?);
    let first = capture(java.address(), scenarios::ALL)?;
    let second = capture(ours.address(), scenarios::ALL)?;
    assert_alike(&first, &second, MEANT);
    Ok(())
}
