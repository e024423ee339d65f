//! Where clients are served: at the configured port, until a reconfiguration moves it. Those who are in stay.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{error, info};

use super::listener::{accept_loop, bind};
use super::server::StartError;
use super::shared::Shared;
use crate::config::{Config, HostPort, Membership};

/// What the operating system takes when `clientPortListenBacklog` is not set.
const BACKLOG: i32 = 1024;

/// Somebody else may be about to leave the port that clients are moved to.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);
const TRY_AGAIN_AFTER_MAX: Duration = Duration::from_secs(60);

pub(super) fn listen(client: &HostPort, backlog: i32) -> Result<TcpListener, StartError> {
    let attempt = || client.resolve().and_then(|address| bind(address, backlog));
    attempt().map_err(|source| {
        let host = client.host.as_deref().unwrap_or("*");
        StartError::Listen { address: format!("{host}:{}", client.port), source }
    })
}

pub(super) fn backlog(config: &Config) -> i32 {
    config.listen_backlog.and_then(|backlog| i32::try_from(backlog).ok()).unwrap_or(BACKLOG)
}

/// Accepts clients, wherever the ensemble wants them served.
pub(super) async fn accept_everywhere(mut listener: TcpListener, shared: &Arc<Shared>) -> io::Result<()> {
    let mut membership = shared.watch_membership();
    let mut bound = shared.config.client.clone();
    let mut pause = Duration::ZERO;
    loop {
        let wanted = tokio::select! {
            outcome = accept_loop(listener.try_clone()?, Arc::clone(shared)) => return outcome,
            wanted = moved(&mut membership, shared, bound.as_ref(), pause) => wanted,
        };
        match reopen(listener, bound.as_ref(), &wanted, backlog(&shared.config)) {
            (Some(opened), None) => {
                info!(port = wanted.port, "clients are served at another port");
                (listener, bound, pause) = (opened, Some(wanted), Duration::ZERO);
            }
            (opened, failure) => {
                pause = (pause * 2).clamp(TRY_AGAIN_AFTER, TRY_AGAIN_AFTER_MAX);
                let failure = failure.as_ref().map(|failure| failure as &dyn std::error::Error);
                error!(error = failure, again_in = ?pause, "clients are not served where the ensemble says");
                listener = opened.ok_or(io::ErrorKind::AddrNotAvailable)?;
            }
        }
    }
}

/// Waits until clients are to be served elsewhere than at `bound`, but at least for `pause`.
async fn moved(
    membership: &mut watch::Receiver<Arc<Membership>>,
    shared: &Shared,
    bound: Option<&HostPort>,
    pause: Duration,
) -> HostPort {
    tokio::time::sleep(pause).await;
    loop {
        let of_me = |membership: &Membership| membership.members.get(&shared.config.my_id?)?.client.clone();
        let wanted = of_me(&membership.borrow_and_update());
        match wanted {
            Some(wanted) if !is_same(&wanted, bound) => return wanted,
            // As long as the server runs, somebody could tell.
            _ => drop(membership.changed().await),
        }
    }
}

/// `0.0.0.0` is every address, as is none.
fn is_same(one: &HostPort, other: Option<&HostPort>) -> bool {
    let host = |of: &HostPort| of.host.clone().filter(|host| host != "0.0.0.0");
    other.is_some_and(|other| one.port == other.port && host(one) == host(other))
}

/// The socket for `wanted`; if it cannot be had, the one for `bound`, and why. No port can be opened for one
/// address as long as it is open for all, or the other way round: so then the old socket goes first.
fn reopen(
    old: TcpListener,
    bound: Option<&HostPort>,
    wanted: &HostPort,
    backlog: i32,
) -> (Option<TcpListener>, Option<StartError>) {
    let Some(bound) = bound.filter(|bound| bound.port == wanted.port) else {
        return match listen(wanted, backlog) {
            Ok(opened) => (Some(opened), None),
            Err(failure) => (Some(old), Some(failure)),
        };
    };
    drop(old);
    match listen(wanted, backlog) {
        Ok(opened) => (Some(opened), None),
        Err(failure) => (listen(bound, backlog).ok(), Some(failure)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A socket at a port of the kernel's choice.
    fn opened_at(host: Option<&str>) -> (TcpListener, HostPort) {
        let any = bind(HostPort { host: host.map(str::to_owned), port: 0 }.resolve().unwrap(), 1).unwrap();
        let port = any.local_addr().unwrap().port();
        (any, HostPort { host: host.map(str::to_owned), port })
    }

    #[test]
    fn a_port_that_was_open_for_every_address_is_opened_for_one() {
        let (old, bound) = opened_at(None);
        let wanted = HostPort { host: Some("127.0.0.1".to_owned()), ..bound.clone() };
        let (opened, failure) = reopen(old, Some(&bound), &wanted, 1);
        assert!(failure.is_none(), "{failure:?}");
        assert_eq!(opened.unwrap().local_addr().unwrap(), wanted.resolve().unwrap());
    }

    #[test]
    fn a_port_that_cannot_be_had_leaves_the_old_one_open() {
        let (old, bound) = opened_at(Some("127.0.0.1"));
        let (_taken, wanted) = opened_at(Some("127.0.0.1"));
        let no_address_of_ours = HostPort { host: Some("192.0.2.1".to_owned()), ..bound.clone() };
        let mut listener = old;
        for wanted in [wanted, no_address_of_ours] {
            let (opened, failure) = reopen(listener, Some(&bound), &wanted, 1);
            assert!(failure.is_some());
            listener = opened.unwrap();
            assert_eq!(listener.local_addr().unwrap(), bound.resolve().unwrap());
        }
    }
}
