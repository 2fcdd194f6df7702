//! What must hold after a campaign: every request has ended, every signature and bundle verifies, every
//! intent has one signature at most, and nothing was sent that must not be.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use dvm_act::evm::address_of;
use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::{Value, json};

use super::load::{Load, Request, payment};
use crate::site::{Site, ran};

/// Longest time for one request to end once all processes are back.
const END_TIME: Duration = Duration::from_secs(120);
/// Bundles that are exported and verified: each costs two processes.
const BUNDLES: usize = 30;
/// Threads that look after requests.
const SETTLERS: usize = 4;
/// States that nothing leaves.
const ENDS: [&str; 5] = ["Published", "Denied", "Discarded", "Poisoned", "Expired"];

pub struct Audit<'a> {
    site: &'a Site,
    pub report: Value,
}

impl<'a> Audit<'a> {
    pub fn new(site: &'a Site) -> Self {
        Self { site, report: json!({ "problems": [], "requests": {}, "checked": {} }) }
    }

    pub fn problem(&mut self, what: String) {
        self.report["problems"].as_array_mut().unwrap().push(what.into());
    }

    /// Takes over what somebody else found.
    pub fn problems(&mut self, found: &mut Vec<String>) {
        found.drain(..).for_each(|what| self.problem(what));
    }

