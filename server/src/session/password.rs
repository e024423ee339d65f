//! Session passwords. They are computed from the id, never stored, so a server can check one that another
//! gave out: the recipe is `java.util.Random`'s.

use super::SessionId;

/// What every server mixes into the seed. `ZooKeeperServer.superSecret`.
const SECRET: i64 = 0xB341_5C00;

/// The password of `session`.
#[doc(alias = "generatePasswd")]
#[must_use]
pub fn password_of(session: SessionId) -> [u8; 16] {
    let mut random = JavaRandom::new(session.0 ^ SECRET);
    let mut password = [0; 16];
    for chunk in password.chunks_exact_mut(4) {
        chunk.copy_from_slice(&random.next_int().to_le_bytes());
    }
    password
}

/// `password` is the session's. No password fits session 0: that id asks for a new session.
#[doc(alias = "checkPasswd")]
#[must_use]
pub(crate) fn is_password_of(session: SessionId, password: &[u8]) -> bool {
    session != SessionId::SERVICE && password == password_of(session)
}

/// The linear congruential generator that `java.util.Random` documents: 48 bits of state.
struct JavaRandom(u64);

impl JavaRandom {
    const MULTIPLIER: u64 = 0x5_DEEC_E66D;
    const MASK: u64 = (1 << 48) - 1;

    #[allow(clippy::cast_sign_loss)] // The seed's bits count, not its value.
    const fn new(seed: i64) -> Self {
        Self((seed as u64 ^ Self::MULTIPLIER) & Self::MASK)
    }

    #[allow(clippy::cast_possible_truncation)] // The upper 32 of 48 bits.
    const fn next_int(&mut self) -> u32 {
        self.0 = (self.0.wrapping_mul(Self::MULTIPLIER).wrapping_add(0xB)) & Self::MASK;
        (self.0 >> 16) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn passwords_are_those_a_java_server_computes() {
        let vectors = [
            (0x0100_0000_0000_0001, "054cc74a37327db215e702e20c73f005"),
            (0x0100_0009_a1b2_0000, "7ccde2d95917144dbab2943aca7dfd2e"),
            (0x02ff_0123_4567_89ab, "237710bc62d77989a42e8da77022789d"),
        ];
        for (session, password) in vectors {
            assert_eq!(hex(&password_of(SessionId(session))), password, "{session:#x}");
        }
    }

    #[test]
    fn a_password_fits_its_session_only() {
        let session = SessionId(0x0100_0000_0000_0001);
        assert!(is_password_of(session, &password_of(session)));
        assert!(!is_password_of(SessionId(session.0 + 1), &password_of(session)));
        assert!(!is_password_of(session, b""));
    }

    #[test]
    fn session_0_has_no_password() {
        assert!(!is_password_of(SessionId(0), &password_of(SessionId(0))));
        assert!(!is_password_of(SessionId(0), &[0; 16]));
    }
}
