//! A client with its approvers: one act, from the request to its end.

use std::collections::{BTreeMap, BTreeSet};

use dvm_core::admission::Purpose;
use dvm_core::intent::{Act, Backend, Scheme};
use dvm_core::{Address20, Link, ReasonCode};
use dvm_node::engine::{ApiCall, ApiReply, Submission};
use dvm_policy::Role;
use serde_json::Value;

use super::field;
use crate::SimError;
use crate::cast::{self, APPROVERS, START_MS, Shown};
use crate::coverage::Kind;
use crate::dice::Dice;
use crate::judge::{Complaint, Fact};
use crate::plan::Plan;
use crate::world::{Done, Halt, World};

/// What a client wants done.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    /// This content signed by the prepared key.
    Signature(Vec<u8>),
    /// This unsigned transaction signed by the prepared key's child at this path.
    Transaction(Vec<u8>, Vec<u32>),
    /// A new key.
    Key(String, Backend),
}

impl Wanted {
    /// A signature by keys of this backend, over something with this name in it.
    pub(crate) fn signature(backend: Backend, name: [u8; 8]) -> Self {
        match backend.scheme() {
            Scheme::Schnorr => Self::Signature(name.to_vec()),
            Scheme::Ecdsa => {
                let [index, ..] = name;
                // Half of them by the key itself, half by one of its children.
                let path = if index < 128 { Vec::new() } else { vec![44, 60, u32::from(index)] };
                Self::Transaction([&PAYS.0[..], &name, &PAYS.1].concat(), path)
            }
        }
    }
}

/// An unsigned legacy transaction, EIP-155's example, without the first eight bytes of who is paid.
const PAYS: ([u8; 12], [u8; 25]) = (
    [0xec, 9, 0x85, 4, 0xa8, 0x17, 0xc8, 0, 0x82, 0x52, 8, 0x94],
    [
        0x35, 0x35, 0x35, 0x35, 0x35, 0x35, 0x35, 0x35, 0x35, 0x35, 0x35, 0x35, 0x88, 0x0d, 0xe0,
        0xb6, 0xb3, 0xa7, 0x64, 0, 0, 0x80, 1, 0x80, 0x80,
    ],
);

/// One client.
pub(crate) struct Client {
    pub node: usize,
    pub begins_ms: u64,
    pub wanted: Wanted,
    pub idempotency_key: String,
    pub expires_ms: Option<u64>,
    pub wait_ms: u64,
    /// So many approvers say yes, when asked.
    pub willing: usize,
    /// Somebody says no at this time.
    pub denied_ms: Option<u64>,
    pub intent: Option<String>,
    given: BTreeSet<(usize, Option<String>)>,
    denied: bool,
    view: Option<Value>,
    /// The state that each node showed last.
    pub shown: BTreeMap<usize, String>,
    refused: Option<ReasonCode>,
    /// The last reasons shown: between two tries there are none.
    reasons: Vec<String>,
}

impl Client {
    pub(crate) fn new(node: usize, idempotency_key: String, wanted: Wanted) -> Self {
        Self {
            node,
            begins_ms: 0,
            wanted,
            idempotency_key,
            expires_ms: None,
            wait_ms: 0,
            willing: APPROVERS.len(),
            denied_ms: None,
            intent: None,
            given: BTreeSet::new(),
            denied: false,
            view: None,
            shown: BTreeMap::new(),
            refused: None,
            reasons: Vec::new(),
        }
    }

    pub(crate) fn state(&self) -> &str {
        self.view.as_ref().and_then(|v| field(v, "state")).unwrap_or("unknown")
    }

    pub(crate) fn codes(&self) -> Vec<String> {
        let codes = self.view.as_ref().and_then(|v| v.get("codes")).and_then(Value::as_array);
        let text = |code: &Value| code.as_str().map(str::to_owned);
        codes.into_iter().flatten().filter_map(text).collect()
    }

    /// The last reasons that were shown.
    pub(crate) fn last_codes(&self) -> Vec<String> {
        self.reasons.clone()
    }

    /// Whether nothing more is to be expected.
    pub(crate) fn is_done(&self) -> bool {
        let over =
            matches!(self.state(), "Published" | "Denied" | "Discarded" | "Poisoned" | "Expired");
        let waits = self.waits_for_people() && self.given.len() >= self.willing;
        self.refused.is_some() || over || waits && self.denied_ms.is_none_or(|_| self.denied)
    }

    /// Whether its node shows that only people are missing.
    pub(crate) fn waits_for_people(&self) -> bool {
        matches!(self.state(), "AwaitingApproval" | "Executed")
            && self.codes().iter().any(|c| c == "APPROVALS_MISSING")
    }

