use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand_core::OsRng;
use serde_json::json;

use super::client::{Ask, Facts};
use super::*;
use crate::tokens::{BearerToken, Principal, Role};
use crate::views::KeyView;

const INTENT: &str = "bafyreid7qoywk77r7rj3slobqfekdvs57qwuwh5d2z3sqsw52iabe3mqne";

const GENERATOR: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
/// What every Ethereum library says of that key.
const GENERATORS_ACCOUNT: &str = "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf";
/// The unsigned transaction of EIP-155's example.
const TRANSACTION: &str =
    "ec098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a764000080018080";

/// Answers like an engine with one operation, of tenant `acme`.
fn answer(call: &ApiCall) -> ApiReply {
    match call {
        ApiCall::Execution { id, .. } if id == INTENT => {
            ApiReply::Json(json!({ "intent": INTENT, "tenant": "acme" }))
        }
        ApiCall::Execution { .. } => {
            ApiReply::Error { code: ReasonCode::NotFound, message: "no such operation".to_owned() }
        }
        ApiCall::Evidence(_) => ApiReply::Car(vec![1, 2, 3]),
        ApiCall::Keys => ApiReply::Json(json!({ "keys": [key("ed"), key("eth")] })),
        ApiCall::Executions => ApiReply::Json(json!({ "executions": [] })),
        _ => ApiReply::Json(json!({})),
    }
}

/// The key of the private key 1, with a chain code if it is for ECDSA.
fn key(name: &str) -> KeyView {
    let ecdsa = name == "eth";
    KeyView {
        key_id: name.to_owned(),
        state: "Active".to_owned(),
        key_epoch: 1,
        backend: if ecdsa { "dkls23-secp256k1" } else { "frost-ed25519" }.to_owned(),
        threshold: 2,
        roster: Vec::new(),
        public_key_hex: GENERATOR.to_owned(),
        public_key_pem: None,
        evm_address: ecdsa.then(|| GENERATORS_ACCOUNT.to_owned()),
        chain_code_hex: ecdsa.then(|| "07".repeat(32)),
        key_ready_cid: INTENT.to_owned(),
        below: None,
    }
}

struct Site {
    addr: SocketAddr,
    asked: Arc<AtomicUsize>,
    tokens: Vec<(&'static str, String)>,
}

const ALL: [(&str, Role); 4] = [
    ("client", Role::Client),
    ("approver", Role::Approver),
    ("operator", Role::Operator),
    ("auditor", Role::Auditor),
];

impl Site {
    async fn start() -> Self {
        let (mut book, mut tokens) = (TokenBook::default(), Vec::new());
        let stranger = ("stranger", Role::Client);
        for (name, role) in ALL.into_iter().chain([stranger]) {
            let token = BearerToken::mint(&mut OsRng);
            let tenant = if name == "stranger" { "other" } else { "acme" };
            let roles = BTreeSet::from([role]);
            let principal = Principal { tenant: tenant.into(), person: name.into(), roles };
            book.insert(token.hash(), principal).unwrap();
            tokens.push((name, token.expose().to_owned()));
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let facts = Facts { kernel_pid: AtomicU32::new(7), journal_commits: Box::new(|| 3) };
        let (client, mut calls) = EngineClient::new(Arc::new(facts));
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Some(Ask { call, answer: reply }) = calls.recv().await {
                count.fetch_add(1, Ordering::SeqCst);
                let _ = reply.send(answer(&call));
            }
        });
        tokio::spawn(serve(listener, client, book, std::future::pending()));
        Self { addr, asked, tokens }
    }

