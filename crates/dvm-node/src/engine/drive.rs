//! Driving one run: events into the VM, calls to the kernel, frames to the peers.

use std::collections::BTreeMap;

use dvm_core::admission::{Approval, Purpose};
use dvm_core::authority::KeyReady;
use dvm_core::bytes::B32;
use dvm_core::call::{KernelCall, KernelReply, LevelReply, Stashed, StepCall};
use dvm_core::frame::Envelope;
use dvm_core::governance::HeadRef;
use dvm_core::ids::NodeId;
use dvm_core::intent::{Backend, CanonicalIntent};
use dvm_core::link::Link;
use dvm_core::reason::ReasonCode;
use dvm_core::receipt::{
    BanRecord, PermitEvent, PermitReceipt, PublicationReceipt, PublishedResult,
};
use dvm_core::run::{Boot, Proposal};
use dvm_core::sign::Signed;
use dvm_core::trace::{FrameFact, Terminal, TraceEvent};
use dvm_score::ir::Kind;
use dvm_vm::{Ctx, StepError};

use super::ladder::{Session, SignedEnvelope};
use super::operation::State;
use super::{Effect, Engine, Want};
use crate::wire::PeerMessage;

/// One run as this node drives it.
pub struct Run {
    pub(super) ctx: Ctx,
    /// What the plan performs, site by site.
    pub(super) sites: Vec<Kind>,
    pub(super) vm: dvm_vm::State,
    pub(super) events: Vec<TraceEvent>,
    pub(super) intent: Link,
    pub(super) proposal: Proposal,
    pub(super) boots: BTreeMap<NodeId, Boot>,
    /// Permits for the level that is about to be performed.
    pub(super) permits_next: Vec<StepCall>,
    pub(super) permits: Vec<PermitEvent>,
    /// Peers' frames by (level, sender).
    pub(super) received: BTreeMap<(u16, NodeId), Envelope>,
    /// Own frames by level, as the kernel signed them.
    pub(super) sent: BTreeMap<u16, Vec<Envelope>>,
    /// The highest level whose own frames may be out: one in doubt is kept back.
    pub(super) emitted: u16,
    pub(super) permit_receipt: Option<Signed<PermitReceipt>>,
    pub(super) publications: Vec<Signed<PublicationReceipt>>,
    pub(super) published: Option<Signed<PublishedResult>>,
    pub(super) key_ready: BTreeMap<NodeId, Signed<KeyReady>>,
    /// The batch that the kernel keeps of this run.
    pub(super) stashed: Option<Stashed>,
    /// The peers that the kernel banned for this run.
    pub(super) bans: Vec<Signed<BanRecord>>,
    /// Whether the kernel is working on a level.
    pub(super) calling: bool,
    /// Approvals known when the gate was last asked, and this node's head.
    pub(super) asked_with: (usize, HeadRef),
    /// Serial commits behind the call it is working on.
    pub(super) commits_before: u32,
    pub(super) started: bool,
    pub(super) level_since_ms: u64,
    pub(super) soft_at_ms: u64,
    pub(super) trace_root: Option<Link>,
    /// A signer of this publication says that it has given it up.
    pub(super) given_up: bool,
    /// This publication's grant rests on what the engine had written up to here.
    pub(super) rests_on: u64,
}

impl Run {
    /// Compiles the plan again and binds the proposal to it; `None` if they do not fit.
    pub(super) fn new(
        engine: &Engine,
        intent: &CanonicalIntent,
        backend: Backend,
        proposal: Proposal,
    ) -> Option<Self> {
        let header = proposal.header.clone();
        let kind = dvm_score::Run::of(&header.kind, intent.scope);
        let compiled = dvm_score::compile(&intent.act, kind, backend, &header.participants).ok()?;
        let key = |n: &NodeId| Some((n.clone(), engine.manifest.passport(n)?.kernel_key));
        let keys = header.participants.iter().map(key).collect::<Option<BTreeMap<_, _>>>()?;
        let intent = header.intent;
        let sites = compiled.score().score().sites.iter().map(|site| site.op.kind()).collect();
        let ctx = Ctx::new(engine.me.clone(), header, compiled.into_plan(), keys).ok()?;
        let boots = proposal.opens.iter().map(|o| (o.body.node.clone(), o.body.boot)).collect();
        Some(Self {
            vm: dvm_vm::State::new(&ctx),
            ctx,
            sites,
            events: Vec::new(),
            intent,
            proposal,
            boots,
            permits_next: Vec::new(),
            permits: Vec::new(),
            received: BTreeMap::new(),
            sent: BTreeMap::new(),
            emitted: 0,
            permit_receipt: None,
            publications: Vec::new(),
            published: None,
            key_ready: BTreeMap::new(),
            stashed: None,
            bans: Vec::new(),
            calling: false,
            asked_with: (0, engine.head()),
            commits_before: 0,
            started: false,
            level_since_ms: engine.running_ms,
            soft_at_ms: engine.running_ms,
            trace_root: None,
            given_up: false,
            rests_on: 0,
        })
    }

