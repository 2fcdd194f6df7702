//! A node's HTTP API, as a client outside the project would call it.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dvm_core::codec::{self, Artifact};
use dvm_node::setup::TokenFile;
use serde_json::{Value, json};

use crate::Outcome;

/// Longest time of one call: above every wait asked for here.
const CALL_TIME: Duration = Duration::from_secs(60);
/// Largest answer: the bundle of a small signature is far below it.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(1);

/// One connection to one node.
#[derive(Clone)]
pub struct Client {
    agent: ureq::Agent,
    base: String,
    tokens: TokenFile,
}

impl Client {
    /// A client of the node at this address.
    pub fn new(base: String, tokens: TokenFile) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(CALL_TIME))
            .build();
        Self { agent: config.into(), base, tokens }
    }

    fn call(&self, role: &str, path: &str, body: Option<&Value>) -> Outcome<Vec<u8>> {
        let url = format!("{}{path}", self.base);
        let token = self.tokens.get(role).ok_or_else(|| format!("no token for `{role}`"))?;
        let bearer = format!("Bearer {token}");
        let mut answer = match body {
            None => self.agent.get(&url).header("authorization", &bearer).call(),
            Some(body) => self.agent.post(&url).header("authorization", &bearer).send_json(body),
        }?;
        let bytes = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
        if answer.status().is_success() {
            return Ok(bytes);
        }
        Err(format!("{} {url}: {}", answer.status(), String::from_utf8_lossy(&bytes)).into())
    }

    /// Reads a JSON document.
    ///
    /// # Errors
    /// No answer, or an error of the API.
    pub fn get(&self, role: &str, path: &str) -> Outcome<Value> {
        Ok(serde_json::from_slice(&self.call(role, path, None)?)?)
    }

    /// Sends a JSON document.
    ///
    /// # Errors
    /// No answer, or an error of the API.
    pub fn post(&self, role: &str, path: &str, body: &Value) -> Outcome<Value> {
        Ok(serde_json::from_slice(&self.call(role, path, Some(body))?)?)
    }

    /// What a monitoring system reads.
    ///
    /// # Errors
    /// No answer, or an error of the API.
    pub fn metrics(&self) -> Outcome<String> {
        Ok(String::from_utf8(self.call("operator", "/metrics", None)?)?)
    }

    /// Hands in a signed artifact.
    ///
    /// # Errors
    /// No answer, or an error of the API.
    pub fn hand_in(&self, role: &str, path: &str, artifact: &impl Artifact) -> Outcome<Value> {
        let bytes = STANDARD.encode(codec::encode(artifact));
        self.post(role, path, &json!({ "artifact_base64": bytes }))
    }

    /// The evidence bundle of an execution.
    ///
    /// # Errors
    /// No answer, or an error of the API.
    pub fn bundle(&self, intent: &str) -> Outcome<Vec<u8>> {
        self.call("auditor", &format!("/v1/executions/{intent}/evidence"), None)
    }
}

/// Asks until there is an answer.
///
/// # Errors
/// The last failure, or that the time is over.
pub fn until<T>(
    limit: Duration,
    what: &str,
    mut ask: impl FnMut() -> Outcome<Option<T>>,
) -> Outcome<T> {
    let deadline = Instant::now() + limit;
    loop {
        let late = Instant::now() >= deadline;
        match ask() {
            Ok(Some(found)) => return Ok(found),
            Ok(None) if late => return Err(format!("waited in vain: {what}").into()),
            Err(error) if late => return Err(error),
            _ => std::thread::sleep(LOOK),
        }
    }
}

/// A text field of an answer; empty if it is not there.
pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// A number of an answer; 0 if it is not there.
pub fn number(value: &Value, field: &str) -> u64 {
    value.get(field).and_then(Value::as_u64).unwrap_or_default()
}
