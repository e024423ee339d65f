//! Who somebody is, and what she may do: authentication schemes and access control lists. ZooKeeper's
//! `AuthenticationProvider`s, and `PrepRequestProcessor.fixupACL`.
//!
//! Checks look at identities only, never at a socket: on a learner, the identities travel with the request.

mod digest;
mod ip;

use jute::data::{Acl, AclList, ClientInfo, Id};
use jute::{ErrorCode, Ustring};

pub use digest::{DigestAlgorithm, DigestScheme};
pub use ip::identity_of;

/// A longer list than this is refused. It is stored with each change of a znode's ACL, and looked through with each
/// access; and `auth` in a list that came in a frame could stand for very many identities.
pub const ACL_ENTRIES_MAX: usize = 1000;

/// The schemes in force.
#[derive(Debug, Clone)]
#[doc(alias = "ProviderRegistry")]
#[doc(alias = "AuthenticationProvider")]
pub struct Schemes {
    /// `digest`, unless `DigestAuthenticationProvider.enabled` is off.
    pub digest: Option<DigestScheme>,
    /// `ensembleAuthName`: names by which clients may call this ensemble. `None` lets any pass.
    pub ensemble_names: Option<Vec<String>>,
    /// `skipACL`: everybody may do everything.
    pub skip_acl: bool,
}

impl Default for Schemes {
    fn default() -> Self {
        Self { digest: Some(DigestScheme::default()), ensemble_names: None, skip_acl: false }
    }
}

/// What comes of credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authentication {
    /// They are good, and make the connection these identities besides those it has.
    Accepted(Vec<Id>),
    /// They are not: [`ErrorCode::AuthFailed`], then close.
    Failed,
    /// The client looks for another ensemble: close without an answer, so that it tries its next server.
    WrongEnsemble,
}

impl Schemes {
    /// Judges the credentials of an [`AuthPacket`](jute::proto::AuthPacket).
    #[must_use]
    pub fn authenticate(&self, scheme: &str, credentials: Option<&[u8]>) -> Authentication {
        match (scheme, &self.digest) {
            ("digest", Some(digest)) => match credentials {
                Some(credentials) => Authentication::Accepted(digest.authenticate(credentials)),
                None => Authentication::Failed,
            },
            // Its address is the connection's first identity already.
            ("ip", _) => Authentication::Accepted(Vec::new()),
            ("ensemble", _) => self.check_ensemble(credentials.unwrap_or_default()),
            _ => Authentication::Failed,
        }
    }

    fn check_ensemble(&self, name: &[u8]) -> Authentication {
        match &self.ensemble_names {
            Some(names) if !name.is_empty() && !names.iter().any(|ours| ours.as_bytes() == name) => {
                Authentication::WrongEnsemble
            }
            _ => Authentication::Accepted(Vec::new()),
        }
    }

    /// May one with `identities` do any of what `wanted` says, where `acl` holds?
    ///
    /// # Errors
    /// [`ErrorCode::NoAuth`] if not.
    #[doc(alias = "checkACL")]
    pub fn check(&self, acl: &[Acl], wanted: i32, identities: &[Id]) -> Result<(), ErrorCode> {
        let open_to_all = |entry: &Acl| entry.perms & wanted != 0 && is_anyone(&entry.id);
        if acl.is_empty() || acl.iter().any(open_to_all) || self.skip_acl || is_super(identities) {
            return Ok(());
        }
        let allows = |entry: &Acl| entry.perms & wanted != 0 && self.matches(&entry.id, identities);
        if acl.iter().any(allows) { Ok(()) } else { Err(ErrorCode::NoAuth) }
    }

    fn matches(&self, wanted: &Id, identities: &[Id]) -> bool {
        let mut same_scheme = identities.iter().filter(|identity| identity.scheme == wanted.scheme);
        match &*wanted.scheme {
            "ip" => same_scheme.any(|identity| ip::matches(&identity.id, &wanted.id)),
            "digest" if self.digest.is_some() => same_scheme.any(|identity| identity.id == wanted.id),
            _ => false,
        }
    }

    /// The ACL a znode gets when one with `identities` asks for `acl`: duplicates go, `auth` becomes the
    /// identities it stands for.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidAcl`] when it is empty or longer than [`ACL_ENTRIES_MAX`], or an entry means nobody.
    #[doc(alias = "fixupACL")]
    pub fn resolve(&self, acl: AclList, identities: &[Id]) -> Result<AclList, ErrorCode> {
        if let [entry] = &*acl
            && is_anyone(&entry.id)
        {
            return Ok(acl); // As nearly always.
        }
        if acl.len() > ACL_ENTRIES_MAX {
            return Err(ErrorCode::InvalidAcl);
        }
        let mut resolved = Vec::with_capacity(acl.len());
        for (at, entry) in acl.iter().enumerate() {
            if acl[..at].contains(entry) {
                continue;
            }
            match &*entry.id.scheme {
                "auth" => {
                    let before = resolved.len();
                    let authenticated = identities.iter().filter(|identity| self.is_authenticated(identity));
                    resolved.extend(
                        authenticated.map(|identity| Acl { perms: entry.perms, id: identity.clone() }),
                    );
                    if resolved.len() == before {
                        return Err(ErrorCode::InvalidAcl);
                    }
                }
                _ if self.is_valid(&entry.id) => resolved.push(entry.clone()),
                _ => return Err(ErrorCode::InvalidAcl),
            }
        }
        if !(1..=ACL_ENTRIES_MAX).contains(&resolved.len()) {
            Err(ErrorCode::InvalidAcl)
        } else {
            Ok(resolved.into())
        }
    }

    fn is_valid(&self, id: &Id) -> bool {
        match &*id.scheme {
            "world" => is_anyone(id),
            "ip" => ip::is_valid(&id.id),
            "digest" => self.digest.is_some() && digest::is_valid(&id.id),
            _ => false,
        }
    }

    /// It was proven, not just observed: `auth` stands for it.
    fn is_authenticated(&self, identity: &Id) -> bool {
        identity.scheme == "digest" && self.digest.is_some()
    }

    /// `identities` as `whoAmI` shows them: without what is secret.
    #[must_use]
    pub fn describe(&self, identities: &[Id]) -> Vec<ClientInfo> {
        let user = |identity: &Id| match &*identity.scheme {
            "digest" if self.digest.is_some() => {
                Ustring::from(identity.id.split(':').next().unwrap_or_default())
            }
            "ip" | "ensemble" => identity.id.clone(),
            _ => Ustring::new(),
        };
        let describe =
            |identity: &Id| ClientInfo { auth_scheme: identity.scheme.clone(), user: user(identity) };
        identities.iter().map(describe).collect()
    }
}

fn is_anyone(id: &Id) -> bool {
    id.scheme == "world" && id.id == "anyone"
}

fn is_super(identities: &[Id]) -> bool {
    identities.iter().any(|identity| identity.scheme == "super")
}

/// An ACL as those see it who may read but not administrate: what follows a digest's user is hidden.
#[must_use]
pub fn redacted(acl: &[Acl]) -> Vec<Acl> {
    let redact = |entry: &Acl| match (&*entry.id.scheme, entry.id.id.split_once(':')) {
        ("digest", Some((user, _))) => Acl::new(entry.perms, "digest", &format!("{user}:x")),
        _ => entry.clone(),
    };
    acl.iter().map(redact).collect()
}

#[cfg(test)]
mod tests;
