//! Claims about refused calls: the exact code and status, and nothing changed by them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::site::{Site, until};

/// A token that no set-up made; its tenant has nothing to do with the demo's.
const STRANGER: &str = "dvm_00000000000000000000000000000000000000000000000000000000000000aa";
/// The largest content that a signature may be over.
const CONTENT_BYTES_MAX: usize = 4 << 20;

struct Caller<'a> {
    site: &'a Site,
    at: usize,
    tokens: Value,
}

impl Caller<'_> {
    fn token(&self, role: &str) -> Option<String> {
        match role {
            "nobody" => None,
            "unknown" => Some(format!("dvm_{}", "ab".repeat(32))),
            "stranger" => Some(STRANGER.to_owned()),
            role => Some(self.tokens[role].as_str().unwrap().to_owned()),
        }
    }

    /// Status and body of one call; a `POST` if there is something to send.
    fn call(&self, role: &str, path: &str, body: Option<&str>) -> (u16, Value) {
        let agent: ureq::Agent =
            ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let url = format!("{}{path}", self.site.api(self.at));
        let method = if body.is_some() { "POST" } else { "GET" };
        let mut request = ureq::http::Request::builder().method(method).uri(url);
        request = request.header("content-type", "application/json");
        if let Some(token) = self.token(role) {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(body.unwrap_or_default().to_owned()).unwrap();
        let mut answer = agent.run(request).unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    fn refused(&self, role: &str, path: &str, body: Option<&str>, expected: (u16, &str)) {
        let (status, answer) = self.call(role, path, body);
        let code = answer["code"].as_str().unwrap_or_default();
        assert_eq!((status, code), expected, "{role} {path}: {answer}");
        assert!(answer["message"].as_str().is_some_and(|text| !text.is_empty()));
    }

    /// Every execution there is, and the whole log.
    fn records(&self) -> Value {
        let (_, executions) = self.call("auditor", "/v1/executions", None);
        let (_, log) = self.call("auditor", "/v1/governance/log", None);
        let all = executions["executions"].as_array().unwrap().iter();
        json!([all.map(|e| e["intent"].clone()).collect::<Vec<_>>(), log])
    }

    /// All that a refused call could change and that the API shows.
    fn state(&self) -> Value {
        let (_, mut status) = self.call("operator", "/v1/status", None);
        // Links come and go by themselves.
        status.as_object_mut().unwrap().remove("members");
        let (_, executions) = self.call("auditor", "/v1/executions", None);
        let (_, log) = self.call("auditor", "/v1/governance/log", None);
        json!([status, executions, log])
    }
}

/// A submission of a message of so many bytes.
fn message(key: &str, len: usize) -> String {
    let message_base64 = STANDARD.encode(vec![b'a'; len]);
    let act = json!({ "type": "sign.message", "key_id": key, "message_base64": message_base64 });
    json!({ "idempotency_key": format!("api-{len}"), "act": act }).to_string()
}

/// Lets a caller of another tenant in at one node, as its operator would: a row, and a restart.
fn let_a_stranger_in(site: &mut Site, at: usize) {
    let path = site.node_dir(at).join("tokens.json");
    let mut rows: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let hash = hex::encode(Sha256::digest(STRANGER));
    let principal = json!({
        "tenant": "stranger", "person": "stranger-1", "roles": ["client", "approver", "operator"],
    });
    rows.as_array_mut().unwrap().push(json!({ "token_sha256": hash, "principal": principal }));
    std::fs::write(&path, rows.to_string()).unwrap();
    site.kill_node(at);
    site.restart_node(at);
    site.sees_up(at, &[(at + 1) % 3, (at + 2) % 3]);
}

/// The state once what a restart set going has come to rest.
fn at_rest(caller: &Caller<'_>) -> Value {
    until("the node is at rest", || {
        let first = caller.state();
        std::thread::sleep(std::time::Duration::from_millis(1500));
        (caller.state() == first).then_some(first)
    })
}

/// Every call that must be refused, with its status and code.
fn refuse_all(caller: &Caller<'_>, intent: &str) {
    let own = format!("/v1/executions/{intent}");
    let submit = message("double", 1);
    let small = ["/v1/executions", "/v1/status", "/v1/keys", own.as_str()];
    for path in small {
        caller.refused("nobody", path, None, (401, "NOT_AUTHORIZED"));
        caller.refused("unknown", path, None, (401, "NOT_AUTHORIZED"));
    }
    caller.refused("nobody", "/v1/executions", Some(&submit), (401, "NOT_AUTHORIZED"));
    for role in ["approver", "auditor", "operator"] {
        caller.refused(role, "/v1/executions", Some(&submit), (403, "NOT_AUTHORIZED"));
    }
    let artifact = json!({ "artifact_base64": "oA==" }).to_string();
    caller.refused("client", "/v1/approvals", Some(&artifact), (403, "NOT_AUTHORIZED"));
    caller.refused(
        "approver",
        "/v1/governance/decisions",
        Some(&artifact),
        (403, "NOT_AUTHORIZED"),
    );
    caller.refused("client", "/v1/status", None, (403, "NOT_AUTHORIZED"));
    caller.refused("operator", &format!("{own}/evidence"), None, (403, "NOT_AUTHORIZED"));

    // Another tenant's execution looks like one that is not there.
    for path in [own.clone(), format!("{own}/trace"), format!("{own}/evidence")] {
        caller.refused("stranger", &path, None, (404, "NOT_FOUND"));
    }
    caller.refused("stranger", &format!("{own}/release"), Some("{}"), (404, "NOT_FOUND"));
    caller.refused("client", "/v1/executions/nothing", None, (404, "NOT_FOUND"));
    caller.refused("client", "/v1/nothing", None, (404, "NOT_FOUND"));
    assert_eq!(caller.call("stranger", "/v1/executions", None).1["executions"], json!([]));

    for body in ["", "{", "[]", "{\"idempotency_key\":\"x\"}"] {
        caller.refused("client", "/v1/executions", Some(body), (400, "PAYLOAD_REJECTED"));
    }
    caller.refused("approver", "/v1/approvals", Some(&artifact), (400, "PAYLOAD_REJECTED"));
    let over = message("double", CONTENT_BYTES_MAX + 1);
    caller.refused("client", "/v1/executions", Some(&over), (413, "RESOURCE_LIMIT"));
    let over = "x".repeat(over.len() + (64 << 10));
    caller.refused("client", "/v1/executions", Some(&over), (413, "RESOURCE_LIMIT"));
}

#[test]
fn refused_calls_get_their_exact_code_and_change_nothing() {
    let mut site = Site::start();
    site.key("double", None, "treasury:2");
    let held = site.asked(2, &["sign", "message", "--key", "double", "--text", "held"], "Executed");
    let_a_stranger_in(&mut site, 2);
    let tokens = std::fs::read(site.path("tokens_path")).unwrap();
    let tokens = serde_json::from_slice(&tokens).unwrap();
    let caller = Caller { site: &site, at: 2, tokens };
    let records = caller.records();
    // A node's status also changes by itself, when a peer is slow; what a call changes there, it
    // changes each time. Its records change by calls alone.
    let unchanged = (0..5).any(|_| {
        let before = at_rest(&caller);
        refuse_all(&caller, held["intent"].as_str().unwrap());
        caller.state() == before
    });
    assert!(unchanged, "refused calls change something: {:#}", caller.state());
    assert_eq!(caller.records(), records);

    // Just inside: the largest content is taken, and that does change something.
    let (status, _) =
        caller.call("client", "/v1/executions", Some(&message("double", CONTENT_BYTES_MAX)));
    assert_eq!(status, 200);
    assert_ne!(caller.records(), records);
}

#[test]
fn an_idempotency_key_names_one_request_for_ever() {
    let site = Site::start();
    site.key("auto", None, "auto");
    let ask = |at: usize, text: &str| {
        let sign = ["sign", "message", "--key", "auto", "--text", text, "--wait", "60"];
        site.cli(at, &[&sign[..], &["--idempotency-key", "one"]].concat())
    };
    let first = until("it is signed", || Some(ask(0, "this")).filter(|ran| ran.exit == 0)).ok();
    let again = ask(0, "this").ok();
    assert_eq!(
        (&first["intent"], &first["signature_hex"]),
        (&again["intent"], &again["signature_hex"])
    );
    let other = ask(0, "that");
    assert_eq!((other.exit, other.code().as_deref()), (9, Some("REPLAY_OR_CONFLICT")));
    let listed = site.cli(0, &["execution", "list"]).ok();
    let of_key = listed.as_array().unwrap().iter().filter(|e| e["key_id"] == "auto");
    assert_eq!(of_key.filter(|e| e["act"] == "sign.message").count(), 1);
}
