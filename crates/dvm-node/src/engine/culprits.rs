//! Who let a run down, and what follows: whoever a check names is never asked again for that operation; whoever
//! stopped tries or stayed silent is left out of the next ones.
//!
//! Always true: a culprit is named only for bytes that its own kernel signed; silence, and what came over a channel
//! alone, leaves a peer out and accuses nobody.
//! Not here: what the kernel makes of it (a ban from the key), and the evidence, which is the trace itself.

use std::collections::BTreeSet;

use dvm_core::bytes::{B32, Bytes};
use dvm_core::call::KernelCall;
use dvm_core::digest;
use dvm_core::frame::Envelope;
use dvm_core::ids::NodeId;
use dvm_core::link::Link;
use dvm_core::reason::ReasonCode;
use dvm_core::receipt::BanRecord;
use dvm_core::sign::Signed;
use dvm_core::trace::{Terminal, TraceEvent};
use dvm_score::{MicroOp, Step};
use dvm_vm::BlockedOn;

use super::drive::Run;
use super::operation::State;
use super::{Engine, Want};
use crate::wire::PeerMessage;

/// Tries of one operation that a peer may stop before it is left out: one can be an honest race.
const STOPS_MAX: u32 = 2;

/// Whom a run waits for: a frame that is missing, or the headers that explain an odd view.
pub(super) fn awaited(run: &Run) -> Vec<NodeId> {
    let frontier = run.vm.frontier(&run.ctx);
    let mut awaited = frontier.missing_peers;
    if let Some(BlockedOn::Headers { peer, .. }) = frontier.blocked_on
        && !awaited.contains(&peer)
    {
        awaited.push(peer);
    }
    awaited
}

/// Whether a try ended because a peer was silent, or spoke of another header: the next one does without it.
fn silent_or_odd(code: ReasonCode) -> bool {
    matches!(code, ReasonCode::RemoteTimeout | ReasonCode::SessionMismatch)
}

/// What a frame says to all in a step.
fn said(frame: &Envelope, step: u16) -> Option<&Bytes> {
    let at = frame.broadcast.leaf.parts.iter().position(|part| part.step == step)?;
    frame.broadcast.payloads.get(at)
}

/// Whose frame of the last level says something else than this in a step.
fn differing(run: &Run, step: Option<&Step>, expected: &B32) -> Option<NodeId> {
    let frames = run.frames_of(run.ctx.levels());
    let said = |frame| step.and_then(|step| said(frame, step.index));
    let odd = frames.iter().find(|f| said(f).is_none_or(|bytes| bytes.0 != expected.0));
    odd.map(|frame| frame.header.body.from.clone())
}

impl Engine {
    /// Names a culprit of an operation, for good.
    pub(super) fn name_culprit(&mut self, intent: &Link, culprit: &NodeId, code: ReasonCode) {
        if let Some(op) = self.operations.get_mut(intent)
            && !op.culprits.contains(culprit)
        {
            op.culprits.push(culprit.clone());
        }
        self.log("culprit named", format!("{intent} {culprit}"), Some(code));
    }

    /// Whether a peer has no part in an operation's next try.
    pub(super) fn without(&self, intent: &Link, node: &NodeId) -> bool {
        let named = self.operations.get(intent).is_some_and(|op| op.culprits.contains(node));
        let refused = self.peers.get(node).is_some_and(|peer| peer.refused.is_some());
        let key_id = self.operations.get(intent).map(|op| op.intent.act.key_id());
        let banned = key_id.is_some_and(|key_id| self.is_banned(key_id, node));
        named
            || refused
            || banned
            || self.gathering.get(intent).is_some_and(|g| g.excluded.contains(node))
    }

    /// Whether so many signers are named culprits of an operation that no try of it can have enough.
    pub(super) fn too_few_left(&self, intent: &Link) -> bool {
        let Some(op) = self.operations.get(intent) else { return false };
        let (holders, needed) = self.holders(&op.intent.act);
        let left = holders.iter().filter(|node| !op.culprits.contains(node)).count();
        left < needed && !op.culprits.is_empty()
    }

