//! Which servers there are, and which is tried next. `ConnectStringParser`, `StaticHostProvider`.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use std::time::Duration;

use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

use crate::path::{Chroot, PathFlaw};

const DEFAULT_PORT: u16 = 2181;
/// After all servers were tried in vain the next round waits, longer each time, from and up to this.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Why a list of servers makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectStringError {
    /// It names no server.
    #[error("the connect string names no server")]
    NoServer,
    /// What stands behind the colon is no port.
    #[error("{0:?} has no valid port")]
    Port(Box<str>),
    /// An IPv6 address that is not between brackets.
    #[error("{0:?} is no address; an IPv6 address takes brackets, as in [::1]:2181")]
    Bracket(Box<str>),
    /// What stands behind the servers is no path.
    #[error("chroot {path:?}: {flaw}")]
    Chroot {
        /// As it was given.
        path: Box<str>,
        /// The rule it breaks.
        flaw: PathFlaw,
    },
}

/// A server's address, not resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// A name or an IP address, without brackets.
    pub name: String,
    /// The client port.
    pub port: u16,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}

impl FromStr for Host {
    type Err = ConnectStringError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, port) = if let Some(rest) = text.strip_prefix('[') {
            let (name, rest) = rest.split_once(']').ok_or_else(|| Self::Err::Bracket(text.into()))?;
            let port = rest.strip_prefix(':');
            if port.is_none() && !rest.is_empty() {
                return Err(Self::Err::Port(text.into()));
            }
            (name, port)
        } else {
            match text.rsplit_once(':') {
                Some((name, port)) => (name, Some(port)),
                None => (text, None),
            }
        };
        if name.is_empty() {
            return Err(Self::Err::NoServer);
        }
        // Without brackets, what stands behind the last colon is the port: `::1:2181`, but not `::1`.
        let is_no_address = name.contains(':')
            && name.split('%').next().is_some_and(|name| name.parse::<Ipv6Addr>().is_err());
        if is_no_address || name.contains(['[', ']']) {
            return Err(Self::Err::Bracket(text.into()));
        }
        let port = match port {
            None | Some("") => DEFAULT_PORT,
            Some(port) => port.parse().map_err(|_| Self::Err::Port(text.into()))?,
        };
        Ok(Self { name: name.to_owned(), port })
    }
}

/// `host:port,host:port/chroot`, taken apart.
#[derive(Debug, Clone)]
#[doc(alias = "ConnectStringParser")]
pub(crate) struct ConnectString {
    pub(crate) hosts: Vec<Host>,
    pub(crate) chroot: Chroot,
}

impl FromStr for ConnectString {
    type Err = ConnectStringError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (servers, chroot) = match text.find('/') {
            Some(slash) => text.split_at(slash),
            None => (text, "/"),
        };
        let chroot = Chroot::new(chroot).map_err(|flaw| Self::Err::Chroot { path: chroot.into(), flaw })?;
        let hosts = servers.split(',').map(str::trim).filter(|host| !host.is_empty());
        let hosts = hosts.map(Host::from_str).collect::<Result<Vec<_>, _>>()?;
        if hosts.is_empty() {
            return Err(Self::Err::NoServer);
        }
        Ok(Self { hosts, chroot })
    }
}

/// The servers in an order of this client's own, tried round and round.
#[derive(Debug, Clone)]
#[doc(alias = "StaticHostProvider")]
#[doc(alias = "HostProvider")]
pub(crate) struct Hosts {
    /// Never empty.
    hosts: Vec<Host>,
    next: usize,
    /// How many were tried since the last that served us.
    tried: usize,
    pause: Duration,
}

impl Hosts {
    pub(crate) fn new(mut hosts: Vec<Host>, rng: &mut impl Rng) -> Self {
        assert!(!hosts.is_empty(), "a connect string names a server");
        hosts.shuffle(rng);
        Self { hosts, next: 0, tried: 0, pause: PAUSE_MIN }
    }

    pub(crate) fn len(&self) -> usize {
        self.hosts.len()
    }

    /// The server to try next, and how long to wait before: not at all while there are untried ones.
    pub(crate) fn next(&mut self) -> (Host, Duration) {
        let host = self.hosts[self.next].clone();
        self.next = (self.next + 1) % self.hosts.len();
        let pause = if self.tried < self.hosts.len() {
            Duration::ZERO
        } else if self.tried.is_multiple_of(self.hosts.len()) {
            let longer = (self.pause * 2).min(PAUSE_MAX);
            std::mem::replace(&mut self.pause, longer)
        } else {
            Duration::ZERO
        };
        self.tried += 1;
        (host, pause)
    }

