//! The story: the life of a key, then of a signature, then its evidence, each step through the API; then the same for
//! a key and a transaction of Ethereum ([`evm`]).
//!
//! Always true: every sentence that is told was checked just before; where something is to be
//! refused, a refusal with another code fails the quickstart.

mod evm;

use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dvm_core::admission::Purpose;
use dvm_core::authority::{ApprovalRule, Floor, ReleaseRule};
use dvm_core::governance::EventKind;
use dvm_core::intent::{ActClass, Backend};
use dvm_core::reason::ReasonCode;
use dvm_core::{B32, KeyId};
use dvm_evidence::Report;
use dvm_evidence::verify::ReceiptKind;
use dvm_node::setup::write_new;
use dvm_node::views::{ExecutionView, KeyView};
use serde_json::{Value, json};

use super::facts::{Facts, NodeFacts, SignedFacts};
use super::people::APPROVER_SET;
use super::site::{Site, StorySite, api_url};
use crate::cli::exit::Failure;
use crate::cli::gov::{add_signature, draft, kind_name};
use crate::cli::people::give_approval;
use crate::cli::sign::random_name;
use crate::client::{As, Client};
use crate::fold;
use crate::person::PersonKey;
use crate::show;

/// The demo's key.
const KEY: &str = "demo";
/// Longest wait for the members to find each other and form the cluster.
const FORMING_TIME: Duration = Duration::from_secs(60);
/// Longest wait for one step.
const STEP_TIME: Duration = Duration::from_secs(60);
const STEP_MS: u64 = 30_000;

/// Tells the story on standard output, or keeps silent.
#[derive(Clone, Copy)]
pub(crate) struct Teller {
    pub(crate) silent: bool,
}

impl Teller {
    fn say(self, text: impl AsRef<str>) {
        if !self.silent {
            show::line(text);
        }
    }

    fn chapter(self, title: &str) {
        self.say(format!("\n{title}"));
    }

    /// One artifact, one line.
    fn artifact(self, what: &str, cid: impl std::fmt::Display) {
        self.say(format!("  {what:<58} {cid}"));
    }

    pub(crate) fn opening(self, site: &Site) {
        self.say("DVM-MPC: three nodes, each with a secret kernel of its own, and one witness, on this machine.");
        self.say("Governors and approvers are demo people: their keys have a public passphrase.");
        self.say(format!("Everything is in {}", site.dir.display()));
    }

    pub(crate) fn ending(self, site: &Site, facts: &Facts, once: bool) {
        if once && site.temporary {
            self.say(
                "\nEverything is removed now. With --dir it stays, and you can check it yourself.",
            );
            return;
        }
        self.chapter("Check it yourself");
        self.say(openssl(site, facts));
        let trust = site.cluster.trust_file.display();
        for bundle in [&facts.signed.bundle_path, &facts.sent.bundle_path] {
            self.say(format!("  dvm evidence verify {} --trust {trust}", bundle.display()));
        }
        self.say(format!("  dvm replay {}", facts.signed.bundle_path.display()));
        if once {
            return;
        }
        let people = &site.people;
        let Some(node) = site.cluster.nodes.first() else { return };
        let remote =
            format!("--api {} --token-file {}", api_url(node), site.cluster.tokens_file.display());
        self.chapter("The cluster is up. Try next");
        self.say(format!("  dvm cluster status {remote}"));
        self.say(format!("  dvm sign message --key {KEY} --text hello {remote}"));
        let (key, file) = (&facts.sent.key_id, facts.sent.transaction_file.display());
        self.say(format!("  dvm key show {key} --path m/0/7 {remote}"));
        self.say(format!("  dvm sign evm --key {key} --tx {file} {remote}"));
        if let Some(alice) = people.approvers.first() {
            let (file, pass) = (people.key_file(&alice.person), people.passphrase_file());
            self.say(format!(
                "  dvm approve INTENT --key-file {} --passphrase-file {} {remote}",
                file.display(),
                pass.display()
            ));
        }
        self.say(format!("  dvm execution show {} {remote}", facts.signed.intent));
        self.say(format!("  dvm gov verify --trust {trust} {remote}"));
        if let Some(last) = facts.nodes.last() {
            let config = site.cluster.nodes.last().map(|n| n.config.display().to_string());
            let restart = format!("dvm node run --config {}", config.unwrap_or_default());
            self.say(format!(
                "  kill -9 {}    # {} dies; the other two still sign",
                last.pid, last.node_id
            ));
            self.say(format!("  {restart}    # and it comes back"));
        }
        self.say("\nStop everything with ctrl-c.");
    }
}

