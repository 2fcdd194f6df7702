//! Runs between the kernels, with an interpreter beside each that records what a node records.

use std::collections::BTreeMap;

use dvm_core::admission::*;
use dvm_core::authority::KeyReadyCertificate;
use dvm_core::call::*;
use dvm_core::codec::{encode, link_of};
use dvm_core::frame::Envelope;
use dvm_core::intent::*;
use dvm_core::receipt::*;
use dvm_core::run::*;
use dvm_core::trace::*;
use dvm_core::{B32, Bytes, NodeId, ReasonCode, Signed};
use dvm_evidence::peer::RunEvidence;
use dvm_vm::{Ctx, State};

use crate::rig::{NODES, Rig, id, key, policy_key};

/// One node's run.
pub(crate) struct Live {
    pub(crate) ctx: Ctx,
    pub(crate) vm: State,
    pub(crate) proposal: Proposal,
    pub(crate) events: Vec<TraceEvent>,
    pub(crate) permits: Vec<PermitEvent>,
    pub(crate) permit_receipt: Option<Signed<PermitReceipt>>,
    pub(crate) publications: Vec<Signed<PublicationReceipt>>,
    pub(crate) published: Option<Signed<PublishedResult>>,
    pub(crate) bans: Vec<Signed<BanRecord>>,
    pub(crate) stashed: Option<Stashed>,
    broadcasts: Vec<Bytes>,
    calls: Vec<StepCall>,
    inbox: Vec<Envelope>,
    key_ready: Option<Signed<dvm_core::authority::KeyReady>>,
}

impl Live {
    pub(crate) fn take(&mut self, event: TraceEvent) {
        let taken = dvm_vm::step(&self.ctx, &mut self.vm, &event).unwrap();
        if taken.recorded {
            self.events.push(event);
        }
    }

    pub(crate) fn evidence(&self) -> RunEvidence {
        let root = dvm_vm::trace_root(&self.ctx, &self.vm, &self.events);
        let me = self.ctx.self_peer();
        RunEvidence {
            proposal: self.proposal.clone(),
            trace: Trace {
                execution_id: self.ctx.execution_id(),
                self_peer: me.clone(),
                events: self.events.clone(),
            },
            trace_root: Signed::new(root, &policy_key(me)),
            permits: self.permits.clone(),
            permit_receipt: self.permit_receipt.clone(),
            publications: self.publications.clone(),
            published: self.published.clone(),
            bans: self.bans.clone(),
            broadcasts: self.broadcasts.clone(),
        }
    }

    /// What its kernel gave for a level.
    fn perform(&mut self, reply: LevelReply) -> Vec<Envelope> {
        self.permits.extend(reply.permits);
        self.calls = reply.next;
        self.permit_receipt = reply.receipt.or(self.permit_receipt.take());
        self.publications.extend(reply.publication);
        self.bans.extend(reply.bans);
        self.stashed = reply.stashed.or(self.stashed);
        self.published = reply.published.or(self.published.take());
        self.key_ready = reply.key_ready.or(self.key_ready.take());
        for result in reply.results {
            self.take(TraceEvent::Result(result));
        }
        if let Some((header, frame)) = reply.header.zip(reply.frames.first()) {
            let broadcast = frame.broadcast.leaf.clone();
            self.broadcasts.extend(frame.broadcast.payloads.iter().cloned());
            self.take(TraceEvent::Frame(FrameFact { header, broadcast, private: None }));
        }
        reply.frames
    }
}

impl Rig {
    /// Every signer's kernel opens on its node's admission.
    fn opens(&mut self, by: &[&str]) -> Vec<Signed<Open>> {
        let (intent, content) = (self.asked(), self.content.clone());
        let open = |node: &&str| {
            let peer = self.peer(&id(node));
            let call = KernelCall::Open {
                intent: Box::new(intent.clone()),
                content: content.clone(),
                admission: Box::new(peer.admissions.last().unwrap().clone()),
                approvals: peer.approvals.clone(),
            };
            match peer.kernel.handle(call) {
                KernelReply::Opened(open) => *open,
                other => panic!("not opened: {other:?}"),
            }
        };
        by.iter().map(open).collect()
    }

    fn backend(&self) -> Backend {
        match self.asked().act {
            Act::KeyGenerate { backend, .. } => backend,
            act => self.state.key(act.key_id()).unwrap().ready.backend,
        }
    }

