//! Governors: a hold in the middle of things, and its lift.

use dvm_core::authority::Floor;
use dvm_core::governance::{EventKind, LogEntry, SignedDecision};
use dvm_core::{B32, codec};
use dvm_governance::{AuthorityState, Terms};
use dvm_node::engine::{ApiCall, ApiReply};
use serde_json::Value;

use crate::SimError;
use crate::cast::{self, START_MS};
use crate::coverage::Kind;
use crate::dice::Dice;
use crate::world::{Done, World};

const YEAR_MS: u64 = 365 * 86_400_000;
/// A decision is tried so often; a log that moves, or a node that dies, makes one fail.
const TRIES_MAX: u32 = 12;

/// Who decides one thing, at one node.
pub(crate) struct Governor {
    pub node: usize,
    pub begins_ms: u64,
    /// What is still to be decided, the next first.
    pub to_decide: Vec<(EventKind, Option<Floor>)>,
    context: Option<Value>,
    tries: u32,
    /// What was answered last, for whoever prepares a cluster.
    pub said: Option<String>,
}

impl Governor {
    pub(crate) fn new(
        node: usize,
        begins_ms: u64,
        to_decide: Vec<(EventKind, Option<Floor>)>,
    ) -> Self {
        Self { node, begins_ms, to_decide, context: None, tries: 0, said: None }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.to_decide.is_empty() || self.tries >= TRIES_MAX
    }
}

/// Those of a seed.
pub(crate) fn draw(dice: &mut Dice) -> Vec<Governor> {
    if !dice.permille(80) {
        return Vec::new();
    }
    let events = vec![(EventKind::EmergencyHold, None), (EventKind::EmergencyLift, None)];
    vec![Governor::new(dice.index(3), dice.below(600), events)]
}

fn authority(
    manifest: &dvm_core::authority::ClusterManifest,
    context: &Value,
) -> Option<AuthorityState> {
    let mut state = AuthorityState::genesis(manifest).ok()?;
    for entry in context.get("log_hex")?.as_array()? {
        let entry: LogEntry = codec::decode(&hex::decode(entry.as_str()?).ok()?).ok()?;
        state = dvm_governance::apply(&state, &entry).ok()?;
    }
    Some(state)
}

impl World {
    /// A governor looks up: first the context, then the decision on it.
    pub(crate) fn governor_turn(&mut self, person: usize, index: usize) -> Done {
        let Some(governor) = self.people.governors.get_mut(index) else { return Ok(()) };
        if governor.is_done() {
            return Ok(());
        }
        let node = governor.node;
        let Some(context) = governor.context.take() else {
            return self.request(person, node, "the context", ApiCall::Context).map(|_| ());
        };
        governor.tries += 1;
        let Some((kind, floor)) = governor.to_decide.first().cloned() else { return Ok(()) };
        let state = authority(&self.manifest, &context)
            .ok_or(SimError::Shape("the context does not fold"))?;
        let hold = kind == EventKind::EmergencyHold;
        let terms = Terms {
            floor,
            proposer: cast::id("g3"),
            not_before_ms: START_MS,
            expires_ms: START_MS + YEAR_MS,
            nonce: B32([8; 32]),
        };
        let decision = dvm_governance::draft_decision(&state, kind, terms);
        let mut signed = SignedDecision { decision, signatures: Vec::new() };
        for name in ["g1", "g2"] {
            let signature =
                dvm_governance::sign_decision(&signed.decision, cast::id(name), &cast::key(name));
            dvm_governance::attach(&mut signed, signature);
        }
        if hold {
            self.coverage.took_effect(Kind::Hold);
        }
        self.story.line(self.now_ms, node, || "** governors decide".to_owned());
        self.request(person, node, "a decision", ApiCall::Decide(Box::new(signed))).map(|_| ())
    }

    /// A governor hears.
    pub(crate) fn governor_hears(&mut self, index: usize, reply: ApiReply) {
        let Some(governor) = self.people.governors.get_mut(index) else { return };
        match reply {
            ApiReply::Json(value) if value.get("log_hex").is_some() => {
                governor.context = Some(value)
            }
            ApiReply::Json(value) => {
                if value.get("effective") == Some(&Value::Bool(true)) {
                    governor.to_decide.remove(0);
                }
            }
            ApiReply::Error { code, message } => governor.said = Some(format!("{code} {message}")),
            ApiReply::Car(_) => {}
        }
    }
}
