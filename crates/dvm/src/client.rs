//! The HTTP client of one node's API.
//!
//! Always true: every answer is bounded; an error of the API keeps its reason code; the token sent is
//! the one of the role that the call needs, and no token is ever printed.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dvm_core::codec::{self, Artifact};
use dvm_core::reason::ReasonCode;
use dvm_node::setup::TokenFile;
use dvm_node::views::{ErrorView, ExecutionView, KeyView};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::cli::exit::Failure;

/// Longest answer: a bundle with parts of sixteen peers.
const ANSWER_BYTES_MAX: u64 = 256 << 20;
/// Longest time of one call: above the longest wait that the API grants.
const CALL_TIME: Duration = Duration::from_secs(80);
/// Longest single wait asked of the API; longer ones are repeated.
const WAIT_MS_MAX: u64 = 20_000;

/// Whose token a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum As {
    Client,
    Approver,
    Operator,
    Auditor,
}

impl As {
    fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Approver => "approver",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
        }
    }
}

/// Tokens at hand.
#[derive(Clone)]
pub(crate) enum Tokens {
    /// One for everything.
    One(String),
    /// One per role.
    ByRole(TokenFile),
}

impl Tokens {
    /// Reads a file with one token, or with a JSON object of tokens by role.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(Failure::file(path))?;
        if text.trim_start().starts_with('{') {
            let by_role = serde_json::from_str(&text).map_err(|e| Failure::form(path, e))?;
            return Ok(Self::ByRole(by_role));
        }
        Ok(Self::One(text.trim().to_owned()))
    }

    fn of(&self, role: As) -> Result<&str, Failure> {
        match self {
            Self::One(token) => Ok(token),
            Self::ByRole(tokens) => tokens.get(role.name()).map(String::as_str).ok_or_else(|| {
                let message = format!("the token file has no token for the role `{}`", role.name());
                Failure::refused(ReasonCode::NotAuthorized, message)
            }),
        }
    }
}

/// A node's API.
#[derive(Clone)]
pub(crate) struct Client {
    agent: ureq::Agent,
    base: String,
    tokens: Tokens,
}

