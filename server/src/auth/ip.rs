//! `ip`: where a connection comes from; in an ACL also a network, `address/bits`. ZooKeeper's
//! `IPAuthenticationProvider`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use jute::data::Id;

/// The identity every connection begins with. Addresses are written as Java writes them: without `::`.
#[must_use]
#[doc(alias = "IPAuthenticationProvider")]
pub fn identity_of(peer: IpAddr) -> Id {
    let text = match peer.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => address.segments().map(|segment| format!("{segment:x}")).join(":"),
    };
    Id::new("ip", &text)
}

/// It is an address or a network.
pub(super) fn is_valid(expression: &str) -> bool {
    Network::parse(expression).is_some()
}

/// The address `id` lies in the network `expression`.
pub(super) fn matches(id: &str, expression: &str) -> bool {
    match (Network::parse(expression), parse_address(id)) {
        (Some(network), Some(address)) => network.contains(address),
        _ => false,
    }
}

struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    fn parse(expression: &str) -> Option<Self> {
        let (address, bits) = match expression.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().ok()?)),
            None => (expression, None),
        };
        let address = parse_address(address)?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(bits_max);
        (bits <= bits_max).then_some(Self { address, bits })
    }

    fn contains(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                prefix(u128::from(ours.to_bits()), 32, self.bits)
                    == prefix(u128::from(theirs.to_bits()), 32, self.bits)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                prefix(ours.to_bits(), 128, self.bits) == prefix(theirs.to_bits(), 128, self.bits)
            }
            _ => false,
        }
    }
}

/// The first `bits` of an address that is `width` bits wide.
fn prefix(address: u128, width: u32, bits: u32) -> u128 {
    address.checked_shr(width - bits).unwrap_or(0)
}

/// An address as Java reads it: leading zeros are allowed, an IPv4 tail in IPv6 is not.
fn parse_address(text: &str) -> Option<IpAddr> {
    if text.contains(':') { parse_v6(text).map(IpAddr::V6) } else { parse_v4(text).map(IpAddr::V4) }
}

fn parse_v4(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u8> = text.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    <[u8; 4]>::try_from(parts).ok().map(Ipv4Addr::from)
}

fn parse_v6(text: &str) -> Option<Ipv6Addr> {
    let mut halves = text.split("::");
    let (head, tail) = (parse_segments(halves.next()?)?, halves.next());
    if halves.next().is_some() {
        return None;
    }
    let mut segments = [0; 8];
    match tail {
        None => return <[u16; 8]>::try_from(head).ok().map(Ipv6Addr::from),
        Some(tail) => {
            let tail = parse_segments(tail)?;
            if head.len() + tail.len() >= segments.len() {
                return None;
            }
            segments[..head.len()].copy_from_slice(&head);
            segments[8 - tail.len()..].copy_from_slice(&tail);
        }
    }
    Some(Ipv6Addr::from(segments))
}

fn parse_segments(text: &str) -> Option<Vec<u16>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    text.split(':')
        .map(|part| if part.len() <= 4 { u16::from_str_radix(part, 16).ok() } else { None })
        .collect()
}
