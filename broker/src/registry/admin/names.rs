//! Which names topics may have. Kafka's `Topic`.

use kafka_protocol::error::ResponseError;

use crate::registry::Refusal;

/// The topic of offsets.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// The topic of transactions' states.
pub const TRANSACTIONS_TOPIC: &str = "__transaction_state";
/// The longest name: with a partition's number and a suffix behind it, it has to be the name of a directory.
const NAME_BYTES_MAX: usize = 249;

/// Whether the brokers keep something of their own in the topic of this name.
pub fn is_internal(name: &str) -> bool {
    matches!(name, OFFSETS_TOPIC | TRANSACTIONS_TOPIC)
}

/// That a topic may have this name.
///
/// # Errors
/// [`ResponseError::InvalidTopicException`], with what is wrong with it.
pub fn check_name(name: &str) -> Result<(), Refusal> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let flaw = if name.is_empty() {
        "the empty string is not allowed".to_owned()
    } else if name == "." || name == ".." {
        format!("'{name}' is not allowed")
    } else if name.len() > NAME_BYTES_MAX {
        format!("the length of the name is longer than the max allowed length {NAME_BYTES_MAX}")
    } else if !name.bytes().all(is_legal) {
        let shown = name.escape_default();
        format!("'{shown}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
    } else {
        return Ok(());
    };
    let message = format!("Topic name is invalid: {flaw}");
    Err(Refusal::new(ResponseError::InvalidTopicException, message))
}

/// Whether the two would have the same name among metrics, where a dot is an underscore.
pub fn collide(one: &str, other: &str) -> bool {
    let unified =
        |name: &str| name.bytes().map(|byte| if byte == b'.' { b'_' } else { byte }).collect::<Vec<_>>();
    one != other && one.len() == other.len() && unified(one) == unified(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_kafka_takes() {
        for name in ["a", "A.b_c-9", "__consumer_offsets", "...", &"x".repeat(249)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", ".", "..", "a b", "a/b", "ä", "a\n", &"x".repeat(250)] {
            let refusal = check_name(name).unwrap_err();
            assert_eq!(refusal.code, ResponseError::InvalidTopicException, "{name}");
        }
    }

    #[test]
    fn names_collide_that_differ_only_in_dots_and_underscores() {
        assert!(collide("a.b", "a_b") && collide("a_b.c", "a.b_c"));
        assert!(!collide("a.b", "a.b") && !collide("a.b", "ab") && !collide("a-b", "a.b"));
    }
}
