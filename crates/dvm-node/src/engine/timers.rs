//! What time alone does: retries, deadlines, expiry. The driver ticks every few tens of
//! milliseconds.

use dvm_core::bytes::B32;
use dvm_core::ids::NodeId;
use dvm_core::intent::{Act, Backend, Scheme};
use dvm_core::link::Link;
use dvm_core::reason::ReasonCode;
use dvm_core::trace::{TickKind, TraceEvent};

use super::culprits::awaited;
use super::operation::{Operation, State};
use super::refill::is_own_stock;
use super::{Engine, Timing};
use crate::wire::PeerMessage;

/// What one more holder adds to the deadline of a level that sets pairs up: three times what it takes.
const SETUP_MS: u64 = 1_000;
/// Tries of one intent before the coordinator stops by itself; a client may ask again.
pub const ATTEMPTS_MAX: u32 = 32;

impl Engine {
    pub(super) fn on_tick(&mut self) {
        let now = self.running_ms;
        self.early.expire(now);
        let live: Vec<Link> = self
            .operations
            .iter()
            .filter(|(_, op)| !op.state.is_final())
            .map(|(l, _)| *l)
            .collect();
        for link in live {
            self.tick_operation(&link);
        }
        self.tick_ordering();
        self.tick_stock();
        self.tick_forget();
        self.tick_collections();
        self.expire_waiters();
    }

    fn tick_operation(&mut self, link: &Link) {
        let Some(op) = self.operations.get(link) else { return };
        let runs: Vec<B32> = op.act_run.into_iter().chain(op.publish_run).collect();
        let (state, coordinator) = (op.state, op.coordinator);
        let given_up = state == State::Aborted && is_own_stock(op);
        // A run that waits for a peer has deadlines of its own, and may still end well.
        let waits = state == State::PendingRemote && op.act_run.is_some();
        if self.now_ms > op.intent.expires_ms
            && !matches!(state, State::Running | State::Executed | State::Opening)
            && !waits
        {
            self.set_state(link, State::Expired, vec![ReasonCode::Expired]);
            return self.wake(link);
        }
        for run in runs {
            self.tick_run(&run);
        }
        let gathers = matches!(state, State::Admitted | State::Proposed | State::Aborted)
            || state == State::PendingRemote
                && self.operations.get(link).is_some_and(|op| op.act_run.is_none());
        if coordinator && gathers && !given_up {
            self.tick_gathering(link);
        }
        let offers = state == State::Admitted
            || state == State::PendingRemote
                && self.operations.get(link).is_some_and(|op| op.act_run.is_none());
        if !coordinator && offers {
            self.tick_offer(link);
        }
        if state == State::Executed {
            if coordinator {
                self.tick_publication(link);
            }
            self.try_gate_if_expired(link);
        }
    }

    /// Too few openings yet: ask again; past the deadline say who is missing.
    fn tick_gathering(&mut self, link: &Link) {
        let (now, timing) = (self.running_ms, self.timing);
        let Some(gathering) = self.gathering.get_mut(link) else { return };
        if now < gathering.asked_ms + pause_ms(gathering.since_ms, &timing, now)
            || gathering.opening.is_some()
        {
            return;
        }
        gathering.asked_ms = now;
        let overdue = now >= gathering.since_ms + timing.consider_deadline_ms;
        let opened: Vec<NodeId> = gathering
            .answers
            .iter()
            .filter(|(_, a)| a.open.is_some())
            .map(|(n, _)| n.clone())
            .collect();
        let Some(op) = self.operations.get(link) else { return };
        let (holders, _) = self.holders(&op.intent.act);
        let missing: Vec<NodeId> =
            holders.into_iter().filter(|n| *n != self.me && !opened.contains(n)).collect();
        if overdue && is_own_stock(op) {
            return self.set_state(link, State::Aborted, vec![ReasonCode::RemoteTimeout]);
        }
        if overdue {
            let answered = self.refusals(link);
            let codes =
                if answered.is_empty() { vec![ReasonCode::RemoteTimeout] } else { answered };
            if let Some(op) = self.operations.get_mut(link) {
                op.missing = missing;
            }
            self.set_state(link, State::PendingRemote, codes);
            self.wake(link);
        }
        // Openings are good for seconds only, so a later try starts from this node's own.
        self.renew_attempt(link);
    }

