//! What must hold over everything that nodes ever sent, whatever died meanwhile.
//!
//! Source: `kernel.md` (one-time material, order at the gate) and `vm.md` (one frame per peer and level).
//!
//! Always true: a complaint names what somebody outside could hold against the nodes; what a capture
//! cannot tell (runs whose proposal, or a participant whose capture is missing) is counted, not judged.
//!
//! Not here: whether a signature or a bundle verifies; the evidence verifier tells that.

use std::collections::{BTreeMap, BTreeSet};

use dvm_core::admission::Verdict;
use dvm_core::authority::{ClusterManifest, KeyReady};
use dvm_core::codec;
use dvm_core::digest::sha256;
use dvm_core::frame::{self, Authentic, Envelope, FrameHeader};
use dvm_core::receipt::PublicationReceipt;
use dvm_core::run::{Boot, Material, Open, Proposal};
use dvm_core::{B32, Link, NodeId, PublicKey, Signed};

use crate::wire::{Outcome, PeerMessage, Wire};

/// Complaints that are kept in words; beyond them they are only counted.
const COMPLAINTS_KEPT: usize = 100;
/// Where a publication's kernels grant, and where they open.
const GRANT_LEVEL: u16 = 1;
const OPEN_LEVEL: u16 = 2;

/// What was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Bytes that are no message.
    Unreadable,
    /// A statement that its kernel did not sign.
    NotAuthentic,
    /// One kernel told two stories of one level of one run.
    TwoFrames,
    /// One-time material of one run appeared in another.
    OneTimeIdTwice,
    /// One kernel spoke in two runs that spend the same presignature.
    MaterialTwice,
    /// Two different shares of one held result.
    TwoShares,
    /// A share left before every signer had granted.
    OpenedWithoutGrants,
    /// One kernel opened two results of one intent, or two results of one intent were opened by all their signers.
    TwoSignatures,
    /// One boot generation with two ids.
    TwoBoots,
    /// One place of a kernel's sequence for two statements.
    SequenceReused,
}

impl Rule {
    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::NotAuthentic => "not-authentic",
            Self::TwoFrames => "two-frames",
            Self::OneTimeIdTwice => "one-time-id-twice",
            Self::MaterialTwice => "material-twice",
            Self::TwoShares => "two-shares",
            Self::OpenedWithoutGrants => "opened-without-grants",
            Self::TwoSignatures => "two-signatures",
            Self::TwoBoots => "two-boots",
            Self::SequenceReused => "sequence-reused",
        }
    }
}

/// One rule broken once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Which.
    pub rule: Rule,
    /// By whom, as far as the capture tells.
    pub node: NodeId,
    /// Where.
    pub what: String,
}

/// What was found in a whole capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Messages read.
    pub messages: u64,
    /// Different frames: one per kernel, run and level.
    pub frames: u64,
    /// Act runs with at least one frame.
    pub act_runs: u64,
    /// Pieces of one-time material that were shown.
    pub one_time_ids: u64,
    /// Presignatures that a kernel spoke over.
    pub materials: u64,
    /// Opened shares.
    pub shares: u64,
    /// Boots of kernels that spoke.
    pub boots: u64,
    /// Act runs whose proposal is not in the capture.
    pub unproposed_runs: u64,
    /// Openings that cannot be judged because a participant's capture is missing.
    pub unjudged_openings: u64,
    /// The first complaints.
    pub complaints: Vec<Complaint>,
    /// How many there were.
    pub complained: u64,
}

type Slot = (NodeId, B32, u16);
/// The act run of a result, and whose shares of it are out.
type Opened = (B32, BTreeSet<NodeId>);

#[derive(Clone)]
struct Frame {
    header: Link,
    out_root: B32,
    prev_view: B32,
}

/// Takes in what was sent, each node's messages in their order, and judges it at the end.
#[derive(Clone, Default)]
pub struct Checker {
    keys: BTreeMap<NodeId, PublicKey>,
    senders: BTreeSet<NodeId>,
    frames: BTreeMap<Slot, Frame>,
    proposals: BTreeMap<B32, Proposal>,
    one_time: BTreeMap<B32, B32>,
    grants: BTreeMap<(NodeId, B32), PublicationReceipt>,
    shares: BTreeMap<(NodeId, B32), B32>,
    outcomes: BTreeMap<Link, B32>,
    boots: BTreeMap<(NodeId, u64), B32>,
    sequence: BTreeMap<(NodeId, u64), Link>,
    found: Found,
}