    fn submission(&self) -> Submission {
        let (act, content) = match &self.wanted {
            Wanted::Signature(content) => {
                let act = Act::SignMessage {
                    key_id: cast::id("demo"),
                    key_epoch: 1,
                    message: Link::of_raw(content),
                    len: content.len() as u64,
                };
                (act, Some(content.clone()))
            }
            Wanted::Transaction(payload, path) => {
                let act = Act::SignEvmTransaction {
                    key_id: cast::id("demo"),
                    key_epoch: 1,
                    path: path.clone(),
                    // Its node knows the account.
                    from: Address20::default(),
                    transaction: Link::of_raw(payload),
                    len: payload.len() as u64,
                };
                (act, Some(payload.clone()))
            }
            Wanted::Key(name, backend) => {
                let (key_id, backend) = (cast::id(name), *backend);
                (Act::KeyGenerate { key_id, backend, threshold: 2, roster: Vec::new() }, None)
            }
        };
        Submission {
            tenant: cast::id("acme"),
            requester: cast::id("alice"),
            idempotency_key: cast::id(&self.idempotency_key),
            roles: BTreeSet::from([Role::Client, Role::Operator]),
            act,
            content,
            expires_ms: self.expires_ms.map(|ms| START_MS + ms),
            wait_ms: self.wait_ms,
            until_executed: false,
        }
    }
}

/// Those of a seed.
pub(crate) fn draw(dice: &mut Dice, plan: &Plan) -> Vec<Client> {
    let count = dice.one_of(&[1, 1, 2, 2, 3]).unwrap_or(1);
    let needs = usize::from(plan.variant.admit + plan.variant.release);
    let mut clients: Vec<Client> = Vec::new();
    for n in 0..count {
        let wanted = if n == 0 && dice.permille(120) {
            // A key with pairs costs as much as twenty seeds.
            let backend = match dice.below(1_000) {
                0..700 => Backend::FrostEd25519,
                700..990 => Backend::FrostSecp256k1Tr,
                _ => Backend::Dkls23Secp256k1,
            };
            Wanted::Key(format!("new-{n}"), backend)
        } else {
            let [a, b, c, d, e, f, g, h, ..] = dice.bytes32();
            Wanted::signature(plan.variant.backend, [a, b, c, d, e, f, g, h])
        };
        let mut client = Client::new(dice.index(3), format!("k-{n}"), wanted);
        client.begins_ms = dice.below(if n == 0 { 50 } else { 1_500 });
        client.wait_ms = dice.one_of(&[0, 300, 3_000, 9_000]).unwrap_or(0);
        client.willing = if dice.permille(850) { APPROVERS.len() } else { dice.index(needs + 1) };
        if dice.permille(120) {
            client.expires_ms = Some(dice.between(300, 5_000));
        }
        if dice.permille(180) {
            client.denied_ms = Some(client.begins_ms + dice.below(400));
        }
        clients.push(client);
    }
    // The same request again, at the same node or at another one.
    if dice.permille(200)
        && let Some(first) = clients.first()
    {
        let node = if dice.permille(500) { first.node } else { dice.index(3) };
        let mut again = Client::new(node, first.idempotency_key.clone(), first.wanted.clone());
        again.begins_ms = dice.below(600);
        again.expires_ms = first.expires_ms;
        clients.push(again);
    }
    clients
}

impl World {
    /// A client does what is to be done now.
    pub(crate) fn client_turn(&mut self, index: usize) -> Done {
        let now = self.now_ms;
        let Some(client) = self.people.clients.get(index) else { return Ok(()) };
        if client.is_done() {
            return Ok(());
        }
        let node = client.node;
        let again = client.state() == "Aborted";
        let Some(intent) = client.intent.clone().filter(|_| !again) else {
            let call = ApiCall::Submit(Box::new(client.submission()));
            return self.request(index, node, "a request", call).map(|_| ());
        };
        let due = client.denied_ms.is_some_and(|at| now >= at) && !client.denied;
        if let (true, Some(view)) = (due, client.view.clone()) {
            return self.deny(index, &view);
        }
        if let Some(view) = client.view.clone()
            && self.approve(index, &view)?
        {
            return Ok(());
        }
        let call = ApiCall::Execution { id: intent, wait_ms: 0 };
        self.request(index, node, "a look", call).map(|_| ())
    }

    fn deny(&mut self, index: usize, view: &Value) -> Done {
        let person = self.dice.one_of(&APPROVERS).unwrap_or("a1");
        let at = self.dice.index(3);
        let denial = Shown::of(view)?.denial(&self.manifest, person);
        if self.request(index, at, "a denial", ApiCall::Deny(Box::new(denial)))? {
            self.coverage.took_effect(Kind::Cancel);
            self.story.line(self.now_ms, at, || format!("** {person} says no"));
            if let Some(client) = self.people.clients.get_mut(index) {
                client.denied = true;
            }
        }
        Ok(())
    }

