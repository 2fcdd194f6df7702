//! Executions: submit, read, release, evidence.
//!
//! Always true: what another tenant owns looks like what does not exist, also in how long the answer
//! takes: a caller's right to see is settled before anything waits.

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use dvm_act::evm::{PAYLOAD_BYTES_MAX, Transaction};
use dvm_core::intent::{Act, Backend};
use dvm_core::link::Link;
use dvm_core::reason::ReasonCode;
use dvm_core::{Address20, B32, KeyId, NodeId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::auth::Caller;
use super::body::{Body, Params, bytes_of};
use super::error::ApiError;
use super::{Api, WAIT_MS_MAX};
use crate::engine::{ApiCall, ApiReply, SYSTEM_TENANT, Submission};
use crate::tokens::Role;
use crate::views::{ActRequest, ErrorView, ExecutionView, SubmitRequest};

type Answer<T> = Result<T, ApiError>;

/// Media type of a CAR file.
pub const CAR: &str = "application/vnd.ipld.car";

/// All executions that the caller may see.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ExecutionList {
    /// Them, by intent CID.
    pub executions: Vec<ExecutionView>,
}

/// How long to wait.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WaitQuery {
    /// Answer when the execution is settled, or after so many milliseconds; at most 60000.
    #[serde(default)]
    pub wait_ms: u64,
}

fn parse<T: std::str::FromStr>(text: &str, field: &str) -> Answer<T> {
    text.parse().map_err(|_| ApiError::form(format!("`{field}` is not well formed")))
}

fn act_of(request: ActRequest) -> Answer<(Act, Option<Vec<u8>>)> {
    let key = |id: &str| parse::<KeyId>(id, "key_id");
    // The engine fills in the key's epoch and an absent roster.
    match request {
        ActRequest::KeyGenerate { key_id, backend, threshold, roster } => {
            let known = Backend::ALL.map(Backend::name).join(", ");
            let unknown =
                || ApiError::form(format!("no backend is called `{backend}`; there are {known}"));
            let backend = Backend::from_name(&backend).ok_or_else(unknown)?;
            let holders = nodes_of(&roster.unwrap_or_default(), "roster")?;
            Ok((
                Act::KeyGenerate { key_id: key(&key_id)?, backend, threshold, roster: holders },
                None,
            ))
        }
        ActRequest::SignMessage { key_id, message_base64 } => {
            let content = bytes_of(&message_base64, "message_base64")?;
            if content.len() > dvm_core::limits::CONTENT_BYTES_MAX {
                return Err(ApiError::too_large());
            }
            let (message, len) = (Link::of_raw(&content), content.len() as u64);
            let act = Act::SignMessage { key_id: key(&key_id)?, key_epoch: 1, message, len };
            Ok((act, Some(content)))
        }
        ActRequest::SignDigest { key_id, digest_hex } => {
            let digest = B32::from_hex(&digest_hex);
            let digest =
                digest.ok_or_else(|| ApiError::form("`digest_hex` is not 64 hex digits"))?;
            Ok((Act::SignDigest { key_id: key(&key_id)?, key_epoch: 1, digest }, None))
        }
        ActRequest::SignEvmTransaction { key_id, path, from, transaction_hex } => {
            transaction_of(key(&key_id)?, path.as_deref(), from.as_deref(), &transaction_hex)
        }
        ActRequest::PresignBatch { key_id, path, signers, count } => {
            let path = path_or_key(path.as_deref())?;
            let signers = nodes_of(&signers, "signers")?;
            let key_id = key(&key_id)?;
            Ok((Act::PresignBatch { key_id, key_epoch: 1, path, signers, count }, None))
        }
    }
}

fn path_or_key(path: Option<&str>) -> Answer<Vec<u32>> {
    dvm_act::path_of(path.unwrap_or("m"))
        .ok_or_else(|| ApiError::form("`path` is not like `m/0/7`, without hardened indices"))
}

fn nodes_of(names: &[String], field: &str) -> Answer<Vec<NodeId>> {
    let mut nodes: Vec<NodeId> =
        names.iter().map(|name| parse(name, field)).collect::<Answer<_>>()?;
    nodes.sort();
    Ok(nodes)
}

fn transaction_of(
    key_id: KeyId,
    path: Option<&str>,
    from: Option<&str>,
    payload: &str,
) -> Answer<(Act, Option<Vec<u8>>)> {
    // Two digits a byte: longer ones are not decoded.
    if payload.len() > 2 * PAYLOAD_BYTES_MAX {
        return Err(ApiError::too_large());
    }
    let payload = hex::decode(payload)
        .map_err(|_| ApiError::form("`transaction_hex` is not hex, two digits a byte"))?;
    // The engine fills in an absent sender, which no account is.
    let from = from
        .map_or(Some(Address20::default()), |from| Address20::from_hex(from.strip_prefix("0x")?));
    let from = from.ok_or_else(|| ApiError::form("`from` is not `0x` and 40 hex digits"))?;
    let path = path_or_key(path)?;
    // Here so that the caller learns what is wrong with it; every judge parses for itself.
    Transaction::parse(&payload).map_err(|e| ApiError::new(e.code(), e.to_string()))?;
    let (transaction, len) = (Link::of_raw(&payload), payload.len() as u64);
    let act = Act::SignEvmTransaction { key_id, key_epoch: 1, path, from, transaction, len };
    Ok((act, Some(payload)))
}

