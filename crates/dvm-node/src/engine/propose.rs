//! Coordination: ask the holders, pick exactly t that admit, propose. A convenience, never an
//! authority: every signer checks the proposal again, in its node and in its kernel.

use std::collections::{BTreeMap, BTreeSet};

use dvm_core::bytes::B32;
use dvm_core::call::KernelCall;
use dvm_core::ids::NodeId;
use dvm_core::intent::Act;
use dvm_core::limits::OPEN_TTL_MS;
use dvm_core::link::Link;
use dvm_core::reason::ReasonCode;
use dvm_core::run::{Open, Proposal, RunHeader, RunKind};
use dvm_core::sign::Signed;
use dvm_score::{Run, compile};

use super::drive;
use super::operation::State;
use super::{Engine, Want};
use crate::wire::{Consider, Considered, PeerMessage};

impl Engine {
    /// Who may take part in an act, and how many of them it takes.
    pub(super) fn holders(&self, act: &Act) -> (Vec<NodeId>, usize) {
        if let Some(named) = act.named_participants() {
            return (named.to_vec(), named.len());
        }
        let ready = self.authority.key(act.key_id()).map(|k| &k.ready);
        ready.map_or((Vec::new(), 0), |r| (r.roster.clone(), usize::from(r.threshold)))
    }

    /// Starts a try: judges here, and asks the other holders.
    pub(super) fn begin_attempt(&mut self, link: &Link) {
        let few = self.too_few_left(link).then_some(ReasonCode::PartyBanned);
        if let Some(code) = few.or_else(|| self.no_set_left(link)) {
            self.set_state(link, State::Denied, vec![code]);
            return self.wake(link);
        }
        let now = self.running_ms;
        let Some(op) = self.operations.get_mut(link) else { return };
        op.attempt += 1;
        op.missing.clear();
        let gathering = self.gathering.entry(*link).or_default();
        gathering.answers.clear();
        gathering.open = None;
        gathering.asked_by = None;
        gathering.since_ms = now;
        gathering.asked_ms = now;
        self.leave_banned_out(link);
        self.judge_and_open(link);
        self.ask_holders(link);
    }

    /// Asks every holder that has not answered this try.
    pub(super) fn ask_holders(&mut self, link: &Link) {
        let Some(op) = self.operations.get(link) else { return };
        if op.state == State::Denied {
            return;
        }
        let (holders, _) = self.holders(&op.intent.act);
        let answered = |node: &NodeId| {
            let gathering = self.gathering.get(link);
            self.without(link, node)
                || gathering.and_then(|g| g.answers.get(node)).is_some_and(|a| a.open.is_some())
        };
        let ask = Consider {
            intent: op.intent.clone(),
            content: op.content.clone(),
            approvals: op.approvals.clone(),
            roles: op.roles.clone(),
            attempt: op.attempt,
        };
        let commits = op.commits + 1;
        let whom: Vec<NodeId> =
            holders.into_iter().filter(|n| *n != self.me && !answered(n)).collect();
        for node in whom {
            self.send(&node, commits, PeerMessage::Consider(Box::new(ask.clone())));
        }
    }

    pub(super) fn on_considered(&mut self, from: &NodeId, commits: u32, answer: Considered) {
        let now = self.running_ms;
        self.note_refusal(from, &answer);
        let Some(op) = self.operations.get_mut(&answer.intent) else { return };
        if !op.coordinator || answer.attempt != op.attempt {
            return;
        }
        op.commits = op.commits.max(commits);
        let link = answer.intent;
        if let Some(code) = answer.code {
            self.log("peer did not open", format!("{link} {from}"), Some(code));
        }
        if self.without(&link, from) {
            return;
        }
        // A coordinator that has restarted gathers anew; this answers what it asked before.
        let Some(gathering) = self.gathering.get_mut(&link) else { return };
        gathering.asked_ms = now;
        gathering.answers.insert(from.clone(), answer);
        self.try_propose(&link);
    }

    /// A peer that will never open counts in whichever try it answers. With too few others left the operation ends with
    /// their reasons: it could only wait for ever.
    fn note_refusal(&mut self, from: &NodeId, answer: &Considered) {
        let link = answer.intent;
        let (true, None, Some(code)) = (answer.for_good, &answer.open, answer.code) else { return };
        let Some(op) = self.operations.get(&link) else { return };
        let (holders, needed) = self.holders(&op.intent.act);
        let live = |run: B32| self.runs.get(&run).is_some_and(|r| r.vm.terminal().is_none());
        let waits = op.coordinator
            && !op.opens_no_more()
            && !matches!(op.state, State::Executed | State::Opening)
            && !op.act_run.is_some_and(live);
        let Some(gathering) = self.gathering.get_mut(&link).filter(|_| holders.contains(from))
        else {
            return;
        };
        gathering.refused.insert(from.clone(), code);
        let left = holders.iter().filter(|node| !gathering.refused.contains_key(node)).count();
        if !waits || left >= needed {
            return;
        }
        let codes: BTreeSet<ReasonCode> = gathering.refused.values().copied().collect();
        self.set_state(&link, State::Denied, codes.into_iter().collect());
        self.wake(&link);
    }