    /// The permits at hand for the steps of a level.
    pub(super) fn calls_of(&self, level: u16) -> Vec<StepCall> {
        let of_level =
            |call: &&StepCall| self.ctx.plan().at_level(level).any(|step| step.index == call.step);
        self.permits_next.iter().filter(of_level).cloned().collect()
    }

    /// Every other participant's frame of a level, in participant order.
    pub(super) fn frames_of(&self, level: u16) -> Vec<Envelope> {
        let frame = |node: &NodeId| self.received.get(&(level, node.clone())).cloned();
        self.ctx.others().filter_map(frame).collect()
    }
}

impl Engine {
    pub(super) fn on_started(&mut self, run_id: &B32, reply: KernelReply) {
        match reply {
            KernelReply::Started { permits, .. } => {
                let now = self.running_ms;
                let Some(run) = self.runs.get_mut(run_id) else { return };
                run.permits_next = permits;
                run.level_since_ms = now;
                run.soft_at_ms = now;
                run.started = true;
                // What peers told of the run before its start is on record already; its start is not.
                if run.vm.level() == 0 {
                    self.feed(run_id, TraceEvent::Start);
                } else {
                    self.resume_level(run_id);
                }
                for envelope in self.early.take(run_id) {
                    self.on_frame(0, envelope);
                }
            }
            KernelReply::Refused { code, rule, .. } => self.start_refused(run_id, code, &rule),
            _ => self.start_refused(run_id, ReasonCode::Internal, "unexpected reply"),
        }
    }

    fn start_refused(&mut self, run_id: &B32, code: ReasonCode, rule: &str) {
        self.count_run_as(run_id, code.name().to_owned());
        let Some(run) = self.runs.remove(run_id) else { return };
        self.log("kernel refused the run", format!("{run_id} {rule}"), Some(code));
        if run.ctx.publishes() {
            let intent = run.intent;
            if !run.sent.is_empty() {
                // A grant is out, and a peer's share may be: whoever asks hears that the try is over.
                self.runs.insert(*run_id, run);
            }
            return self.held_lost(&intent);
        }
        let others: Vec<NodeId> = run.ctx.others().cloned().collect();
        for node in others {
            self.send(&node, 0, PeerMessage::Stopped { execution_id: *run_id, code });
        }
        if code == ReasonCode::SplitBrainFenced {
            self.leave_boots_out(&run);
        }
        if code == ReasonCode::PartyBanned {
            self.leave_out_banned(&run);
        }
        if Self::rules_set_out(code) {
            self.note_refused_set(&run, None, code);
        }
        self.material_refused(&run, code);
        self.run_stopped(&run.intent, run_id, code);
    }

    /// Gives one event to the VM and performs what follows. Refused events change nothing.
    pub(super) fn feed(&mut self, run_id: &B32, event: TraceEvent) {
        let now = self.running_ms;
        let Some(run) = self.runs.get_mut(run_id) else { return };
        let taken = match dvm_vm::step(&run.ctx, &mut run.vm, &event) {
            Ok(taken) => taken,
            Err(StepError::Refused(code)) => {
                return self.log("event refused", run_id.hex(), Some(code));
            }
            Err(StepError::Poison(code)) => return self.poison(run_id, code),
        };
        if taken.recorded {
            let index = run.events.len();
            run.events.push(event);
            self.save_event(run_id, index);
        }
        if let Some(level) = taken.emit {
            self.emit(run_id, level);
        }
        if let Some((peer, level)) = taken.want_headers {
            let ask = PeerMessage::Headers { execution_id: *run_id, level, headers: None };
            self.send(&peer, 0, ask);
        }
        if taken.resend {
            self.resend_all(run_id);
        }
        if let Some(level) = taken.opens {
            if let Some(run) = self.runs.get_mut(run_id) {
                run.level_since_ms = now;
                run.soft_at_ms = now;
            }
            self.call_level(run_id, level);
        }
        if let Some(terminal) = taken.terminal {
            self.run_ended(run_id, &terminal);
        }
    }