    /// What was opened for another node's try has not been taken up: this one waits for whoever asked, and asks in turn
    /// how it ended. The end is told once, and a node that was away then hears of it by no other way.
    fn tick_offer(&mut self, link: &Link) {
        let (now, timing) = (self.running_ms, self.timing);
        // What was offered before a restart is gone, and so is the name of who asked.
        let gathering = self.gathering.entry(*link).or_default();
        let asked_by = gathering.asked_by.clone();
        if gathering.opening.is_some()
            || now < gathering.asked_ms + timing.consider_deadline_ms
            || now < gathering.fetched_ms + pause_ms(gathering.asked_ms, &timing, now)
        {
            return;
        }
        gathering.fetched_ms = now;
        self.spread(PeerMessage::FetchOutcome { intent: *link });
        let Some(op) = self.operations.get_mut(link).filter(|op| op.state == State::Admitted)
        else {
            return;
        };
        op.missing = asked_by.into_iter().map(|(node, _)| node).collect();
        self.set_state(link, State::PendingRemote, vec![ReasonCode::RemoteTimeout]);
        self.wake(link);
    }

    fn refusals(&self, link: &Link) -> Vec<ReasonCode> {
        let answers = self.gathering.get(link).map(|g| g.answers.values());
        let mut codes: Vec<ReasonCode> =
            answers.into_iter().flatten().filter_map(|a| a.code).collect();
        codes.sort();
        codes.dedup();
        codes
    }

    fn renew_attempt(&mut self, link: &Link) {
        let since = self.gathering.get(link).map(|g| g.since_ms);
        let Some(op) = self.operations.get(link) else { return };
        if op.attempt >= attempts_max(op) && op.state != State::PendingRemote {
            return;
        }
        let pending =
            (op.state == State::PendingRemote).then(|| (op.codes.clone(), op.missing.clone()));
        self.begin_attempt(link);
        if let (Some(gathering), Some(since)) = (self.gathering.get_mut(link), since) {
            gathering.since_ms = since;
            gathering.excluded.clear();
        }
        if let Some((codes, missing)) = pending {
            if let Some(op) = self.operations.get_mut(link)
                && op.state == State::Admitted
            {
                op.missing = missing;
            }
            let admitted = self.operations.get(link).is_some_and(|op| op.state == State::Admitted);
            if admitted {
                self.set_state(link, State::PendingRemote, codes);
            }
        }
    }

    /// After a run stopped: a new try at once, with whoever let it down left out.
    pub(super) fn retry(&mut self, link: &Link) {
        let Some(op) = self.operations.get(link) else { return };
        if !op.coordinator || op.attempt >= attempts_max(op) || self.now_ms > op.intent.expires_ms {
            return;
        }
        let since = self.gathering.get(link).map(|g| g.since_ms);
        self.begin_attempt(link);
        if let (Some(gathering), Some(since)) = (self.gathering.get_mut(link), since) {
            gathering.since_ms = since;
        }
    }

    /// A held result whose co-signer is gone before anyone opened: sign anew with the others.
    fn tick_publication(&mut self, link: &Link) {
        let now = self.running_ms;
        let Some(op) = self.operations.get(link) else { return };
        let Some(run_id) = op.publish_run else { return };
        let Some(run) = self.runs.get(&run_id) else { return };
        let missing = run.vm.frontier(&run.ctx).missing_peers;
        let down = missing.iter().any(|n| self.peers.get(n).is_none_or(|p| !p.up));
        let granted = run.sent.contains_key(&1);
        let patience = now >= run.level_since_ms + self.timing.publish_retry_ms;
        // After a restart nothing is given up before the kernel has said how far it came.
        if !(run.started && granted && down && patience && run.vm.level() == 1) {
            return;
        }
        let (holders, needed) = self.holders(&op.intent.act);
        let up = holders
            .iter()
            .filter(|n| **n == self.me || self.peers.get(n).is_some_and(|p| p.up))
            .count();
        if up < needed {
            return;
        }
        self.sign_anew(link, &run_id);
    }

