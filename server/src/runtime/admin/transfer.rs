//! Whole trees over HTTP: `snapshot` and `restore`. The disk is waited for on threads of its own.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::{Buf, Bytes};
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::commands::Command;
use super::json::Object;
use super::{Shared, complete};
use crate::runtime::{Clock, Snapshot};

/// Lets one through in an interval.
pub(super) struct RateLimit {
    interval: Duration,
    last: Mutex<Option<Instant>>,
}

impl RateLimit {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, last: Mutex::new(None) }
    }

    fn allows(&self) -> bool {
        #[allow(clippy::disallowed_methods)] // The rim: it is about people who ask too often.
        let now = Instant::now();
        let mut last = self.last.lock();
        let free = last.is_none_or(|last| now.duration_since(last) > self.interval);
        if free {
            *last = Some(now);
        }
        free
    }
}

/// Bytes that are read from the disk at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// Chunks between the disk and the network: what waits is bounded by their product.
const CHUNKS_MAX: usize = 8;

/// Takes a snapshot; sends it along unless `streaming` is off.
pub(super) async fn snapshot(shared: Arc<Shared>, command: &Command, streaming: bool) -> Response {
    let config = shared.view.config();
    let fail = |status| complete(status, command, Object::default());
    if !config.admin.snapshot {
        return fail(StatusCode::SERVICE_UNAVAILABLE);
    }
    if !config.storage.write_last_processed_zxid {
        return fail(StatusCode::INTERNAL_SERVER_ERROR);
    }
    if !shared.snapshots.allows() {
        shared.metrics.snapshot_rate_limited_count.add(1);
        return fail(StatusCode::TOO_MANY_REQUESTS);
    }
    let view = Arc::clone(&shared.view);
    match tokio::task::spawn_blocking(move || view.snapshot()).await.map_err(io::Error::other).flatten() {
        Ok(snapshot) => send(snapshot, command, streaming),
        Err(error) => {
            tracing::warn!(%error, "snapshot over http failed");
            shared.metrics.snapshot_error_count.add(1);
            fail(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

fn send(snapshot: Snapshot, command: &Command, streaming: bool) -> Response {
    let zxid = format!("0x{:x}", snapshot.zxid.0);
    let size = snapshot.bytes;
    let mut response = if streaming {
        let mut response = Response::new(stream_of(snapshot.content));
        let octets = HeaderValue::from_static("application/octet-stream");
        response.headers_mut().insert(header::CONTENT_TYPE, octets);
        response
    } else {
        complete(StatusCode::OK, command, Object::default())
    };
    if let Ok(zxid) = HeaderValue::from_str(&zxid) {
        response.headers_mut().insert(HeaderName::from_static("last_zxid"), zxid);
    }
    response.headers_mut().insert(HeaderName::from_static("snapshot_size"), size.into());
    response
}

fn stream_of(mut content: Box<dyn Read + Send>) -> Body {
    let (chunks, mut received) = mpsc::channel::<io::Result<Bytes>>(CHUNKS_MAX);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            let read = content.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut chunk);
            let last = !matches!(read, Ok(n) if n > 0);
            if matches!(read, Ok(0)) || chunks.blocking_send(read.map(|_| chunk.into())).is_err() || last {
                return;
            }
        }
    });
    Body::from_stream(stream::poll_fn(move |context| received.poll_recv(context)))
}

/// Replaces the tree by the snapshot that `body` is.
pub(super) async fn restore(shared: Arc<Shared>, command: &Command, body: Body) -> Response {
    let config = shared.view.config();
    let fail = |status| complete(status, command, Object::default());
    if !config.admin.restore {
        return fail(StatusCode::SERVICE_UNAVAILABLE);
    }
    if !config.storage.write_last_processed_zxid {
        return fail(StatusCode::INTERNAL_SERVER_ERROR);
    }
    if !shared.restores.allows() {
        shared.metrics.restore_rate_limited_count.add(1);
        return fail(StatusCode::TOO_MANY_REQUESTS);
    }
    let (chunks, received) = mpsc::channel(CHUNKS_MAX);
    let view = Arc::clone(&shared.view);
    let clock = Clock::start();
    let restoring = tokio::task::spawn_blocking(move || {
        view.restore(&mut Received { chunks: received, rest: Bytes::new() })
    });
    let mut body = body.into_data_stream();
    while let Some(chunk) = body.next().await {
        if chunks.send(chunk.map_err(io::Error::other)).await.is_err() {
            break; // It has seen enough.
        }
    }
    drop(chunks);
    let outcome = restoring.await.map_err(io::Error::other).flatten();
    shared.metrics.restore_time.record(u64::try_from(clock.monotonic().as_millis()).unwrap_or(u64::MAX));
    match outcome {
        Ok(zxid) => complete(StatusCode::OK, command, Object::default().with("last_zxid", zxid.0)),
        Err(error) => {
            tracing::warn!(%error, "restore over http failed");
            shared.metrics.restore_error_count.add(1);
            fail(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// What comes over the network, as a thread that waits for it reads it.
struct Received {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

impl Read for Received {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.chunks.blocking_recv() {
                Some(chunk) => self.rest = chunk?,
                None => return Ok(0),
            }
        }
        let n = self.rest.len().min(buffer.len());
        self.rest.split_to(n).copy_to_slice(&mut buffer[..n]);
        Ok(n)
    }
}
