//! Paths as ZooKeeper allows them, and the chroot in front of them. `PathUtils`.

use std::sync::Arc;

use jute::Ustring;

use crate::error::Error;

/// The rule that a path breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathFlaw {
    /// There is nothing.
    #[error("empty")]
    Empty,
    /// It is not absolute.
    #[error("does not start with /")]
    Relative,
    /// Only the root may.
    #[error("ends with /")]
    TrailingSlash,
    /// Two slashes in a row.
    #[error("has an empty component")]
    EmptyComponent,
    /// `.` or `..` is a component.
    #[error("has a relative component")]
    RelativeComponent,
    /// A control character, a private one, or one outside the Basic Multilingual Plane.
    #[error("has a character that is not allowed")]
    Character,
}

/// Checks what a server would check of the path of a new znode.
///
/// # Errors
/// When no znode can have this path.
pub fn validate(path: &str) -> Result<(), PathFlaw> {
    if path == "/" {
        return Ok(());
    }
    let Some(relative) = path.strip_prefix('/') else {
        return Err(if path.is_empty() { PathFlaw::Empty } else { PathFlaw::Relative });
    };
    if path.chars().any(is_forbidden) {
        return Err(PathFlaw::Character);
    }
    if relative.ends_with('/') {
        return Err(PathFlaw::TrailingSlash);
    }
    for component in relative.split('/') {
        match component {
            "" => return Err(PathFlaw::EmptyComponent),
            "." | ".." => return Err(PathFlaw::RelativeComponent),
            _ => {}
        }
    }
    Ok(())
}

/// Java judges UTF-16 units, so the surrogates of a character beyond U+FFFF are what it refuses.
fn is_forbidden(character: char) -> bool {
    matches!(
        character,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..='\u{10ffff}'
    )
}

/// What stands in front of all paths of a client on the wire. The root's is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Chroot(Option<Arc<str>>);

impl Chroot {
    /// # Errors
    /// When `path` is no path.
    pub(crate) fn new(path: &str) -> Result<Self, PathFlaw> {
        validate(path)?;
        Ok(Self((path != "/").then(|| path.into())))
    }

    /// A chroot below this one.
    ///
    /// # Errors
    /// When `path` is no path.
    pub(crate) fn below(&self, path: &str) -> Result<Self, PathFlaw> {
        validate(path)?;
        Self::new(&self.join(path))
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or("/")
    }

    /// The server's name for `path`.
    ///
    /// # Errors
    /// When `path` is no path.
    pub(crate) fn resolve(&self, path: &str) -> Result<Ustring, Error> {
        validate(path).map_err(|flaw| Error::BadPath { path: path.into(), flaw })?;
        Ok(self.join(path))
    }

    /// The server's name for a path to which it will append a number: `/a/` is then allowed.
    ///
    /// # Errors
    /// When what comes out can be no path.
    pub(crate) fn resolve_sequential(&self, path: &str) -> Result<Ustring, Error> {
        let parent = path.strip_suffix('/').filter(|parent| !parent.is_empty()).unwrap_or(path);
        validate(parent).map_err(|flaw| Error::BadPath { path: path.into(), flaw })?;
        Ok(match &self.0 {
            None => path.into(),
            Some(chroot) => format!("{chroot}{path}").into(),
        })
    }

    /// What this client calls the server's `path`. Paths outside of the chroot, which only the service's own
    /// `/zookeeper` can be, stay as they are.
    pub(crate) fn strip<'p>(&self, path: &'p str) -> &'p str {
        let Some(chroot) = self.0.as_deref().filter(|_| self.contains(path)) else {
            return path;
        };
        match &path[chroot.len()..] {
            "" => "/",
            below => below,
        }
    }

    /// The server's `path` is one that this client can name.
    pub(crate) fn contains(&self, path: &str) -> bool {
        let chroot = self.0.as_deref().unwrap_or_default();
        path.strip_prefix(chroot).is_some_and(|below| below.is_empty() || below.starts_with('/'))
    }

    fn join(&self, path: &str) -> Ustring {
        match &self.0 {
            None => path.into(),
            Some(chroot) if path == "/" => (&**chroot).into(),
            Some(chroot) => format!("{chroot}{path}").into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_of_a_path_is_told_by_its_name() {
        for good in ["/", "/a", "/a/b.c", "/a/..b", "/ä/漢", "/a b", "/\u{ffef}"] {
            assert_eq!(validate(good), Ok(()), "{good:?}");
        }
        for (bad, flaw) in [
            ("", PathFlaw::Empty),
            ("a", PathFlaw::Relative),
            ("/a/", PathFlaw::TrailingSlash),
            ("//a", PathFlaw::EmptyComponent),
            ("/a/./b", PathFlaw::RelativeComponent),
            ("/a/..", PathFlaw::RelativeComponent),
            ("/a\u{0}", PathFlaw::Character),
            ("/a\u{1f}", PathFlaw::Character),
            ("/a\u{7f}", PathFlaw::Character),
            ("/\u{f8ff}", PathFlaw::Character),
            ("/\u{fffd}", PathFlaw::Character),
            ("/🦀", PathFlaw::Character),
        ] {
            assert_eq!(validate(bad), Err(flaw), "{bad:?}");
        }
    }

    #[test]
    fn a_chroot_is_put_in_front_and_taken_off_again() {
        let chroot = Chroot::new("/app").unwrap();
        assert_eq!(&*chroot.resolve("/").unwrap(), "/app");
        assert_eq!(&*chroot.resolve("/a").unwrap(), "/app/a");
        assert_eq!(chroot.strip("/app"), "/");
        assert_eq!(chroot.strip("/app/a"), "/a");
        assert_eq!(chroot.strip("/apple"), "/apple");
        assert_eq!(chroot.strip("/zookeeper/config"), "/zookeeper/config");
        assert_eq!(chroot.below("/x").unwrap().as_str(), "/app/x");
        assert_eq!(chroot.below("/").unwrap(), chroot);
        assert_eq!(Chroot::new("/").unwrap().strip("/a"), "/a");
    }

    #[test]
    fn a_sequential_znode_may_be_named_by_its_number_alone() {
        let chroot = Chroot::new("/app").unwrap();
        assert_eq!(&*chroot.resolve_sequential("/q/").unwrap(), "/app/q/");
        assert_eq!(&*chroot.resolve_sequential("/").unwrap(), "/app/");
        assert_eq!(&*Chroot::default().resolve_sequential("/").unwrap(), "/");
        assert!(chroot.resolve_sequential("/q//").is_err());
    }
}