    /// Asks for every request again by its name until it has ended.
    pub fn settle(&mut self, load: &Load<'_>, requests: Vec<Request>) -> Vec<Request> {
        let (open, done) = (Mutex::new(requests), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..SETTLERS {
                scope.spawn(|| {
                    loop {
                        let Some(mut request) = open.lock().unwrap().pop() else { return };
                        settled(load, &mut request);
                        done.lock().unwrap().push(request);
                    }
                });
            }
        });
        let requests = done.into_inner().unwrap();
        let mut ends: BTreeMap<String, u64> = BTreeMap::new();
        for request in &requests {
            let codes = request.view["codes"].to_string();
            let shown = if codes == "[]" { String::new() } else { format!(" {codes}") };
            *ends.entry(format!("{} {}{shown}", request.key, request.state())).or_default() += 1;
            let why = request.view["codes"].as_array().is_some_and(|codes| !codes.is_empty());
            let published = request.state() == "Published";
            if !ENDS.contains(&request.state()) || !published && !why {
                self.problem(format!("{} has no end: {}", request.name, self.story(request)));
            } else if !published && !request.denied {
                // Nobody said no, and everybody is there.
                self.problem(format!("{} is not signed: {}", request.name, self.story(request)));
            }
        }
        let all = ends.into_iter().map(|(name, n)| (name, json!(n))).collect();
        self.report["requests"] = Value::Object(all);
        requests
    }

    /// What every node's log says of a request, for whoever has to find out.
    fn story(&self, request: &Request) -> String {
        let view = &request.view;
        let names = ["intent", "execution_id", "publication_id"].map(|field| view[field].as_str());
        let mut lines = vec![view.to_string()];
        for at in 0..3 {
            let log = std::fs::read_to_string(self.site.node_dir(at).join("node.log"));
            for line in log.unwrap_or_default().lines() {
                if names.iter().flatten().any(|name| line.contains(name)) {
                    lines.push(format!("n{} {line}", at + 1));
                }
            }
        }
        lines.join("\n    ")
    }

    /// Checks every signature, that there is one per intent at every node, and a sample of bundles.
    pub fn judge(&mut self, requests: &[Request]) {
        let mut by_intent: BTreeMap<String, String> = BTreeMap::new();
        let mut verified = 0;
        for request in requests {
            let Some(intent) = request.intent() else { continue };
            for signature in &request.signatures {
                let first = by_intent.entry(intent.to_owned()).or_insert_with(|| signature.clone());
                if first != signature {
                    self.problem(format!("{intent} has two signatures: {first} and {signature}"));
                }
            }
            if request.state() == "Published" {
                match self.verifies(request) {
                    true => verified += 1,
                    false => self.problem(format!("{}: a bad signature", request.name)),
                }
            }
        }
        self.same_everywhere(&mut by_intent);
        self.report["checked"]["signatures verified"] = verified.into();
        self.report["checked"]["intents with one signature"] = by_intent.len().into();
        let published: Vec<&Request> =
            requests.iter().filter(|r| r.state() == "Published").collect();
        let step = published.len().div_ceil(BUNDLES).max(1);
        let mut bundles = 0_u64;
        for request in published.iter().step_by(step) {
            bundles += u64::from(self.bundle_verifies(request));
        }
        self.report["checked"]["bundles verified"] = bundles.into();
    }

    fn verifies(&self, request: &Request) -> bool {
        thread_local! {
            static KEYS: std::cell::RefCell<BTreeMap<String, Vec<u8>>> = BTreeMap::new().into();
        }
        let key = KEYS.with_borrow_mut(|keys| {
            let shown = || {
                let shown = self.site.cli(0, &["key", "show", request.key]).ok();
                hex::decode(shown["public_key_hex"].as_str().unwrap()).unwrap()
            };
            keys.entry(request.key.to_owned()).or_insert_with(shown).clone()
        });
        let hex = request.view["signature_hex"].as_str().unwrap_or_default();
        let signature = hex::decode(hex).unwrap_or_default();
        if request.key == "evm" {
            // The sender is recovered from the signature.
            let (Ok(key), Ok(signature)) = (key.try_into(), signature.try_into()) else {
                return false;
            };
            let from = address_of(&key).unwrap();
            let signed = payment(request.number).signed(&from, &signature);
            let raw = request.view["raw_transaction_hex"].as_str().unwrap_or_default();
            return signed
                .is_ok_and(|signed| hex::encode(signed.raw()) == raw.trim_start_matches("0x"));
        }
        let (Ok(key), Ok(signature)) = (key.try_into(), signature.try_into()) else {
            return false;
        };
        let key = VerifyingKey::from_bytes(&key).unwrap();
        key.verify_strict(request.name.as_bytes(), &Signature::from_bytes(&signature)).is_ok()
    }

    /// No node shows another signature than the one that the client got.
    fn same_everywhere(&mut self, by_intent: &mut BTreeMap<String, String>) {
        let api = super::load::Api::new(self.site);
        for at in 0..3 {
            let listed = api.call(at, "auditor", "/v1/executions", None).unwrap_or_default();
            for view in listed["executions"].as_array().into_iter().flatten() {
                let intent = view["intent"].as_str().unwrap_or_default();
                let Some(signature) = view["signature_hex"].as_str() else { continue };
                let first =
                    by_intent.entry(intent.to_owned()).or_insert_with(|| signature.to_owned());
                if first != signature {
                    let what = format!("{intent} has another signature at node {at}: {signature}");
                    self.problem(what);
                }
            }
        }
    }

    fn bundle_verifies(&mut self, request: &Request) -> bool {
        let intent = request.intent().unwrap();
        let out = self.site.dir.join("audited.car");
        let export = ["evidence", "export", intent, "--out", out.to_str().unwrap()];
        let exported = self.site.cli(request.at, &export);
        if exported.exit != 0 {
            self.problem(format!("{intent}: no bundle: {}", exported.err));
            return false;
        }
        let mut verify = self.site.dvm();
        verify.args(["evidence", "verify", "--json"]).arg(&out).arg("--trust");
        let verified = ran(verify.arg(self.site.path("trust_path")));
        let report = verified.view().unwrap_or_default();
        let same = report["result_hex"] == request.view["signature_hex"];
        if verified.exit != 0 || report["state"] != "Published" || !same {
            self.problem(format!("{intent}: its bundle does not verify: {}", verified.err));
            return false;
        }
        true
    }

    /// Checks everything that every node ever sent.
    pub fn wire(&mut self) {
        let captures: Vec<PathBuf> =
            (0..3).map(|at| self.site.node_dir(at).join("wire.capture")).collect();
        let mut check = self.site.dvm();
        check.args(["evidence", "wire", "--json"]).args(&captures);
        check.arg("--manifest").arg(self.site.dir.join("manifest.dagcbor"));
        let checked = ran(check.arg("--trust").arg(self.site.path("trust_path")));
        let report = checked.view().unwrap_or_default();
        for complaint in report["complaints"].as_array().into_iter().flatten() {
            self.problem(format!("on the wire: {complaint}"));
        }
        // With every node's capture there is nothing that could not be judged.
        let whole = report["unproposed_runs"] == 0 && report["unjudged_openings"] == 0;
        if checked.exit != 0 || !whole {
            self.problem(format!("the captures do not hold: {report} {}", checked.err));
        }
        self.report["wire"] = report;
        let bytes = captures.iter().map(|c| std::fs::metadata(c).map_or(0, |m| m.len()));
        self.report["wire"]["bytes"] = bytes.sum::<u64>().into();
    }
}

/// One request to its end, people included.
fn settled(load: &Load<'_>, request: &mut Request) {
    let deadline = Instant::now() + END_TIME;
    while !ENDS.contains(&request.state()) && Instant::now() < deadline {
        // A node that knows nothing of it takes it as new; one that does, goes on with it.
        load.ask(request, 5_000);
        if request.key == "people" && !ENDS.contains(&request.state()) {
            load.people_speak(request);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // What a client saw in the turmoil must still be so.
    load.look(request, 0);
}
