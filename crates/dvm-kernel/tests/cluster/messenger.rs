//! The messengers: runs carried between the kernels, level by level.

use std::collections::BTreeMap;

use dvm_core::admission::*;
use dvm_core::authority::*;
use dvm_core::call::*;
use dvm_core::codec::link_of;
use dvm_core::frame::{Carried, Envelope, FrameHeader, OutTree, Outgoing};
use dvm_core::intent::*;
use dvm_core::receipt::*;
use dvm_core::run::*;
use dvm_core::{B32, Bytes, NodeId, ReasonCode, Signed};
use dvm_score::Plan;
use ed25519_dalek::SigningKey;

use crate::harness::{Cluster, NODES};

/// A run as the messengers between the kernels see it.
#[derive(Clone)]
pub(crate) struct Course {
    pub(crate) header: RunHeader,
    pub(crate) plan: Plan,
    pub(crate) execution_id: B32,
    pub(crate) level: u16,
    pub(crate) calls: BTreeMap<NodeId, Vec<StepCall>>,
    /// By recipient: the frames of the last level performed.
    pub(crate) inbox: BTreeMap<NodeId, Vec<Envelope>>,
    pub(crate) replies: BTreeMap<NodeId, LevelReply>,
}

pub(crate) fn refusal(reply: &KernelReply) -> (ReasonCode, &str) {
    match reply {
        KernelReply::Refused { code, rule, .. } => (*code, rule),
        other => panic!("not refused: {other:?}"),
    }
}

pub(crate) fn level(reply: KernelReply) -> LevelReply {
    match reply {
        KernelReply::Level(level) => *level,
        other => panic!("no level: {other:?}"),
    }
}

impl Cluster {
    pub(crate) fn open_call(
        &self,
        node: &str,
        intent: &CanonicalIntent,
        content: Option<&[u8]>,
    ) -> KernelCall {
        // What is signed by its digest does not travel.
        let beside = content.filter(|_| !matches!(intent.act, Act::SignDigest { .. }));
        KernelCall::Open {
            intent: Box::new(intent.clone()),
            content: beside.map(Bytes::from),
            admission: self.judgement(node, intent, Purpose::Admit, Verdict::Allow),
            approvals: self.approvals(intent, &Purpose::Admit, &["a1"]),
        }
    }

    pub(crate) fn open(
        &mut self,
        node: &str,
        intent: &CanonicalIntent,
        content: Option<&[u8]>,
    ) -> Signed<Open> {
        let call = self.open_call(node, intent, content);
        match self.call(node, call) {
            KernelReply::Opened(open) => *open,
            other => panic!("not opened: {other:?}"),
        }
    }

    /// The proposal that a coordinator makes of these openings.
    pub(crate) fn proposal(
        &self,
        intent: &CanonicalIntent,
        opens: Vec<Signed<Open>>,
        backend: Backend,
    ) -> (Proposal, Plan) {
        self.proposal_with(intent, opens, (backend, None))
    }

    /// ... of a run that takes this material.
    pub(crate) fn proposal_with(
        &self,
        intent: &CanonicalIntent,
        opens: Vec<Signed<Open>>,
        (backend, material): (Backend, Option<Material>),
    ) -> (Proposal, Plan) {
        let participants: Vec<NodeId> = opens.iter().map(|o| o.body.node.clone()).collect();
        let run = dvm_score::Run::Act(material);
        let plan =
            dvm_score::compile(&intent.act, run, backend, &participants).unwrap().into_plan();
        let header = RunHeader {
            cluster: intent.cluster,
            intent: link_of(intent),
            kind: RunKind::Act {
                attempt: 1,
                opens: opens.iter().map(Signed::link).collect(),
                material,
            },
            plan_id: plan.id(),
            key_epoch: intent.act.key_epoch(),
            participants,
            soft_deadline_ms: 1_000,
            hard_deadline_ms: 5_000,
        };
        (Proposal { header, opens }, plan)
    }

    pub(crate) fn start(
        &mut self,
        proposal: &Proposal,
        plan: Plan,
        frames: &BTreeMap<NodeId, Vec<Envelope>>,
    ) -> Course {
        let mut calls = BTreeMap::new();
        for node in &proposal.header.participants {
            let frames = frames.get(node).cloned().unwrap_or_default();
            let call = KernelCall::Start { proposal: Box::new(proposal.clone()), frames };
            match self.call(node.as_str(), call) {
                KernelReply::Started { permits, .. } => calls.insert(node.clone(), permits),
                other => panic!("not started: {other:?}"),
            };
        }
        Course {
            header: proposal.header.clone(),
            execution_id: proposal.header.execution_id(),
            plan,
            level: 0,
            calls,
            inbox: BTreeMap::new(),
            replies: BTreeMap::new(),
        }
    }

