//! Who may call which route: one table, checked before a body is read.
//!
//! Always true: a route under `/v1` that is not in the table is refused to everybody; an unknown
//! token learns nothing, not even whether the route exists.
//!
//! Not here: whose executions a caller sees (`execution::visible`), what acts a role may ask for
//! beyond this (the policies say), and signatures by people: who carries an approval does not matter.

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use dvm_core::ids::{PersonId, Tenant};
use dvm_core::reason::ReasonCode;

use super::Api;
use super::error::ApiError;
use crate::tokens::{Principal, Role};

use Role::{Approver, Auditor, Client, Operator};

const EVERYONE: &[Role] = &[Client, Approver, Operator, Auditor];

/// Method, route, and the roles of which a caller needs one.
pub const ROUTES: &[(Method, &str, &[Role])] = &[
    // A client asks for signatures, an operator for keys; the handler tells them apart.
    (Method::POST, "/v1/executions", &[Client, Operator]),
    (Method::GET, "/v1/executions", EVERYONE),
    (Method::GET, "/v1/executions/{id}", EVERYONE),
    (Method::GET, "/v1/executions/{id}/trace", EVERYONE),
    (Method::GET, "/v1/executions/{id}/evidence", &[Client, Auditor]),
    (Method::POST, "/v1/executions/{id}/release", &[Client, Approver, Operator]),
    (Method::POST, "/v1/approvals", &[Approver]),
    (Method::POST, "/v1/denials", &[Approver]),
    (Method::GET, "/v1/keys", EVERYONE),
    (Method::GET, "/v1/keys/{id}", EVERYONE),
    (Method::GET, "/v1/governance/log", EVERYONE),
    (Method::GET, "/v1/governance/context", EVERYONE),
    (Method::POST, "/v1/governance/decisions", &[Operator]),
    (Method::GET, "/v1/status", &[Operator, Auditor]),
    (Method::GET, "/v1/kernel/attestation", &[Operator, Auditor]),
    // It names keys and signers, so it is no public page: a scraper has a token of its own.
    (Method::GET, "/metrics", &[Operator, Auditor]),
];

/// The caller, authenticated; made only here.
#[derive(Clone, Debug)]
pub struct Caller {
    principal: Principal,
    /// Whose intents it may see.
    pub tenant: Tenant,
    /// Its name in receipts.
    pub person: PersonId,
}

impl Caller {
    /// Whether it holds this role.
    pub fn may(&self, role: Role) -> bool {
        self.principal.may(role)
    }

    /// Its roles, as policies know them.
    pub fn policy_roles(&self) -> std::collections::BTreeSet<dvm_policy::Role> {
        let role = |role: &Role| match role {
            Client => dvm_policy::Role::Client,
            Approver => dvm_policy::Role::Approver,
            Operator => dvm_policy::Role::Operator,
            Auditor => dvm_policy::Role::Auditor,
        };
        self.principal.roles.iter().map(role).collect()
    }

    fn of(principal: &Principal) -> Option<Self> {
        Some(Self {
            tenant: principal.tenant.parse().ok()?,
            person: principal.person.parse().ok()?,
            principal: principal.clone(),
        })
    }
}

/// Lets a request through to its handler, with its [`Caller`], if the table allows.
pub async fn gate(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    match admit(&api, &request) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refused) => refused.into_response(),
    }
}

fn admit(api: &Api, request: &Request) -> Result<Caller, ApiError> {
    let token = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.strip_prefix("Bearer "));
    let principal = token.and_then(|token| api.tokens.principal(token));
    let caller = principal.and_then(Caller::of).ok_or_else(ApiError::unknown_caller)?;
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let row = ROUTES.iter().find(|(method, route, _)| method == request.method() && *route == path);
    let roles = row.map_or(&[][..], |(_, _, roles)| roles);
    if roles.iter().any(|role| caller.may(*role)) {
        Ok(caller)
    } else {
        let message = "this token's roles do not allow this call";
        Err(ApiError::new(ReasonCode::NotAuthorized, message))
    }
}
