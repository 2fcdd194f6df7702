//! The gate: Executed ≠ Published. A held result leaves only after every signer has judged its
//! release at a fresh head and its kernel has granted.

use dvm_core::admission::{Purpose, Verdict};
use dvm_core::authority::{KeyReady, KeyReadyCertificate};
use dvm_core::bytes::{B32, Bytes};
use dvm_core::call::KernelCall;
use dvm_core::codec;
use dvm_core::governance::EventKind;
use dvm_core::ids::NodeId;
use dvm_core::limits::HELD_TTL_MS;
use dvm_core::link::Link;
use dvm_core::reason::ReasonCode;
use dvm_core::receipt::PublicationReceipt;
use dvm_core::run::{Proposal, RunHeader, RunKind};
use dvm_core::sign::Signed;
use dvm_core::trace::TraceEvent;

use super::drive::Run;
use super::operation::{Operation, State};
use super::{Engine, Want};
use crate::wire::Outcome;

impl Engine {
    /// Every level of an act run is complete: the result is held. The publication run follows from
    /// it, so no proposal is needed: every signer derives the same header.
    pub(super) fn act_done(&mut self, run_id: &B32) {
        let Some(run) = self.runs.get(run_id) else { return };
        let intent = run.intent;
        if self.operations.get(&intent).is_some_and(|op| !op.intent.act.publishes()) {
            return self.batch_done(run_id);
        }
        let result_ref = run.permit_receipt.as_ref().and_then(|r| r.body.result_ref);
        let Some(result_ref) = result_ref else { return };
        if !self.same_result(run_id, &result_ref) {
            return;
        }
        let Some(op) = self.operations.get_mut(&intent) else { return };
        op.result_ref = Some(result_ref);
        self.set_state(&intent, State::Executed, Vec::new());
        self.wake(&intent);
        self.start_publication(run_id, result_ref);
    }

    pub(super) fn start_publication(&mut self, act_run: &B32, result_ref: B32) {
        let Some(run) = self.runs.get(act_run) else { return };
        let intent = run.intent;
        let frames = run.frames_of(run.ctx.levels());
        let Some(made) = self.publication(act_run, result_ref) else { return };
        let proposal = made.proposal.clone();
        let id = made.ctx.execution_id();
        let Some(op) = self.operations.get_mut(&intent) else { return };
        op.publish_run = Some(id);
        if !op.runs.contains(&id) {
            op.runs.push(id);
        }
        self.runs.entry(id).or_insert(made);
        self.save(&intent);
        self.save_proposal(&id);
        let call = KernelCall::Start { proposal: Box::new(proposal), frames };
        self.ask(call, Want::Start { run: id });
    }

    pub(super) fn publication(&self, act_run: &B32, result_ref: B32) -> Option<Run> {
        let act = self.runs.get(act_run)?;
        let op = self.operations.get(&act.intent)?;
        let participants = act.ctx.participants().to_vec();
        let backend = self.backend_of(&op.intent.act)?;
        let kind = dvm_score::Run::Publish(op.intent.scope);
        let compiled = dvm_score::compile(&op.intent.act, kind, backend, &participants).ok()?;
        let header = RunHeader {
            cluster: self.cluster,
            intent: act.intent,
            kind: RunKind::Publish { of: *act_run, result_ref },
            plan_id: compiled.plan_id(),
            key_epoch: op.intent.act.key_epoch(),
            participants,
            soft_deadline_ms: act.ctx.header().soft_deadline_ms,
            hard_deadline_ms: 0,
        };
        Run::new(self, &op.intent, backend, Proposal { header, opens: Vec::new() })
    }