impl Checker {
    /// A checker for a cluster's messages.
    #[must_use]
    pub fn new(manifest: &ClusterManifest) -> Self {
        Self::with_keys(manifest.nodes.iter().map(|n| (n.node.clone(), n.kernel_key)).collect())
    }

    /// A checker that knows these kernels.
    #[must_use]
    pub fn with_keys(keys: BTreeMap<NodeId, PublicKey>) -> Self {
        Self { keys, ..Self::default() }
    }

    /// Takes in one message that a node sent.
    pub fn message(&mut self, from: &NodeId, bytes: &[u8]) {
        self.found.messages += 1;
        self.senders.insert(from.clone());
        let Ok(wire) = codec::decode::<Wire>(bytes) else {
            return self.complain(Rule::Unreadable, from, format!("{} bytes", bytes.len()));
        };
        match wire.message {
            PeerMessage::Hello { attestation: Some(attestation), .. } => {
                if self.keys.get(from).is_some_and(|key| attestation.verify(*key).is_ok()) {
                    self.boot(from, attestation.body.boot);
                } else {
                    self.complain(Rule::NotAuthentic, from, "an attestation".to_owned());
                }
            }
            PeerMessage::Considered(considered) => {
                if let Some(open) = considered.open {
                    self.open(&open);
                }
            }
            PeerMessage::Propose(proposal) => self.propose(*proposal),
            PeerMessage::Frame(envelope) => self.frame(from, *envelope),
            PeerMessage::Headers { headers, .. } => {
                for header in headers.into_iter().flatten() {
                    self.header(&header);
                }
            }
            PeerMessage::Outcome(outcome) => self.outcome(from, &outcome),
            _ => {}
        }
    }

    fn complain(&mut self, rule: Rule, node: &NodeId, what: String) {
        self.found.complained += 1;
        if self.found.complaints.len() < COMPLAINTS_KEPT {
            self.found.complaints.push(Complaint { rule, node: node.clone(), what });
        }
    }

    fn boot(&mut self, node: &NodeId, boot: Boot) {
        let first = *self.boots.entry((node.clone(), boot.generation)).or_insert(boot.id);
        if first != boot.id {
            self.complain(Rule::TwoBoots, node, format!("generation {}", boot.generation));
        }
    }

    fn statement(&mut self, node: &NodeId, seq: u64, link: Link) {
        let first = *self.sequence.entry((node.clone(), seq)).or_insert(link);
        if first != link {
            self.complain(Rule::SequenceReused, node, format!("{seq}: {first} and {link}"));
        }
    }

    fn signed<T: codec::Artifact>(&mut self, node: &NodeId, signed: &Signed<T>) -> bool {
        let holds = self.keys.get(node).is_some_and(|key| signed.verify(*key).is_ok());
        if !holds {
            self.complain(Rule::NotAuthentic, node, T::SCHEMA.to_owned());
        }
        holds
    }

    fn open(&mut self, open: &Signed<Open>) {
        let node = &open.body.node;
        if self.signed(node, open) {
            self.boot(node, open.body.boot);
            self.statement(node, open.body.vault_seq, open.link());
        }
    }

    fn propose(&mut self, proposal: Proposal) {
        for open in &proposal.opens {
            self.open(open);
        }
        self.proposals.entry(proposal.header.execution_id()).or_insert(proposal);
    }

    fn header(&mut self, signed: &Signed<FrameHeader>) {
        let FrameHeader { execution_id, boot, vault_seq, level, from, prev_view, out_root } =
            &signed.body;
        if !self.signed(from, signed) {
            return;
        }
        let header = signed.link();
        self.boot(from, *boot);
        self.statement(from, *vault_seq, header);
        let new = Frame { header, out_root: *out_root, prev_view: *prev_view };
        let first = self.frames.entry((from.clone(), *execution_id, *level)).or_insert(new);
        if first.header != header {
            let what = format!("run {execution_id} level {level}: {} and {header}", first.header);
            self.complain(Rule::TwoFrames, from, what);
        }
    }