    /// How long a level of an act may stay open. Setting pairs up takes a kernel so long for each other holder that it
    /// is part of the deadline.
    pub(super) fn hard_ms(&self, act: &Act, backend: Backend) -> u64 {
        let holders = act.named_participants().map_or(0, <[NodeId]>::len) as u64;
        let sets_up_pairs = act.makes_key() && backend.scheme() == Scheme::Ecdsa;
        self.timing.hard_ms + if sets_up_pairs { SETUP_MS * holders } else { 0 }
    }

    /// The same for a run: by this node's own reckoning, whatever its proposer wrote into the header.
    fn hard_ms_of(&self, run_id: &B32) -> u64 {
        let intent = self.runs.get(run_id).map(|run| run.intent);
        let act = intent.and_then(|link| self.operations.get(&link)).map(|op| &op.intent.act);
        let known = act.and_then(|act| Some((act, self.backend_of(act)?)));
        known.map_or(self.timing.hard_ms, |(act, backend)| self.hard_ms(act, backend))
    }

    /// A deadline of the open level passed.
    pub(super) fn tick_run(&mut self, run_id: &B32) {
        let (now, soft) = (self.running_ms, self.timing.soft_ms);
        let hard = self.hard_ms_of(run_id);
        let Some(run) = self.runs.get_mut(run_id) else { return };
        let level = run.vm.level();
        if run.vm.terminal().is_some() || level == 0 || run.calling || !run.started {
            return;
        }
        let publishes = run.ctx.publishes();
        let missing = awaited(run);
        // In doubt the own frame is kept back, and time passes all the same.
        let in_doubt =
            matches!(run.vm.frontier(&run.ctx).blocked_on, Some(dvm_vm::BlockedOn::Headers { .. }));
        let own_out = run.emitted >= level || in_doubt;
        if missing.is_empty() || !own_out {
            return;
        }
        let intent = run.intent;
        if !publishes && now >= run.level_since_ms + hard {
            return self.feed(run_id, TraceEvent::Tick { kind: TickKind::Hard, level });
        }
        if now >= run.soft_at_ms + soft {
            let first = run.soft_at_ms == run.level_since_ms;
            run.soft_at_ms = now;
            if first {
                self.feed(run_id, TraceEvent::Tick { kind: TickKind::Soft, level });
            } else {
                self.resend_all(run_id);
            }
            if publishes && self.runs.get(run_id).is_some_and(|r| r.published.is_some()) {
                // The kernel has verified the result. Whoever is silent now cannot keep it from its owner.
                return self.publication_done(run_id);
            }
            self.waiting_for(&intent, missing);
        }
    }

    /// A run waits for these peers past its soft deadline.
    pub(super) fn waiting_for(&mut self, link: &Link, missing: Vec<NodeId>) {
        let Some(op) = self.operations.get_mut(link) else { return };
        op.missing = missing;
        if op.state == State::Running {
            self.set_state(link, State::PendingRemote, vec![ReasonCode::RemoteTimeout]);
        } else {
            self.set_codes(link, vec![ReasonCode::RemoteTimeout]);
        }
        self.wake(link);
    }
}

/// Tries of an operation. Nobody waits for a batch of the stock: if one fails, the next has another name.
fn attempts_max(op: &Operation) -> u32 {
    if is_own_stock(op) { 1 } else { ATTEMPTS_MAX }
}

/// How long to wait before peers are asked again: longer, the longer this try has waited, so that what
/// waits for a node that is away for hours asks once a minute and uses up nobody's openings.
fn pause_ms(since_ms: u64, timing: &Timing, now_ms: u64) -> u64 {
    let waited_ms = now_ms.saturating_sub(since_ms);
    (waited_ms / 4).min(timing.consider_retry_max_ms).max(timing.consider_retry_ms)
}
