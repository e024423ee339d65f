//! Which partition of `__consumer_offsets` is a group's.

/// The partition among `partitions` where `group` is kept: clients and brokers must agree on it, so it is Java's
/// `String.hashCode`, over UTF-16, without its sign.
///
/// # Panics
/// If there are no partitions.
#[doc(alias = "partitionFor")]
pub fn partition_of(group: &str, partitions: i32) -> i32 {
    let hash =
        group.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    (hash & i32::MAX) % partitions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_where_java_looks_for_them() {
        // What `(group.hashCode() & 0x7fffffff) % 50` is in Java.
        assert_eq!(partition_of("", 50), 0);
        assert_eq!(partition_of("a", 50), 97 % 50);
        assert_eq!(partition_of("console-consumer-1", 50), java("console-consumer-1") % 50);
        // "polygenelubricants".hashCode() is the smallest number of all, whose absolute value is no number.
        assert_eq!(partition_of("polygenelubricants", 50), 0);
    }

    #[test]
    fn letters_outside_the_first_plane_count_as_two() {
        // '\u{1F600}' is D83D DE00 in UTF-16.
        assert_eq!(partition_of("\u{1F600}", i32::MAX), 0xD83D * 31 + 0xDE00);
    }

    /// The same sum in 64 bits, cut at the end.
    fn java(text: &str) -> i32 {
        let sum = text.bytes().fold(0_i64, |hash, byte| (hash * 31 + i64::from(byte)) & 0xffff_ffff);
        i32::try_from(sum & 0x7fff_ffff).expect("31 bits")
    }
}