    /// The next approver says yes, if one is asked; true if so.
    fn approve(&mut self, index: usize, view: &Value) -> Result<bool, Halt> {
        let shown = Shown::of(view)?;
        let purpose = match field(view, "state") {
            Some("AwaitingApproval") => Some(Purpose::Admit),
            Some("Executed") if self.plan.variant.release > 0 => shown.release(),
            _ => None,
        };
        let Some(client) = self.people.clients.get(index) else { return Ok(false) };
        if matches!(client.wanted, Wanted::Key(..)) {
            return Ok(false);
        }
        let Some(purpose) = purpose else { return Ok(false) };
        let slot = match &purpose {
            Purpose::Admit => None,
            Purpose::Release { result_ref, .. } => Some(result_ref.hex()),
        };
        let free = |who: &usize| !client.given.contains(&(*who, slot.clone()));
        let Some(who) = (0..client.willing.min(APPROVERS.len())).find(free) else {
            return Ok(false);
        };
        let at = if self.dice.permille(600) { client.node } else { self.dice.index(3) };
        let person = APPROVERS.get(who).copied().unwrap_or("a1");
        let approval = shown.approval(&self.manifest, person, purpose.clone());
        let intent = approval.body.intent;
        // Signed is signed, whoever then carries it.
        self.signed_approvals.push(approval.clone());
        self.judge.see(Fact::Approved { person: person.to_owned(), intent, purpose })?;
        if !self.request(index, at, "an approval", ApiCall::Approve(Box::new(approval)))? {
            return Ok(false);
        }
        self.story.line(self.now_ms, at, || format!("   {person} approves"));
        if let Some(client) = self.people.clients.get_mut(index) {
            client.given.insert((who, slot));
        }
        Ok(true)
    }

    /// A client hears.
    pub(crate) fn client_hears(
        &mut self,
        index: usize,
        node: usize,
        what: &'static str,
        reply: ApiReply,
    ) -> Done {
        match reply {
            ApiReply::Json(view) => self.client_sees(index, node, view),
            ApiReply::Error { code, .. } => self.client_refused(index, node, what, code),
            ApiReply::Car(car) => self.client_audits(index, node, &car),
        }
    }

    fn client_sees(&mut self, index: usize, node: usize, view: Value) -> Done {
        let result = field(&view, "signature_hex").and_then(|hex| hex::decode(hex).ok());
        let intent = field(&view, "intent").map(str::to_owned);
        let Some(intent) = intent else {
            return Err(Halt::Sim(SimError::Shape("a view without an intent")));
        };
        if let Some(result) = result {
            let link = intent.parse().map_err(|_| SimError::Shape("not a link"))?;
            let by = self.name(node);
            self.see_result(&by, link, (&result, None))?;
        }
        let Some(client) = self.people.clients.get_mut(index) else { return Ok(()) };
        let state = field(&view, "state").unwrap_or_default().to_owned();
        client.shown.insert(node, state.clone());
        if node == client.node {
            client.intent = Some(intent);
            let changed = client.view.as_ref().and_then(|v| field(v, "state")) != Some(&state);
            let codes = view.get("codes").cloned().unwrap_or_default();
            client.view = Some(view);
            let reasons = client.codes();
            if !reasons.is_empty() {
                client.reasons = reasons;
            }
            if changed {
                self.story
                    .line(self.now_ms, node, || format!("   client {index} sees {state} {codes}"));
            }
        }
        Ok(())
    }

    fn client_refused(
        &mut self,
        index: usize,
        node: usize,
        what: &'static str,
        code: ReasonCode,
    ) -> Done {
        self.story.line(self.now_ms, node, || format!("   client {index}: {what} refused, {code}"));
        let by = self.name(node);
        let trusted =
            !self.judge.was_rolled_back(&by) && self.plan.liar.is_none_or(|(n, _)| n != node);
        let Some(client) = self.people.clients.get_mut(index) else { return Ok(()) };
        if what == "a request" {
            client.refused = Some(code);
        }
        if node == client.node && code == ReasonCode::NotFound && what != "an approval" {
            client.intent = None;
            client.view = None;
            if trusted {
                let what = format!("{by} forgot an operation that it had acknowledged");
                return Err(Complaint { checker: "durable-before-said", what }.into());
            }
        }
        Ok(())
    }

    fn client_audits(&mut self, index: usize, node: usize, car: &[u8]) -> Done {
        let cluster = dvm_core::codec::link_of(&self.manifest);
        self.bundles += 1;
        let refused = dvm_evidence::verify(car, cluster).err().map(|r| r.to_string());
        let intent = self.people.clients.get(index).and_then(|c| c.intent.clone());
        let (node, intent) = (self.name(node), intent.unwrap_or_default());
        Ok(self.judge.see(Fact::Bundle { node, intent, refused })?)
    }
}