    /// Asks the kernel for the level that is open, if it is not working on it already.
    pub(super) fn call_level(&mut self, run_id: &B32, level: u16) {
        let Some(run) = self.runs.get(run_id) else { return };
        if run.calling {
            return;
        }
        let intent = run.intent;
        if run.ctx.publishes() && level == 1 {
            return self.try_gate(&intent);
        }
        if !self.gives_way(run_id, level) {
            self.ask_level(run_id, level);
        }
    }

    pub(super) fn ask_level(&mut self, run_id: &B32, level: u16) {
        let Some(run) = self.runs.get_mut(run_id) else { return };
        let intent = run.intent;
        run.calling = true;
        run.commits_before = self.operations.get(&intent).map_or(0, |op| op.commits);
        let (execution_id, calls) = (*run_id, run.calls_of(level));
        let frames = run.frames_of(level.saturating_sub(1));
        let call = if run.ctx.publishes() {
            KernelCall::OpenResult { execution_id, level, calls, frames }
        } else {
            KernelCall::Step { execution_id, level, calls, frames }
        };
        let opening = run.ctx.publishes() && level == 2;
        let rests_on = if opening { run.rests_on } else { 0 };
        if opening {
            self.set_state(&intent, State::Opening, Vec::new());
        }
        self.ask_after(rests_on, call, Want::Level { run: *run_id });
    }

    pub(super) fn resume_level(&mut self, run_id: &B32) {
        let Some(run) = self.runs.get(run_id) else { return };
        let level = run.vm.level();
        if level > 0 && !run.vm.frontier(&run.ctx).open_calls.is_empty() {
            self.call_level(run_id, level);
        }
    }

    pub(super) fn on_level(&mut self, run_id: &B32, reply: KernelReply) {
        if let Some(run) = self.runs.get_mut(run_id) {
            run.calling = false;
        }
        match reply {
            KernelReply::Level(level) => self.level_done(run_id, *level),
            KernelReply::Refused { code, rule, publication } => {
                let gate = self.runs.get(run_id).is_some_and(|r| r.ctx.publishes());
                self.log("kernel refused", format!("{run_id} {rule}"), Some(code));
                if gate {
                    self.gate_refused(run_id, code, publication.map(|p| *p));
                } else {
                    self.feed(run_id, TraceEvent::Cancel(code));
                }
            }
            _ => self.poison(run_id, ReasonCode::Internal),
        }
        self.opening_failed(run_id);
    }

    /// A level is performed and on the kernel's disk: frames out first, then this node's own record.
    fn level_done(&mut self, run_id: &B32, level: LevelReply) {
        if self.grant_without_verdict(run_id, &level) {
            return;
        }
        let Some(run) = self.runs.get_mut(run_id) else { return };
        let intent = run.intent;
        run.permits_next = level.next;
        // A level said again after a restart names permits that are on record already.
        for permit in &level.permits {
            if !run.permits.contains(permit) {
                run.permits.push(permit.clone());
            }
        }
        run.stashed = level.stashed.or(run.stashed);
        self.take_bans(run_id, level.bans);
        let Some(run) = self.runs.get_mut(run_id) else { return };
        let number = level.header.as_ref().map(|h| h.body.level);
        if let Some(number) = number {
            run.sent.insert(number, level.frames.clone());
        }
        if let Some(ready) = &level.key_ready {
            run.key_ready.insert(run.ctx.self_peer().clone(), ready.clone());
        }
        let behind = run.commits_before + 1;
        self.raise_commits(&intent, behind);
        self.emit_at = Some(self.out.len());
        self.save_level(run_id, number);
        if let Some(receipt) = level.receipt {
            self.record_permit_receipt(&intent, run_id, receipt);
        }
        if let Some(receipt) = level.publication {
            self.record_grant(&intent, run_id, receipt);
        }
        if let Some(result) = level.published {
            self.record_published(&intent, run_id, result);
        }
        for result in level.results {
            self.feed(run_id, TraceEvent::Result(result));
        }
        let own = level.header.zip(level.frames.first()).map(|(header, frame)| FrameFact {
            header,
            broadcast: frame.broadcast.leaf.clone(),
            private: None,
        });
        if let Some(fact) = own {
            self.feed(run_id, TraceEvent::Frame(fact));
        }
        self.emit_at = None;
    }