    /// Every participant starts: kernel and interpreter.
    fn start(&mut self, kind: RunKind, opens: Vec<Signed<Open>>, participants: Vec<NodeId>) {
        let intent = self.asked();
        let run = dvm_score::Run::of(&kind, intent.scope);
        let plan = dvm_score::compile(&intent.act, run, self.backend(), &participants).unwrap();
        let plan = plan.into_plan();
        let publishes = matches!(kind, RunKind::Publish { .. });
        let header = RunHeader {
            cluster: intent.cluster,
            intent: link_of(&intent),
            kind,
            plan_id: plan.id(),
            key_epoch: intent.act.key_epoch(),
            participants: participants.clone(),
            soft_deadline_ms: 1_000,
            hard_deadline_ms: if publishes { 0 } else { 5_000 },
        };
        let keys: BTreeMap<_, _> = participants
            .iter()
            .map(|n| (n.clone(), self.genesis.passport(n).unwrap().kernel_key))
            .collect();
        let proposal = Proposal { header: header.clone(), opens };
        for node in &participants {
            let peer = self.peer(node);
            let frames = if publishes { peer.runs.last().unwrap().inbox.clone() } else { vec![] };
            let call = KernelCall::Start { proposal: Box::new(proposal.clone()), frames };
            let KernelReply::Started { permits, .. } = peer.kernel.handle(call) else {
                panic!("not started");
            };
            let ctx = Ctx::new(node.clone(), header.clone(), plan.clone(), keys.clone()).unwrap();
            let mut live = Live {
                vm: State::new(&ctx),
                ctx,
                proposal: proposal.clone(),
                events: vec![],
                permits: vec![],
                permit_receipt: None,
                publications: vec![],
                published: None,
                bans: vec![],
                stashed: None,
                broadcasts: vec![],
                calls: permits,
                inbox: vec![],
                key_ready: None,
            };
            live.take(TraceEvent::Start);
            peer.runs.push(live);
        }
    }

    fn participants(&self) -> Vec<NodeId> {
        let run = self.peers.iter().find_map(|p| p.runs.last()).unwrap();
        run.ctx.participants().to_vec()
    }

    /// Every participant performs its next level, then hears the others.
    pub(crate) fn advance(&mut self, call: impl Fn(&Live, &Rig) -> KernelCall) {
        let mut inboxes: BTreeMap<NodeId, Vec<Envelope>> = BTreeMap::new();
        for node in self.participants() {
            for frame in self.perform(&node, &call) {
                inboxes.entry(frame.to.clone()).or_default().push(frame);
            }
        }
        for (node, inbox) in inboxes {
            let run = self.peer(&node).runs.last_mut().unwrap();
            for e in &inbox {
                let private = Some(e.private.leaf.clone());
                let (header, broadcast) = (e.header.clone(), e.broadcast.leaf.clone());
                run.take(TraceEvent::Frame(FrameFact { header, broadcast, private }));
            }
            run.inbox = inbox;
        }
    }

    /// One participant performs its next level.
    pub(crate) fn perform(
        &mut self,
        node: &NodeId,
        call: impl Fn(&Live, &Rig) -> KernelCall,
    ) -> Vec<Envelope> {
        let at = self.peers.iter().position(|p| p.id == *node).unwrap();
        let call = call(self.peers[at].runs.last().unwrap(), self);
        let cluster = self.cluster();
        let peer = &mut self.peers[at];
        let KernelReply::Level(reply) = peer.kernel.handle(call) else { panic!("no level") };
        let receipts: Vec<_> = (reply.receipt.iter().map(Signed::link))
            .chain(reply.publication.iter().map(Signed::link))
            .collect();
        for receipt in receipts {
            peer.chain_receipt(cluster, receipt);
        }
        peer.runs.last_mut().unwrap().perform(*reply)
    }

    /// The act's own run, up to a held result.
    pub(crate) fn hold(&mut self, by: &[&str]) {
        self.hold_with(by, None);
    }

    /// ... with what was prepared for it.
    pub(crate) fn hold_with(&mut self, by: &[&str], material: Option<Material>) {
        let opens = self.opens(by);
        let links = opens.iter().map(Signed::link).collect();
        let kind = RunKind::Act { attempt: 1, opens: links, material };
        self.start(kind, opens, by.iter().map(|n| id(n)).collect());
        for _ in 0..self.peer(&id(by[0])).runs.last().unwrap().ctx.levels() {
            self.advance(|run, _| step_call(run));
        }
    }

    /// The publication's run begins.
    pub(crate) fn start_publication(&mut self) {
        let Purpose::Release { execution_id, result_ref } = self.release() else { panic!() };
        let participants = self.participants();
        self.start(RunKind::Publish { of: execution_id, result_ref }, vec![], participants);
    }

    /// The release of what is held.
    pub(crate) fn release(&self) -> Purpose {
        let acts = self.peers.iter().flat_map(|p| &p.runs);
        let receipt = acts.rev().find_map(|run| run.permit_receipt.as_ref()).unwrap();
        Purpose::Release {
            execution_id: receipt.body.execution_id,
            result_ref: receipt.body.result_ref.unwrap(),
        }
    }

    /// Every signer judges the release and grants.
    pub(crate) fn grant(&mut self) {
        let purpose = self.release();
        for node in self.participants() {
            self.judge(&node, &purpose, &[]);
        }
        self.advance(grant_call);
    }

    pub(crate) fn open_level(&mut self) {
        self.advance(|run, _| open_call(run));
    }

