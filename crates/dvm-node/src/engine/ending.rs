//! How an intent ended, for whoever does not know it yet: a peer that still waits in a try of it is
//! told, and a node that is told believes what it can verify.
//!
//! Always true:
//! - a result is believed only as far as it verifies, in whatever state the operation is;
//! - a try that another took the place of ends here without a word, and its waiters are told when they
//!   ask: were they told at once, two coordinators could undo each other's tries for ever;
//! - what a peer says of its end never makes this node's kernel destroy a share that may be out.

use dvm_core::authority::KeyReadyCertificate;
use dvm_core::bytes::{B32, Bytes};
use dvm_core::call::{KernelCall, LevelReply};
use dvm_core::codec;
use dvm_core::ids::NodeId;
use dvm_core::link::Link;
use dvm_core::reason::ReasonCode;
use dvm_core::trace::{Terminal, TraceEvent};

use super::drive::Run;
use super::operation::{Operation, State};
use super::{Engine, Want};
use crate::wire::{Outcome, PeerMessage};

impl Engine {
    pub(super) fn tell_bystanders(&mut self, intent: &Link, outcome: Outcome) {
        let nodes: Vec<NodeId> = self.manifest.nodes.iter().map(|p| p.node.clone()).collect();
        let signers = self
            .runs
            .get(&outcome.publish_run)
            .map(|r| r.ctx.participants().to_vec())
            .unwrap_or_default();
        let commits = self.operations.get(intent).map_or(0, |op| op.commits);
        for node in nodes {
            if node != self.me && !signers.contains(&node) {
                self.send(&node, commits, PeerMessage::Outcome(Box::new(outcome.clone())));
            }
        }
    }

    /// A peer waits in a run that is over here. True if it was told so, and needs no frames of it.
    pub(super) fn tell_end(&mut self, to: &NodeId, run_id: &B32) -> bool {
        let Some(run) = self.runs.get(run_id) else { return false };
        let Some(op) = self.operations.get(&run.intent) else { return false };
        let commits = op.commits;
        if let Some(outcome) = op.outcome() {
            // Its own frames end a try better than the word of a peer.
            let same = outcome.publish_run == *run_id || outcome.act_run == *run_id;
            if !same {
                self.send(to, commits, PeerMessage::Outcome(Box::new(outcome)));
            }
            return !same;
        }
        let given_up = given_up(op, run);
        let destroyed = run.ctx.publishes()
            && !run.sent.contains_key(&2)
            && run.vm.terminal().is_some_and(|end| *end != Terminal::Done);
        if let Some(denial) = op.denials.first().filter(|_| op.state.is_final()).cloned() {
            self.send(to, commits, PeerMessage::Denial(Box::new(denial)));
        }
        // A grant over what is destroyed here would have the peer's share open for nothing.
        let Some(code) = given_up else { return destroyed };
        self.send(to, commits, PeerMessage::Stopped { execution_id: *run_id, code });
        true
    }

    /// A peer asks how an intent ended: it was told once, and may have been down then.
    pub(super) fn on_fetch_outcome(&mut self, from: &NodeId, intent: &Link) {
        let Some(op) = self.operations.get(intent) else { return };
        let commits = op.commits;
        if let Some(outcome) = op.outcome() {
            self.send(from, commits, PeerMessage::Outcome(Box::new(outcome)));
        } else if let Some(denial) = op.denials.first().filter(|_| op.state.is_final()).cloned() {
            self.send(from, commits, PeerMessage::Denial(Box::new(denial)));
        }
    }

    /// A coordinator says how an intent ended. Believed only as far as the signature verifies.
    pub(super) fn on_outcome(&mut self, outcome: Outcome) {
        let Some(op) = self.operations.get(&outcome.intent) else { return };
        // Only by the frames of a try does a kernel take over its share of a new key.
        let own = self.runs.get(&outcome.publish_run).is_some_and(|r| r.vm.terminal().is_none());
        if own || op.state.is_final() && op.state != State::Poisoned {
            return;
        }
        if !self.outcome_holds(op, &outcome.result) {
            return self.log(
                "outcome refused",
                outcome.intent.to_string(),
                Some(ReasonCode::PayloadRejected),
            );
        }
        let intent = outcome.intent;
        self.leave_tries(&intent);
        if let Some(op) = self.operations.get_mut(&intent) {
            op.act_run = Some(outcome.act_run);
            op.publish_run = Some(outcome.publish_run);
            op.result = Some(outcome.result);
        }
        self.gathering.remove(&intent);
        self.set_state(&intent, State::Published, Vec::new());
        self.wake(&intent);
    }

