//! What commands print, in ZooKeeper's forms.

use std::io::{self, Write};

use client::{Acl, Stat, perms};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Prints to stdout. Nobody may be reading any more, and then there is nobody to tell.
pub(crate) fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints a line to stdout.
pub(crate) fn line(text: &str) {
    print(&format!("{text}\n"));
}

/// Prints a line to stderr.
pub(crate) fn error_line(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// All of a stat, a line each. `StatPrinter`.
pub(crate) fn stat(stat: &Stat) -> String {
    format!(
        "cZxid = {:#x}\nctime = {}\nmZxid = {:#x}\nmtime = {}\npZxid = {:#x}\ncversion = {}\ndataVersion = {}\n\
         aclVersion = {}\nephemeralOwner = {:#x}\ndataLength = {}\nnumChildren = {}",
        stat.czxid,
        date(stat.ctime),
        stat.mzxid,
        date(stat.mtime),
        stat.pzxid,
        stat.cversion,
        stat.version,
        stat.aversion,
        stat.ephemeral_owner,
        stat.data_length,
        stat.num_children,
    )
}

/// As Java's `Date` prints itself, in the local time zone: `Sat Nov 21 05:12:16 UTC 2026`.
fn date(millis: i64) -> String {
    match Timestamp::from_millisecond(millis) {
        Ok(time) => time.to_zoned(TimeZone::system()).strftime("%a %b %d %H:%M:%S %Z %Y").to_string(),
        // Nobody's clock is that wrong; but a server may say anything.
        Err(_) => format!("{millis} ms"),
    }
}

/// An ACL's entries, two lines each.
pub(crate) fn acl(entries: &[Acl]) -> String {
    let entry = |acl: &Acl| format!("'{},'{}\n: {}", acl.id.scheme, acl.id.id, perms::letters(acl.perms));
    entries.iter().map(entry).collect::<Vec<_>>().join("\n")
}

/// Names or paths in brackets.
pub(crate) fn list(items: &[String]) -> String {
    format!("[{}]", items.join(", "))
}

/// Bytes in hexadecimal and in ASCII, sixteen to a row. Netty's `ByteBufUtil.prettyHexDump`.
pub(crate) fn hex_dump(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return String::new();
    }
    let rule = "+--------+-------------------------------------------------+----------------+";
    let mut dump = String::from(
        "         +-------------------------------------------------+\n\
         \x20        |  0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f |\n",
    );
    dump += rule;
    for (row, bytes) in bytes.chunks(16).enumerate() {
        let hex: String = bytes.iter().map(|byte| format!(" {byte:02x}")).collect();
        let shown = |byte: &u8| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' };
        let text: String = bytes.iter().map(shown).collect();
        dump += &format!("\n|{:08x}|{hex:48} |{text:16}|", row * 16);
    }
    dump + "\n" + rule
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_have_zookeepers_order() {
        assert_eq!(perms::letters(perms::ALL), "cdrwa");
        assert_eq!(perms::letters(perms::READ | perms::CREATE), "cr");
    }

    #[test]
    fn a_hex_dump_has_sixteen_bytes_to_a_row() {
        assert_eq!(
            hex_dump(b"hello, zookeeper\n"),
            "         +-------------------------------------------------+\n\
             \x20        |  0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f |\n\
             +--------+-------------------------------------------------+----------------+\n\
             |00000000| 68 65 6c 6c 6f 2c 20 7a 6f 6f 6b 65 65 70 65 72 |hello, zookeeper|\n\
             |00000010| 0a                                              |.               |\n\
             +--------+-------------------------------------------------+----------------+"
        );
    }
}