impl Client {
    pub(crate) fn new(base: &str, tokens: Tokens) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(CALL_TIME))
            .build();
        Self { agent: config.into(), base: base.trim_end_matches('/').to_owned(), tokens }
    }

    fn send(&self, role: As, path: &str, body: Option<&Value>) -> Result<(u16, Vec<u8>), Failure> {
        let url = format!("{}{path}", self.base);
        let bearer = format!("Bearer {}", self.tokens.of(role)?);
        let unreachable = |cause: ureq::Error| Failure::Unreachable {
            url: url.clone(),
            cause: cause.to_string(),
        };
        let sent = match body {
            None => self.agent.get(&url).header("authorization", &bearer).call(),
            Some(body) => self.agent.post(&url).header("authorization", &bearer).send_json(body),
        };
        let mut answer = sent.map_err(unreachable)?;
        let status = answer.status().as_u16();
        let read = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        let bytes = read.map_err(unreachable)?;
        if status < 400 {
            return Ok((status, bytes));
        }
        let error: ErrorView = serde_json::from_slice(&bytes)
            .map_err(|_| Failure::Answer { url: url.clone(), expected: "an error of the API" })?;
        // A code that this build does not know is still an error.
        let code = ReasonCode::from_name(&error.code).unwrap_or(ReasonCode::Internal);
        Err(Failure::Refused { code, message: error.message })
    }

    fn json<T: DeserializeOwned>(
        &self,
        role: As,
        path: &str,
        body: Option<&Value>,
        expected: &'static str,
    ) -> Result<T, Failure> {
        let (_, bytes) = self.send(role, path, body)?;
        let url = || format!("{}{path}", self.base);
        serde_json::from_slice(&bytes).map_err(|_| Failure::Answer { url: url(), expected })
    }

    pub(crate) fn get(&self, role: As, path: &str) -> Result<Value, Failure> {
        self.json(role, path, None, "JSON")
    }

    /// Posts a signed artifact.
    pub(crate) fn post_artifact<T: Artifact>(
        &self,
        role: As,
        path: &str,
        artifact: &T,
    ) -> Result<Value, Failure> {
        let body = json!({ "artifact_base64": STANDARD.encode(codec::encode(artifact)) });
        self.json(role, path, Some(&body), "JSON")
    }

    pub(crate) fn submit(&self, role: As, request: &Value) -> Result<ExecutionView, Failure> {
        self.json(role, "/v1/executions", Some(request), "an execution")
    }

    pub(crate) fn execution(
        &self,
        role: As,
        id: &str,
        wait_ms: u64,
    ) -> Result<ExecutionView, Failure> {
        let path = format!("/v1/executions/{}?wait_ms={wait_ms}", segment(id)?);
        self.json(role, &path, None, "an execution")
    }

    /// Waits until the execution is settled, at most so long.
    pub(crate) fn settled(
        &self,
        role: As,
        id: &str,
        wait_ms: u64,
    ) -> Result<ExecutionView, Failure> {
        let mut left = wait_ms;
        loop {
            let now = left.min(WAIT_MS_MAX);
            let started = std::time::Instant::now();
            let view = self.execution(role, id, now)?;
            let spent = started.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
            left = left.saturating_sub(spent.max(1));
            // An answer well before its time means that the node has nothing to wait for.
            if left == 0 || spent.saturating_add(200) < now {
                return Ok(view);
            }
        }
    }

    pub(crate) fn executions(&self, role: As) -> Result<Vec<ExecutionView>, Failure> {
        let list: Value = self.get(role, "/v1/executions")?;
        let found = list.get("executions").cloned().unwrap_or_default();
        serde_json::from_value(found)
            .map_err(|_| Failure::Answer { url: self.base.clone(), expected: "executions" })
    }

    pub(crate) fn release(&self, role: As, id: &str) -> Result<ExecutionView, Failure> {
        let path = format!("/v1/executions/{}/release", segment(id)?);
        self.json(role, &path, Some(&json!({})), "an execution")
    }

    pub(crate) fn evidence(&self, role: As, id: &str) -> Result<Vec<u8>, Failure> {
        let path = format!("/v1/executions/{}/evidence", segment(id)?);
        Ok(self.send(role, &path, None)?.1)
    }

    pub(crate) fn keys(&self, role: As) -> Result<Vec<KeyView>, Failure> {
        let list = self.get(role, "/v1/keys")?;
        let found = list.get("keys").cloned().unwrap_or_default();
        serde_json::from_value(found)
            .map_err(|_| Failure::Answer { url: self.base.clone(), expected: "keys" })
    }

    /// One key; with a path, also the key there below it.
    pub(crate) fn key(&self, role: As, id: &str, path: Option<&str>) -> Result<KeyView, Failure> {
        let below = path.map(|path| query("path", path)).transpose()?.unwrap_or_default();
        self.json(role, &format!("/v1/keys/{}{below}", segment(id)?), None, "a key")
    }
}

/// An id in a path. Ids and CIDs need no escaping; anything else is no id.
fn segment(id: &str) -> Result<&str, Failure> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._:@-".contains(&b);
    if !id.is_empty() && id.bytes().all(plain) && !id.starts_with('.') {
        Ok(id)
    } else {
        Err(Failure::usage(format!("`{id}` is not an id")))
    }
}

/// A derivation path in a query. What is none is not sent.
fn query(name: &str, path: &str) -> Result<String, Failure> {
    if path.bytes().all(|b| b.is_ascii_digit() || b"m/".contains(&b)) {
        Ok(format!("?{name}={path}"))
    } else {
        Err(Failure::usage(format!("`{path}` is not like `m/0/7`, without hardened indices")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_file_is_one_token_or_one_per_role() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("t");
        std::fs::write(&file, "dvm_one\n").unwrap();
        assert_eq!(Tokens::read(&file).unwrap().of(As::Auditor).unwrap(), "dvm_one");
        std::fs::write(&file, r#"{"client":"dvm_c"}"#).unwrap();
        let tokens = Tokens::read(&file).unwrap();
        assert_eq!(tokens.of(As::Client).unwrap(), "dvm_c");
        assert!(tokens.of(As::Operator).is_err());
    }

    #[test]
    fn an_id_never_changes_the_route() {
        assert!(segment("bafyabc").is_ok() && segment("k.1:a@b-c").is_ok());
        for bad in ["", "a/b", "../x", "..", "a?b", "a b"] {
            assert!(segment(bad).is_err(), "{bad}");
        }
        assert_eq!(query("path", "m/0/7").unwrap(), "?path=m/0/7");
        for bad in ["m/0'", "m/0h", "m/0&x=1", "m/0#", "n/0"] {
            assert!(query("path", bad).is_err(), "{bad}");
        }
    }
}
