//! The admin server: `/commands/<name>` over HTTP, answered in JSON. ZooKeeper's `JettyAdminServer`.
//!
//! `snapshot` and `restore` move whole trees, and run once in a while only. They want an `Authorization` header that
//! may do everything to the root, and so does `handover`, which has another server lead.

mod commands;
mod json;
#[cfg(test)]
mod tests;
mod transfer;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, Query as Parameters, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;

use commands::{COMMANDS, Command, Run};
use json::{Json, Object};
use transfer::RateLimit;

use super::four_letter::NOT_SERVING;
use super::{NotHandedOver, Refusal, ServerView};
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
    let wanted = command.run.method();
    if *call.method != wanted && !(wanted == Method::GET && *call.method == Method::HEAD) {
        let what = format!("{} is not how this command is asked for, but {wanted}", call.method);
        return refusal(StatusCode::METHOD_NOT_ALLOWED, &name, &what);
    }
    match command.run {
        Run::Answer(answer) => complete(StatusCode::OK, command, answer(&*shared.view, &query)),
        privileged => {
            if let Err(refused) = authorize(&shared, command, &name, &call) {
                return *refused;
            }
            match privileged {
                Run::Restore => transfer::restore(shared, command, body).await,
                Run::HandOver => hand_over(shared, command).await,
                // Only these letters, in any case, are true to Java.
                _ => {
                    let streaming =
                        query.get("streaming").is_none_or(|text| text.eq_ignore_ascii_case("true"));
                    transfer::snapshot(shared, command, streaming).await
                }
            }
        }
    }
}

/// Whether whoever asks may do everything to the root; else the answer.
fn authorize(shared: &Shared, command: &Command, name: &str, call: &Call<'_>) -> Result<(), Box<Response>> {
    let refuse = |status, error| Err(Box::new(refusal(status, name, error)));
    let Some(authorization) = call.headers.get(header::AUTHORIZATION) else {
        return refuse(StatusCode::UNAUTHORIZED, "Auth info is missing for the command");
    };
    let mut words = authorization.to_str().unwrap_or_default().split(' ');
    let (scheme, auth) = (words.next().unwrap_or_default(), words.next().map(str::as_bytes));
    if words.next().is_some() {
        return refuse(StatusCode::UNAUTHORIZED, "Not authenticated");
    }
    let refused = match shared.view.authorize(call.address, scheme, auth) {
        Ok(()) => None,
        Err(Refusal::NotAuthenticated) => Some((StatusCode::UNAUTHORIZED, "Not authenticated")),
        Err(Refusal::NotAuthorized) => Some((StatusCode::FORBIDDEN, "Not authorized")),
    };
    if let Some((status, error)) = refused {
        tracing::warn!(peer = %call.address, command = command.names[0], scheme, error, "refused a command over http");
        return refuse(status, error);
    }
    tracing::info!(peer = %call.address, command = command.names[0], "command over http");
    Ok(())
}

/// Has another server lead. A conflict where this one does not; unavailable where nobody else could.
async fn hand_over(shared: Arc<Shared>, command: &Command) -> Response {
    let view = Arc::clone(&shared.view);
    let handed_over = tokio::task::spawn_blocking(move || view.hand_over()).await;
    let (status, error) = match handed_over {
        Ok(Ok(leader)) => {
            return complete(StatusCode::OK, command, Object::default().with("leader_id", leader.0));
        }
        Ok(Err(why @ NotHandedOver::NotLeading)) => (StatusCode::CONFLICT, why.to_string()),
        Ok(Err(why @ NotHandedOver::NoSuccessor)) => (StatusCode::SERVICE_UNAVAILABLE, why.to_string()),
        Err(broken) => (StatusCode::INTERNAL_SERVER_ERROR, broken.to_string()),
    };
    refusal(status, command.names[0], &error)
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