    /// The next try goes on without these peers.
    pub(super) fn leave_out(&mut self, intent: &Link, nodes: &[NodeId]) {
        if let Some(gathering) = self.gathering.get_mut(intent) {
            gathering.excluded.extend(nodes.iter().cloned());
        }
        if let Some(op) = self.operations.get_mut(intent) {
            let new = nodes.iter().filter(|node| !op.left_out.contains(node)).cloned();
            let new: Vec<NodeId> = new.collect();
            op.left_out.extend(new);
        }
    }

    /// This node's kernel banned a signer of this run from the key: one that it named before, or that an operation of
    /// this key named. If that is not on record here any more, another set is tried.
    pub(super) fn leave_out_banned(&mut self, run: &Run) {
        let Some(op) = self.operations.get(&run.intent) else { return };
        let key_id = op.intent.act.key_id();
        let of_key = self.operations.values().filter(|op| op.intent.act.key_id() == key_id);
        let named: BTreeSet<&NodeId> = of_key.flat_map(|op| &op.culprits).collect();
        let known = |node: &&NodeId| named.contains(node) || self.is_banned(key_id, node);
        let banned: Vec<NodeId> = run.ctx.others().filter(known).cloned().collect();
        self.leave_out(&run.intent, &banned);
    }

    /// The kernel's word on whom it banned. A failed opening is asked for again, and what it bans is stated once.
    pub(super) fn take_bans(&mut self, run_id: &B32, bans: Vec<Signed<BanRecord>>) {
        let Some(run) = self.runs.get_mut(run_id) else { return };
        let known: BTreeSet<NodeId> = run.bans.iter().map(|b| b.body.culprit.clone()).collect();
        let new: Vec<_> = bans.into_iter().filter(|b| !known.contains(&b.body.culprit)).collect();
        run.bans.extend(new.iter().cloned());
        run.bans.sort_by(|a, b| a.body.culprit.cmp(&b.body.culprit));
        self.count_bans(new.len());
        for Signed { body, .. } in new {
            self.note_ban(&body.key_id, body.key_epoch, &body.culprit);
        }
    }

    /// The next try of an operation goes on without whom this node's kernel banned from its key.
    pub(super) fn leave_banned_out(&mut self, intent: &Link) {
        let Some(op) = self.operations.get(intent) else { return };
        let (holders, _) = self.holders(&op.intent.act);
        let banned = self.banned_of(intent, &holders);
        if let Some(op) = self.operations.get_mut(intent) {
            let new = |node: &NodeId| !op.left_out.contains(node) && !op.culprits.contains(node);
            let new: Vec<NodeId> = banned.into_iter().filter(new).collect();
            op.left_out.extend(new);
        }
    }

    /// A peer stopped a try: its kernel does not work in that set, or does not have the material, or it may be an honest
    /// race.
    pub(super) fn note_stop(&mut self, run_id: &B32, from: &NodeId, code: ReasonCode) {
        let Some(run) = self.runs.remove(run_id) else { return };
        let intent = run.intent;
        let plain = !self.material_refused(&run, code);
        let set_out = Self::rules_set_out(code);
        if set_out {
            self.note_refused_set(&run, Some(from), code);
        }
        self.runs.insert(*run_id, run);
        if plain && !set_out {
            self.count_stop(&intent, from);
        }
    }

    /// A peer stopped a try.
    fn count_stop(&mut self, intent: &Link, node: &NodeId) {
        let Some(gathering) = self.gathering.get_mut(intent) else { return };
        let stops = gathering.stops.entry(node.clone()).or_default();
        *stops = stops.saturating_add(1);
        if *stops >= STOPS_MAX {
            self.leave_out(intent, std::slice::from_ref(node));
        }
    }