    /// Judges the release by this node's policy and asks the kernel to grant. Called when the
    /// publication opens, when an approval arrives, when the head moves, and on request.
    pub(super) fn try_gate(&mut self, intent: &Link) {
        let Some(op) = self.operations.get(intent) else { return };
        let (Some(act_run), Some(run_id), Some(result_ref)) =
            (op.act_run, op.publish_run, op.result_ref)
        else {
            return;
        };
        let waiting = self.runs.get(&run_id).is_some_and(|r| {
            r.started && !r.calling && r.vm.level() == 1 && !r.sent.contains_key(&1)
        });
        if !waiting || self.deny_again(intent) {
            return;
        }
        let purpose = Purpose::Release { execution_id: act_run, result_ref };
        let salt = self.fresh_salt();
        let Some(op) = self.operations.get(intent) else { return };
        let input = self.judge_input(op, salt);
        let judgement = dvm_policy::release(&self.policy, &input, &purpose);
        let receipt =
            dvm_policy::admission_receipt(&judgement, &input, purpose.clone(), self.me.clone());
        let receipt = Signed::new(receipt, &self.policy_key);
        let last = op
            .admissions
            .last()
            .map(|r| (&r.body.purpose, r.body.verdict, &r.body.codes, r.body.head));
        let b = &receipt.body;
        let repeated =
            last == Some((&b.purpose, b.verdict, &b.codes, b.head)) && b.verdict != Verdict::Allow;
        if !repeated {
            self.record_verdict(intent, receipt.clone(), &judgement.policy_receipt);
        }
        if receipt.body.verdict != Verdict::Allow {
            self.set_codes(intent, receipt.body.codes.clone());
            self.wake(intent);
        }
        // The kernel is asked for its word on a refusal, too: once for each new reason. It gives a
        // receipt, and destroys what a hold, a new epoch or expiry has ended.
        if repeated && !self.held_too_long(intent) {
            return;
        }
        let Some(op) = self.operations.get(intent) else { return };
        let approvals =
            op.approvals.iter().filter(|a| a.body.purpose == purpose).cloned().collect();
        let (commits, known) = (op.commits, (op.approvals.len(), self.head()));
        let written = self.written;
        let Some(run) = self.runs.get_mut(&run_id) else { return };
        run.calling = true;
        run.rests_on = written;
        run.asked_with = known;
        run.commits_before = commits;
        let call = KernelCall::Grant {
            execution_id: run_id,
            calls: run.calls_of(1),
            judgement: Box::new(receipt),
            approvals,
        };
        self.ask(call, Want::Level { run: run_id });
    }

    /// Whether a held result is past its own expiry, so that the kernel will destroy it.
    fn held_too_long(&self, intent: &Link) -> bool {
        let run =
            self.operations.get(intent).and_then(|op| op.act_run).and_then(|r| self.runs.get(&r));
        let held = run.and_then(|r| r.permit_receipt.as_ref()).map(|r| r.body.time_ms);
        held.is_some_and(|at| self.now_ms > at.saturating_add(HELD_TTL_MS))
    }

    /// A held result past its expiry is offered to the kernel, which destroys it.
    pub(super) fn try_gate_if_expired(&mut self, intent: &Link) {
        if self.held_too_long(intent) {
            self.try_gate(intent);
        }
    }

    /// The kernel refused at the gate: with a receipt it stays held, or is gone.
    pub(super) fn gate_refused(
        &mut self,
        run_id: &B32,
        code: ReasonCode,
        receipt: Option<Signed<PublicationReceipt>>,
    ) {
        let Some(run) = self.runs.get(run_id) else { return };
        let (intent, level) = (run.intent, run.vm.level());
        let destroyed = receipt.as_ref().is_some_and(|r| r.body.destroyed);
        if let Some(receipt) = receipt {
            self.record_publication(&intent, run_id, receipt);
        }
        if destroyed {
            self.feed(run_id, TraceEvent::Cancel(code));
            self.set_state(&intent, State::Discarded, vec![code]);
            return self.wake(&intent);
        }
        let known = self.operations.get(&intent).map_or(0, |op| op.approvals.len());
        let known = (known, self.head());
        if level == 1 && self.runs.get(run_id).is_some_and(|run| run.asked_with != known) {
            // An approval came, or the head moved, while the kernel was busy. Nothing else would make it answer
            // otherwise.
            self.try_gate(&intent);
            if self.runs.get(run_id).is_some_and(|r| r.calling) {
                return;
            }
        }
        self.set_codes(&intent, vec![code]);
        self.wake(&intent);
        let out = self.runs.get(run_id).is_none_or(|run| run.sent.contains_key(&2));
        let current = |op: &Operation| op.publish_run == Some(*run_id) && !op.state.is_final();
        let on = self.operations.get(&intent).is_some_and(current);
        if level >= 2 && code == ReasonCode::StaleEpoch && on && !out {
            // The head moved between grant and opening: these grants open nothing any more. Every signer gives the
            // try up, not the coordinator alone, whose own share may be out: it would wait for this one for ever.
            self.set_state(&intent, State::Executed, vec![code]);
            self.sign_anew(&intent, run_id);
        }
    }

