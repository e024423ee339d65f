//! The admin server: `/commands/<name>` over HTTP, answered in JSON. ZooKeeper's `JettyAdminServer`.
//!
//! `snapshot` and `restore` move whole trees; they want an `Authorization` header that may do everything to the
//! root, and run once in a while only.

mod commands;
mod json;
#[cfg(test)]
mod tests;
mod transfer;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Path, Query as Parameters, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;

use commands::{COMMANDS, Command, Run};
use json::{Json, Object};
use transfer::RateLimit;

use super::four_letter::NOT_SERVING;
use super::{Refusal, ServerView};
use crate::metrics::Metrics;

/// What all requests share.
struct Shared {
    view: Arc<dyn ServerView>,
    snapshots: RateLimit,
    restores: RateLimit,
    metrics: Arc<Metrics>,
}

/// A request to run a command, but for its body.
struct Call<'a> {
    method: &'a Method,
    headers: &'a HeaderMap,
    address: IpAddr,
}

/// The routes: `/commands` and what is below it.
#[doc(alias = "JettyAdminServer")]
#[doc(alias = "AdminServer")]
pub(super) fn router(view: Arc<dyn ServerView>) -> Router {
    let admin = &view.config().admin;
    let url = admin.command_url.clone();
    let interval = admin.rate_limit_interval;
    let shared = Shared {
        // Java takes these milliseconds for microseconds here, and scripts that take snapshots rely on it.
        snapshots: RateLimit::new(interval / 1000),
        restores: RateLimit::new(interval),
        metrics: view.registry().thread(),
        view,
    };
    let index =
        |State(shared): State<Arc<Shared>>| async move { links(&shared.view.config().admin.command_url) };
    Router::new()
        .route(&url, any(index))
        .route(&format!("{url}/"), any(index))
        .route(&format!("{url}/{{*name}}"), any(run))
        .with_state(Arc::new(shared))
}

/// Links to all commands.
fn links(url: &str) -> String {
    let mut names: Vec<_> = COMMANDS.iter().map(|command| command.names[0]).collect();
    names.sort_unstable();
    names.into_iter().map(|name| format!("<a href=\"{url}/{name}\">{name}</a>\n<br/>\n")).collect()
}

async fn run(
    State(shared): State<Arc<Shared>>,
    Extension(address): Extension<SocketAddr>,
    Path(name): Path<String>,
    Parameters(query): Parameters<BTreeMap<String, String>>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let call = Call { method: &parts.method, headers: &parts.headers, address: address.ip() };
    let Some(command) = Command::find(&name) else {
        return refusal(StatusCode::OK, &name, &format!("Unknown command: {name}"));
    };
    if command.needs_serving && !shared.view.is_serving() {
        return refusal(StatusCode::OK, &name, NOT_SERVING);
    }
    let wanted = if matches!(command.run, Run::Restore) { Method::POST } else { Method::GET };
    if *call.method != wanted && !(wanted == Method::GET && *call.method == Method::HEAD) {
        let what = format!("{} is not how this command is asked for, but {wanted}", call.method);
        return refusal(StatusCode::METHOD_NOT_ALLOWED, &name, &what);
    }
    match command.run {
        Run::Answer(answer) => complete(StatusCode::OK, command, answer(&*shared.view, &query)),
        Run::Snapshot | Run::Restore => transfer_tree(shared, command, &name, &query, &call, body).await,
    }
}

async fn transfer_tree(
    shared: Arc<Shared>,
    command: &'static Command,
    name: &str,
    query: &BTreeMap<String, String>,
    call: &Call<'_>,
    body: Body,
) -> Response {
    let Some(authorization) = call.headers.get(header::AUTHORIZATION) else {
        return refusal(StatusCode::UNAUTHORIZED, name, "Auth info is missing for the command");
    };
    let mut words = authorization.to_str().unwrap_or_default().split(' ');
    let (scheme, auth) = (words.next().unwrap_or_default(), words.next().map(str::as_bytes));
    if words.next().is_some() {
        return refusal(StatusCode::UNAUTHORIZED, name, "Not authenticated");
    }
    let refused = match shared.view.authorize(call.address, scheme, auth) {
        Ok(()) => None,
        Err(Refusal::NotAuthenticated) => Some((StatusCode::UNAUTHORIZED, "Not authenticated")),
        Err(Refusal::NotAuthorized) => Some((StatusCode::FORBIDDEN, "Not authorized")),
    };
    if let Some((status, error)) = refused {
        tracing::warn!(peer = %call.address, command = command.names[0], scheme, error, "refused a command over http");
        return refusal(status, name, error);
    }
    tracing::info!(peer = %call.address, command = command.names[0], "command over http");
    if let Run::Restore = command.run {
        transfer::restore(shared, command, body).await
    } else {
        // Only these letters, in any case, are true to Java.
        let streaming = query.get("streaming").is_none_or(|text| text.eq_ignore_ascii_case("true"));
        transfer::snapshot(shared, command, streaming).await
    }
}

/// A command's fields, then its name, and an error unless there is one among the fields.
fn complete(status: StatusCode, command: &Command, fields: Object) -> Response {
    answer(status, command.names[0], fields, Json::Null)
}

fn refusal(status: StatusCode, name: &str, error: &str) -> Response {
    answer(status, name, Object::default(), error.into())
}

fn answer(status: StatusCode, name: &str, mut fields: Object, error: Json) -> Response {
    fields.put("command", name);
    if !fields.has("error") {
        fields.put("error", error);
    }
    (status, [(header::CONTENT_TYPE, "application/json")], Json::Object(fields).print()).into_response()
}