    pub(crate) fn step_call(course: &Course, node: &NodeId) -> KernelCall {
        KernelCall::Step {
            execution_id: course.execution_id,
            level: course.level + 1,
            calls: course.calls.get(node).cloned().unwrap_or_default(),
            frames: course.inbox.get(node).cloned().unwrap_or_default(),
        }
    }

    /// Every participant performs its next level by the call that `make` gives.
    pub(crate) fn advance(
        &mut self,
        course: &mut Course,
        make: impl Fn(&Self, &Course, &NodeId) -> KernelCall,
    ) {
        let (mut inbox, mut replies) = (BTreeMap::<NodeId, Vec<Envelope>>::new(), BTreeMap::new());
        for node in course.header.participants.clone() {
            let call = make(self, course, &node);
            let reply = level(self.call(node.as_str(), call));
            assert!(
                reply.header.is_some(),
                "level {} of {node}: {:?}",
                course.level + 1,
                reply.results
            );
            for frame in &reply.frames {
                inbox.entry(frame.to.clone()).or_default().push(frame.clone());
            }
            course.calls.insert(node.clone(), reply.next.clone());
            replies.insert(node, reply);
        }
        course.level += 1;
        course.inbox = inbox;
        course.replies = replies;
    }

    pub(crate) fn run_to_held(&mut self, course: &mut Course) {
        while course.level < course.plan.levels() {
            self.advance(course, |_, course, node| Self::step_call(course, node));
        }
    }

    /// A signature, held by these two.
    pub(crate) fn held_signature(
        &mut self,
        content: &[u8],
        name: &str,
        by: [&str; 2],
        backend: Backend,
    ) -> (CanonicalIntent, Course) {
        let intent = self.sign_intent(content, name);
        let opens = by.map(|node| self.open(node, &intent, Some(content))).to_vec();
        let (proposal, plan) = self.proposal(&intent, opens, backend);
        let mut course = self.start(&proposal, plan, &BTreeMap::new());
        self.run_to_held(&mut course);
        (intent, course)
    }

    pub(crate) fn result_ref(course: &Course) -> B32 {
        let reply = course.replies.values().next().unwrap();
        reply.receipt.as_ref().unwrap().body.result_ref.unwrap()
    }

    pub(crate) fn publication(
        intent: &CanonicalIntent,
        course: &Course,
        backend: Backend,
    ) -> (Proposal, Plan) {
        let header = &course.header;
        let run = dvm_score::Run::Publish(intent.scope);
        let plan = dvm_score::compile(&intent.act, run, backend, &header.participants)
            .unwrap()
            .into_plan();
        let kind =
            RunKind::Publish { of: course.execution_id, result_ref: Self::result_ref(course) };
        let header = RunHeader { kind, plan_id: plan.id(), hard_deadline_ms: 0, ..header.clone() };
        (Proposal { header, opens: Vec::new() }, plan)
    }

    pub(crate) fn start_publication(
        &mut self,
        intent: &CanonicalIntent,
        held: &Course,
        backend: Backend,
    ) -> Course {
        let (proposal, plan) = Self::publication(intent, held, backend);
        self.start(&proposal, plan, &held.inbox)
    }

    pub(crate) fn release(course: &Course) -> Purpose {
        match &course.header.kind {
            RunKind::Publish { of, result_ref } => {
                Purpose::Release { execution_id: *of, result_ref: *result_ref }
            }
            RunKind::Act { .. } => panic!("not a publication"),
        }
    }

    pub(crate) fn grant_call(
        &self,
        intent: &CanonicalIntent,
        course: &Course,
        node: &NodeId,
        by: &[&str],
    ) -> KernelCall {
        let purpose = Self::release(course);
        KernelCall::Grant {
            execution_id: course.execution_id,
            calls: course.calls[node].clone(),
            judgement: self.judgement(node.as_str(), intent, purpose.clone(), Verdict::Allow),
            approvals: self.approvals(intent, &purpose, by),
        }
    }

    pub(crate) fn open_result_call(course: &Course, node: &NodeId) -> KernelCall {
        KernelCall::OpenResult {
            execution_id: course.execution_id,
            level: course.level + 1,
            calls: course.calls[node].clone(),
            frames: course.inbox[node].clone(),
        }
    }

    pub(crate) fn grant_all(&mut self, intent: &CanonicalIntent, course: &mut Course) {
        self.advance(course, |cluster, course, node| {
            cluster.grant_call(intent, course, node, &["a2", "a3"])
        });
    }

    /// Levels 2 and 3: the results that the kernels published.
    pub(crate) fn open_all(&mut self, course: &mut Course) -> Vec<Signed<PublishedResult>> {
        for _ in 0..2 {
            self.advance(course, |_, course, node| Self::open_result_call(course, node));
        }
        course.replies.values().map(|r| r.published.clone().unwrap()).collect()
    }

