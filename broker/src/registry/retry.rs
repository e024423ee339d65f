//! Asking until there is an answer.

use std::future::Future;
use std::time::Duration;

use client::{Error, Result};

/// Between two attempts. A client without a connection waits for one by itself: this is for what a server refuses
/// for the time being.
const PAUSE: Duration = Duration::from_millis(100);

/// Repeats what changes nothing, or may be done twice, until it is answered or the session is over.
pub(crate) async fn until_answered<T, F>(mut ask: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    loop {
        match ask().await {
            Err(error) if error.is_transient() => pause(&error).await,
            answer => return answer,
        }
    }
}

/// Waits, unless it is the connection that was lost.
pub(crate) async fn pause(error: &Error) {
    if !matches!(error, Error::ConnectionLost { .. }) {
        tokio::time::sleep(PAUSE).await;
    }
}
