//! The text form of 16-byte ids: url-safe base64, 22 characters. Kafka's `Uuid`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

/// `id` as it stands in znodes and files.
pub fn id_text(id: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(id.as_bytes())
}

/// The id that `text` says; `None` if it says none.
pub fn parse_id(text: &str) -> Option<Uuid> {
    // No id is longer than its 22 characters, and what is longer need not be decoded to be wrong.
    if text.len() > 24 {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
    Uuid::from_slice(&bytes).ok()
}

/// A random id whose text does not begin with a dash, as that would look like an option to a shell's tools.
pub fn random_id() -> Uuid {
    loop {
        let id = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
        if !id_text(id).starts_with('-') {
            return id;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_from_its_22_characters() {
        let id = random_id();
        assert_eq!(id_text(id).len(), 22);
        assert_eq!(parse_id(&id_text(id)), Some(id));
        assert_eq!(id_text(Uuid::nil()), "AAAAAAAAAAAAAAAAAAAAAA");
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in ["", "AAAA", "!!!!!!!!!!!!!!!!!!!!!!", &"A".repeat(64)] {
            assert_eq!(parse_id(text), None, "{text}");
        }
    }
}