    /// Proposes as soon as exactly t holders, this node first, have fresh openings at one head.
    pub(super) fn try_propose(&mut self, link: &Link) {
        let head = self.head();
        let Some(op) = self.operations.get(link) else { return };
        if !op.coordinator || op.state != State::Admitted && op.state != State::PendingRemote {
            return;
        }
        let (holders, needed) = self.holders(&op.intent.act);
        let Some(gathering) = self.gathering.get(link) else { return };
        if gathering.asked_by.is_some() {
            // The opening at hand was given for another node's try, and its peers' ones are of an earlier try.
            return;
        }
        let mut opens: BTreeMap<NodeId, Signed<Open>> = BTreeMap::new();
        if let Some((open, at)) = &gathering.open
            && self.running_ms < at + OPEN_TTL_MS
        {
            opens.insert(self.me.clone(), open.clone());
        }
        // Peers may be faster than the own kernel, or answer a coordinator that has restarted. One that
        // left itself out would not see the result held, and nobody would tell it when it is out.
        if opens.is_empty() && holders.contains(&self.me) {
            return;
        }
        for (node, answer) in &gathering.answers {
            let fresh =
                answer.open.as_ref().filter(|o| o.body.head == head && holders.contains(node));
            if let Some(open) = fresh {
                opens.insert(node.clone(), open.clone());
            }
        }
        if needed == 0 || opens.len() < needed {
            return;
        }
        // Which sets are out is known; of the others, one may be ready later.
        let Some(signers) = self.choose(link, &opens.keys().collect(), needed) else { return };
        opens.retain(|node, _| signers.contains(node));
        let proposal = self.proposal(link, opens);
        let Some(proposal) = proposal else { return };
        let commits = op_commits(self, link);
        for node in &proposal.header.participants.clone() {
            if *node != self.me {
                self.send(node, commits, PeerMessage::Propose(Box::new(proposal.clone())));
            }
        }
        if proposal.header.participants.contains(&self.me) {
            self.enter_run(proposal);
        } else {
            self.set_state(link, State::Running, Vec::new());
        }
    }

    fn proposal(&mut self, link: &Link, opens: BTreeMap<NodeId, Signed<Open>>) -> Option<Proposal> {
        let participants: Vec<NodeId> = opens.keys().cloned().collect();
        let material = self.take_material(link, &participants);
        let op = self.operations.get(link)?;
        let backend = self.backend_of(&op.intent.act)?;
        let compiled = compile(&op.intent.act, Run::Act(material), backend, &participants).ok()?;
        let opens: Vec<Signed<Open>> = opens.into_values().collect();
        let header = RunHeader {
            cluster: self.cluster,
            intent: *link,
            kind: RunKind::Act {
                attempt: op.attempt,
                opens: opens.iter().map(Signed::link).collect(),
                material,
            },
            plan_id: compiled.plan_id(),
            key_epoch: op.intent.act.key_epoch(),
            participants,
            soft_deadline_ms: self.timing.soft_ms,
            hard_deadline_ms: self.hard_ms(&op.intent.act, backend),
        };
        Some(Proposal { header, opens })
    }

    /// A coordinator proposes a run.
    pub(super) fn on_propose(&mut self, from: &NodeId, commits: u32, proposal: Proposal) {
        let link = proposal.header.intent;
        let execution_id = proposal.header.execution_id();
        let Some(op) = self.operations.get_mut(&link) else { return };
        op.commits = op.commits.max(commits);
        let own =
            self.gathering.get(&link).and_then(|g| g.open.as_ref()).map(|(open, _)| open.link());
        let RunKind::Act { opens, .. } = &proposal.header.kind else { return };
        let mine = own.is_some_and(|own| opens.contains(&own));
        if !mine || !proposal.header.participants.contains(&self.me) || op.state.is_final() {
            let code = ReasonCode::SessionMismatch;
            return self.send(from, 0, PeerMessage::Stopped { execution_id, code });
        }
        self.enter_run(proposal);
    }

    /// Takes part in an act run: the kernel binds the proposal first.
    fn enter_run(&mut self, proposal: Proposal) {
        let link = proposal.header.intent;
        let run = proposal.header.execution_id();
        if self.runs.contains_key(&run) {
            return;
        }
        let Some(op) = self.operations.get(&link) else { return };
        let backend = self.backend_of(&op.intent.act);
        let made = backend.and_then(|b| drive::Run::new(self, &op.intent, b, proposal.clone()));
        let Some(made) = made else {
            return self.log(
                "proposal does not compile",
                link.to_string(),
                Some(ReasonCode::BindingMismatch),
            );
        };
        if let Some(gathering) = self.gathering.get_mut(&link) {
            gathering.open = None;
        }
        self.runs.insert(run, made);
        let Some(op) = self.operations.get_mut(&link) else { return };
        op.act_run = Some(run);
        op.publish_run = None;
        op.result_ref = None;
        op.runs.push(run);
        self.set_state(&link, State::Running, Vec::new());
        self.save_proposal(&run);
        let call = KernelCall::Start { proposal: Box::new(proposal), frames: Vec::new() };
        self.ask(call, Want::Start { run });
    }

    /// The backend that performs an act.
    pub(super) fn backend_of(&self, act: &Act) -> Option<dvm_core::intent::Backend> {
        match act {
            Act::KeyGenerate { backend, .. } => Some(*backend),
            act => self.authority.key(act.key_id()).map(|k| k.ready.backend),
        }
    }
}

fn op_commits(engine: &Engine, link: &Link) -> u32 {
    engine.operations.get(link).map_or(0, |op| op.commits)
}
