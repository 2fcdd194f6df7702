//! Errors of the API: `{code, message}` on every route, with one HTTP status per reason code.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use dvm_core::reason::ReasonCode;

use crate::views::ErrorView;

/// The HTTP status of a reason code: one table, stable. Two statuses say more than their code: 401
/// (no usable token) beside 403, and 413 (one request too large) beside 429.
pub fn status_of(code: ReasonCode) -> StatusCode {
    use ReasonCode as R;
    match code {
        R::PayloadRejected => StatusCode::BAD_REQUEST,
        R::NotAuthorized
        | R::PolicyDenied
        | R::PublicationDenied
        | R::DeniedByApprover
        | R::PartyBanned => StatusCode::FORBIDDEN,
        R::NotFound => StatusCode::NOT_FOUND,
        R::SessionMismatch
        | R::ReplayOrConflict
        | R::StepPermitReused
        | R::SplitBrainFenced
        | R::Equivocation
        | R::StaleEpoch
        | R::KeyNotActive
        | R::KeyFrozen
        | R::MaterialPoisoned
        | R::ApprovalsMissing
        | R::WrongPhase => StatusCode::CONFLICT,
        R::Expired => StatusCode::GONE,
        R::BindingMismatch | R::WrongRecipient | R::GuardRefused => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        R::ResourceLimit => StatusCode::TOO_MANY_REQUESTS,
        R::LogInconsistent | R::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        R::IsolationMissing => StatusCode::SERVICE_UNAVAILABLE,
        R::RemoteTimeout => StatusCode::GATEWAY_TIMEOUT,
    }
}

/// A refusal on its way to the caller.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: ReasonCode,
    message: String,
}

impl ApiError {
    /// With the status of its code.
    pub fn new(code: ReasonCode, message: impl Into<String>) -> Self {
        Self { status: status_of(code), code, message: message.into() }
    }

    /// The request is not of its form.
    pub fn form(message: impl Into<String>) -> Self {
        Self::new(ReasonCode::PayloadRejected, message)
    }

    /// No such thing, or none that this caller may see: the two look the same.
    pub fn not_found(what: &str, id: &str) -> Self {
        Self::new(ReasonCode::NotFound, format!("no {what} `{id}` at this node"))
    }

    /// No token, or none that this node knows.
    pub fn unknown_caller() -> Self {
        let message = "send `Authorization: Bearer dvm_…` with a token that this node knows".into();
        Self { status: StatusCode::UNAUTHORIZED, code: ReasonCode::NotAuthorized, message }
    }

    /// The body is longer than this route takes.
    pub fn too_large() -> Self {
        let message = "the request is longer than this route takes".into();
        Self { status: StatusCode::PAYLOAD_TOO_LARGE, code: ReasonCode::ResourceLimit, message }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorView { code: self.code.name().to_owned(), message: self.message };
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_code_has_an_error_status() {
        for code in ReasonCode::ALL {
            let status = status_of(*code);
            assert!(status.is_client_error() || status.is_server_error(), "{code}");
        }
        assert_eq!(status_of(ReasonCode::NotFound), StatusCode::NOT_FOUND);
        assert_eq!(status_of(ReasonCode::RemoteTimeout), StatusCode::GATEWAY_TIMEOUT);
    }
}