fn openssl(site: &Site, facts: &Facts) -> String {
    format!(
        "  openssl pkeyutl -verify -pubin -inkey {} -rawin -in {} -sigfile {}",
        facts.signed.public_key_file.display(),
        site.file.display(),
        facts.signed.signature_file.display()
    )
}

/// Something went another way than the story says.
fn unexpected(what: &str, view: &ExecutionView) -> Failure {
    let code =
        view.codes.iter().find_map(|c| ReasonCode::from_name(c)).unwrap_or(ReasonCode::Internal);
    let (state, why) = (&view.state, view.codes.join(", "));
    let missing = view.missing.join(", ");
    let message = format!("{what}: the execution is {state} ({why}) {missing}");
    Failure::refused(code, message)
}

/// Asks again until there is an answer.
fn until<T>(
    limit: Duration,
    what: &str,
    mut ask: impl FnMut() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    let deadline = Instant::now() + limit;
    loop {
        let last = match ask() {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => None,
            Err(failure) => Some(failure),
        };
        if Instant::now() >= deadline {
            let timeout =
                || Failure::refused(ReasonCode::RemoteTimeout, format!("waited in vain: {what}"));
            return Err(last.unwrap_or_else(timeout));
        }
        std::thread::sleep(Duration::from_millis(40));
    }
}

/// The teller, and the place of the story.
struct Scene<'a> {
    site: &'a StorySite,
    teller: Teller,
    client: &'a Client,
}

/// Tells it from the first start to the verified bundle.
pub(crate) fn tell(site: &StorySite, teller: Teller) -> Result<Facts, Failure> {
    let nobody = || Failure::usage("a cluster without nodes");
    let (_, client) = site.clients.first().ok_or_else(nobody)?;
    let scene = Scene { site, teller, client };
    let nodes = scene.cluster_forms()?;
    teller.chapter("2. A key that never exists in one place");
    let key = scene.key_is_made(KEY, Backend::FrostEd25519)?;
    scene.key_has_no_authority_yet()?;
    let key = scene.governors_decide(&key, ActClass::SignMessage)?;
    let held = scene.file_is_signed()?;
    teller.chapter("5. The gate opens");
    let published = scene.release(&held)?;
    let signed = scene.finish(&key, &published)?;
    let sent = scene.transaction()?;
    Ok(Facts { nodes, signed, sent })
}