    pub(crate) fn contains(&self, host: &Host) -> bool {
        self.hosts.contains(host)
    }

    /// Tries `host` before any other.
    pub(crate) fn prefer(&mut self, host: &Host) {
        if let Some(at) = self.hosts.iter().position(|known| known == host) {
            self.next = at;
        }
    }

    /// Puts another list in place. True if a client of `current` should move to another server: it is not on
    /// the list any more, or there are more servers than before and some clients have to go for the load to
    /// become even.
    pub(crate) fn replace(&mut self, hosts: Vec<Host>, current: Option<&Host>, rng: &mut impl Rng) -> bool {
        let before = std::mem::replace(self, Self::new(hosts, rng));
        let stays = current.is_some_and(|current| self.contains(current));
        let (old, new) = (before.len(), self.len());
        let moves = !stays || (new > old && rng.random_range(0..new) >= old);
        if moves && new > old {
            // The load is on the others.
            self.hosts.sort_by_key(|host| before.hosts.contains(host));
        }
        moves
    }

    /// Every server has been tried since the last that served us.
    pub(crate) fn all_tried(&self) -> bool {
        self.tried >= self.hosts.len()
    }

    /// A server has served us for a while: now that it is lost, the others are tried at once.
    pub(crate) fn on_served(&mut self) {
        self.tried = 0;
        self.pause = PAUSE_MIN;
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn parsed(text: &str) -> Vec<String> {
        ConnectString::from_str(text).unwrap().hosts.iter().map(Host::to_string).collect()
    }

    #[test]
    fn a_connect_string_is_servers_and_a_chroot() {
        assert_eq!(parsed("a:1,b:2"), ["a:1", "b:2"]);
        assert_eq!(parsed("a, b: ,c"), ["a:2181", "b:2181", "c:2181"]);
        assert_eq!(parsed("[::1]:5,[fe80::1]"), ["[::1]:5", "[fe80::1]:2181"]);
        assert_eq!(parsed("::1:2181,[fe80::1%eth0]:7"), ["[::1]:2181", "[fe80::1%eth0]:7"]);
        assert_eq!(ConnectString::from_str("a:1,b:2/x/y").unwrap().chroot.as_str(), "/x/y");
        assert_eq!(ConnectString::from_str("a:1/").unwrap().chroot.as_str(), "/");
    }

    #[test]
    fn a_connect_string_that_makes_no_sense_is_refused() {
        use ConnectStringError as E;
        for (text, error) in [
            ("", E::NoServer),
            ("/a", E::NoServer),
            (":2181", E::NoServer),
            ("a:x", E::Port("a:x".into())),
            ("a:70000", E::Port("a:70000".into())),
            ("[::1:2181", E::Bracket("[::1:2181".into())),
            ("::1", E::Bracket("::1".into())),
            ("a:b:1", E::Bracket("a:b:1".into())),
            ("[::1]2181", E::Port("[::1]2181".into())),
            ("a/b/", E::Chroot { path: "/b/".into(), flaw: PathFlaw::TrailingSlash }),
        ] {
            assert_eq!(ConnectString::from_str(text).unwrap_err(), error, "{text:?}");
        }
    }

    #[test]
    fn all_servers_are_tried_at_once_then_with_growing_pauses() {
        let hosts = ConnectString::from_str("a,b,c").unwrap().hosts;
        let mut hosts = Hosts::new(hosts, &mut StdRng::seed_from_u64(1));
        let mut first: Vec<_> = (0..3).map(|_| hosts.next()).collect();
        assert!(first.iter().all(|(_, pause)| pause.is_zero()));
        first.sort_by(|a, b| a.0.name.cmp(&b.0.name));
        assert_eq!(first.iter().map(|(host, _)| &*host.name).collect::<Vec<_>>(), ["a", "b", "c"]);

        let pauses: Vec<_> = (0..30).map(|_| hosts.next().1.as_millis()).filter(|&ms| ms > 0).collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1000, 1000, 1000, 1000, 1000]);

        hosts.on_served();
        assert!(hosts.next().1.is_zero());
    }
}