    /// A signature, held.
    pub(crate) fn held_signature(&mut self, content: &[u8], name: &str, by: &[&str]) {
        self.ask_signature(content, name);
        self.approve(&Purpose::Admit, &["a1"]);
        for node in NODES {
            self.judge(&id(node), &Purpose::Admit, &[]);
        }
        self.hold(by);
    }

    /// ... and published.
    pub(crate) fn signature(&mut self, content: &[u8], name: &str, by: &[&str]) {
        self.held_signature(content, name, by);
        self.publish(by);
    }

    /// What is held is published.
    pub(crate) fn publish(&mut self, by: &[&str]) {
        self.start_publication();
        let purpose = self.release();
        self.approve(&purpose, &["a2", "a3"]);
        self.grant();
        self.open_level();
        self.open_level();
        let run = self.peer(&id(by[0])).runs.last().unwrap();
        self.result = Some(run.published.as_ref().unwrap().body.result.clone());
    }

    /// A key, generated and published.
    pub(crate) fn make_key(&mut self, backend: Backend) {
        let roster = NODES.map(id).to_vec();
        let act = Act::KeyGenerate { key_id: id("treasury"), backend, threshold: 2, roster };
        self.ask(act, None, "make");
        for node in NODES {
            self.judge(&id(node), &Purpose::Admit, &[]);
        }
        self.hold(&NODES);
        self.start_publication();
        self.grant();
        self.open_level();
        self.open_level();
        let signed: Vec<_> =
            self.peers.iter().map(|p| p.runs.last().unwrap().key_ready.clone().unwrap()).collect();
        let ready = signed[0].body.clone();
        let signatures = signed.into_iter().map(|s| s.cose).collect();
        self.result = Some(Bytes(encode(&KeyReadyCertificate { ready, signatures })));
    }

    /// A person says no; every kernel hears it.
    pub(crate) fn deny(&mut self, by: &str) {
        let intent = self.asked();
        let denial = Denial {
            cluster: self.cluster(),
            approver: id(by),
            intent: link_of(&intent),
            display_hash: intent.display_hash,
            key_id: intent.act.key_id().clone(),
            key_epoch: intent.act.key_epoch(),
        };
        let denial = Signed::new(denial, &key(by));
        let cluster = self.cluster();
        for peer in &mut self.peers {
            peer.denials.push(denial.clone());
            let call = KernelCall::Deny { denial: Box::new(denial.clone()) };
            let KernelReply::Denied(receipts) = peer.kernel.handle(call) else { panic!("kept") };
            for receipt in receipts {
                peer.chain_receipt(cluster, receipt.link());
                peer.runs.last_mut().unwrap().publications.push(receipt);
            }
            if let Some(run) = peer.runs.last_mut().filter(|run| run.vm.terminal().is_none()) {
                run.take(TraceEvent::Cancel(ReasonCode::DeniedByApprover));
            }
        }
    }

    /// A run is stopped where it is; the kernel's receipt says so.
    pub(crate) fn abort(&mut self, code: ReasonCode) {
        let cluster = self.cluster();
        for node in self.participants() {
            let peer = self.peer(&node);
            let execution_id: B32 = peer.runs.last().unwrap().ctx.execution_id();
            let reply = peer.kernel.handle(KernelCall::Abort { execution_id, code });
            let KernelReply::Aborted(Some(receipt)) = reply else { panic!("not aborted") };
            peer.chain_receipt(cluster, receipt.link());
            let run = peer.runs.last_mut().unwrap();
            run.permit_receipt = Some(*receipt);
            run.take(TraceEvent::Cancel(code));
        }
    }

    /// An act run that begins and performs so many levels.
    pub(crate) fn begin(&mut self, by: &[&str], levels: u16) {
        let opens = self.opens(by);
        let links = opens.iter().map(Signed::link).collect();
        let kind = RunKind::Act { attempt: 1, opens: links, material: None };
        self.start(kind, opens, by.iter().map(|n| id(n)).collect());
        for _ in 0..levels {
            self.advance(|run, _| step_call(run));
        }
    }
}

pub(crate) fn step_call(run: &Live) -> KernelCall {
    KernelCall::Step {
        execution_id: run.ctx.execution_id(),
        level: run.vm.level(),
        calls: run.calls.clone(),
        frames: run.inbox.clone(),
    }
}

fn grant_call(run: &Live, rig: &Rig) -> KernelCall {
    let peer = rig.peers.iter().find(|p| p.id == *run.ctx.self_peer()).unwrap();
    KernelCall::Grant {
        execution_id: run.ctx.execution_id(),
        calls: run.calls.clone(),
        judgement: Box::new(peer.admissions.last().unwrap().clone()),
        approvals: peer.approvals.clone(),
    }
}

pub(crate) fn open_call(run: &Live) -> KernelCall {
    KernelCall::OpenResult {
        execution_id: run.ctx.execution_id(),
        level: run.vm.level(),
        calls: run.calls.clone(),
        frames: run.inbox.clone(),
    }
}
