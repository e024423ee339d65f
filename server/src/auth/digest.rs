//! `digest`: a user and a hash of her name and password. ZooKeeper's `DigestAuthenticationProvider`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jute::data::Id;
use sha1::{Digest as _, Sha1};

/// `DigestAuthenticationProvider.digestAlg`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)] // The names say it.
pub enum DigestAlgorithm {
    #[default]
    Sha1,
    Sha256,
    Sha384,
    Sha512,
    Sha3_256,
    Sha3_384,
    Sha3_512,
}

impl DigestAlgorithm {
    /// The algorithm that Java knows by `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "SHA1" | "SHA-1" | "SHA" => Self::Sha1,
            "SHA-256" => Self::Sha256,
            "SHA-384" => Self::Sha384,
            "SHA-512" => Self::Sha512,
            "SHA3-256" => Self::Sha3_256,
            "SHA3-384" => Self::Sha3_384,
            "SHA3-512" => Self::Sha3_512,
            _ => return None,
        })
    }

    fn hash(self, text: &str) -> Vec<u8> {
        match self {
            Self::Sha1 => Sha1::digest(text).to_vec(),
            Self::Sha256 => sha2::Sha256::digest(text).to_vec(),
            Self::Sha384 => sha2::Sha384::digest(text).to_vec(),
            Self::Sha512 => sha2::Sha512::digest(text).to_vec(),
            Self::Sha3_256 => sha3::Sha3_256::digest(text).to_vec(),
            Self::Sha3_384 => sha3::Sha3_384::digest(text).to_vec(),
            Self::Sha3_512 => sha3::Sha3_512::digest(text).to_vec(),
        }
    }
}

/// How digests are made, and whose makes the super user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[doc(alias = "DigestAuthenticationProvider")]
pub struct DigestScheme {
    /// The hash.
    pub algorithm: DigestAlgorithm,
    /// `DigestAuthenticationProvider.superDigest`: `super:` and the hash, in base64.
    pub super_digest: Option<String>,
}

impl DigestScheme {
    /// The identities of one who says `user:password`.
    pub(super) fn authenticate(&self, credentials: &[u8]) -> Vec<Id> {
        let digest = self.digest(&String::from_utf8_lossy(credentials));
        let is_super = self.super_digest.as_ref() == Some(&digest);
        let identity = Id::new("digest", &digest);
        if is_super { vec![Id::new("super", ""), identity] } else { vec![identity] }
    }

    /// `user:password` as ACLs hold it: the user, and the hash of both.
    #[doc(alias = "generateDigest")]
    #[must_use]
    pub fn digest(&self, credentials: &str) -> String {
        let user = credentials.split(':').next().unwrap_or_default();
        format!("{user}:{}", STANDARD.encode(self.algorithm.hash(credentials)))
    }
}

/// A user and a hash: two parts, as Java splits, to which empty ones at the end do not count.
pub(super) fn is_valid(id: &str) -> bool {
    id.trim_end_matches(':').split(':').count() == 2
}
