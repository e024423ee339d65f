//! HTTP, on a thread of its own: the admin server and Prometheus' page. Nothing that clients wait for runs here.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::sync::{Semaphore, watch};

use super::{ServerView, admin};
use crate::config::{HostPort, MetricsProvider};
use crate::metrics::Prometheus;

/// The running thread. Dropping it stops it.
#[derive(Debug)]
pub struct Http {
    /// Where the admin server listens, if it runs.
    pub admin: Option<SocketAddr>,
    /// Where Prometheus scrapes, if it does.
    pub metrics: Option<SocketAddr>,
    stop: Option<watch::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Connections at once, on each port; more wait to be accepted.
const CONNECTIONS_MAX: usize = 100;

/// A port and what is behind it.
struct Site {
    listener: TcpListener,
    router: Router,
    /// A connection that asks for nothing is closed.
    idle: Duration,
}

impl Http {
    /// Binds what the configuration asks for, and serves it.
    ///
    /// # Errors
    /// A port cannot be bound; the error names it.
    pub fn start(view: &Arc<dyn ServerView>) -> io::Result<Self> {
        let config = view.config();
        let mut sites = Vec::new();
        let mut http = Self { admin: None, metrics: None, stop: None, thread: None };
        if config.admin.enabled {
            let listener = bind(&config.admin.address, "admin.serverPort")?;
            http.admin = Some(listener.local_addr()?);
            let router = admin::router(Arc::clone(view));
            sites.push(Site { listener, router, idle: config.admin.idle_timeout });
        }
        if let MetricsProvider::Prometheus { address, shows_process } = &config.metrics {
            let listener = bind(address, "metricsProvider.httpPort")?;
            http.metrics = Some(listener.local_addr()?);
            let router = metrics_router(Arc::clone(view), *shows_process);
            sites.push(Site { listener, router, idle: config.admin.idle_timeout });
        }
        if sites.is_empty() {
            return Ok(http);
        }
        let (stop, stopped) = watch::channel(());
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("http".to_owned());
        http.thread = Some(thread.spawn(move || tokio.block_on(serve_all(sites, stopped)))?);
        http.stop = Some(stop);
        Ok(http)
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported, and must not become a second one here.
            let _ = thread.join();
        }
    }
}

fn bind(address: &HostPort, key: &str) -> io::Result<TcpListener> {
    let bound = address.resolve().and_then(TcpListener::bind).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    let host = address.host.as_deref().unwrap_or("*");
    bound.map_err(|error| io::Error::new(error.kind(), format!("{key} {host}:{}: {error}", address.port)))
}

fn metrics_router(view: Arc<dyn ServerView>, shows_process: bool) -> Router {
    let prometheus = Arc::new(Prometheus::new(shows_process));
    let page = move || {
        let page = prometheus.render(view.registry(), &view.gauges());
        async { ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page).into_response() }
    };
    Router::new().route("/metrics", get(page))
}

async fn serve_all(sites: Vec<Site>, mut stopped: watch::Receiver<()>) {
    for site in sites {
        tokio::spawn(serve(site));
    }
    // The sender says nothing; that it is gone is the word.
    while stopped.changed().await.is_ok() {}
}

async fn serve(site: Site) {
    let listener = match tokio::net::TcpListener::from_std(site.listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "http does not run");
            return;
        }
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (router, idle) = (site.router.clone(), site.idle);
                tokio::spawn(async move {
                    serve_connection(stream, peer, router, idle).await;
                    drop(place);
                });
            }
            // Out of descriptors, most likely: others will close theirs.
            Err(error) => {
                tracing::debug!(%error, "http connection not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve_connection(stream: tokio::net::TcpStream, peer: SocketAddr, router: Router, idle: Duration) {
    let router = router.layer(Extension(peer));
    let mut http = Builder::new(TokioExecutor::new()).http1_only();
    http.http1().timer(TokioTimer::new()).header_read_timeout(idle);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = connection.await {
        tracing::debug!(%error, %peer, "http connection broke");
    }
}