    /// A run ended before its time: peers and kernel are told, and the operation goes on without whom it was for.
    pub(super) fn run_failed(&mut self, run_id: &B32, terminal: &Terminal) {
        let Some(run) = self.runs.get(run_id) else { return };
        let (intent, publishes) = (run.intent, run.ctx.publishes());
        let missing = awaited(run);
        let cancelled = matches!(run.events.last(), Some(TraceEvent::Cancel(_)));
        let others: Vec<NodeId> = run.ctx.others().cloned().collect();
        let (code, culprit) = match terminal {
            Terminal::Done => return,
            Terminal::Benign(code) => (*code, None),
            Terminal::Blamed { code, culprit } => (*code, Some(culprit)),
        };
        let current = self
            .operations
            .get(&intent)
            .is_some_and(|op| op.act_run == Some(*run_id) || op.publish_run == Some(*run_id));
        match culprit {
            Some(culprit) => self.name_culprit(&intent, culprit, code),
            // The end of an earlier try says nothing about whom the present one waits for.
            None if silent_or_odd(code) && current => self.leave_out(&intent, &missing),
            None => {}
        }
        if let Some(op) = self.operations.get_mut(&intent) {
            op.missing = missing;
        }
        if code == ReasonCode::Equivocation {
            self.share_headers(run_id);
        }
        for node in others {
            self.send(&node, 0, PeerMessage::Stopped { execution_id: *run_id, code });
        }
        let abort = KernelCall::Abort { execution_id: *run_id, code };
        self.ask(abort, Want::Abort { run: *run_id });
        // Whoever cancels a publication goes on by itself; what ends it by frames or by a kernel's word ends here.
        if publishes && !cancelled {
            self.publication_failed(&intent, run_id, code);
        } else {
            self.run_stopped(&intent, run_id, code);
        }
    }

    /// A signer broke a publication: the others sign anew, unless this node's share is out. A cheater may have the
    /// signature then, and there is one for each intent.
    fn publication_failed(&mut self, intent: &Link, run_id: &B32, code: ReasonCode) {
        let Some(op) = self.operations.get_mut(intent) else { return };
        if op.publish_run != Some(*run_id) || op.state.is_final() {
            return;
        }
        if op.state == State::Opening {
            return self.opening_failed(run_id);
        }
        op.publish_run = None;
        op.result_ref = None;
        if let Some(act_run) = op.act_run {
            self.run_stopped(intent, &act_run, code);
        }
    }

    /// This node's share is out and a signer cheated, known or not: published all the same if its kernel has the result,
    /// which it may still be working on.
    pub(super) fn opening_failed(&mut self, run_id: &B32) {
        let Some(run) = self.runs.get(run_id) else { return };
        let cancelled = matches!(run.events.last(), Some(TraceEvent::Cancel(_)));
        let code = match run.vm.terminal() {
            Some(Terminal::Blamed { code, .. }) => *code,
            // Shares that make no signature, and nobody to name for it.
            Some(Terminal::Benign(code)) if !cancelled => *code,
            _ => return,
        };
        let (intent, calling) = (run.intent, run.calling);
        let opening = self.operations.get(&intent).is_some_and(|op| op.state == State::Opening);
        if !opening || calling {
            return;
        }
        if run.published.is_some() {
            return self.publication_done(run_id);
        }
        self.set_state(&intent, State::Poisoned, vec![code]);
        self.wake(&intent);
    }

    /// Whether every signer named the result that this node's kernel holds. One that named another is a culprit: all
    /// had the same view, so all kernels made the same.
    pub(super) fn same_result(&mut self, run_id: &B32, result_ref: &B32) -> bool {
        let Some(run) = self.runs.get(run_id) else { return false };
        let names = run.ctx.plan().naming_step();
        let Some(culprit) = differing(run, names, result_ref) else { return true };
        let code = ReasonCode::PayloadRejected;
        self.run_failed(run_id, &Terminal::Blamed { code, culprit });
        false
    }

    /// The result is out and verified here; a signer that confirms another is named, and nothing else follows.
    pub(super) fn check_confirms(&mut self, run_id: &B32) {
        let Some(run) = self.runs.get(run_id) else { return };
        let (intent, published) = (run.intent, run.published.as_ref());
        let expected = published.map(|p| digest::sha256(&p.body.result));
        let confirms = run.ctx.plan().steps.iter().find(|step| step.op == MicroOp::Confirm);
        let odd = expected.and_then(|expected| differing(run, confirms, &expected));
        if let Some(culprit) = odd {
            self.name_culprit(&intent, &culprit, ReasonCode::PayloadRejected);
        }
    }
}
