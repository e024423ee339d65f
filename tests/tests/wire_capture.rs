//! The same script for the Java server and for ours: what they answer must be the same bytes.

use anyhow::Result;
use tests::capture::{Meant, assert_alike, capture, meant, scenarios};
use tests::service::four_letter_word;
use tests::{peer, zkserver};

/// What the capture masks is enough: without this, a pass of the other test would prove nothing.
#[test]
fn two_java_servers_answer_alike() -> Result<()> {
    let (one, other) = (peer::start()?, peer::start()?);
    let first = capture(one.address(), scenarios::ALL)?;
    let second = capture(other.address(), scenarios::ALL)?;
    assert_alike(&first, &second, &Meant::default());
    Ok(())
}

#[test]
fn ours_answers_as_java_does() -> Result<()> {
    let (java, ours) = (peer::start()?, zkserver::start()?);
    let version = four_letter_word(java.address(), "srvr")?;
    let first = capture(java.address(), scenarios::ALL)?;
    let second = capture(ours.address(), scenarios::ALL)?;
    assert_alike(&first, &second, &meant::against(&version));
    Ok(())
}
