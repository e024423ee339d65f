//! What can go wrong between us and the service.

use client::SessionId;
use kafka_protocol::error::ResponseError;

use super::payload::Malformed;
use crate::topic_partition::BrokerId;

/// Why the registry could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The service refused, or could not be asked.
    #[error("the service: {0}")]
    Service(#[from] client::Error),
    /// A znode holds something else than its path promises.
    #[error("{path}: {cause}")]
    Malformed {
        /// Which.
        path: String,
        /// What is wrong with it.
        #[source]
        cause: Malformed,
    },
    /// A broker of the same number is alive.
    #[error(
        "broker {id} is registered already, by session {owner}: either another broker has the same broker.id, \
         or one that has just ended was not yet forgotten; then it helps to wait for its session to expire"
    )]
    DuplicateBroker {
        /// The number that both have.
        id: BrokerId,
        /// The other's session.
        owner: SessionId,
    },
    /// All numbers below 2^63 have been given away.
    #[error("there are no producer ids left")]
    NoProducerIds,
    /// The registry was closed.
    #[error("the registry is closed")]
    Closed,
}

/// Why a leader's change of its partition's ISR has not come about.
#[derive(Debug, thiserror::Error)]
pub enum IsrError {
    /// The state has changed meanwhile, or is gone: it shows, or soon will, in the image. Nothing was written.
    #[error("the partition's state has changed")]
    Stale,
    /// It could not be asked for, and was not written.
    #[error("the service: {0}")]
    Service(client::Error),
}

/// Why something that a client asked for is not done, as it is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[doc(alias = "ApiError")]
pub struct Refusal {
    /// The error's code.
    pub code: ResponseError,
    /// For people.
    pub message: String,
}

impl Refusal {
    /// For reason `code`.
    pub fn new(code: ResponseError, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(crate) fn not_controller() -> Self {
        Self::new(ResponseError::NotController, "This is not the correct controller for this cluster.")
    }
}

impl From<client::Error> for Refusal {
    /// Clients try again later: the service is out of reach, or the session had just expired.
    fn from(error: client::Error) -> Self {
        Self::new(ResponseError::RequestTimedOut, format!("the coordination service: {error}"))
    }
}
