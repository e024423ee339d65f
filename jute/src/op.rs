//! The operations: which code asks with which record and is answered by which. `ZooDefs.OpCode`.

/// What an operation does to the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OpKind {
    /// Answered by the server the client is connected to, from its own tree.
    Read,
    /// Becomes a txn, which every replica applies in the same order.
    Write,
    /// Concerns the connection or the session only.
    Session,
    /// Never comes from a client: a part of a multi, or the type of a txn.
    Internal,
}

macro_rules! ops {
    ($( $(#[$meta:meta])* $code:literal => $op:ident ($($asks:ident)?) -> $($answer:ident)?, $kind:ident; )*) => {
        /// An operation.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(i32)]
        pub enum Op {
            $(
                $(#[$meta])*
                ///
                $(#[doc = concat!("Asks with [`", stringify!($asks), "`](crate::proto::", stringify!($asks), ").")])?
                $(#[doc = concat!("Answered by [`", stringify!($answer), "`](crate::proto::", stringify!($answer), ").")])?
                $op = $code,
            )*
        }

        impl Op {
            /// Every operation.
            pub const ALL: &'static [Self] = &[$(Self::$op),*];

            /// The operation with this code, if any has it.
            #[must_use]
            pub const fn from_code(code: i32) -> Option<Self> {
                match code {
                    $( $code => Some(Self::$op), )*
                    _ => None,
                }
            }

            /// What it does to the service.
            #[must_use]
            pub const fn kind(self) -> OpKind {
                match self {
                    $( Self::$op => OpKind::$kind, )*
                }
            }
        }
    };
}

// code   op                    asks with                        answered by                    kind
ops! {
    /// A new znode.
    1   => Create               (CreateRequest)               -> CreateResponse,               Write;
    /// The end of a znode.
    2   => Delete               (DeleteRequest)               -> ,                             Write;
    /// Is it there? Sets a watch whether or not it is.
    3   => Exists               (ExistsRequest)               -> ExistsResponse,               Read;
    /// Data and stat.
    4   => GetData              (GetDataRequest)              -> GetDataResponse,              Read;
    /// New data.
    5   => SetData              (SetDataRequest)              -> SetDataResponse,              Write;
    /// The ACL.
    6   => GetAcl               (GetAclRequest)               -> GetAclResponse,               Read;
    /// A new ACL.
    7   => SetAcl               (SetAclRequest)               -> SetAclResponse,               Write;
    /// Names of the children.
    8   => GetChildren          (GetChildrenRequest)          -> GetChildrenResponse,          Read;
    /// Lets this server catch up with the leader.
    9   => Sync                 (SyncRequest)                 -> SyncResponse,                 Write;
    /// The client is alive.
    11  => Ping                 ()                            -> ,                             Session;
    /// Names of the children and the stat.
    12  => GetChildren2         (GetChildren2Request)         -> GetChildren2Response,         Read;
    /// A version must match: only inside a multi.
    13  => Check                (CheckVersionRequest)         -> ,                             Internal;
    /// Several writes at once, or none. See [`crate::multi`].
    14  => Multi                ()                            -> ,                             Write;
    /// A new znode, answered with its stat.
    15  => Create2              (CreateRequest)               -> Create2Response,              Write;
    /// Another set of servers.
    16  => Reconfig             (ReconfigRequest)             -> GetDataResponse,              Write;
    /// Does this watch exist?
    17  => CheckWatches         (CheckWatchesRequest)         -> ,                             Read;
    /// Drops watches.
    18  => RemoveWatches        (RemoveWatchesRequest)        -> ,                             Read;
    /// A new container.
    19  => CreateContainer      (CreateRequest)               -> Create2Response,              Write;
    /// The service removes an empty container or a TTL znode whose time is over.
    20  => DeleteContainer      (DeleteContainerRequest)      -> ,                             Write;
    /// A new TTL znode.
    21  => CreateTtl            (CreateTtlRequest)            -> Create2Response,              Write;
    /// Several reads in one. See [`crate::multi`].
    22  => MultiRead            ()                            -> ,                             Read;
    /// Credentials.
    100 => Auth                 (AuthPacket)                  -> ,                             Session;
    /// One-shot watches brought along from another connection.
    101 => SetWatches           (SetWatches)                  -> ,                             Read;
    /// One step of a SASL exchange.
    102 => Sasl                 (GetSaslRequest)              -> SetSaslResponse,              Session;
    /// The session's own ephemerals.
    103 => GetEphemerals        (GetEphemeralsRequest)        -> GetEphemeralsResponse,        Read;
    /// How many znodes are below one.
    104 => GetAllChildrenNumber (GetAllChildrenNumberRequest) -> GetAllChildrenNumberResponse, Read;
    /// Watches of all kinds brought along from another connection.
    105 => SetWatches2          (SetWatches2)                 -> ,                             Read;
    /// A watch that stays.
    106 => AddWatch             (AddWatchRequest)             -> ErrorResponse,                Read;
    /// The connection's identities.
    107 => WhoAmI               ()                            -> WhoAmIResponse,               Read;
    /// A new session; the handshake asks for it.
    -10 => CreateSession        ()                            -> ,                             Internal;
    /// The end of a session.
    -11 => CloseSession         ()                            -> ,                             Write;
    /// A refused write, in logs and inside multis.
    -1  => Error                ()                            -> ,                             Internal;
}

impl Op {
    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> i32 {
        self as i32
    }
}

macro_rules! codes {
    ($( $(#[$meta:meta])* $name:ident { $( $(#[$variant_meta:meta])* $variant:ident = $code:literal, )* } )*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i32)]
        pub enum $name {
            $( $(#[$variant_meta])* $variant = $code, )*
        }

        impl $name {
            /// The value with this code, if any has it.
            #[must_use]
            pub const fn from_code(code: i32) -> Option<Self> {
                match code {
                    $( $code => Some(Self::$variant), )*
                    _ => None,
                }
            }

            /// The code on the wire.
            #[must_use]
            pub const fn code(self) -> i32 {
                self as i32
            }
        }
    )*};
}
pub(crate) use codes;

codes! {
    /// What kind of znode to create.
    CreateMode {
        /// Stays until deleted.
        Persistent = 0,
        /// Goes with its session.
        Ephemeral = 1,
        /// Stays, and its name ends in a number.
        PersistentSequential = 2,
        /// Goes with its session, and its name ends in a number.
        EphemeralSequential = 3,
        /// Goes once its last child has gone.
        Container = 4,
        /// Goes when childless and unmodified for a time.
        PersistentWithTtl = 5,
        /// The same, and its name ends in a number.
        PersistentSequentialWithTtl = 6,
    }

    /// What a notification tells. `Watcher.Event.EventType`.
    EventType {
        /// The znode came into being.
        NodeCreated = 1,
        /// The znode was deleted.
        NodeDeleted = 2,
        /// Its data was set.
        NodeDataChanged = 3,
        /// A child was created or deleted.
        NodeChildrenChanged = 4,
    }

    /// Which watches `checkWatches` and `removeWatches` mean. `Watcher.WatcherType`.
    WatcherType {
        /// One-shot, on the children.
        Children = 1,
        /// One-shot, on data and existence.
        Data = 2,
        /// All there are.
        Any = 3,
        /// Persistent ones.
        Persistent = 4,
        /// Persistent recursive ones.
        PersistentRecursive = 5,
    }

    /// How a watch that stays behaves. `AddWatchMode`.
    AddWatchMode {
        /// Data and children of one znode.
        Persistent = 0,
        /// Data of a znode and of all its descendants.
        PersistentRecursive = 1,
    }

    /// A packet between leader and learner. `Leader`'s constants.
    PacketType {
        /// A learner's client asks for a write.
        Request = 1,
        /// A txn to log.
        Proposal = 2,
        /// It is logged.
        Ack = 3,
        /// A quorum has it.
        Commit = 4,
        /// Both are alive; the answer brings the sessions heard from.
        Ping = 5,
        /// May this session move here?
        Revalidate = 6,
        /// The learner has caught up.
        Sync = 7,
        /// PROPOSAL and COMMIT in one, for observers.
        Inform = 8,
        /// COMMIT of a reconfiguration.
        CommitAndActivate = 9,
        /// The learner is in step; an epoch begins.
        NewLeader = 10,
        /// A follower's first packet.
        FollowerInfo = 11,
        /// Serve.
        UpToDate = 12,
        /// What is missing follows.
        Diff = 13,
        /// Forget what comes behind a zxid.
        Trunc = 14,
        /// The whole tree follows.
        Snap = 15,
        /// An observer's first packet.
        ObserverInfo = 16,
        /// The epoch that a leader proposes.
        LeaderInfo = 17,
        /// The learner has promised that epoch.
        AckEpoch = 18,
        /// INFORM of a reconfiguration.
        InformAndActivate = 19,
    }
}

impl CreateMode {
    /// The name ends in a number that the parent hands out.
    #[must_use]
    pub const fn is_sequential(self) -> bool {
        matches!(
            self,
            Self::PersistentSequential | Self::EphemeralSequential | Self::PersistentSequentialWithTtl
        )
    }

    /// It belongs to the session that creates it.
    #[must_use]
    pub const fn is_ephemeral(self) -> bool {
        matches!(self, Self::Ephemeral | Self::EphemeralSequential)
    }

    /// It has a time to live.
    #[must_use]
    pub const fn has_ttl(self) -> bool {
        matches!(self, Self::PersistentWithTtl | Self::PersistentSequentialWithTtl)
    }
}
