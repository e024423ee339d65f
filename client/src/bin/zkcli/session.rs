//! The connection that commands use.

use client::{Client, Error, SessionState};

use crate::failure::Failure;
use crate::notices::Notices;
use crate::options::Options;

/// A session with a service.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) notices: Notices,
    /// As the user named it.
    pub(crate) server: String,
}

impl Session {
    /// Begins a session; the connection is made meanwhile, unless the options say to wait for it.
    pub(crate) async fn open(server: &str, options: &Options, notices: &Notices) -> Result<Self, Failure> {
        let mut settings = Client::builder();
        if let Some(bytes) = options.reply_bytes_max {
            settings = settings.reply_bytes_max(bytes);
        }
        let client = settings
            .session_timeout(options.timeout)
            .read_only(options.read_only)
            .outlast_outages(true)
            .fail_unreachable(true)
            .request_timeout(options.request_timeout.unwrap_or(options.timeout))
            .connect_lazily(server)
            .map_err(|error| Failure::new(error.to_string()))?;
        notices.follow_session(&client);
        if options.wait_for_connection {
            let late = Error::ConnectTimeout { after: options.timeout };
            let connected = tokio::time::timeout(options.timeout, client.connected()).await;
            connected.unwrap_or(Err(late)).map_err(|error| Failure::without_path(&error))?;
        }
        Ok(Self { client, notices: notices.clone(), server: server.to_owned() })
    }

    /// Requests can be made of it, now or when there is a connection.
    pub(crate) fn is_alive(&self) -> bool {
        !self.client.state().is_terminal()
    }

    /// Its state, as the prompt shows it. `ZooKeeper.States`.
    pub(crate) fn state_name(&self) -> &'static str {
        match self.client.state() {
            SessionState::Connecting | SessionState::Disconnected => "CONNECTING",
            SessionState::Connected => "CONNECTED",
            SessionState::ConnectedReadOnly => "CONNECTEDREADONLY",
            SessionState::AuthFailed => "AUTH_FAILED",
            SessionState::Closed | SessionState::Expired => "CLOSED",
        }
    }
}
