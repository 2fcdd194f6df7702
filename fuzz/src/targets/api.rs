//! The HTTP API's bodies, over a loopback connection to the real router with a stand-in for the engine.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, OnceLock};

use dvm_core::ReasonCode;
use dvm_node::api::client::{Ask, EngineClient, Facts};
use dvm_node::api::{BODY_BYTES_MAX, serve};
use dvm_node::engine::{ApiCall, ApiReply};
use dvm_node::tokens::{BearerToken, Principal, Role, TokenBook};
use dvm_node::views::SubmitRequest;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::{Seen, memory};

const TENANT: &str = "acme";
/// Routes with a body.
const ROUTES: [&str; 4] =
    ["/v1/executions", "/v1/approvals", "/v1/denials", "/v1/governance/decisions"];

/// Answers like an engine that takes everything; what it is asked must be well formed.
fn answer(call: &ApiCall) -> ApiReply {
    let json = |text: &str| ApiReply::Json(serde_json::from_str(text).unwrap());
    match call {
        ApiCall::Submit(submission) => {
            let content = submission.content.as_ref().map_or(0, |content| content.len());
            json(&format!(r#"{{"content":{content}}}"#))
        }
        ApiCall::Execution { .. } => json(&format!(r#"{{"tenant":"{TENANT}"}}"#)),
        _ => json("{}"),
    }
}

/// A server with one token of every role, for the life of the process.
fn site() -> &'static (SocketAddr, String) {
    static SITE: OnceLock<(SocketAddr, String)> = OnceLock::new();
    SITE.get_or_init(|| {
        let token = BearerToken::mint(&mut ChaCha20Rng::seed_from_u64(1));
        let roles = BTreeSet::from([Role::Client, Role::Approver, Role::Operator, Role::Auditor]);
        let principal = Principal { tenant: TENANT.into(), person: "alice".into(), roles };
        let mut book = TokenBook::default();
        book.insert(token.hash(), principal).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                let facts =
                    Facts { kernel_pid: AtomicU32::new(1), journal_commits: Box::new(|| 1) };
                let (client, mut calls) = EngineClient::new(Arc::new(facts));
                tokio::spawn(async move {
                    while let Some(Ask { call, answer: reply }) = calls.recv().await {
                        let _ = reply.send(answer(&call));
                    }
                });
                serve(listener, client, book, std::future::pending()).await.unwrap();
            });
        });
        (told.recv().unwrap(), token.expose().to_owned())
    })
}

thread_local! {
    static CONNECTION: RefCell<Option<BufReader<TcpStream>>> = const { RefCell::new(None) };
}

/// One request: the first byte chooses the route, the rest is the body. The answer is JSON, and a
/// refusal has a code; nothing is ever the server's fault.
pub(super) fn request(data: &[u8]) -> Seen {
    let Some((route, body)) = data.split_first() else { return Seen::of("empty") };
    let route = ROUTES[usize::from(*route) % ROUTES.len()];
    let (status, answer) = CONNECTION.with_borrow_mut(|connection| {
        let old = connection.take().and_then(|mut open| Some((ask(&mut open, route, body)?, open)));
        let (got, open) = old.unwrap_or_else(|| {
            let mut open = BufReader::new(TcpStream::connect(site().0).unwrap());
            (ask(&mut open, route, body).expect("a new connection answers"), open)
        });
        *connection = Some(open);
        got
    });
    let json: serde_json::Value = serde_json::from_slice(&answer).expect("an answer is JSON");
    assert!(status == 200 || (400..500).contains(&status), "{status} {json}");
    assert!(body.len() <= BODY_BYTES_MAX || route == ROUTES[0] || status == 413);
    let code = json.get("code").and_then(|code| code.as_str()).unwrap_or_default();
    if status != 200 {
        assert!(ReasonCode::ALL.iter().any(|known| known.name() == code), "{json}");
        assert!(json.get("message").is_some_and(serde_json::Value::is_string));
    }
    let message = json.get("message").and_then(|m| m.as_str()).unwrap_or_default();
    let words: String = message.chars().filter(char::is_ascii_alphabetic).take(48).collect();
    Seen::of((route, status, words))
}

fn ask(open: &mut BufReader<TcpStream>, route: &str, body: &[u8]) -> Option<(u16, Vec<u8>)> {
    let head = format!(
        "POST {route} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        site().1,
        body.len()
    );
    let stream = open.get_mut();
    stream.write_all(&[head.as_bytes(), body].concat()).ok()?;
    let mut line = String::new();
    open.read_line(&mut line).ok()?;
    let status = line.split(' ').nth(1)?.parse().ok()?;
    let mut len = 0;
    loop {
        line.clear();
        open.read_line(&mut line).ok()?;
        let field = line.trim_end().to_ascii_lowercase();
        if field.is_empty() {
            break;
        }
        if let Some(value) = field.strip_prefix("content-length: ") {
            len = value.parse().ok()?;
        }
    }
    let mut answer = vec![0; len];
    open.read_exact(&mut answer).ok()?;
    Some((status, answer))
}

/// A submission's JSON: bounded, and the same when it is written again.
pub(super) fn submission(data: &[u8]) -> Seen {
    let read = memory::bounded(data.len(), || serde_json::from_slice::<SubmitRequest>(data));
    match read {
        Ok(request) => {
            let again = serde_json::to_vec(&request).unwrap();
            assert_eq!(serde_json::from_slice::<SubmitRequest>(&again).unwrap(), request);
            Seen::of((std::mem::discriminant(&request.act), request.wait_for.is_some()))
        }
        Err(error) => Seen::refused(&error),
    }
}

/// Genuine inputs of the targets here, for the corpus.
pub(super) fn genuine() -> Vec<(&'static str, Vec<u8>)> {
    let bodies = [
        r#"{"idempotency_key":"a","act":{"type":"sign.message","key_id":"demo","message_base64":"aGk="}}"#,
        r#"{"idempotency_key":"b","act":{"type":"key.generate","key_id":"demo","backend":"frost-ed25519","threshold":2,"roster":["n1","n2","n3"]},"wait_ms":1}"#,
        r#"{"idempotency_key":"c","act":{"type":"sign.digest","key_id":"demo","digest_hex":"0909090909090909090909090909090909090909090909090909090909090909"},"wait_for":"executed"}"#,
    ];
    let mut all = Vec::new();
    for body in bodies {
        all.push(("api_submission", body.as_bytes().to_vec()));
        all.push(("api", [&[0], body.as_bytes()].concat()));
    }
    for route in 1..4_u8 {
        all.push(("api", [&[route][..], br#"{"artifact_base64":"omRib2R5oA=="}"#].concat()));
    }
    all
}