    fn frame(&mut self, sender: &NodeId, envelope: Envelope) {
        // A node may pass another's frame on; the kernel that signed it answers for it.
        let node = envelope.header.body.from.clone();
        self.header(&envelope.header);
        let authentic = self.keys.get(&node).map(|key| envelope.authenticate(*key));
        match authentic {
            Some(Ok(frame)) => self.payloads(&node, &frame),
            _ => self.complain(Rule::NotAuthentic, sender, format!("a frame of {node}")),
        }
    }

    fn payloads(&mut self, node: &NodeId, frame: &Authentic) {
        let FrameHeader { execution_id, level, .. } = *frame.header();
        let Envelope { broadcast, private, .. } = frame.envelope();
        for payload in broadcast.payloads.iter().chain(&private.payloads) {
            let grant = codec::decode::<Signed<PublicationReceipt>>(payload).ok();
            match (level, grant) {
                (GRANT_LEVEL, Some(grant)) => self.grant(node, execution_id, grant),
                (GRANT_LEVEL, None) => self.one_time(node, execution_id, payload),
                (OPEN_LEVEL, _) if self.granted(node, execution_id) && !is_key_fact(payload) => {
                    self.share(node, execution_id, payload);
                }
                _ => {}
            }
        }
    }

    fn granted(&self, node: &NodeId, run: B32) -> bool {
        self.grants.contains_key(&(node.clone(), run))
    }

    fn grant(&mut self, node: &NodeId, run: B32, grant: Signed<PublicationReceipt>) {
        if self.signed(node, &grant) {
            self.boot(node, grant.body.boot);
            self.statement(node, grant.body.vault_seq, grant.link());
            self.grants.entry((node.clone(), run)).or_insert(grant.body);
        }
    }

    fn one_time(&mut self, node: &NodeId, run: B32, payload: &[u8]) {
        let first = *self.one_time.entry(sha256(payload)).or_insert(run);
        if first != run {
            let what = format!("shown in run {first} and in run {run}");
            self.complain(Rule::OneTimeIdTwice, node, what);
        }
    }

    fn share(&mut self, node: &NodeId, run: B32, payload: &[u8]) {
        let digest = sha256(payload);
        let first = *self.shares.entry((node.clone(), run)).or_insert(digest);
        if first != digest {
            self.complain(Rule::TwoShares, node, format!("in publication {run}"));
        }
    }

    fn outcome(&mut self, sender: &NodeId, outcome: &Outcome) {
        let result = sha256(&outcome.result);
        let first = *self.outcomes.entry(outcome.intent).or_insert(result);
        if first != result {
            self.complain(Rule::TwoSignatures, sender, format!("intent {}", outcome.intent));
        }
    }

    /// Judges what only the whole tells.
    #[must_use]
    pub fn finish(mut self) -> Found {
        let opened: Vec<((NodeId, B32), B32)> =
            std::mem::take(&mut self.shares).into_iter().collect();
        // One result has one share of each signer, whatever publication carries it.
        let mut by_result: BTreeMap<(NodeId, B32), B32> = BTreeMap::new();
        let mut openers: BTreeMap<(Link, B32), Opened> = BTreeMap::new();
        for ((node, run), digest) in &opened {
            self.check_opening(node, *run);
            let Some(grant) = self.grants.get(&(node.clone(), *run)) else { continue };
            let (intent, result, act) = (grant.intent, grant.result_ref, grant.facts.execution_id);
            if *by_result.entry((node.clone(), result)).or_insert(*digest) != *digest {
                self.complain(Rule::TwoShares, node, format!("of result {result}"));
            }
            let of_result = openers.entry((intent, result));
            of_result.or_insert_with(|| (act, BTreeSet::new())).1.insert(node.clone());
        }
        self.check_intents(&openers);
        self.check_material();
        let runs: BTreeSet<B32> = self.frames.keys().map(|(_, run, _)| *run).collect();
        let granted: BTreeSet<B32> = self.grants.keys().map(|(_, run)| *run).collect();
        let acts = runs.difference(&granted);
        let unproposed = acts.clone().filter(|run| !self.proposals.contains_key(run));
        self.found.unproposed_runs = unproposed.count() as u64;
        self.found.act_runs = acts.count() as u64;
        self.found.frames = self.frames.len() as u64;
        self.found.one_time_ids = self.one_time.len() as u64;
        self.found.shares = opened.len() as u64;
        self.found.boots = self.boots.len() as u64;
        self.found
    }

