//! What anyone with a token may know of the cluster: keys, log, members, kernels.

use axum::Json;
use axum::extract::{Path, State};
use dvm_act::evm::{address_of, eip55};
use dvm_blame::bip32;
use dvm_core::B32;
use dvm_core::reason::ReasonCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::body::Params;
use super::error::ApiError;
use crate::engine::ApiCall;
use crate::views::{ErrorView, KeyBelowView, KeyView, StatusView};

/// All keys.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct KeyList {
    /// Them, by id.
    pub keys: Vec<KeyView>,
}

async fn all_keys(api: &Api) -> Result<KeyList, ApiError> {
    serde_json::from_value(api.json(ApiCall::Keys).await?)
        .map_err(|_| ApiError::new(ReasonCode::Internal, "the list is not of its form"))
}

/// All keys that governance knows.
#[utoipa::path(get, path = "/v1/keys", tag = "keys",
    responses((status = 200, body = KeyList), (status = "4XX", body = ErrorView)))]
pub async fn keys(State(api): State<Api>) -> Result<Json<KeyList>, ApiError> {
    Ok(Json(all_keys(&api).await?))
}

/// Which key below the named one.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PathQuery {
    /// Show also the key at this path below it, such as `m/0/7`, without hardened indices.
    #[serde(default)]
    pub path: Option<String>,
}

/// One key.
#[utoipa::path(get, path = "/v1/keys/{id}", tag = "keys",
    params(("id" = String, Path, description = "key id"), PathQuery),
    responses((status = 200, body = KeyView), (status = "4XX", body = ErrorView)))]
pub async fn key(
    State(api): State<Api>,
    Path(id): Path<String>,
    Params(query): Params<PathQuery>,
) -> Result<Json<KeyView>, ApiError> {
    let found = all_keys(&api).await?.keys.into_iter().find(|key| key.key_id == id);
    let mut key = found.ok_or_else(|| ApiError::not_found("key", &id))?;
    if let Some(path) = query.path {
        key.below = Some(key_below(&key, path)?);
    }
    Ok(Json(key))
}

fn key_below(key: &KeyView, path: String) -> Result<KeyBelowView, ApiError> {
    let indices = dvm_act::path_of(&path)
        .ok_or_else(|| ApiError::form("`path` is not like `m/0/7`, without hardened indices"))?;
    let code = key.chain_code_hex.as_deref().and_then(B32::from_hex).ok_or_else(|| {
        let backend = &key.backend;
        ApiError::form(format!("a key of `{backend}` has none below it; ECDSA keys have"))
    })?;
    let public_key = hex::decode(&key.public_key_hex).unwrap_or_default();
    let below = bip32::derive(&public_key, &code.0, &indices)
        .map_err(|e| ApiError::form(format!("there is no key at `{path}`: {e}")))?;
    let address = address_of(below.public_key())
        .ok_or_else(|| ApiError::new(ReasonCode::Internal, "a derived key is no point"))?;
    Ok(KeyBelowView {
        path,
        public_key_hex: hex::encode(below.public_key()),
        evm_address: eip55(&address),
    })
}

/// The certified log: every event with its entry's canonical bytes, the manifest, and the head's
/// certificate as bytes and as a C2SP note.
#[utoipa::path(get, path = "/v1/governance/log", tag = "governance",
    responses((status = 200, body = Object), (status = "4XX", body = ErrorView)))]
pub async fn log(State(api): State<Api>) -> Result<Json<Value>, ApiError> {
    Ok(Json(api.json(ApiCall::Log).await?))
}

/// What an approver or governor binds a signature to: cluster, head, policy root, manifest, log.
#[utoipa::path(get, path = "/v1/governance/context", tag = "governance",
    responses((status = 200, body = Object), (status = "4XX", body = ErrorView)))]
pub async fn context(State(api): State<Api>) -> Result<Json<Value>, ApiError> {
    Ok(Json(api.json(ApiCall::Context).await?))
}

/// This node and its peers.
#[utoipa::path(get, path = "/v1/status", tag = "node",
    responses((status = 200, body = StatusView), (status = "4XX", body = ErrorView)))]
pub async fn status(State(api): State<Api>) -> Result<Json<Value>, ApiError> {
    let mut status = api.json(ApiCall::Status).await?;
    if let Some(fields) = status.as_object_mut() {
        fields.insert("pid".to_owned(), std::process::id().into());
        fields.insert("kernel_pid".to_owned(), api.engine.kernel_pid().into());
        fields.insert("journal_commits".to_owned(), api.engine.journal_commits().into());
    }
    Ok(Json(status))
}

/// The kernel's signed word on itself: keys, boot, binary hash, isolation layers.
#[utoipa::path(get, path = "/v1/kernel/attestation", tag = "node",
    responses((status = 200, body = Object), (status = "4XX", body = ErrorView)))]
pub async fn attestation(State(api): State<Api>) -> Result<Json<Value>, ApiError> {
    let attestation = api.json(ApiCall::Attestation).await?;
    if attestation.is_null() {
        let message = "the kernel has not attested yet; ask again shortly";
        return Err(ApiError::new(ReasonCode::NotFound, message));
    }
    Ok(Json(attestation))
}

/// Whether the process answers. No token needed; says nothing else.
#[utoipa::path(get, path = "/healthz", tag = "node", security(()),
    responses((status = 200, description = "the process answers")))]
pub async fn health() -> &'static str {
    "ok\n"
}
