//! What a reply's `err` says. `KeeperException.Code`.

use crate::op::codes;

codes! {
    /// Why the service refused. Success, 0, is not one of them.
    ErrorCode {
        /// The service failed in a way that has no name of its own.
        SystemError = -1,
        /// In a failed multi: a part behind the one that failed.
        RuntimeInconsistency = -2,
        /// Data is not as it should be.
        DataInconsistency = -3,
        /// Client side: the connection broke; a write may have happened.
        ConnectionLoss = -4,
        /// The request's bytes are not its record.
        MarshallingError = -5,
        /// No such operation.
        Unimplemented = -6,
        /// Client side: no answer in time.
        OperationTimeout = -7,
        /// An argument is wrong: a path, a mode, a configuration.
        BadArguments = -8,
        /// No such session.
        UnknownSession = -12,
        /// No quorum of the new configuration is in step.
        NewConfigNoQuorum = -13,
        /// Another reconfiguration is under way.
        ReconfigInProgress = -14,
        /// Errors above this one are the service's, below it the request's.
        ApiError = -100,
        /// No such znode.
        NoNode = -101,
        /// The ACL does not allow it.
        NoAuth = -102,
        /// The version is another.
        BadVersion = -103,
        /// An ephemeral znode has no children.
        NoChildrenForEphemerals = -108,
        /// The znode is there.
        NodeExists = -110,
        /// The znode has children.
        NotEmpty = -111,
        /// The session has ended.
        SessionExpired = -112,
        /// Client side: the callback is not one.
        InvalidCallback = -113,
        /// The ACL is not one.
        InvalidAcl = -114,
        /// The credentials are wrong.
        AuthFailed = -115,
        /// The session has moved to another server. Never sent: the connection is closed.
        SessionMoved = -118,
        /// This server only reads.
        NotReadOnly = -119,
        /// A local session has no ephemerals.
        EphemeralOnLocalSession = -120,
        /// No such watch.
        NoWatcher = -121,
        /// Client side: the request waited too long.
        RequestTimeout = -122,
        /// `reconfigEnabled` is off.
        ReconfigDisabled = -123,
        /// The service wants credentials first.
        SessionClosedRequireSaslAuth = -124,
        /// A quota is used up.
        QuotaExceeded = -125,
        /// The service has too much to do.
        ThrottledOp = -127,
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for ErrorCode {}
