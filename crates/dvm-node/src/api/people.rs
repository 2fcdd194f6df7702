//! Signed statements by people: approvals, denials, governance decisions.
//!
//! The body is the signed artifact's canonical bytes. The signature inside counts, not the carrier.

use axum::extract::State;
use axum::{Extension, Json};
use dvm_core::admission::{Approval, Denial};
use dvm_core::governance::SignedDecision;
use dvm_core::sign::Signed;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::Api;
use super::auth::Caller;
use super::body::{ArtifactRequest, Body};
use super::error::ApiError;
use super::execution::visible;
use crate::engine::ApiCall;
use crate::views::{ErrorView, ExecutionView};

/// What became of a decision.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DecisionView {
    /// Its CID.
    pub decision: String,
    /// Whether its events are certified.
    pub effective: bool,
    /// Certified events after it.
    pub log_size: u64,
}

/// Counts an approval: `Signed<Approval>`.
#[utoipa::path(post, path = "/v1/approvals", request_body = ArtifactRequest, tag = "people",
    responses((status = 200, body = ExecutionView), (status = "4XX", body = ErrorView)))]
pub async fn approve(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<ArtifactRequest>,
) -> Result<Json<Value>, ApiError> {
    let approval: Signed<Approval> = request.decode()?;
    visible(&api, &caller, &approval.body.intent.to_string()).await?;
    Ok(Json(api.json(ApiCall::Approve(Box::new(approval))).await?))
}

/// A human no, `Signed<Denial>`: the intent is over, and a held result is destroyed.
#[utoipa::path(post, path = "/v1/denials", request_body = ArtifactRequest, tag = "people",
    responses((status = 200, body = ExecutionView), (status = "4XX", body = ErrorView)))]
pub async fn deny(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<ArtifactRequest>,
) -> Result<Json<Value>, ApiError> {
    let denial: Signed<Denial> = request.decode()?;
    visible(&api, &caller, &denial.body.intent.to_string()).await?;
    Ok(Json(api.json(ApiCall::Deny(Box::new(denial))).await?))
}

/// Orders the events of a decision, `SignedDecision`; answers when they are certified.
#[utoipa::path(post, path = "/v1/governance/decisions", request_body = ArtifactRequest,
    tag = "governance",
    responses((status = 200, body = DecisionView), (status = "4XX", body = ErrorView)))]
pub async fn decide(
    State(api): State<Api>,
    Body(request): Body<ArtifactRequest>,
) -> Result<Json<Value>, ApiError> {
    let decision: SignedDecision = request.decode()?;
    Ok(Json(api.json(ApiCall::Decide(Box::new(decision))).await?))
}