    fn outcome_holds(&self, op: &Operation, result: &Bytes) -> bool {
        if op.intent.act.makes_key() {
            return codec::decode::<KeyReadyCertificate>(result)
                .is_ok_and(|c| c.ready.intent == op.link() && c.holds(&self.manifest));
        }
        let parsed = dvm_act::parse(&op.intent, op.content.as_deref());
        let Some(record) = self.authority.key(op.intent.act.key_id()) else { return false };
        let ready = &record.ready;
        let Ok(key) = dvm_blame::signing_key(ready, op.intent.act.path()) else { return false };
        parsed.is_ok_and(|p| {
            p.bytes_to_sign().is_some_and(|bytes| {
                dvm_blame::verify_signature(ready.backend.into(), &key, bytes, result).is_ok()
            })
        })
    }

    /// What is under way of an intent ends here, and what the kernel holds of it goes, unless it may be
    /// out: the kernel says which.
    pub(super) fn leave_tries(&mut self, intent: &Link) {
        let Some(op) = self.operations.get_mut(intent) else { return };
        let (act_run, publish_run) = (op.act_run.take(), op.publish_run.take());
        op.result_ref = None;
        for run_id in act_run.into_iter().chain(publish_run) {
            self.leave_run(&run_id);
        }
        if let Some(run) = act_run {
            let code = ReasonCode::RemoteTimeout;
            self.ask(KernelCall::Abort { execution_id: run, code }, Want::Abort { run });
        }
    }

    /// The kernel still has a grant of an earlier try: its disk failed when that was given up, so its end is asked for
    /// again. A share that may be out stays where it is.
    pub(super) fn abort_again(&mut self, intent: &Link) {
        let last = self.operations.get(intent).and_then(|op| op.runs.last()).copied();
        if let Some(run) = last {
            let code = ReasonCode::RemoteTimeout;
            self.ask(KernelCall::Abort { execution_id: run, code }, Want::Abort { run });
        }
    }

    fn leave_run(&mut self, run_id: &B32) {
        let Some(run) = self.runs.get_mut(run_id) else { return };
        let event = TraceEvent::Cancel(ReasonCode::RemoteTimeout);
        if dvm_vm::step(&run.ctx, &mut run.vm, &event).is_ok_and(|taken| taken.recorded) {
            let index = run.events.len();
            run.events.push(event);
            self.save_event(run_id, index);
            self.sign_trace_root(run_id);
        }
    }

    /// The kernel does not go on with what it held: it is gone, and the coordinator tries anew.
    pub(super) fn held_lost(&mut self, intent: &Link) {
        let Some(act_run) = self.operations.get(intent).and_then(|op| op.act_run) else { return };
        self.leave_tries(intent);
        if let Some(op) = self.operations.get_mut(intent) {
            op.act_run = Some(act_run);
        }
        self.run_stopped(intent, &act_run, ReasonCode::MaterialPoisoned);
    }

    /// The kernel says a grant again whose judgement a crash took: no bundle could show what it rests on, so the try is
    /// given up while the share is still here. True if it was.
    pub(super) fn grant_without_verdict(&mut self, run_id: &B32, level: &LevelReply) -> bool {
        let Some(judgement) = level.publication.as_ref().and_then(|p| p.body.judgement) else {
            return false;
        };
        let Some(op) = self.runs.get(run_id).and_then(|run| self.operations.get(&run.intent))
        else {
            return false;
        };
        let known = op.admissions.iter().any(|receipt| receipt.link() == judgement);
        let inside = op.act_run.is_some_and(|act_run| self.unopened.contains(&act_run));
        let current = op.state == State::Executed && op.publish_run == Some(*run_id);
        let lost = !known && inside && current;
        if lost {
            let intent = op.link();
            self.log("grant without its verdict", run_id.hex(), None);
            self.held_lost(&intent);
        }
        lost
    }

    /// This node's share is out, and a signer has given the try up before its own was: nobody can finish it.
    pub(super) fn opening_given_up(&mut self, run_id: &B32) {
        let patience = self.timing.publish_retry_ms;
        let Some(run) = self.runs.get(run_id) else { return };
        if run.published.is_some() || self.running_ms < run.level_since_ms + patience {
            return;
        }
        let intent = run.intent;
        self.set_state(&intent, State::Poisoned, vec![ReasonCode::MaterialPoisoned]);
        self.wake(&intent);
    }
}

/// Why a run comes to nothing here, if that is certain: not while another try of its intent is on, which may
/// still end it better.
fn given_up(op: &Operation, run: &Run) -> Option<ReasonCode> {
    let live = matches!(op.state, State::Running | State::Executed | State::Opening)
        || op.state == State::PendingRemote && op.act_run.is_some();
    let over = match run.vm.terminal() {
        Some(Terminal::Done) => false,
        Some(_) => true,
        None => op.state.is_final(),
    };
    let out = run.ctx.publishes() && run.sent.contains_key(&2);
    if live || !over || out {
        return None;
    }
    Some(ReasonCode::MaterialPoisoned)
}
