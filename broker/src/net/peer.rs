//! A connection to another broker: one request at a time.

use std::io;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use kafka_protocol::protocol::{Decodable, HeaderVersion, Request};
use tokio::net::TcpStream;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::registry::image::Endpoint;

/// A connection to another broker. Once a call has failed or was dropped on its way, it is of no more use.
#[derive(Debug)]
pub struct Peer {
    frames: Framed<TcpStream, LengthDelimitedCodec>,
    client_id: String,
    correlation_id: i32,
}

/// Why another broker gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// It is not reached, or the connection broke.
    #[error("connection")]
    Io(#[from] io::Error),
    /// It took longer than it may.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// It closed the connection.
    #[error("closed by the other broker")]
    Closed,
    /// What came is not the answer.
    #[error("broken answer: {0}")]
    Answer(String),
}

impl Peer {
    /// Connects to `endpoint`. Answers may be as long as `answer_bytes_max`; others end the connection.
    ///
    /// # Errors
    /// When it is not reached within `timeout`.
    pub async fn connect(
        endpoint: &Endpoint,
        client_id: &str,
        answer_bytes_max: usize,
        timeout: Duration,
    ) -> Result<Self, PeerError> {
        let connecting = TcpStream::connect((endpoint.host.as_str(), endpoint.port));
        let stream = within(timeout, async { Ok(connecting.await?) }).await?;
        stream.set_nodelay(true)?;
        let frames = LengthDelimitedCodec::builder()
            .length_field_type::<u32>()
            .max_frame_length(answer_bytes_max)
            .new_framed(stream);
        Ok(Self { frames, client_id: client_id.to_owned(), correlation_id: 0 })
    }

    /// Asks `request` in `version`.
    ///
    /// # Errors
    /// When no answer to it comes within `timeout`.
    pub async fn call<R: Request>(
        &mut self,
        request: &R,
        version: i16,
        timeout: Duration,
    ) -> Result<R::Response, PeerError> {
        let tagged = R::header_version(version) == 2;
        let mut frame = self.head(R::KEY, version, tagged);
        request.encode(&mut frame, version).map_err(|error| PeerError::Answer(format!("{error:#}")))?;
        let mut answer = self.exchange(frame.freeze(), timeout).await?;
        if R::Response::header_version(version) == 1 {
            let tags = answer.try_get_u8().map_err(|error| PeerError::Answer(error.to_string()))?;
            if tags != 0 {
                return Err(PeerError::Answer("tags in its head".to_owned()));
            }
        }
        R::Response::decode(&mut answer, version).map_err(|error| PeerError::Answer(format!("{error:#}")))
    }

    /// Asks what no schema has: `body` as a request of the API `key`; gives the answer's body.
    ///
    /// # Errors
    /// When no answer comes within `timeout`.
    pub async fn call_raw(
        &mut self,
        key: i16,
        version: i16,
        body: &[u8],
        timeout: Duration,
    ) -> Result<Bytes, PeerError> {
        let mut frame = self.head(key, version, false);
        frame.put_slice(body);
        self.exchange(frame.freeze(), timeout).await
    }

    fn head(&mut self, key: i16, version: i16, tagged: bool) -> BytesMut {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let mut frame = BytesMut::new();
        frame.put_i16(key);
        frame.put_i16(version);
        frame.put_i32(self.correlation_id);
        frame.put_i16(self.client_id.len() as i16);
        frame.put_slice(self.client_id.as_bytes());
        if tagged {
            frame.put_u8(0);
        }
        frame
    }

    async fn exchange(&mut self, frame: Bytes, timeout: Duration) -> Result<Bytes, PeerError> {
        let expected = self.correlation_id;
        within(timeout, async {
            self.frames.send(frame).await?;
            let mut answer = self.frames.next().await.ok_or(PeerError::Closed)??.freeze();
            match answer.try_get_i32() {
                Ok(correlation_id) if correlation_id == expected => Ok(answer),
                _ => Err(PeerError::Answer("of another request".to_owned())),
            }
        })
        .await
    }
}

async fn within<T>(
    timeout: Duration,
    work: impl Future<Output = Result<T, PeerError>>,
) -> Result<T, PeerError> {
    tokio::time::timeout(timeout, work).await.unwrap_or(Err(PeerError::Timeout(timeout)))
}