    /// A kernel opens one result of an intent. Different kernels may open different ones, as after a signer died with
    /// its grant out and its share still in: what counts then is that only one is complete.
    fn check_intents(&mut self, openers: &BTreeMap<(Link, B32), Opened>) {
        let mut by_kernel: BTreeMap<(Link, &NodeId), B32> = BTreeMap::new();
        let mut complete: BTreeMap<Link, B32> = BTreeMap::new();
        for ((intent, result), (act, nodes)) in openers {
            for node in nodes {
                if *by_kernel.entry((*intent, node)).or_insert(*result) != *result {
                    self.complain(Rule::TwoSignatures, node, format!("shares for intent {intent}"));
                }
            }
            let proposal = self.proposals.get(act);
            let whole =
                proposal.is_some_and(|p| p.header.participants.iter().all(|p| nodes.contains(p)));
            if let (true, Some(node)) = (whole, nodes.first())
                && *complete.entry(*intent).or_insert(*result) != *result
            {
                self.complain(Rule::TwoSignatures, node, format!("two results of intent {intent}"));
            }
        }
    }

    /// A kernel that spoke in a run has spent the run's presignature there, and has it no more.
    fn check_material(&mut self) {
        let mut spent: BTreeMap<(&NodeId, Material), B32> = BTreeMap::new();
        let mut twice = Vec::new();
        for (node, run, _) in self.frames.keys() {
            let proposal = self.proposals.get(run);
            let Some(material) = proposal.and_then(|p| p.header.kind.material()) else { continue };
            let first = *spent.entry((node, material)).or_insert(*run);
            if first != *run {
                let Material { batch, index } = material;
                let what = format!("item {index} of {batch} in run {first} and in run {run}");
                twice.push((node.clone(), what));
            }
        }
        let materials: BTreeSet<Material> = spent.into_keys().map(|(_, item)| item).collect();
        self.found.materials = materials.len() as u64;
        for (node, what) in twice {
            self.complain(Rule::MaterialTwice, &node, what);
        }
    }

    /// The opener's own signed view of the level before must be that of everybody's grants.
    fn check_opening(&mut self, node: &NodeId, run: B32) {
        // A publication is proposed by nobody: every signer of the act makes its header by itself.
        let act = self.grants.get(&(node.clone(), run)).map(|grant| grant.facts.execution_id);
        let proposal = act.and_then(|act| self.proposals.get(&act));
        let Some(proposal) = proposal else { return self.unjudged() };
        let participants = &proposal.header.participants;
        if !participants.iter().all(|p| self.senders.contains(p)) {
            return self.unjudged();
        }
        let granted = |p: &NodeId| {
            let grant = self.grants.get(&(p.clone(), run));
            let grant = grant.filter(|g| g.verdict == Verdict::Allow && g.execution_id == run)?;
            let frame = self.frames.get(&(p.clone(), run, GRANT_LEVEL))?;
            Some((p.clone(), frame.out_root, grant.result_ref))
        };
        let grants: Option<Vec<_>> = participants.iter().map(granted).collect();
        let seen = self.frames.get(&(node.clone(), run, OPEN_LEVEL)).map(|f| f.prev_view);
        let holds = grants.is_some_and(|grants| {
            let one_result = grants.windows(2).all(|two| match two {
                [a, b] => a.2 == b.2,
                _ => true,
            });
            let roots = grants.into_iter().map(|(p, root, _)| (p, root)).collect();
            one_result && seen == Some(frame::view(&run, GRANT_LEVEL, &roots))
        });
        if !holds {
            let what = format!("publication {run}");
            self.complain(Rule::OpenedWithoutGrants, node, what);
        }
    }

    fn unjudged(&mut self) {
        self.found.unjudged_openings += 1;
    }
}

/// What is opened for a new key is public: its facts, with the opener's signature.
fn is_key_fact(payload: &[u8]) -> bool {
    codec::decode::<Signed<KeyReady>>(payload).is_ok()
}

#[cfg(test)]
mod tests;
