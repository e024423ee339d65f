//! What whoever dials the election port says first. ZooKeeper's `QuorumCnxManager.InitialMessage`.

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::config::ServerId;

/// One address.
const ONE_ADDRESS: i64 = -65536;
/// Several, since `multiAddress.enabled`.
const SEVERAL_ADDRESSES: i64 = -65535;
const ADDRESSES_BYTES_MAX: usize = 2048;

/// Where somebody listens: a name or an address without brackets, and a port.
pub(super) type Endpoint = (String, u16);

/// Who dials, and where it can be dialed itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[doc(alias = "InitialMessage")]
pub(super) struct Greeting {
    pub(super) server: ServerId,
    pub(super) addresses: Vec<Endpoint>,
}

/// A greeting that is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum GreetingFlaw {
    #[error("protocol version {0}")]
    Version(i64),
    #[error("addresses of {0} bytes")]
    Length(i32),
    #[error("{0:?} is no address")]
    Address(String),
    #[error("it ends early")]
    Read(#[from] std::io::Error),
}

impl Greeting {
    /// As it is sent: in one piece, for a Java server reads it with one call.
    pub(super) fn encode(&self, multi_address: bool) -> Bytes {
        let count = if multi_address { self.addresses.len() } else { 1 };
        let addresses: Vec<_> = self.addresses.iter().take(count).map(format_endpoint).collect();
        let addresses = addresses.join("|");
        let mut out = BytesMut::with_capacity(8 + 8 + 4 + addresses.len());
        out.put_i64(if multi_address { SEVERAL_ADDRESSES } else { ONE_ADDRESS });
        out.put_i64(self.server.0);
        out.put_i32(i32::try_from(addresses.len()).expect("addresses are few and short"));
        out.put_slice(addresses.as_bytes());
        out.freeze()
    }

    /// Reads a greeting and nothing behind it.
    pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Self, GreetingFlaw> {
        let version = stream.read_i64().await?;
        if version >= 0 {
            // A server from before there were versions: only who it is.
            return Ok(Self { server: ServerId(version), addresses: Vec::new() });
        }
        if ![ONE_ADDRESS, SEVERAL_ADDRESSES].contains(&version) {
            return Err(GreetingFlaw::Version(version));
        }
        let server = ServerId(stream.read_i64().await?);
        let announced = stream.read_i32().await?;
        let len = usize::try_from(announced).ok().filter(|len| (1..=ADDRESSES_BYTES_MAX).contains(len));
        let mut text = vec![0; len.ok_or(GreetingFlaw::Length(announced))?];
        stream.read_exact(&mut text).await?;
        let text = String::from_utf8(text)
            .map_err(|text| GreetingFlaw::Address(String::from_utf8_lossy(text.as_bytes()).into_owned()))?;
        let addresses: Result<Vec<_>, _> = text.split('|').map(parse_endpoint).collect();
        // Who listens everywhere has not said where.
        let addresses = addresses?.into_iter().filter(|(host, _)| !is_wildcard(host)).collect();
        Ok(Self { server, addresses })
    }
}

fn format_endpoint((host, port): &Endpoint) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn parse_endpoint(text: &str) -> Result<Endpoint, GreetingFlaw> {
    let parsed = match text.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once("]:"),
        None => text.split_once(':'),
    };
    let named = parsed.filter(|(host, _)| !host.is_empty() && !host.contains(['[', ']']));
    let endpoint = named.and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
    endpoint.ok_or_else(|| GreetingFlaw::Address(text.to_owned()))
}

fn is_wildcard(host: &str) -> bool {
    host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_unspecified())
}

/// Reads a greeting off any bytes; one that is read is written and read to be the same.
#[cfg(feature = "fuzzing")]
pub fn fuzz(bytes: &[u8]) {
    use futures::FutureExt;
    let read = |mut bytes: &[u8]| Greeting::read(&mut bytes).now_or_never().expect("all bytes are there");
    if let Ok(greeting) = read(bytes)
        && !greeting.addresses.is_empty()
    {
        let again = read(&greeting.encode(true)).expect("it was read before");
        assert_eq!(again, greeting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting(addresses: &[(&str, u16)]) -> Greeting {
        let addresses = addresses.iter().map(|(host, port)| ((*host).to_owned(), *port)).collect();
        Greeting { server: ServerId(3), addresses }
    }

    #[tokio::test]
    async fn a_greeting_is_read_as_it_was_written() {
        let one = greeting(&[("127.0.0.1", 3888)]);
        assert_eq!(Greeting::read(&mut &*one.encode(false)).await.unwrap(), one);
        let several = greeting(&[("zk1", 3888), ("::1", 3889)]);
        assert_eq!(Greeting::read(&mut &*several.encode(true)).await.unwrap(), several);
        let first = Greeting::read(&mut &*several.encode(false)).await.unwrap();
        assert_eq!(first, greeting(&[("zk1", 3888)]));
    }

    #[tokio::test]
    async fn where_somebody_listens_on_all_addresses_he_cannot_be_dialed() {
        let all = greeting(&[("0.0.0.0", 3888), ("::", 3888), ("zk1", 3888)]);
        let read = Greeting::read(&mut &*all.encode(true)).await.unwrap();
        assert_eq!(read, greeting(&[("zk1", 3888)]));
    }

    #[tokio::test]
    async fn the_oldest_servers_say_only_who_they_are() {
        let read = Greeting::read(&mut 7i64.to_be_bytes().as_slice()).await.unwrap();
        assert_eq!(read, Greeting { server: ServerId(7), addresses: Vec::new() });
    }

    #[tokio::test]
    async fn what_is_no_greeting_is_refused() {
        let good = greeting(&[("127.0.0.1", 3888)]).encode(false).to_vec();
        for len in 0..good.len() {
            let flaw = Greeting::read(&mut &good[..len]).await.unwrap_err();
            assert!(matches!(flaw, GreetingFlaw::Read(_)), "{len} bytes: {flaw}");
        }
        let with = |at: usize, bytes: &[u8]| {
            let mut bad = good.clone();
            bad[at..at + bytes.len()].copy_from_slice(bytes);
            bad
        };
        for bad in [
            with(0, &(-1i64).to_be_bytes()),
            with(16, &0i32.to_be_bytes()),
            with(16, &(-5i32).to_be_bytes()),
            with(16, &2049i32.to_be_bytes()),
            with(20, b"a:b:"),
            with(29, b"/"),
            with(20, b"["),
            with(20, b":"),
            with(20, b"\xff"),
        ] {
            let flaw = Greeting::read(&mut &*bad).await.unwrap_err();
            assert!(!matches!(flaw, GreetingFlaw::Read(_)), "{flaw}");
        }
    }
}
