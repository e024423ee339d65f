//! Why a command failed, in the words of ZooKeeper's shell. `CliException`, `CliWrapperException`.

use client::{Error, ErrorCode, validate_path};

/// Exit status of a command that the shell does not know.
const NOT_FOUND: i32 = 127;

/// What is printed for a failed command, and the exit status it leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) status: i32,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: 1 }
    }

    pub(crate) fn not_found(command: &str) -> Self {
        Self { message: format!("Command not found: Command not found {command}"), status: NOT_FOUND }
    }

    /// What an operation on `path` came to.
    pub(crate) fn on(path: &str, error: &Error) -> Self {
        Self::new(match error {
            Error::Refused { code, .. } | Error::MultiRefused { code, .. } => refusal(*code, Some(path)),
            other => keeper_error(other, Some(path)),
        })
    }

    /// What an operation that has no path came to.
    pub(crate) fn without_path(error: &Error) -> Self {
        Self::new(match error {
            Error::Refused { code, .. } => refusal(*code, None),
            other => keeper_error(other, None),
        })
    }
}

/// The message of a `KeeperException`.
pub(crate) fn keeper_error(error: &Error, path: Option<&str>) -> String {
    let code = match error {
        Error::Refused { code, .. } | Error::MultiRefused { code, .. } => *code,
        Error::ConnectionLost { .. }
        | Error::Timeout { .. }
        | Error::ConnectTimeout { .. }
        | Error::Unreachable => ErrorCode::ConnectionLoss,
        Error::SessionExpired | Error::Closed => ErrorCode::SessionExpired,
        Error::AuthFailed => ErrorCode::AuthFailed,
        other => return other.to_string(),
    };
    code_on(code, path)
}

/// `KeeperException.getMessage`: an empty path is not named.
fn code_on(code: ErrorCode, path: Option<&str>) -> String {
    let message = code_message(code);
    match path {
        Some(path) if !path.is_empty() => format!("KeeperErrorCode = {message} for {path}"),
        _ => format!("KeeperErrorCode = {message}"),
    }
}

fn refusal(code: ErrorCode, path: Option<&str>) -> String {
    let shown = path.unwrap_or("null");
    match code {
        ErrorCode::NoNode => format!("Node does not exist: {shown}"),
        ErrorCode::NoChildrenForEphemerals => format!("Ephemerals cannot have children: {shown}"),
        ErrorCode::NodeExists => format!("Node already exists: {shown}"),
        ErrorCode::NotEmpty => format!("Node not empty: {shown}"),
        ErrorCode::NotReadOnly => format!("Not a read-only call: {shown}"),
        ErrorCode::InvalidAcl => format!("Acl is not valid : {shown}"),
        ErrorCode::NoAuth => format!("Insufficient permission : {shown}"),
        ErrorCode::BadArguments => format!("Arguments are not valid : {shown}"),
        ErrorCode::BadVersion => format!("version No is not valid : {shown}"),
        ErrorCode::ReconfigInProgress => {
            "Another reconfiguration is in progress -- concurrent reconfigs not supported (yet)".to_owned()
        }
        // The three m's are ZooKeeper's.
        ErrorCode::NewConfigNoQuorum => "No quorum of new config is connected and up-to-date with the leader of last \
                                         commmitted config - try invoking reconfiguration after new servers are \
                                         connected and synced"
            .to_owned(),
        ErrorCode::QuotaExceeded => format!("Quota has exceeded : {shown}"),
        other => code_on(other, path),
    }
}

/// ZooKeeper's words where they are not the code's name. `KeeperException.getCodeMessage`.
fn code_message(code: ErrorCode) -> String {
    match code {
        ErrorCode::ApiError => "APIError",
        ErrorCode::InvalidAcl => "InvalidACL",
        ErrorCode::NotEmpty => "Directory not empty",
        ErrorCode::SessionExpired => "Session expired",
        ErrorCode::InvalidCallback => "Invalid callback",
        ErrorCode::SessionMoved => "Session moved",
        ErrorCode::NotReadOnly => "Not a read-only call",
        ErrorCode::EphemeralOnLocalSession => "Ephemeral node on local session",
        ErrorCode::NoWatcher => "No such watcher",
        ErrorCode::ReconfigDisabled => "Reconfig is disabled",
        ErrorCode::SessionClosedRequireSaslAuth => "Session closed because client failed to authenticate",
        ErrorCode::QuotaExceeded => "Quota has exceeded",
        ErrorCode::ThrottledOp => "Op throttled due to high load",
        other => return other.to_string(),
    }
    .to_owned()
}

/// Refuses a path that no znode can have, saying where it is wrong. `PathUtils.validatePath`.
pub(crate) fn check_path(path: &str) -> Result<(), Failure> {
    if validate_path(path).is_ok() {
        return Ok(());
    }
    let message = match path {
        "" => "Path length must be > 0".to_owned(),
        path if !path.starts_with('/') => "Path must start with / character".to_owned(),
        path if path.ends_with('/') => "Path must not end with / character".to_owned(),
        path => format!("Invalid path string \"{path}\" caused by {}", flaw(path)),
    };
    Err(Failure::new(message))
}

/// What is wrong with an absolute path, and at which UTF-16 unit, for such is a Java string's index.
fn flaw(path: &str) -> String {
    let units: Vec<u16> = path.encode_utf16().collect();
    let is =
        |at: usize, wanted: char| units.get(at).is_some_and(|unit| u32::from(*unit) == u32::from(wanted));
    let ends = |at: usize| at >= units.len() || is(at, '/');
    for (at, unit) in units.iter().enumerate().skip(1) {
        let after_slash = is(at - 1, '/');
        if *unit == 0 {
            return format!("null character not allowed @{at}");
        }
        if is(at, '/') && after_slash {
            return format!("empty node name specified @{at}");
        }
        let one_dot = is(at, '.') && after_slash;
        let two_dots = is(at, '.') && is(at - 1, '.') && at >= 2 && is(at - 2, '/');
        if (one_dot || two_dots) && ends(at + 1) {
            return format!("relative paths not allowed @{at}");
        }
        if matches!(unit, 0x01..=0x1f | 0x7f..=0x9f | 0xd800..=0xf8ff | 0xfff0..=0xffff) {
            return format!("invalid character @{at}");
        }
    }
    "invalid character".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_path_is_refused_with_the_place_where_it_is_bad() {
        let message = |path| check_path(path).unwrap_err().message;

        assert_eq!(message("a"), "Path must start with / character");
        assert_eq!(message("/a/"), "Path must not end with / character");
        assert_eq!(message("/a//b"), "Invalid path string \"/a//b\" caused by empty node name specified @3");
        assert_eq!(
            message("/a/../b"),
            "Invalid path string \"/a/../b\" caused by relative paths not allowed @4"
        );
        assert_eq!(message("/a/."), "Invalid path string \"/a/.\" caused by relative paths not allowed @3");
        assert_eq!(check_path("/a/..b/.c"), Ok(()));
    }
}
