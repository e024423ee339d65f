//! One client's connection.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};
use tracing::debug;

use super::file_sending::send;
use crate::wire::Reply;

/// Answers that wait for their turn; more requests are not read until there is room. Kafka's clients keep five.
const IN_FLIGHT_MAX: usize = 32;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// Where it connected from.
    pub address: SocketAddr,
    /// Which of our listeners it came to: an index into the configured ones.
    pub listener: usize,
}

/// An answer that is still being found. Dropped when the client goes.
pub type Pending = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// What becomes of a request.
pub enum Answer {
    /// This is sent.
    Reply(Reply),
    /// Requests behind this one may start while its answer is found.
    Later(Pending),
    /// Nothing is sent: a produce request that asked for no acknowledgement.
    Nothing,
    /// The connection ends; the client learns no other way.
    Close,
}

/// Who answers the requests of a listener.
pub trait Answering: Send + Sync + 'static {
    /// Answers the request in `frame`.
    fn answer(&self, client: Client, frame: Bytes) -> impl Future<Output = Answer> + Send;
}

/// Serves `stream` until either end closes it, or nothing has come for `idle_max`.
pub(super) async fn serve(
    stream: TcpStream,
    client: Client,
    limits: &super::Limits,
    answering: &impl Answering,
) {
    let (read, write) = stream.into_split();
    let (answers, turn) = mpsc::channel(IN_FLIGHT_MAX);
    let frames = frames(read, limits.request_bytes_max);
    // Whoever ends first ends the other: a reader that is gone leaves no one to answer, but what it has been promised is still sent.
    let reading = read_all(frames, client, limits.idle_max, answering, answers);
    let writing = write_all(write, turn);
    tokio::pin!(reading, writing);
    tokio::select! {
        end = &mut reading => {
            debug!(client = %client.address, reason = end.unwrap_or("closed by the client"), "no more requests");
            writing.await;
        }
        () = &mut writing => {}
    }
}

fn frames(read: OwnedReadHalf, bytes_max: usize) -> FramedRead<OwnedReadHalf, LengthDelimitedCodec> {
    LengthDelimitedCodec::builder().length_field_type::<u32>().max_frame_length(bytes_max).new_read(read)
}

/// Starts each request in turn; gives why there are no more, if it was not the client who ended it.
async fn read_all(
    mut frames: FramedRead<OwnedReadHalf, LengthDelimitedCodec>,
    client: Client,
    idle_max: Duration,
    answering: &impl Answering,
    answers: mpsc::Sender<Answer>,
) -> Option<&'static str> {
    loop {
        let frame = match tokio::time::timeout(idle_max, frames.next()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => {
                debug!(client = %client.address, %error, "frame refused");
                return Some("a frame that is too long, or torn");
            }
            Ok(None) => return None,
            Err(_) => return Some("idle for too long"),
        };
        let answer = answering.answer(client, frame.freeze()).await;
        let ends = matches!(answer, Answer::Close);
        if ends || answers.send(answer).await.is_err() {
            return Some("closed by us");
        }
    }
}

/// Sends each answer when it is there, in the order of the requests.
async fn write_all(write: OwnedWriteHalf, mut turn: mpsc::Receiver<Answer>) {
    while let Some(mut answer) = turn.recv().await {
        let reply = loop {
            match answer {
                Answer::Reply(reply) => break reply,
                Answer::Later(pending) => answer = pending.await,
                Answer::Nothing => break Reply { parts: Vec::new() },
                Answer::Close => return,
            }
        };
        if let Err(error) = send(&write, reply).await {
            debug!(%error, "reply not sent");
            return;
        }
    }
}
