//! Judging an intent: this node's own verdict, and its kernel's opening.

use dvm_core::admission::{AdmissionReceipt, PolicyReceipt, Purpose, Verdict};
use dvm_core::bytes::B32;
use dvm_core::call::{KernelCall, KernelReply};
use dvm_core::codec;
use dvm_core::ids::NodeId;
use dvm_core::limits::OPEN_TTL_MS;
use dvm_core::link::Link;
use dvm_core::reason::ReasonCode;
use dvm_core::sign::Signed;
use dvm_policy::JudgeInput;

use super::operation::{Gathering, Operation, State};
use super::{Engine, Token, Want};
use crate::wire::{Consider, Considered, PeerMessage};

impl Engine {
    /// A coordinator asks. The same answer again if the opening is still good.
    pub(super) fn on_consider(&mut self, from: &NodeId, commits: u32, ask: Consider) {
        let link = codec::link_of(&ask.intent);
        if !self.stock_of(from, &ask.intent) {
            let code = ReasonCode::BindingMismatch;
            return self.answer_refused(from, (link, ask.attempt), code, true);
        }
        if let Err(code) = self.accept(ask.intent, ask.content, ask.roles) {
            // Another intent has its place here, or it is no intent of this cluster: neither ever changes.
            return self.answer_refused(from, (link, ask.attempt), code, true);
        }
        let now = self.running_ms;
        let Some(op) = self.operations.get_mut(&link) else { return };
        op.add_approvals(&ask.approvals);
        op.commits = op.commits.max(commits);
        if let Some(outcome) = op.outcome() {
            // Whoever asks anew has lost what it knew of the end.
            return self.send(from, commits, PeerMessage::Outcome(Box::new(outcome)));
        }
        // A question of an earlier try may come late, or twice: what came of that try stands.
        let before = self.gathering.get(&link).is_some_and(|g| g.asked_before(from, ask.attempt));
        let runs = matches!(op.state, State::Running | State::Opening | State::Published);
        let (state, act_run) = (op.state, op.act_run);
        let held = state == State::Executed && self.held_with_others(act_run, from);
        let Some(op) = self.operations.get(&link) else { return };
        let live = act_run.filter(|_| runs || before || held);
        // Whoever still asks has missed a human no: the no itself ends it there, too.
        let missed = op.denials.first().cloned().filter(|_| op.state.is_final());
        if let Some(denial) = missed {
            return self.send(from, commits, PeerMessage::Denial(Box::new(denial)));
        }
        if live.is_some() || op.state.is_final() {
            let answer = Considered {
                intent: link,
                attempt: ask.attempt,
                admission: None,
                open: None,
                live,
                // Whoever asks for a batch that is made already has lost its own part of it.
                code: op
                    .codes
                    .first()
                    .copied()
                    .or((state == State::Stashed).then_some(ReasonCode::MaterialPoisoned)),
                for_good: op.state.is_final(),
            };
            return self.send(from, commits, PeerMessage::Considered(Box::new(answer)));
        }
        let gathering = self.gathering.entry(link).or_default();
        let offered = gathering.open.as_ref().is_some_and(|(_, at)| now < at + OPEN_TTL_MS);
        let rival = gathering.asked_by.as_ref().is_some_and(|(who, _)| who != from);
        if offered && rival {
            let code = ReasonCode::ReplayOrConflict;
            return self.answer_refused(from, (link, ask.attempt), code, false);
        }
        let again = offered && gathering.asked_by.as_ref().is_some_and(|(_, n)| *n == ask.attempt);
        gathering.asked_by = Some((from.clone(), ask.attempt));
        gathering.asked_ms = now;
        if again {
            self.answer_considered(&link);
        } else {
            self.judge_and_open(&link);
        }
    }

    /// Whether a result is held here with signers that are up and have not given it up, and this node is none of them.
    /// It is not destroyed for a second coordinator, or the two would undo each other's results for ever.
    fn held_with_others(&self, act_run: Option<B32>, node: &NodeId) -> bool {
        let run = act_run.and_then(|id| self.runs.get(&id));
        run.is_some_and(|run| {
            let up = |other: &NodeId| self.peers.get(other).is_some_and(|peer| peer.up);
            let given_up = self.operations.get(&run.intent).and_then(|op| op.publish_run);
            let given_up = given_up.and_then(|id| self.runs.get(&id)).is_some_and(|r| r.given_up);
            !given_up && !run.ctx.participants().contains(node) && run.ctx.others().all(up)
        })
    }

    fn answer_refused(
        &mut self,
        to: &NodeId,
        (intent, attempt): (Link, u32),
        code: ReasonCode,
        for_good: bool,
    ) {
        let answer = Considered {
            intent,
            attempt,
            admission: None,
            open: None,
            live: None,
            code: Some(code),
            for_good,
        };
        self.send(to, 0, PeerMessage::Considered(Box::new(answer)));
    }

