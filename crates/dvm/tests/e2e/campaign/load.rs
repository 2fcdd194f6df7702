//! The clients of a campaign: they ask for signatures at random nodes, and remember what they asked.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dvm_act::evm::{Fields, Transaction};
use serde_json::{Value, json};

use super::Seeded;
use crate::site::Site;

/// Pause of a client between two requests: the machine is to be busy, not choked.
const PAUSE: Duration = Duration::from_millis(60);
/// Longest answer: all executions of a long campaign.
const ANSWER_BYTES_MAX: u64 = 1 << 30;
/// How long a request waits for its signature at first.
const FIRST_WAIT_MS: u64 = 4_000;

/// A node's API, as any client would call it.
pub struct Api {
    agent: ureq::Agent,
    urls: Vec<String>,
    tokens: Value,
}

impl Api {
    pub fn new(site: &Site) -> Self {
        let tokens = std::fs::read(site.path("tokens_path")).unwrap();
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)));
        Self {
            agent: config.build().into(),
            urls: (0..3).map(|at| site.api(at).to_owned()).collect(),
            tokens: serde_json::from_slice(&tokens).unwrap(),
        }
    }

    /// Calls a node; what it answers, whatever the status, or nothing if it does not.
    pub fn call(&self, at: usize, role: &str, path: &str, body: Option<&Value>) -> Option<Value> {
        let url = format!("{}{path}", self.urls[at]);
        let bearer = format!("Bearer {}", self.tokens[role].as_str().unwrap());
        let mut answer = match body {
            Some(body) => self.agent.post(&url).header("authorization", &bearer).send_json(body),
            None => self.agent.get(&url).header("authorization", &bearer).call(),
        }
        .ok()?;
        answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_json().ok()
    }
}

/// What the clients of a campaign want.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Messages signed by the key `auto`; the first client's by `people`, who release.
    Messages,
    /// Payments by the key `evm`.
    Payments,
}

/// The unsigned payment that a request asks for.
pub fn payment(number: u64) -> Transaction {
    let fields = json!({
        "chainId": "0x7a69", "nonce": format!("{number:#x}"), "value": "0x1", "gas": "0x5208",
        "to": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "gasPrice": "0x3b9aca00",
    });
    serde_json::from_value::<Fields>(fields).unwrap().transaction().unwrap()
}

/// One request, and the last that is known of it.
pub struct Request {
    pub at: usize,
    pub number: u64,
    pub name: String,
    pub key: &'static str,
    pub denied: bool,
    pub view: Value,
    /// Every signature that any answer ever showed.
    pub signatures: Vec<String>,
}

impl Request {
    pub fn intent(&self) -> Option<&str> {
        self.view["intent"].as_str()
    }

    pub fn state(&self) -> &str {
        self.view["state"].as_str().unwrap_or_default()
    }

    /// Takes in an answer.
    pub fn heard(&mut self, answer: Option<Value>) {
        let Some(view) = answer else { return };
        if let Some(signature) = view["signature_hex"].as_str() {
            self.signatures.push(signature.to_owned());
        }
        // An error instead of a view is kept until there is a view.
        if view["intent"].is_string() || self.view["intent"].is_null() {
            self.view = view;
        }
    }
}

/// What all clients share.
pub struct Load<'a> {
    pub site: &'a Site,
    pub api: Api,
    pub stop: AtomicBool,
    pub in_flight: AtomicU64,
    pub signed: AtomicU64,
    /// Of those, by a presignature.
    pub spent: AtomicU64,
    asked: AtomicU64,
    wanted: Wanted,
    seed: u64,
}

impl<'a> Load<'a> {
    pub fn new(site: &'a Site, wanted: Wanted, seed: u64) -> Self {
        let zero = || AtomicU64::new(0);
        let (in_flight, signed, spent, asked) = (zero(), zero(), zero(), zero());
        let stop = AtomicBool::new(false);
        Self { site, api: Api::new(site), stop, in_flight, signed, spent, asked, wanted, seed }
    }

    pub fn asked(&self) -> u64 {
        self.asked.load(Relaxed)
    }

    /// One client until the end; the first asks for what people must release.
    pub fn client(&self, number: usize) -> Vec<Request> {
        let mut random = Seeded(self.seed ^ (number as u64 + 1) << 32);
        let mut made = Vec::new();
        while !self.stop.load(Relaxed) {
            let people = number == 0 && self.wanted == Wanted::Messages;
            let asked = self.asked.fetch_add(1, Relaxed);
            let mut request = Request {
                at: random.below(3) as usize,
                number: asked,
                name: format!("campaign-{asked}"),
                key: match self.wanted {
                    Wanted::Payments => "evm",
                    Wanted::Messages if people => "people",
                    Wanted::Messages => "auto",
                },
                denied: people && random.below(8) == 0,
                view: Value::Null,
                signatures: Vec::new(),
            };
            self.in_flight.fetch_add(1, Relaxed);
            self.ask(&mut request, FIRST_WAIT_MS);
            if people {
                self.people_speak(&mut request);
            }
            self.in_flight.fetch_sub(1, Relaxed);
            let signed = request.state() == "Published";
            let spent = signed && request.view["material"].is_string();
            self.signed.fetch_add(signed.into(), Relaxed);
            self.spent.fetch_add(spent.into(), Relaxed);
            made.push(request);
            std::thread::sleep(PAUSE);
        }
        made
    }

    /// Asks, or asks again under the same name.
    pub fn ask(&self, request: &mut Request, wait_ms: u64) {
        let act = match self.wanted {
            Wanted::Messages => json!({
                "type": "sign.message", "key_id": request.key,
                "message_base64": STANDARD.encode(&request.name),
            }),
            Wanted::Payments => json!({
                "type": "sign.evm_transaction", "key_id": request.key,
                "transaction_hex": hex::encode(payment(request.number).payload()),
            }),
        };
        let wait_for = if request.key == "people" { "executed" } else { "published" };
        let body = json!({
            "idempotency_key": request.name, "act": act, "wait_ms": wait_ms, "wait_for": wait_for,
        });
        request.heard(self.api.call(request.at, "client", "/v1/executions", Some(&body)));
    }

    /// Approves or denies, if the node can be asked; it may die at any moment, so it may fail.
    pub fn people_speak(&self, request: &mut Request) {
        let Some(intent) = request.intent().map(str::to_owned) else { return };
        if request.denied {
            self.site.cli_as(request.at, "demo-carol", &["deny", &intent]);
        } else if request.state() == "Executed" {
            let approve = ["approve", &intent, "--purpose", "release"];
            self.site.cli_as(request.at, "demo-alice", &approve);
        }
        self.look(request, 0);
    }

    /// Looks at a request that has an intent.
    pub fn look(&self, request: &mut Request, wait_ms: u64) {
        let Some(intent) = request.intent() else { return };
        let path = format!("/v1/executions/{intent}?wait_ms={wait_ms}");
        request.heard(self.api.call(request.at, "client", &path, None));
    }
}
