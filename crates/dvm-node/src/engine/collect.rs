//! Gathering evidence: every peer's part of one operation, for the bundle.

use std::collections::BTreeMap;

use dvm_core::bytes::B32;
use dvm_core::ids::NodeId;
use dvm_core::link::Link;
use dvm_core::reason::ReasonCode;
use dvm_core::trace::Trace;
use dvm_evidence::peer::{PeerEvidence, RunEvidence};
use dvm_evidence::{BundleInput, BundleRefused};

use super::drive::Run;
use super::{ApiReply, Engine, Token};
use crate::wire::PeerMessage;

/// How long the slowest peer may take; a bundle without it says so.
const COLLECT_MS: u64 = 3_000;

/// A bundle being gathered.
#[derive(Debug)]
pub(super) struct Collection {
    tokens: Vec<Token>,
    until_ms: u64,
    parts: BTreeMap<NodeId, Option<PeerEvidence>>,
}

impl Engine {
    pub(super) fn api_evidence(&mut self, token: Token, id: &str) {
        let Some(intent) = self.find(id) else {
            return self.refuse(
                token,
                ReasonCode::NotFound,
                format!("no operation `{id}` at this node"),
            );
        };
        if let Some(collection) = self.collections.get_mut(&intent) {
            return collection.tokens.push(token);
        }
        let own = self.evidence_part(&intent);
        let until_ms = self.running_ms + COLLECT_MS;
        let parts = BTreeMap::from([(self.me.clone(), own)]);
        self.collections.insert(intent, Collection { tokens: vec![token], until_ms, parts });
        let nodes: Vec<NodeId> = self.manifest.nodes.iter().map(|p| p.node.clone()).collect();
        for node in nodes {
            if node != self.me {
                self.send(&node, 0, PeerMessage::FetchEvidence { intent });
            }
        }
        self.finish_collection(&intent);
    }

    pub(super) fn on_fetch_evidence(&mut self, to: &NodeId, intent: &Link) {
        let part = self.evidence_part(intent).map(Box::new);
        self.send(to, 0, PeerMessage::Evidence { intent: *intent, part });
    }

    pub(super) fn on_evidence(&mut self, from: &NodeId, intent: Link, part: Option<PeerEvidence>) {
        let Some(collection) = self.collections.get_mut(&intent) else { return };
        // A part is believed as far as its signatures; whose it is must at least be right.
        let part = part.filter(|p| p.node == *from);
        collection.parts.insert(from.clone(), part);
        self.finish_collection(&intent);
    }

    pub(super) fn tick_collections(&mut self) {
        let due: Vec<Link> = self
            .collections
            .iter()
            .filter(|(_, c)| self.running_ms >= c.until_ms)
            .map(|(link, _)| *link)
            .collect();
        for intent in due {
            self.answer_collection(&intent);
        }
    }

    fn finish_collection(&mut self, intent: &Link) {
        let complete = self
            .collections
            .get(intent)
            .is_some_and(|c| c.parts.len() == self.manifest.nodes.len());
        if complete {
            self.answer_collection(intent);
        }
    }

    fn answer_collection(&mut self, intent: &Link) {
        let Some(collection) = self.collections.remove(intent) else { return };
        let Some(op) = self.operations.get(intent) else { return };
        let parts: Vec<PeerEvidence> = collection.parts.into_values().flatten().collect();
        let input = dvm_evidence::BundleInput {
            manifest: self.manifest.clone(),
            log: self.log.clone(),
            certificate: self.certificate.clone(),
            intent: op.intent.clone(),
            content: op.content.clone(),
            policy: self.policy.bundle().clone(),
            parts,
            result: op.result.clone(),
            exporter: self.me.clone(),
        };
        let made = self.vetted_bundle(input);
        for token in collection.tokens {
            match &made {
                Ok(car) => self.reply(token, ApiReply::Car(car.clone())),
                Err(refused) => self.refuse(token, refused.code(), format!("{refused}")),
            }
        }
    }

    /// The bundle; a peer whose part does not hold together with what is known here is left out, and shows as missing.
    fn vetted_bundle(&self, input: BundleInput) -> Result<Vec<u8>, BundleRefused> {
        let mut best = dvm_evidence::write_bundle(input.clone(), &self.policy_key);
        if best.as_ref().is_ok_and(|bundle| self.holds(bundle)) {
            return best;
        }
        // Which of two parts that contradict each other is odd, a refusal does not say: this node's own stands first.
        let mut kept = input.clone();
        kept.parts.clear();
        let mut parts = input.parts;
        parts.sort_by_key(|part| part.node != self.me);
        for part in parts {
            let own = part.node == self.me;
            let mut more = kept.clone();
            more.parts.push(part);
            // A peer's part that no bundle can hold is odd, too.
            match dvm_evidence::write_bundle(more.clone(), &self.policy_key) {
                Ok(made) if self.holds(&made) => (kept, best) = (more, Ok(made)),
                _ if own => break,
                _ => {}
            }
        }
        best
    }

    fn holds(&self, bundle: &[u8]) -> bool {
        dvm_evidence::verify(bundle, self.cluster).is_ok()
    }

    /// What this node holds on an intent.
    fn evidence_part(&self, intent: &Link) -> Option<PeerEvidence> {
        let op = self.operations.get(intent)?;
        let runs =
            op.runs.iter().filter_map(|id| self.run_evidence(id, self.runs.get(id)?)).collect();
        let chain = op.receipts.iter().filter_map(|seq| self.chain_entry(*seq).cloned()).collect();
        Some(PeerEvidence {
            node: self.me.clone(),
            admissions: op.admissions.clone(),
            approvals: op.approvals.clone(),
            denials: op.denials.clone(),
            runs,
            chain,
        })
    }

    fn run_evidence(&self, id: &B32, run: &Run) -> Option<RunEvidence> {
        let broadcasts = run
            .sent
            .values()
            .filter_map(|frames| frames.first())
            .flat_map(|f| f.broadcast.payloads.iter().cloned())
            .collect();
        Some(RunEvidence {
            proposal: run.proposal.clone(),
            trace: Trace {
                execution_id: *id,
                self_peer: self.me.clone(),
                events: run.events.clone(),
            },
            trace_root: self.trace_root(id)?,
            permits: run.permits.clone(),
            permit_receipt: run.permit_receipt.clone(),
            publications: run.publications.clone(),
            published: run.published.clone(),
            bans: run.bans.clone(),
            broadcasts,
        })
    }
}