    /// Judges by policy, records the verdict, and asks the kernel to open if it is an admission.
    pub(super) fn judge_and_open(&mut self, link: &Link) {
        let Some((receipt, private)) = self.judge_admission(link) else { return };
        let verdict = receipt.body.verdict;
        let codes = receipt.body.codes.clone();
        self.record_verdict(link, receipt.clone(), &private);
        let Some(op) = self.operations.get_mut(link) else { return };
        // An allowing verdict gives no reason: until a run is under way, what stopped the try before it is why there is none.
        let stopped = !matches!(op.state, State::AwaitingApproval | State::Executed);
        if verdict != Verdict::Allow || !stopped {
            op.codes = codes;
        }
        op.missing.clear();
        let before = op.state;
        op.state = match verdict {
            Verdict::Allow => State::Admitted,
            Verdict::Awaiting => State::AwaitingApproval,
            Verdict::Deny => State::Denied,
        };
        let state = op.state;
        let call = (verdict == Verdict::Allow).then(|| KernelCall::Open {
            intent: Box::new(op.intent.clone()),
            content: op.content.clone(),
            admission: Box::new(receipt),
            approvals: op
                .approvals
                .iter()
                .filter(|a| a.body.purpose == Purpose::Admit)
                .cloned()
                .collect(),
        });
        let commits = op.commits;
        self.count_end(link, before, state);
        // An earlier try may have been granted here. Its share goes before a new one is opened; once it
        // may be out, the kernel refuses both.
        self.leave_tries(link);
        self.save(link);
        self.wake(link);
        let opening = call.map(|call| self.ask(call, Want::Open { intent: *link }));
        let gathering = self.gathering.entry(*link).or_default();
        gathering.opening = opening;
        if opening.is_some() {
            gathering.open = None;
            gathering.commits_before = commits;
        } else {
            self.answer_considered(link);
        }
    }

    /// The kernel opened, or refused what policy had allowed.
    pub(super) fn on_opened(&mut self, link: &Link, question: Token, reply: KernelReply) {
        let now = self.running_ms;
        let mut refused = None;
        let current = |gathering: &&mut Gathering| gathering.opening == Some(question);
        let Some(gathering) = self.gathering.get_mut(link).filter(current) else {
            // The kernel has been asked again since, so this opening is superseded already.
            return;
        };
        gathering.opening = None;
        let behind = gathering.commits_before + 1;
        match reply {
            KernelReply::Opened(open) => gathering.open = Some((*open, now)),
            KernelReply::Refused { code, .. } => refused = Some(code),
            _ => refused = Some(ReasonCode::Internal),
        }
        let Some(op) = self.operations.get_mut(link) else { return };
        op.commits = op.commits.max(behind);
        if op.state.is_final() {
            return;
        }
        if let Some(code) = refused {
            let before = op.state;
            op.codes = vec![code];
            op.state = match code {
                // The head moved; or the kernel's disk failed, which says nothing about the act.
                ReasonCode::StaleEpoch | ReasonCode::Internal => State::Proposed,
                // The share left before a restart: the others are asked how it ended.
                ReasonCode::ReplayOrConflict | ReasonCode::WrongPhase => State::Aborted,
                _ => State::Denied,
            };
            let state = op.state;
            self.count_end(link, before, state);
            self.save(link);
            self.log("kernel refused to open", link.to_string(), Some(code));
            self.wake(link);
            if code == ReasonCode::WrongPhase {
                self.abort_again(link);
            }
        }
        self.answer_considered(link);
        self.try_propose(link);
    }

    /// Tells whoever asked what this node's verdict and opening are.
    fn answer_considered(&mut self, link: &Link) {
        let Some(op) = self.operations.get(link) else { return };
        let Some(gathering) = self.gathering.get(link) else { return };
        let Some((to, attempt)) = gathering.asked_by.clone() else { return };
        let open = gathering.open.as_ref().map(|(open, _)| open.clone());
        let answer = Considered {
            intent: *link,
            attempt,
            admission: op.admission().cloned(),
            code: if open.is_some() { None } else { op.codes.first().copied() },
            for_good: op.opens_no_more(),
            open,
            live: None,
        };
        let commits = op.commits;
        self.send(&to, commits, PeerMessage::Considered(Box::new(answer)));
    }

    /// Policy's word on admitting this operation; an admission reserves its place in the ledger.
    fn judge_admission(
        &mut self,
        link: &Link,
    ) -> Option<(Signed<AdmissionReceipt>, PolicyReceipt)> {
        let salt = self.fresh_salt();
        let op = self.operations.get(link)?;
        let act = dvm_act::parse(&op.intent, op.content.as_deref()).ok()?;
        let input = self.judge_input(op, salt);
        let mut judgement = dvm_policy::admit(&self.policy, &input, &act, &self.ledger);
        // Material is no execution: what spends it is.
        if judgement.verdict == Verdict::Allow && op.intent.act.publishes() {
            let authority = dvm_governance::authority_for(&self.authority, &op.intent, self.now_ms);
            let cap = authority.map_or(0, |a| a.floor().executions_per_hour);
            let key_id = op.intent.act.key_id();
            if let Err(code) = self.ledger.reserve(key_id, *link, cap, self.now_ms) {
                judgement.verdict = Verdict::Deny;
                judgement.codes = vec![code];
            }
        }
        let op = self.operations.get(link)?;
        let input = self.judge_input(op, salt);
        let receipt =
            dvm_policy::admission_receipt(&judgement, &input, Purpose::Admit, self.me.clone());
        Some((Signed::new(receipt, &self.policy_key), judgement.policy_receipt))
    }

    /// What policy is given.
    pub(super) fn judge_input<'a>(&'a self, op: &'a Operation, salt: B32) -> JudgeInput<'a> {
        JudgeInput {
            state: &self.authority,
            intent: &op.intent,
            approvals: &op.approvals,
            roles: &op.roles,
            now_ms: self.now_ms,
            salt,
        }
    }

    /// A fresh salt: from this start's seed and a counter, so that a simulation can repeat it.
    pub(super) fn fresh_salt(&mut self) -> B32 {
        self.salts += 1;
        let seed = [&self.salt_seed.0[..], &self.salts.to_be_bytes()].concat();
        dvm_core::digest::sha256(&seed)
    }
}