    /// Sends a level's frames. The kernel has them on its disk, so they go ahead of this node's own
    /// record of the level.
    fn emit(&mut self, run_id: &B32, level: u16) {
        let Some(run) = self.runs.get_mut(run_id) else { return };
        run.emitted = run.emitted.max(level);
        let frames = run.sent.get(&level).cloned().unwrap_or_default();
        let commits = self.operations.get(&run.intent).map_or(0, |op| op.commits);
        let at = self.emit_at.take().unwrap_or(self.out.len());
        let sends = frames.into_iter().map(|frame| Effect::Send {
            to: frame.to.clone(),
            commits,
            message: PeerMessage::Frame(Box::new(frame)),
        });
        let before = self.out.len();
        self.out.splice(at..at, sends);
        self.shift_owed(at, self.out.len() - before);
    }

    /// A peer's frame: up the ladder, then into the VM.
    pub(super) fn on_frame(&mut self, commits: u32, envelope: Envelope) {
        let taken = SignedEnvelope::check(envelope, &self.manifest).and_then(|e| e.admit(&self.me));
        let frame = match taken {
            Ok(frame) => frame,
            Err(code) => return self.log("frame refused", "", Some(code)),
        };
        let run_id = frame.execution_id();
        let known = self.runs.get(&run_id).is_some_and(|r| r.started);
        if !known {
            return self.early.keep(self.running_ms, frame.envelope());
        }
        let Some(run) = self.runs.get(&run_id) else { return };
        let session = Session {
            execution_id: run_id,
            boots: &run.boots,
            participants: run.ctx.participants(),
            level: run.vm.level(),
        };
        let plan = run.ctx.plan();
        let fact = match frame.enter(&session).and_then(|f| f.expect(plan)) {
            Ok(fact) => fact,
            Err(code) => return self.log("frame refused", run_id.hex(), Some(code)),
        };
        let intent = run.intent;
        self.raise_commits(&intent, commits);
        let event = TraceEvent::Frame(fact.fact());
        let envelope = fact.into_envelope();
        let slot = (envelope.header.body.level, envelope.header.body.from.clone());
        if let Some(run) = self.runs.get_mut(&run_id) {
            run.received.entry(slot).or_insert(envelope);
        }
        self.feed(&run_id, event);
    }

    /// Own frames of a run once more, as they were signed.
    pub(super) fn resend_all(&mut self, run_id: &B32) {
        let Some(run) = self.runs.get(run_id) else { return };
        let level = run.vm.level();
        let missing = run.vm.frontier(&run.ctx).missing_peers;
        let out = run.sent.range(..=run.emitted);
        let frames =
            out.flat_map(|(_, frames)| frames).filter(|frame| super::records::is_whole(frame));
        let frames: Vec<Envelope> = frames.cloned().collect();
        for frame in frames {
            self.send(&frame.to.clone(), 0, PeerMessage::Frame(Box::new(frame.clone())));
        }
        let said = self.said_at_gate(run_id);
        for node in missing {
            for message in &said {
                self.send(&node, 0, message.clone());
            }
            self.send(&node, 0, PeerMessage::Resend { execution_id: *run_id, level });
        }
    }

    /// What people said on the release of a result: a peer may have been down when it came, or lost it.
    fn said_at_gate(&self, run_id: &B32) -> Vec<PeerMessage> {
        let run = self.runs.get(run_id).filter(|run| run.ctx.publishes());
        let Some(op) = run.and_then(|run| self.operations.get(&run.intent)) else {
            return Vec::new();
        };
        let releases = |a: &&Signed<Approval>| a.body.purpose != Purpose::Admit;
        let yes = op.approvals.iter().filter(releases).cloned().map(Box::new);
        yes.map(PeerMessage::Approval).collect()
    }

    fn poison(&mut self, run_id: &B32, code: ReasonCode) {
        let Some(run) = self.runs.get(run_id) else { return };
        let intent = run.intent;
        self.log("run poisoned", run_id.hex(), Some(code));
        self.ask(KernelCall::Abort { execution_id: *run_id, code }, Want::Abort { run: *run_id });
        self.set_state(&intent, State::Poisoned, vec![code]);
        self.wake(&intent);
    }

    fn run_ended(&mut self, run_id: &B32, terminal: &Terminal) {
        self.sign_trace_root(run_id);
        let Some(run) = self.runs.get(run_id) else { return };
        let publishes = run.ctx.publishes();
        match terminal {
            Terminal::Done if publishes => self.publication_done(run_id),
            Terminal::Done => self.act_done(run_id),
            Terminal::Benign(_) | Terminal::Blamed { .. } => self.run_failed(run_id, terminal),
        }
    }