    /// Gives a granted or held try up; the coordinator gathers signers again.
    pub(super) fn sign_anew(&mut self, intent: &Link, run_id: &B32) {
        self.feed(run_id, TraceEvent::Cancel(ReasonCode::RemoteTimeout));
        // What a restart would find of it is no longer this operation's try.
        self.leave_tries(intent);
        self.set_state(intent, State::Aborted, vec![ReasonCode::RemoteTimeout]);
        self.retry(intent);
    }

    /// The result is out and everyone confirmed it.
    pub(super) fn publication_done(&mut self, run_id: &B32) {
        self.check_confirms(run_id);
        let Some(run) = self.runs.get(run_id) else { return };
        let intent = run.intent;
        let Some(op) = self.operations.get(&intent) else { return };
        let is_key = op.intent.act.makes_key();
        let result = if is_key {
            self.key_certificate(run_id).map(|c| Bytes(codec::encode(&c)))
        } else {
            run.published.as_ref().map(|p| p.body.result.clone())
        };
        let Some(result) = result else {
            return self.log(
                "published without a result",
                run_id.hex(),
                Some(ReasonCode::Internal),
            );
        };
        let Some(op) = self.operations.get_mut(&intent) else { return };
        op.result = Some(result.clone());
        let (coordinator, act_run) = (op.coordinator, op.act_run);
        self.set_state(&intent, State::Published, Vec::new());
        self.wake(&intent);
        if !coordinator {
            return;
        }
        self.note_signed(&intent);
        let outcome =
            act_run.map(|act_run| Outcome { intent, act_run, publish_run: *run_id, result });
        if let Some(outcome) = outcome {
            self.tell_bystanders(&intent, outcome);
        }
        if is_key && let Some(certificate) = self.key_certificate(run_id) {
            let kind = EventKind::KeyObjectPublished {
                key_id: certificate.ready.key_id.clone(),
                key_ready_cid: codec::link_of(&certificate.ready),
            };
            self.order(kind, None, Some(certificate));
        }
    }

    /// The key facts with every holder's signature, from the frames that opened them.
    fn key_certificate(&self, run_id: &B32) -> Option<KeyReadyCertificate> {
        let run = self.runs.get(run_id)?;
        let mut signatures = Vec::new();
        let mut ready = None;
        for node in run.ctx.participants() {
            let signed = run.key_ready.get(node).cloned().or_else(|| self.opened_key(run, node))?;
            ready = Some(signed.body);
            signatures.push(signed.cose);
        }
        let certificate = KeyReadyCertificate { ready: ready?, signatures };
        certificate.holds(&self.manifest).then_some(certificate)
    }

    fn opened_key(&self, run: &Run, node: &NodeId) -> Option<Signed<KeyReady>> {
        // The own one is read where it was sent: after a restart nothing else in the journal has it.
        let own = run.sent.get(&2).and_then(|frames| frames.first()).filter(|_| *node == self.me);
        let frame = own.or_else(|| run.received.get(&(2, node.clone())))?;
        frame.broadcast.payloads.iter().find_map(|p| codec::decode(p).ok())
    }
}
