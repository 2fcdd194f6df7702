//! The HTTP JSON API of a node, and its OpenAPI description at `/openapi.json`.
//!
//! Always true: every call but `/healthz` and `/openapi.json` has a known bearer token with a role
//! from one table ([`auth::ROUTES`]), checked before the body is read; every body, wait and number
//! of connections is bounded; every refusal is `{code, message}` and changes nothing.
//!
//! Not here: TLS (listen on loopback, or behind a proxy that has it) and any decision: each route
//! makes one engine call.

pub mod auth;
mod body;
pub mod client;
mod cluster;
mod error;
mod execution;
mod listener;
mod metrics;
mod people;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use dvm_core::limits;
use dvm_core::reason::ReasonCode;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

pub use error::{ApiError, status_of};
pub use execution::CAR;

use crate::engine::{ApiCall, ApiReply};
use crate::tokens::TokenBook;
use client::EngineClient;

/// Longest wait that a caller may ask for.
pub const WAIT_MS_MAX: u64 = 60_000;
/// Longest time of one request, its body included: above the longest wait.
pub const REQUEST_TIME: Duration = Duration::from_secs(75);
/// Bytes of a submission: the largest content in base64, and the fields around it.
pub const SUBMIT_BYTES_MAX: usize = limits::CONTENT_BYTES_MAX / 3 * 4 + (64 << 10);
/// Bytes of any other body: the largest artifact in base64, and the field around it.
pub const BODY_BYTES_MAX: usize = limits::ARTIFACT_BYTES_MAX / 3 * 4 + (4 << 10);
/// How long requests under way may go on once the node is asked to stop.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// What every handler has.
#[derive(Clone)]
pub struct Api {
    engine: EngineClient,
    tokens: Arc<TokenBook>,
}

impl Api {
    async fn json(&self, call: ApiCall) -> Result<Value, ApiError> {
        match self.engine.call(call).await {
            ApiReply::Json(value) => Ok(value),
            ApiReply::Error { code, message } => Err(ApiError::new(code, message)),
            ApiReply::Car(_) => Err(ApiError::new(ReasonCode::Internal, "not JSON")),
        }
    }
}

#[derive(OpenApi)]
#[openapi(
    info(title = "DVM-MPC node", description = "Threshold keys under policy, with evidence."),
    paths(
        execution::submit, execution::list, execution::show, execution::trace, execution::evidence,
        execution::release, people::approve, people::deny, people::decide, cluster::keys,
        cluster::key, cluster::log, cluster::context, cluster::status, cluster::attestation,
        cluster::health, metrics::metrics,
    ),
    modifiers(&BearerScheme),
    security(("bearer" = []))
)]
struct Description;

struct BearerScheme;

impl Modify for BearerScheme {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
}

/// The OpenAPI document.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

fn router(api: Api) -> Router {
    let guarded = Router::new()
        .route("/v1/executions", post(execution::submit).get(execution::list))
        .layer(DefaultBodyLimit::max(SUBMIT_BYTES_MAX))
        .merge(small_routes().layer(DefaultBodyLimit::max(BODY_BYTES_MAX)))
        .route_layer(middleware::from_fn_with_state(api.clone(), auth::gate))
        .with_state(api);
    Router::new()
        .route("/healthz", get(cluster::health))
        .route("/openapi.json", get(|| async { Json(openapi()) }))
        .merge(guarded)
        .fallback(|| async { ApiError::new(ReasonCode::NotFound, "no such route") })
        .method_not_allowed_fallback(|| async {
            ApiError::new(ReasonCode::NotFound, "no such method on this route")
        })
        .layer(middleware::from_fn(within_time))
}

fn small_routes() -> Router<Api> {
    Router::new()
        .route("/v1/executions/{id}", get(execution::show))
        .route("/v1/executions/{id}/trace", get(execution::trace))
        .route("/v1/executions/{id}/evidence", get(execution::evidence))
        .route("/v1/executions/{id}/release", post(execution::release))
        .route("/v1/approvals", post(people::approve))
        .route("/v1/denials", post(people::deny))
        .route("/v1/keys", get(cluster::keys))
        .route("/v1/keys/{id}", get(cluster::key))
        .route("/v1/governance/log", get(cluster::log))
        .route("/v1/governance/context", get(cluster::context))
        .route("/v1/governance/decisions", post(people::decide))
        .route("/v1/status", get(cluster::status))
        .route("/v1/kernel/attestation", get(cluster::attestation))
        .route("/metrics", get(metrics::metrics))
}

async fn within_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIME, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let message = "the request took too long; ask for the execution again";
            ApiError::new(ReasonCode::RemoteTimeout, message).into_response()
        }
    }
}

/// Serves until `shutdown` completes; requests under way get two seconds more.
///
/// # Errors
/// The system's, if the socket fails.
pub async fn serve(
    listener: TcpListener,
    engine: EngineClient,
    tokens: TokenBook,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let (stop, stopping) = watch::channel(false);
    tokio::spawn(async move {
        shutdown.await;
        stop.send_replace(true);
    });
    let api = Api { engine, tokens: Arc::new(tokens) };
    let bounded = listener::Bounded::new(listener, listener::CONNECTIONS_MAX, listener::IDLE_TIME);
    let serving =
        axum::serve(bounded, router(api)).with_graceful_shutdown(stopped(stopping.clone()));
    tokio::select! {
        served = async { serving.await } => served,
        () = async { stopped(stopping).await; tokio::time::sleep(DRAIN_TIME).await } => Ok(()),
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that the task above is gone, and with it the runtime.
    let _ = stop.wait_for(|stop| *stop).await;
}