    /// Two stories of one peer: everyone gets both, so that everyone can prove it.
    pub(super) fn share_headers(&mut self, run_id: &B32) {
        let Some(run) = self.runs.get(run_id) else { return };
        let told = match run.events.last() {
            Some(TraceEvent::Frame(fact)) => vec![fact.header.clone()],
            Some(TraceEvent::Headers(headers)) => headers.clone(),
            _ => return,
        };
        let Some(level) = told.first().map(|h| h.body.level) else { return };
        let held =
            run.received.iter().filter(|((l, _), _)| *l == level).map(|(_, e)| e.header.clone());
        let headers: Vec<_> = told.into_iter().chain(held).collect();
        let others: Vec<NodeId> = run.ctx.others().cloned().collect();
        for node in others {
            let message = PeerMessage::Headers {
                execution_id: *run_id,
                level,
                headers: Some(headers.clone()),
            };
            self.send(&node, 0, message);
        }
    }

    /// An act run stopped: the coordinator tries anew with others, if enough remain.
    pub(super) fn run_stopped(&mut self, intent: &Link, run_id: &B32, code: ReasonCode) {
        let Some(op) = self.operations.get_mut(intent) else { return };
        if op.act_run != Some(*run_id) || op.state.is_final() {
            return;
        }
        op.act_run = None;
        // Whoever is asked for too many batches at once would say the same at once again.
        let later = code == ReasonCode::ResourceLimit && !op.intent.act.publishes();
        self.set_state(intent, State::Aborted, vec![code]);
        if !later {
            self.retry(intent);
        }
        self.wake(intent);
    }

    pub(super) fn on_aborted(&mut self, run_id: &B32, reply: KernelReply) {
        let Some(run) = self.runs.get(run_id) else { return };
        let intent = run.intent;
        match reply {
            KernelReply::Aborted(Some(receipt)) => {
                self.record_permit_receipt(&intent, run_id, *receipt);
            }
            KernelReply::Denied(receipts) => {
                for receipt in receipts {
                    self.record_publication(&intent, run_id, receipt);
                }
            }
            _ => {}
        }
    }

    /// A peer stopped a run that this node takes part in.
    pub(super) fn on_stopped(&mut self, from: &NodeId, run_id: &B32, code: ReasonCode) {
        let Some(run) = self.runs.get(run_id) else {
            let waits = |op: &&super::Operation| op.coordinator && op.act_run == Some(*run_id);
            let intent = self.operations.values().find(waits).map(super::Operation::link);
            return if let Some(intent) = intent {
                self.run_stopped(&intent, run_id, code)
            };
        };
        if !run.ctx.participants().contains(from) || run.vm.terminal().is_some() {
            return;
        }
        if run.ctx.publishes() {
            // A signer has lost what it held, and says so only when asked again. Until a share is out
            // the coordinator signs anew; the kernel destroys the old one first.
            let (intent, level) = (run.intent, run.vm.level());
            let coordinator = self.operations.get(&intent).is_some_and(|op| {
                let current = op.publish_run == Some(*run_id) && op.state == State::Executed;
                // A denial ends the intent here, too, as soon as this node's kernel has answered.
                op.coordinator && current && op.denials.is_empty()
            });
            // Whoever does not know this run may only not know it yet: another frame of the act brings it.
            let since = self.runs.get(run_id).map_or(0, |run| run.level_since_ms);
            let patience = self.running_ms >= since + self.timing.publish_retry_ms;
            let lost = code == ReasonCode::MaterialPoisoned;
            if level == 1
                && (lost || patience)
                && let Some(run) = self.runs.get_mut(run_id)
            {
                run.given_up = true;
            }
            if coordinator && level == 1 && (lost || patience) {
                self.sign_anew(&intent, run_id);
            }
            let opening = self
                .operations
                .get(&intent)
                .is_some_and(|op| op.publish_run == Some(*run_id) && op.state == State::Opening);
            if opening && code == ReasonCode::MaterialPoisoned {
                self.opening_given_up(run_id);
            }
            // Or it has come to an end that this node was not there to hear.
            return self.send(from, 0, PeerMessage::FetchOutcome { intent });
        }
        self.note_stop(run_id, from, code);
        self.feed(run_id, TraceEvent::Cancel(code));
    }
}
