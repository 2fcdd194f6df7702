//! Request bodies and parameters: bounded, typed, refused with the API's own errors.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dvm_core::codec::{self, Artifact};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use super::error::ApiError;

/// A JSON body.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(refusal(&rejection)),
        }
    }
}

/// The parameters behind a path's question mark.
pub struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(ApiError::form(rejection.body_text())),
        }
    }
}

fn refusal(rejection: &JsonRejection) -> ApiError {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return ApiError::too_large();
    }
    ApiError::form(rejection.body_text())
}

/// Base64 with padding, as RFC 4648 has it.
pub fn bytes_of(text: &str, field: &str) -> Result<Vec<u8>, ApiError> {
    STANDARD.decode(text).map_err(|_| ApiError::form(format!("`{field}` is not base64")))
}

/// A signed artifact: its canonical bytes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ArtifactRequest {
    /// The artifact's canonical DAG-CBOR bytes, base64.
    pub artifact_base64: String,
}

impl ArtifactRequest {
    /// The artifact, if the bytes are its canonical ones.
    pub fn decode<T: Artifact>(&self) -> Result<T, ApiError> {
        let bytes = bytes_of(&self.artifact_base64, "artifact_base64")?;
        codec::decode(&bytes).map_err(|error| ApiError::form(error.to_string()))
    }
}