impl Scene<'_> {
    fn cluster_forms(&self) -> Result<Vec<NodeFacts>, Failure> {
        self.teller.chapter("1. The cluster");
        let mut nodes = Vec::new();
        for (id, client) in &self.site.clients {
            let status = show::waiting("waiting for the members to find each other", || {
                until(FORMING_TIME, "the cluster forms", || {
                    let status = client.get(As::Operator, "/v1/status")?;
                    let formed =
                        status.get("log_size").and_then(Value::as_u64).unwrap_or_default() > 0;
                    Ok(Some(status).filter(|_| formed))
                })
            })?;
            let number =
                |field: &str| status.get(field).and_then(Value::as_u64).unwrap_or_default();
            let api = self.site.cluster.nodes.iter().find(|n| n.id == *id).map(api_url);
            nodes.push(NodeFacts {
                node_id: id.to_string(),
                pid: number("pid"),
                kernel_pid: number("kernel_pid"),
                api: api.unwrap_or_default(),
            });
        }
        for node in &nodes {
            let NodeFacts { node_id, pid, kernel_pid, api } = node;
            self.teller.say(format!(
                "  {node_id} runs as process {pid}, its kernel as {kernel_pid}, API {api}"
            ));
        }
        self.teller.artifact(
            "Cluster: its genesis manifest, all you need to trust",
            self.site.cluster.cluster,
        );
        self.tell_event("three of four members cosigned it", "ClusterFormed")?;
        self.tell_layers()?;
        Ok(nodes)
    }

    fn tell_layers(&self) -> Result<(), Failure> {
        let attestation = self.client.get(As::Operator, "/v1/kernel/attestation")?;
        let layers =
            attestation.get("layers").and_then(Value::as_object).cloned().unwrap_or_default();
        let holds = |value: &Value| value.as_bool().unwrap_or(value.as_u64().unwrap_or(0) > 0);
        let (on, off): (Vec<_>, Vec<_>) = layers.iter().partition(|(_, value)| holds(value));
        let names = |rows: Vec<(&String, &Value)>| {
            rows.into_iter().map(|(name, _)| name.replace('_', " ")).collect::<Vec<_>>().join(", ")
        };
        self.teller.say(format!("  What walls the kernel of n1 in: {}", names(on)));
        if !off.is_empty() {
            self.teller.say(format!("  What this host does not give: {}", names(off)));
        }
        Ok(())
    }

    /// Tells the newest certified event of this kind, after checking the whole log.
    fn tell_event(&self, words: &str, kind: &str) -> Result<(), Failure> {
        let trusted = Some(self.site.cluster.cluster);
        let cid = until(STEP_TIME, kind, || {
            let folded = fold::fetch(self.client, As::Operator, trusted)?;
            let found = folded.entries.iter().rev().find(|e| kind_name(&e.event.body.kind) == kind);
            Ok(found.map(|entry| entry.event.link()))
        })?;
        self.teller.artifact(&format!("{kind}: {words}"), cid);
        Ok(())
    }

    fn submit(&self, role: As, act: &Value) -> Result<ExecutionView, Failure> {
        let request = json!({ "idempotency_key": random_name(), "act": act });
        let first = self.client.submit(role, &request)?;
        show::waiting("the cluster works", || self.client.settled(role, &first.intent, STEP_MS))
    }

    fn key_is_made(&self, key_id: &str, backend: Backend) -> Result<KeyView, Failure> {
        let act = json!({
            "type": "key.generate", "key_id": key_id, "backend": backend.name(), "threshold": 2,
        });
        let asked = self.submit(As::Operator, &act)?;
        let view = self.brought_to("Published", &asked, "key generation")?;
        let what = format!("Intent: make key `{key_id}`, any two of three nodes sign");
        self.teller.artifact(&what, &view.intent);
        for (run, root) in &view.trace_roots {
            let act = view.execution_id.as_ref() == Some(run);
            let what = if act { "key generation" } else { "publication of the public key" };
            self.teller.artifact(&format!("TraceRoot of n1, {what}"), root);
        }
        let key = until(STEP_TIME, "the key appears in the log", || {
            Ok(self.client.keys(As::Client)?.into_iter().find(|key| key.key_id == key_id))
        })?;
        self.teller.artifact(
            "KeyReady: its public facts, signed by all three kernels",
            &key.key_ready_cid,
        );
        self.tell_event("governance records the fact", "KeyObjectPublished")?;
        Ok(key)
    }

    /// Waits until an execution is in this state; one that ended otherwise never will be.
    fn brought_to(
        &self,
        state: &str,
        asked: &ExecutionView,
        what: &str,
    ) -> Result<ExecutionView, Failure> {
        until(STEP_TIME, what, || {
            let view = self.client.settled(As::Client, &asked.intent, STEP_MS)?;
            match view.state.as_str() {
                now if now == state => Ok(Some(view)),
                "Denied" | "Discarded" | "Poisoned" | "Expired" => Err(unexpected(what, &view)),
                _ => Ok(None),
            }
        })
    }

    fn message_act(&self) -> Value {
        let content = STANDARD.encode(&self.site.content);
        json!({ "type": "sign.message", "key_id": KEY, "message_base64": content })
    }

    fn key_has_no_authority_yet(&self) -> Result<(), Failure> {
        self.teller.chapter("3. A key is not yet authority");
        let refused = self.submit(As::Client, &self.message_act());
        let code = ReasonCode::KeyNotActive;
        let intent = match refused {
            Ok(view) if view.state == "Denied" && view.codes.iter().any(|c| c == code.name()) => {
                view.intent
            }
            Ok(view) => {
                return Err(unexpected("signing before activation was to be refused", &view));
            }
            Err(Failure::Refused { code: found, .. }) if found == code => String::new(),
            Err(other) => return Err(other),
        };
        self.teller.artifact("Signing with it now is refused: KEY_NOT_ACTIVE", intent);
        Ok(())
    }

    fn governors_decide(&self, key: &KeyView, act: ActClass) -> Result<KeyView, Failure> {
        let rule = ApprovalRule { set: parse(APPROVER_SET)?, k: 1 };
        let floor = Floor {
            admit: Some(rule.clone()),
            release: ReleaseRule::Approvals(rule),
            acts: vec![act],
            executions_per_hour: 10_000,
            failures_to_freeze: 5,
        };
        let key_id: KeyId = parse(&key.key_id)?;
        let folded = fold::fetch(self.client, As::Operator, Some(self.site.cluster.cluster))?;
        let governors = &self.site.people.governors;
        let proposer = governors.first().ok_or_else(|| Failure::usage("nobody governs"))?;
        let change = (EventKind::KeyActivated { key_id }, Some(floor));
        let mut proposal = draft(&folded, change, proposer.person.clone(), 1);
        for governor in governors.iter().take(2) {
            add_signature(&mut proposal, governor);
        }
        let link = dvm_core::codec::link_of(&proposal.decision);
        self.client.post_artifact(As::Operator, "/v1/governance/decisions", &proposal)?;
        self.teller.artifact("GovernanceDecision: two of three governors signed it", link);
        self.tell_event("the decision is in the log", "TransitionAuthorized")?;
        self.tell_event("only now may the key sign", "KeyActivated")?;
        self.teller.say("  Its floor, which every kernel enforces by itself: one approval to sign, another to release.");
        let mut active = None;
        for (id, client) in &self.site.clients {
            let what = format!("{id} sees the key active");
            active = Some(until(STEP_TIME, &what, || {
                Ok(client
                    .keys(As::Client)?
                    .into_iter()
                    .find(|k| k.key_id == key.key_id && k.state == "Active"))
            })?);
        }
        active.ok_or_else(|| Failure::usage("a cluster without nodes"))
    }

    fn file_is_signed(&self) -> Result<ExecutionView, Failure> {
        self.teller.chapter("4. A file is signed, and the signature is held");
        let asked = self.submit(As::Client, &self.message_act())?;
        if asked.state != "AwaitingApproval" {
            return Err(unexpected("the act was to wait for an approval", &asked));
        }
        let name = self.site.file.file_name().unwrap_or_default().to_string_lossy();
        self.teller.artifact(&format!("Intent: sign `{name}` with key `demo`"), &asked.intent);
        let held = self.held(&asked)?;
        self.teller.say("  Each kernel holds its share of the signature behind the gate;");
        self.teller.say("  no runtime, no log and no wire has it. State: Executed, not Published.");
        Ok(held)
    }

    /// Has somebody approve that the act runs, and waits until its result is held.
    fn held(&self, asked: &ExecutionView) -> Result<ExecutionView, Failure> {
        let alice = self.approver(0)?;
        give_approval(self.client, asked, Purpose::Admit, alice)?;
        self.teller
            .say(format!("  {} read the text of the act and approved that it runs.", alice.person));
        let held = self.brought_to("Executed", asked, "the result is held")?;
        self.teller.say(format!("  {} signed together.", held.signers.join(" and ")));
        Ok(held)
    }

    fn approver(&self, at: usize) -> Result<&PersonKey, Failure> {
        self.site.people.approvers.get(at).ok_or_else(|| Failure::usage("nobody approves"))
    }

    fn release(&self, held: &ExecutionView) -> Result<ExecutionView, Failure> {
        let hex = |text: &Option<String>| text.as_deref().and_then(B32::from_hex);
        let (Some(execution_id), Some(result_ref)) =
            (hex(&held.execution_id), hex(&held.result_ref))
        else {
            return Err(unexpected("a held result has a name", held));
        };
        // The release approval names this one result; an approval to sign would not do.
        let bob = self.approver(1)?;
        give_approval(self.client, held, Purpose::Release { execution_id, result_ref }, bob)?;
        self.teller.say(format!("  {} approved the release of exactly this result.", bob.person));
        let published = self.brought_to("Published", held, "the signature is published")?;
        self.teller
            .say("  Both kernels granted and only then opened their shares. State: Published.");
        Ok(published)
    }

    fn finish(&self, key: &KeyView, view: &ExecutionView) -> Result<SignedFacts, Failure> {
        let signature_hex = view.signature_hex.clone().unwrap_or_default();
        let broken = |what: &'static str| Failure::refused(ReasonCode::Internal, what);
        let signature = hex::decode(&signature_hex).map_err(|_| broken("no signature"))?;
        let public_key = hex::decode(&key.public_key_hex).map_err(|_| broken("no public key"))?;
        let suite = dvm_blame::Suite::FrostEd25519;
        dvm_blame::verify_signature(suite, &public_key, &self.site.content, &signature)
            .map_err(|_| broken("the published signature does not verify"))?;
        self.teller.say(format!("  The signature verifies: {signature_hex}"));
        let (public_key_file, signature_file) =
            (self.site.dir.join("pub.pem"), self.site.dir.join("signature.bin"));
        let public_key_pem = key.public_key_pem.clone().ok_or_else(|| broken("no PEM"))?;
        write_new(&public_key_file, public_key_pem.as_bytes(), 0o644)?;
        write_new(&signature_file, &signature, 0o644)?;
        let bundle_path = self.site.dir.join("bundle.car");
        self.teller.chapter("6. The evidence, verified offline");
        let report = self.evidence(view, &bundle_path)?;
        let execution_id = view.execution_id.clone().unwrap_or_default();
        let act_runs = report.runs.iter().filter(|run| run.execution_id.hex() == execution_id);
        Ok(SignedFacts {
            key_id: key.key_id.clone(),
            public_key_hex: key.public_key_hex.clone(),
            public_key_pem,
            public_key_file,
            signature_hex,
            signature_file,
            trace_roots: act_runs.map(|r| (r.peer.to_string(), r.trace_root.to_string())).collect(),
            execution_id,
            intent: view.intent.clone(),
            receipts: report.receipts.iter().map(|r| r.link.to_string()).collect(),
            bundle_path,
        })
    }

    /// Fetches the bundle of an execution and judges it as an outsider would: by its bytes and the cluster's id alone.
    fn evidence(&self, view: &ExecutionView, path: &Path) -> Result<Report, Failure> {
        let bundle = show::waiting("collecting every peer's part", || {
            self.client.evidence(As::Auditor, &view.intent)
        })?;
        write_new(path, &bundle, 0o644)?;
        let report = dvm_evidence::verify(&bundle, self.site.cluster.cluster)?;
        if !report.missing.is_empty() || report.state.name() != "Published" {
            let message = "a signer's part is not in the bundle, or it shows no publication";
            return Err(Failure::refused(ReasonCode::LogInconsistent, message));
        }
        for receipt in &report.receipts {
            let what = match receipt.kind {
                ReceiptKind::Admission => "AdmissionReceipt",
                ReceiptKind::Permit => "PermitReceipt",
                ReceiptKind::Publication => "PublicationReceipt",
            };
            self.teller.artifact(&format!("{what} of {}", receipt.peer), receipt.link);
        }
        for run in &report.runs {
            let what = if run.publishes.is_some() { "publication" } else { "signing" };
            self.teller.artifact(&format!("TraceRoot of {}, {what}", run.peer), run.trace_root);
        }
        let replayed = dvm_evidence::replay_bundle(&bundle)?;
        if !replayed.iter().all(dvm_evidence::Replayed::equal) {
            return Err(Failure::refused(ReasonCode::LogInconsistent, "a trace does not replay"));
        }
        self.teller
            .artifact("EvidenceBundle: accepted; every trace replays to its root", report.root);
        Ok(report)
    }
}

fn parse<T: std::str::FromStr>(text: &str) -> Result<T, Failure> {
    text.parse().map_err(|_| Failure::usage(format!("`{text}` is not a name")))
}