    /// Status and body of one call.
    async fn call(
        &self,
        who: &str,
        method: &str,
        path: &str,
        body: Option<String>,
    ) -> (u16, String) {
        let token = self.tokens.iter().find(|(name, _)| *name == who).map(|(_, t)| t.clone());
        let (url, method) = (format!("http://{}{path}", self.addr), method.to_owned());
        let send = move || {
            let agent: ureq::Agent =
                ureq::Agent::config_builder().http_status_as_error(false).build().into();
            let mut request = ureq::http::Request::builder().method(method.as_str()).uri(url);
            if let Some(token) = token {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let request = request.header("content-type", "application/json");
            let mut answer = match body {
                Some(body) => agent.run(request.body(body).unwrap()).unwrap(),
                None => agent.run(request.body(()).unwrap()).unwrap(),
            };
            (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
        };
        tokio::task::spawn_blocking(send).await.unwrap()
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn path_of(route: &str) -> String {
    route.replace("{id}", INTENT)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_route_lets_in_exactly_the_roles_of_its_row() {
    let site = Site::start().await;
    for (method, route, roles) in auth::ROUTES {
        for (name, role) in ALL {
            let body = (*method == axum::http::Method::POST).then(|| "{}".to_owned());
            let (status, text) = site.call(name, method.as_str(), &path_of(route), body).await;
            let let_in = !matches!(status, 401 | 403);
            assert_eq!(let_in, roles.contains(&role), "{name} {method} {route}: {status} {text}");
        }
        let (status, _) = site.call("nobody", method.as_str(), &path_of(route), None).await;
        assert_eq!(status, 401, "{method} {route}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_of_the_table_is_described_and_every_described_route_is_in_the_table() {
    let described = openapi();
    let mut routes = BTreeSet::new();
    for (path, item) in &described.paths.paths {
        for (method, there) in [("GET", item.get.is_some()), ("POST", item.post.is_some())] {
            if there && (path.starts_with("/v1") || path == "/metrics") {
                routes.insert((method.to_owned(), path.clone()));
            }
        }
    }
    let table: BTreeSet<(String, String)> =
        auth::ROUTES.iter().map(|(m, r, _)| (m.to_string(), (*r).to_owned())).collect();
    assert_eq!(routes, table);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_execution_looks_like_none_and_an_auditor_sees_it() {
    let site = Site::start().await;
    let path = format!("/v1/executions/{INTENT}");
    assert_eq!(site.call("client", "GET", &path, None).await.0, 200);
    assert_eq!(site.call("auditor", "GET", &path, None).await.0, 200);
    let before = site.asked();
    let (status, hidden) =
        site.call("stranger", "GET", &format!("{path}?wait_ms=60000"), None).await;
    assert_eq!((status, site.asked()), (404, before + 1), "nothing waits for a stranger");
    assert!(hidden.contains("NOT_FOUND") && hidden.contains(INTENT));
    for path in ["trace", "evidence"] {
        let path = format!("/v1/executions/{INTENT}/{path}");
        assert_eq!(site.call("stranger", "GET", &path, None).await.0, 404, "{path}");
        assert_eq!(site.call("auditor", "GET", &path, None).await.0, 200, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_get_their_code_and_never_reach_the_engine() {
    let site = Site::start().await;
    let submit = |act: Value| Some(json!({ "idempotency_key": "k", "act": act }).to_string());
    let bad = [
        ("client", "/v1/executions", Some("{".to_owned())),
        ("client", "/v1/executions", submit(json!({ "type": "sign.hash" }))),
        (
            "client",
            "/v1/executions",
            submit(json!({ "type": "sign.digest", "key_id": "k", "digest_hex": "00" })),
        ),
        (
            "client",
            "/v1/executions",
            submit(json!({ "type": "sign.message", "key_id": "k k", "message_base64": "" })),
        ),
        (
            "client",
            "/v1/executions",
            submit(json!({ "type": "sign.message", "key_id": "k", "message_base64": "*" })),
        ),
        ("approver", "/v1/approvals", Some(json!({ "artifact_base64": "AAAA" }).to_string())),
        ("approver", "/v1/denials", Some(json!({ "artifact_base64": "AAAA", "x": 1 }).to_string())),
        ("operator", "/v1/governance/decisions", Some(json!({}).to_string())),
    ];
    for (who, path, body) in bad {
        let (status, text) = site.call(who, "POST", path, body).await;
        assert_eq!(status, 400, "{path} {text}");
        assert!(text.contains("PAYLOAD_REJECTED"), "{text}");
    }
    for path in ["/v1/executions/x?wait=1", "/v1/executions/x?wait_ms=-1", "/v1/keys/k?paths=m"] {
        let (status, text) = site.call("client", "GET", path, None).await;
        assert_eq!(status, 400, "{path} {text}");
        assert!(text.contains(r#""code":"PAYLOAD_REJECTED""#), "{text}");
    }
    assert_eq!(site.asked(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_reaches_the_engine_only_if_it_and_its_path_and_sender_are_well_formed() {
    let site = Site::start().await;
    let submit = |field: &str, value: Value| {
        let mut act = json!({ "type": "sign.evm_transaction", "key_id": "k", "path": "m/0/7",
            "from": GENERATORS_ACCOUNT, "transaction_hex": TRANSACTION });
        act[field] = value;
        Some(json!({ "idempotency_key": "k", "act": act }).to_string())
    };
    let longest = "00".repeat(dvm_act::evm::PAYLOAD_BYTES_MAX);
    let bad = [
        ("path", json!("m/0'"), 400),
        ("path", json!("m/007"), 400),
        ("path", json!("0/7"), 400),
        ("path", json!("m/2147483648"), 400),
        ("from", json!(&GENERATORS_ACCOUNT[..41]), 400),
        ("from", json!(&GENERATORS_ACCOUNT[2..]), 400),
        ("transaction_hex", json!(&TRANSACTION[..88]), 400),
        ("transaction_hex", json!(format!("0x{TRANSACTION}")), 400),
        ("transaction_hex", json!(format!("03{TRANSACTION}")), 400),
        ("transaction_hex", json!(longest), 400),
        ("transaction_hex", json!(format!("{longest}00")), 413),
    ];
    for (field, value, wanted) in bad {
        let (status, text) =
            site.call("client", "POST", "/v1/executions", submit(field, value)).await;
        assert_eq!(status, wanted, "{field} {text}");
    }
    assert_eq!(site.asked(), 0);
    for path in ["m", "m/0", "m/2147483647"] {
        let body = submit("path", json!(path));
        assert_eq!(site.call("client", "POST", "/v1/executions", body).await.0, 200, "{path}");
    }
    let body = submit("from", Value::Null);
    assert_eq!(site.call("client", "POST", "/v1/executions", body).await.0, 200);
    assert_eq!(site.asked(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_shown_with_the_account_at_a_path_where_it_has_one() {
    let site = Site::start().await;
    let shown = async |path: &str| {
        let (status, text) = site.call("client", "GET", &format!("/v1/keys/{path}"), None).await;
        (status, serde_json::from_str::<Value>(&text).unwrap_or_default())
    };
    assert!(shown("eth").await.1["below"].is_null());
    let (status, itself) = shown("eth?path=m").await;
    assert_eq!((status, &itself["below"]["evm_address"]), (200, &json!(GENERATORS_ACCOUNT)));
    let (_, below) = shown("eth?path=m/0/7").await;
    let point = hex::decode(GENERATOR).unwrap();
    let derived = dvm_blame::bip32::derive(&point, &[7; 32], &[0, 7]).unwrap();
    assert_eq!(below["below"]["public_key_hex"], hex::encode(derived.public_key()));
    assert_eq!(below["below"]["path"], "m/0/7");
    assert_eq!(below["evm_address"], GENERATORS_ACCOUNT);
    for refused in ["eth?path=m/0'", "eth?path=m/2147483648", "eth?way=m", "ed?path=m"] {
        assert_eq!(shown(refused).await.0, 400, "{refused}");
    }
    assert_eq!(shown("none?path=m").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_operators_make_keys_and_only_clients_sign() {
    let site = Site::start().await;
    let keygen = json!({ "idempotency_key": "a", "act": {
        "type": "key.generate", "key_id": "k", "backend": "frost-ed25519", "threshold": 2 } });
    let sign = json!({ "idempotency_key": "a", "act": {
        "type": "sign.message", "key_id": "k", "message_base64": "aGk=" } });
    let post = |who, body: &Value| site.call(who, "POST", "/v1/executions", Some(body.to_string()));
    assert_eq!(post("operator", &keygen).await.0, 200);
    assert_eq!(post("client", &keygen).await.0, 403);
    assert_eq!(post("client", &sign).await.0, 200);
    assert_eq!(post("operator", &sign).await.0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_content_fits_and_one_byte_more_is_refused() {
    let site = Site::start().await;
    let body = |len: usize| {
        let message_base64 = STANDARD.encode(vec![0; len]);
        let act =
            json!({ "type": "sign.message", "key_id": "k", "message_base64": message_base64 });
        Some(json!({ "idempotency_key": "k", "act": act }).to_string())
    };
    let most = limits::CONTENT_BYTES_MAX;
    assert_eq!(site.call("client", "POST", "/v1/executions", body(most)).await.0, 200);
    let (status, text) = site.call("client", "POST", "/v1/executions", body(most + 1)).await;
    assert_eq!(status, 413);
    assert!(text.contains("RESOURCE_LIMIT"));
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_routes_and_methods_answer_in_the_same_form() {
    let site = Site::start().await;
    for (method, path) in [("GET", "/v2/keys"), ("DELETE", "/v1/keys"), ("GET", "/v1/keys/none")] {
        let (status, text) = site.call("client", method, path, None).await;
        assert_eq!(status, 404, "{path}");
        assert!(text.contains("NOT_FOUND"), "{text}");
    }
    assert_eq!(site.call("nobody", "GET", "/healthz", None).await, (200, "ok\n".to_owned()));
    let (status, text) = site.call("nobody", "GET", "/openapi.json", None).await;
    assert_eq!(status, 200);
    assert!(text.contains("/v1/executions/{id}/evidence"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed_and_its_place_serves_the_next() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let bounded = listener::Bounded::new(listener, 1, Duration::from_millis(200));
    let routes = Router::new().route("/healthz", get(cluster::health));
    tokio::spawn(async move { axum::serve(bounded, routes).await });
    let idle = tokio::net::TcpStream::connect(addr).await.unwrap();
    let asked = tokio::task::spawn_blocking(move || {
        ureq::get(format!("http://{addr}/healthz")).call().map(|a| a.status().as_u16())
    });
    let status = tokio::time::timeout(Duration::from_secs(10), asked).await.unwrap().unwrap();
    assert_eq!(status.unwrap(), 200);
    drop(idle);
}