fn check_role(caller: &Caller, act: &Act) -> Answer<()> {
    let (role, message) = match act {
        Act::KeyGenerate { .. } => (Role::Operator, "making keys needs the role `operator`"),
        Act::PresignBatch { .. } => (Role::Operator, "a batch needs the role `operator`"),
        _ => (Role::Client, "signing needs the role `client`"),
    };
    if caller.may(role) { Ok(()) } else { Err(ApiError::new(ReasonCode::NotAuthorized, message)) }
}

/// Performs an act: a signature, a new key, or a batch of material for later signatures. The same idempotency key always
/// names the same one.
#[utoipa::path(post, path = "/v1/executions", request_body = SubmitRequest, tag = "executions",
    responses((status = 200, body = ExecutionView), (status = "4XX", body = ErrorView)))]
pub async fn submit(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<SubmitRequest>,
) -> Answer<Json<Value>> {
    let until_executed = match request.wait_for.as_deref() {
        None | Some("published") => false,
        Some("executed") => true,
        Some(_) => return Err(ApiError::form("`wait_for` is `published` or `executed`")),
    };
    let idempotency_key = parse(&request.idempotency_key, "idempotency_key")?;
    let (act, content) = act_of(request.act)?;
    check_role(&caller, &act)?;
    if caller.tenant.as_str() == SYSTEM_TENANT {
        let own = "the tenant `system` is the nodes' own; give this token another";
        return Err(ApiError::new(ReasonCode::NotAuthorized, own));
    }
    let submission = Submission {
        roles: caller.policy_roles(),
        tenant: caller.tenant,
        requester: caller.person,
        idempotency_key,
        act,
        content,
        expires_ms: request.expires_ms,
        wait_ms: request.wait_ms.min(WAIT_MS_MAX),
        until_executed,
    };
    Ok(Json(api.json(ApiCall::Submit(Box::new(submission))).await?))
}

/// The intent CID of the operation that `id` names, if this caller may see it.
pub(super) async fn visible(api: &Api, caller: &Caller, id: &str) -> Answer<String> {
    let missing = || ApiError::not_found("execution", id);
    let found = api.json(ApiCall::Execution { id: id.to_owned(), wait_ms: 0 }).await?;
    let text = |field: &str| found.get(field).and_then(Value::as_str);
    let own = text("tenant") == Some(caller.tenant.as_str());
    let intent = text("intent").filter(|_| own || caller.may(Role::Auditor));
    Ok(intent.ok_or_else(missing)?.to_owned())
}

/// The executions of the caller's tenant; an auditor sees all.
#[utoipa::path(get, path = "/v1/executions", tag = "executions",
    responses((status = 200, body = ExecutionList), (status = "4XX", body = ErrorView)))]
pub async fn list(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
) -> Answer<Json<ExecutionList>> {
    let all = api.json(ApiCall::Executions).await?;
    let mut list: ExecutionList = serde_json::from_value(all)
        .map_err(|_| ApiError::new(ReasonCode::Internal, "the list is not of its form"))?;
    if !caller.may(Role::Auditor) {
        list.executions.retain(|e| e.tenant == caller.tenant.as_str());
    }
    Ok(Json(list))
}

/// One execution, by intent CID or by the id of any of its runs.
#[utoipa::path(get, path = "/v1/executions/{id}", tag = "executions",
    params(("id" = String, Path, description = "intent CID or execution id"), WaitQuery),
    responses((status = 200, body = ExecutionView), (status = "4XX", body = ErrorView)))]
pub async fn show(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Params(query): Params<WaitQuery>,
) -> Answer<Json<Value>> {
    let id = visible(&api, &caller, &id).await?;
    let wait_ms = query.wait_ms.min(WAIT_MS_MAX);
    Ok(Json(api.json(ApiCall::Execution { id, wait_ms }).await?))
}

/// The trace of one execution at this node: every event that its runs took in, in order.
#[utoipa::path(get, path = "/v1/executions/{id}/trace", tag = "executions",
    params(("id" = String, Path, description = "intent CID or execution id")),
    responses((status = 200, body = Object), (status = "4XX", body = ErrorView)))]
pub async fn trace(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer<Json<Value>> {
    let id = visible(&api, &caller, &id).await?;
    Ok(Json(api.json(ApiCall::Trace(id)).await?))
}

/// The evidence bundle of one execution, finished or not: a CARv1 file.
#[utoipa::path(get, path = "/v1/executions/{id}/evidence", tag = "executions",
    params(("id" = String, Path, description = "intent CID or execution id")),
    responses((status = 200, content_type = "application/vnd.ipld.car", body = Vec<u8>),
        (status = "4XX", body = ErrorView)))]
pub async fn evidence(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer<Response> {
    let id = visible(&api, &caller, &id).await?;
    match api.engine.call(ApiCall::Evidence(id)).await {
        ApiReply::Car(bytes) => {
            Ok((StatusCode::OK, [(header::CONTENT_TYPE, CAR)], bytes).into_response())
        }
        ApiReply::Error { code, message } => Err(ApiError::new(code, message)),
        ApiReply::Json(_) => Err(ApiError::new(ReasonCode::Internal, "not a bundle")),
    }
}

/// Tries the gate again now, after a policy change or more approvals.
#[utoipa::path(post, path = "/v1/executions/{id}/release", tag = "executions",
    params(("id" = String, Path, description = "intent CID or execution id")),
    responses((status = 200, body = ExecutionView), (status = "4XX", body = ErrorView)))]
pub async fn release(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer<Json<Value>> {
    let id = visible(&api, &caller, &id).await?;
    Ok(Json(api.json(ApiCall::Release(id)).await?))
}