    /// Whether these bytes are a signature of the active key over the content.
    pub(crate) fn verified(&self, content: &[u8], signature: &[u8]) -> bool {
        let key = &self.state.key(&"treasury".parse().unwrap()).unwrap().ready.public_key;
        let digest = dvm_core::digest::sha256(content).0;
        let signed = match self.backend.scheme() {
            Scheme::Schnorr => content,
            Scheme::Ecdsa => digest.as_slice(),
        };
        dvm_blame::verify_signature(self.backend.into(), key, signed, signature).is_ok()
    }

    /// A key, held by all.
    pub(crate) fn held_key(&mut self, backend: Backend) -> (CanonicalIntent, Course) {
        let intent = self.keygen_intent(backend);
        let opens = NODES.map(|node| self.open(node, &intent, None)).to_vec();
        let (proposal, plan) = self.proposal(&intent, opens, backend);
        let mut held = self.start(&proposal, plan, &BTreeMap::new());
        self.run_to_held(&mut held);
        (intent, held)
    }

    /// Key generation and publication: the facts, signed by every holder.
    pub(crate) fn published_key(&mut self, backend: Backend) -> KeyReadyCertificate {
        let (intent, held) = self.held_key(backend);
        let mut publication = self.start_publication(&intent, &held, backend);
        self.grant_all(&intent, &mut publication);
        self.open_all(&mut publication);
        let signed: Vec<Signed<KeyReady>> =
            publication.replies.values().map(|r| r.key_ready.clone().unwrap()).collect();
        let ready = signed[0].body.clone();
        let signatures = signed.into_iter().map(|s| s.cose).collect();
        KeyReadyCertificate { ready, signatures }
    }
}

/// Replaces what a frame's first broadcast part says, and signs it as its sender's kernel would have.
pub(crate) fn resay(frame: &mut Envelope, signer: &SigningKey, said: Bytes) {
    let step = frame.broadcast.leaf.parts[0].step;
    let outgoing = Outgoing { broadcast: vec![(step, said)], private: BTreeMap::new() };
    let recipients = [frame.to.clone()];
    let tree = OutTree::lay_out(outgoing, &recipients, || B32([5; 32]));
    let mut header = frame.header.body.clone();
    header.out_root = tree.out_root;
    *frame = tree.envelopes(&Signed::new(header, signer)).remove(0);
}

/// A frame as its sender could have said it to these recipients instead, all under one root: with other bytes in the
/// broadcast of one step.
pub(crate) fn resaid(frame: &Envelope, recipients: &[&str], step: u16) -> Vec<Envelope> {
    let carried = &frame.broadcast;
    let said = carried.leaf.parts.iter().zip(&carried.payloads).map(|(part, bytes)| {
        let other = Bytes(vec![9; bytes.len()]);
        (part.step, if part.step == step { other } else { bytes.clone() })
    });
    let outgoing = Outgoing { broadcast: said.collect(), private: BTreeMap::new() };
    let recipients: Vec<NodeId> = recipients.iter().map(|name| name.parse().unwrap()).collect();
    let tree = OutTree::lay_out(outgoing, &recipients, || B32([5; 32]));
    let mut header = frame.header.body.clone();
    header.out_root = tree.out_root;
    let signer = crate::harness::corrupt(header.from.as_str());
    tree.envelopes(&Signed::new(header, &signer))
}

/// Says a frame's level anew to its recipient, every payload through `change`, signed as its sender's kernel would.
pub(crate) fn retold(frame: &Envelope, mut change: impl FnMut(u16, &mut Vec<u8>)) -> Envelope {
    let mut said = |carried: &Carried| -> Vec<(u16, Bytes)> {
        let parts = carried.leaf.parts.iter().zip(&carried.payloads);
        let changed = parts.map(|(part, bytes)| {
            let mut bytes = bytes.0.clone();
            change(part.step, &mut bytes);
            (part.step, Bytes(bytes))
        });
        changed.collect()
    };
    let private = BTreeMap::from([(frame.to.clone(), said(&frame.private))]);
    let outgoing = Outgoing { broadcast: said(&frame.broadcast), private };
    let tree = OutTree::lay_out(outgoing, std::slice::from_ref(&frame.to), || B32([6; 32]));
    let header = FrameHeader { out_root: tree.out_root, ..frame.header.body.clone() };
    resigned(header, &tree).remove(0)
}

/// A level's envelopes under a header that its sender's kernel key signs.
pub(crate) fn resigned(header: FrameHeader, tree: &OutTree) -> Vec<Envelope> {
    let signer = crate::harness::corrupt(header.from.as_str());
    tree.envelopes(&Signed::new(header, &signer))
}
