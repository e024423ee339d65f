//! The rules for paths and names. ZooKeeper's `PathUtils`, and the paths its `DataTree` keeps for itself.

use jute::Ustring;

/// The root.
pub const ROOT: &str = "/";
/// What the service keeps of itself.
pub const ZOOKEEPER: &str = "/zookeeper";
/// Limits and usage, a subtree that mirrors the paths they are for.
pub const QUOTA: &str = "/zookeeper/quota";
/// The ensemble's configuration.
pub const CONFIG: &str = "/zookeeper/config";

/// Why a path is none. [`Display`](std::fmt::Display) gives the reason alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It has no characters.
    #[error("path is empty")]
    Empty,
    /// It does not start with a slash.
    #[error("path does not start with /")]
    Relative,
    /// It is not the root, and ends with a slash.
    #[error("path ends with /")]
    TrailingSlash,
    /// Two slashes with nothing between.
    #[error("path has an empty name in it")]
    EmptyName,
    /// `.` or `..` as a name.
    #[error("path has . or .. in it")]
    Dots,
    /// A control character, a surrogate or one of the private or special ranges.
    #[error("path has a character in it that names may not have")]
    Character,
}

/// Whether a znode may have this path.
///
/// The ranges are ZooKeeper's, which looks at UTF-16 code units: so a character outside the basic plane, such as
/// an emoji, is refused for the surrogates it would be.
///
/// # Errors
/// What is wrong with it.
#[doc(alias = "PathUtils")]
#[doc(alias = "validatePath")]
pub fn validate(path: &str) -> Result<(), PathError> {
    let Some(rest) = path.strip_prefix('/') else {
        return Err(if path.is_empty() { PathError::Empty } else { PathError::Relative });
    };
    if rest.is_empty() {
        return Ok(());
    }
    if rest.ends_with('/') {
        return Err(PathError::TrailingSlash);
    }
    rest.split('/').try_for_each(validate_name)
}

fn validate_name(name: &str) -> Result<(), PathError> {
    match name {
        "" => Err(PathError::EmptyName),
        "." | ".." => Err(PathError::Dots),
        _ if name.bytes().all(|byte| (0x20..0x7f).contains(&byte)) => Ok(()),
        _ if name.chars().all(may_be_in_name) => Ok(()),
        _ => Err(PathError::Character),
    }
}

fn may_be_in_name(char: char) -> bool {
    !matches!(
        char,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..='\u{ffff}' | '\u{10000}'..
    )
}

/// The path above; `None` for the root, and for what does not start with a slash.
#[must_use]
pub fn parent_of(path: &str) -> Option<&str> {
    match last_slash(path)? {
        _ if path == ROOT => None,
        0 => Some(&path[..1]),
        slash => Some(&path[..slash]),
    }
}

/// [`parent_of`], sharing the memory of `path`.
#[must_use]
pub fn shared_parent_of(path: &Ustring) -> Option<Ustring> {
    parent_of(path).map(|parent| path.slice_ref(parent))
}

/// The name behind the last slash.
#[must_use]
pub fn name_of(path: &str) -> &str {
    last_slash(path).map_or(path, |slash| &path[slash + 1..])
}

/// Where the last name begins, less one. Names are short: to look at each byte is faster than to search.
#[must_use]
pub fn last_slash(path: &str) -> Option<usize> {
    path.bytes().rposition(|byte| byte == b'/')
}

/// `prefix` and the number of a sequential znode. `cversion` is the parent's stored one before the create; it is
/// signed, and so is the number once 2^31 creates have been.
#[must_use]
pub fn sequential_name(prefix: &str, cversion: i32) -> String {
    format!("{prefix}{cversion:010}")
}

/// The paths that cannot be deleted.
#[must_use]
pub fn is_special(path: &str) -> bool {
    matches!(path, ROOT | ZOOKEEPER | QUOTA | CONFIG)
}

/// Whether `path` is `ancestor` or lies below it.
#[must_use]
pub fn is_within(path: &str, ancestor: &str) -> bool {
    ancestor == ROOT
        || path.strip_prefix(ancestor).is_some_and(|below| below.is_empty() || below.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_znodes_are_valid() {
        for path in
            ["/", "/a", "/a/b", "/a b/…", "/.a", "/a.", "/...", "/a/..b", "/\u{fdef}", "/\u{d7ff}", "/\u{a0}"]
        {
            assert_eq!(validate(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn other_strings_are_told_why_not() {
        use PathError::*;
        let wrong = [
            ("", Empty),
            ("a", Relative),
            ("a/b", Relative),
            ("/a/", TrailingSlash),
            ("//", TrailingSlash),
            ("//a", EmptyName),
            ("/a//b", EmptyName),
            ("/.", Dots),
            ("/..", Dots),
            ("/a/./b", Dots),
            ("/a/..", Dots),
            ("/a\0", Character),
            ("/\u{1}", Character),
            ("/\u{1f}", Character),
            ("/\u{7f}", Character),
            ("/\u{9f}", Character),
            ("/\u{e000}", Character),
            ("/\u{f8ff}", Character),
            ("/\u{fff0}", Character),
            ("/\u{ffff}", Character),
            ("/a/🐘", Character),
        ];
        for (path, why) in wrong {
            assert_eq!(validate(path), Err(why), "{path:?}");
        }
    }

    #[test]
    fn a_sequential_name_has_ten_digits_and_its_sign_counts() {
        let names = [
            (0, "q-0000000000"),
            (42, "q-0000000042"),
            (i32::MAX, "q-2147483647"),
            (i32::MIN, "q--2147483648"),
            (-5, "q--000000005"),
        ];
        for (cversion, name) in names {
            assert_eq!(sequential_name("q-", cversion), name);
        }
    }

    #[test]
    fn the_parent_is_what_stands_before_the_last_slash() {
        assert_eq!(parent_of("/a/b"), Some("/a"));
        assert_eq!(parent_of("/a"), Some("/"));
        assert_eq!(parent_of("/"), None);
        assert_eq!(parent_of("a"), None);
        assert_eq!(name_of("/a/b"), "b");
    }

    #[test]
    fn a_name_that_begins_alike_is_not_within() {
        assert!(is_within("/a/b", "/a"));
        assert!(is_within("/a", "/a"));
        assert!(is_within("/a", "/"));
        assert!(!is_within("/ab", "/a"));
    }
}
