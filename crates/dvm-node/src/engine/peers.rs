//! Peers and the own kernel: who is there, which run of them, at which head.

use dvm_core::bytes::B32;
use dvm_core::call::{Attestation, HeldRun, KernelCall, KernelReply};
use dvm_core::frame::FrameHeader;
use dvm_core::governance::HeadRef;
use dvm_core::ids::NodeId;
use dvm_core::link::Link;
use dvm_core::reason::ReasonCode;
use dvm_core::sign::Signed;
use dvm_core::trace::TraceEvent;

use super::operation::State;
use super::refill::is_own_stock;
use super::{Engine, Want};
use crate::wire::PeerMessage;

impl Engine {
    pub(super) fn on_peer(&mut self, from: &NodeId, commits: u32, message: PeerMessage) {
        if !self.peers.contains_key(from) {
            return;
        }
        match message {
            PeerMessage::Hello { attestation, head } => {
                self.on_hello(from, attestation.map(|a| *a), head)
            }
            PeerMessage::Consider(ask) => self.on_consider(from, commits, *ask),
            PeerMessage::Considered(answer) => self.on_considered(from, commits, *answer),
            PeerMessage::Propose(proposal) => self.on_propose(from, commits, *proposal),
            PeerMessage::Frame(envelope) => self.on_frame(commits, *envelope),
            PeerMessage::Resend { execution_id, level } => {
                self.on_resend(from, &execution_id, level)
            }
            PeerMessage::Stopped { execution_id, code } => {
                self.on_stopped(from, &execution_id, code)
            }
            PeerMessage::Headers { execution_id, level, headers } => {
                self.on_headers(from, &execution_id, level, headers);
            }
            PeerMessage::Approval(approval) => self.on_approval(*approval),
            PeerMessage::Denial(denial) => self.on_denial(*denial),
            PeerMessage::Outcome(outcome) => self.on_outcome(*outcome),
            PeerMessage::FetchOutcome { intent } => self.on_fetch_outcome(from, &intent),
            PeerMessage::Order { kind, decision, key_ready } => {
                self.on_order(kind, decision.map(|d| *d), key_ready.map(|k| *k));
            }
            PeerMessage::Entry(entry) => self.on_entry(from, *entry),
            PeerMessage::Cosigned { head, cosignature } => {
                self.count_cosignature(head, cosignature)
            }
            PeerMessage::Certified { entries, certificate } => {
                self.on_certified(from, entries, *certificate)
            }
            PeerMessage::FetchLog { from: seq } => self.on_fetch_log(from, seq),
            PeerMessage::FetchEvidence { intent } => self.on_fetch_evidence(from, &intent),
            PeerMessage::Evidence { intent, part } => {
                self.on_evidence(from, intent, part.map(|p| *p))
            }
            PeerMessage::Sighting(sighting) => self.on_sighting(from, sighting),
            PeerMessage::Fencing(record) => self.on_fencing(record),
        }
    }

    pub(super) fn hello(&mut self, to: &NodeId) {
        let head = self.head();
        let attestation = self.attestation.clone().map(Box::new);
        self.send(to, 0, PeerMessage::Hello { attestation, head });
    }

    /// Greets with what the kernel says of itself now: a number of its start would let a directory of an hour ago pass.
    fn greet(&mut self, to: &NodeId) {
        if self.kernel_ready {
            self.ask(KernelCall::Attest, Want::Greeting { to: to.clone() });
        } else {
            self.hello(to);
        }
    }

    pub(super) fn on_greeting(&mut self, to: &NodeId, reply: KernelReply) {
        if let KernelReply::Attested(attestation) = reply {
            self.attestation = Some(*attestation);
        }
        self.hello(to);
    }

    pub(super) fn on_up(&mut self, node: &NodeId) {
        if let Some(peer) = self.peers.get_mut(node) {
            peer.up = true;
        }
        self.greet(node);
        let runs: Vec<B32> = self
            .runs
            .iter()
            .filter(|(_, r)| r.vm.terminal().is_none() && r.ctx.participants().contains(node))
            .map(|(id, _)| *id)
            .collect();
        for run in runs {
            self.resend_all(&run);
        }
        self.pool.peer_is_up(node);
        // Whatever has waited for a while may have waited for this one.
        let (now, retry) = (self.running_ms, self.timing.consider_retry_ms);
        for gathering in self.gathering.values_mut() {
            if now >= gathering.asked_ms + retry {
                gathering.asked_ms = 0;
                gathering.fetched_ms = 0;
            }
        }
    }

    pub(super) fn on_down(&mut self, node: &NodeId) {
        if let Some(peer) = self.peers.get_mut(node) {
            peer.up = false;
        }
    }

    /// A peer says which run of its kernel speaks, and at which head.
    fn on_hello(&mut self, from: &NodeId, attestation: Option<Signed<Attestation>>, head: HeadRef) {
        if let Some(attestation) = attestation {
            self.sight(from, attestation);
        }
        if let Some(peer) = self.peers.get_mut(from) {
            peer.head = Some(head);
        }
        let mine = self.head().size;
        if head.size > mine {
            self.send(from, 0, PeerMessage::FetchLog { from: mine });
        } else if head.size < mine {
            self.on_fetch_log(&from.clone(), head.size);
        }
    }

    fn on_resend(&mut self, to: &NodeId, run_id: &B32, level: u16) {
        if !self.runs.contains_key(run_id) {
            return self.answer_unknown(to, run_id);
        }
        if self.tell_end(to, run_id) {
            return;
        }
        let Some(run) = self.runs.get(run_id) else { return };
        let frames: Vec<_> = run
            .sent
            .iter()
            .filter(|(l, _)| **l >= level && **l <= run.emitted)
            .flat_map(|(_, f)| f)
            .filter(|f| f.to == *to && super::records::is_whole(f))
            .cloned()
            .collect();
        for frame in frames {
            self.send(to, 0, PeerMessage::Frame(Box::new(frame)));
        }
    }

    /// A run that is not known here. It is the publication of an act that this node has not seen the end of, and what is
    /// missing of that act is asked for; or this node has lost it, and says so. Before the kernel has said what it
    /// holds, neither is known: the peer will ask again.
    fn answer_unknown(&mut self, to: &NodeId, run_id: &B32) {
        if !self.before_start.is_empty() {
            return;
        }
        if let Some(act_run) = self.act_before(to, run_id) {
            return self.resend_all(&act_run);
        }
        let code = ReasonCode::SessionMismatch;
        self.send(to, 0, PeerMessage::Stopped { execution_id: *run_id, code });
    }

    /// The act run, live here and with this peer, whose result a publication run is of.
    fn act_before(&self, with: &NodeId, publication: &B32) -> Option<B32> {
        let mut live = self.runs.iter().filter(|(_, run)| {
            let ours = !run.ctx.publishes() && run.ctx.participants().contains(with);
            ours && run.vm.terminal().is_none()
        });
        live.find_map(|(id, run)| {
            let result_ref = run.permit_receipt.as_ref()?.body.result_ref?;
            let follows = self.publication(id, result_ref)?;
            (follows.ctx.execution_id() == *publication).then_some(*id)
        })
    }

    /// Headers are asked for, or given, after a view mismatch.
    fn on_headers(
        &mut self,
        from: &NodeId,
        run_id: &B32,
        level: u16,
        headers: Option<Vec<Signed<FrameHeader>>>,
    ) {
        let Some(run) = self.runs.get(run_id) else { return };
        if let Some(mut headers) = headers {
            // A peer's own odd header convicts it only by its own mouth.
            headers.retain(|h| h.body.level == level || h.body.from == *from);
            return self.feed(run_id, TraceEvent::Headers(headers));
        }
        let own = [level, level + 1].into_iter().filter(|l| *l <= run.emitted);
        let own = own.filter_map(|l| Some(run.sent.get(&l)?.first()?.header.clone()));
        let theirs =
            run.received.iter().filter(|((l, _), _)| *l == level).map(|(_, e)| e.header.clone());
        let answer = PeerMessage::Headers {
            execution_id: *run_id,
            level,
            headers: Some(own.chain(theirs).collect()),
        };
        self.send(from, 0, answer);
    }

    pub(super) fn on_attested(&mut self, reply: KernelReply) {
        let KernelReply::Attested(attestation) = reply else {
            return self.log("kernel does not attest", "", Some(ReasonCode::Internal));
        };
        let Some(passport) = self.manifest.passport(&self.me) else { return };
        if attestation.verify(passport.kernel_key).is_err() {
            return self.log(
                "kernel is not this passport's",
                "",
                Some(ReasonCode::BindingMismatch),
            );
        }
        let pinned = attestation.body.head;
        self.attestation = Some(*attestation);
        match pinned {
            None => {
                let call = KernelCall::Pin {
                    manifest: Box::new(self.manifest.clone()),
                    node: self.me.clone(),
                };
                self.ask(call, Want::Pin);
            }
            Some(head) => self.kernel_is_at(head),
        }
    }

    pub(super) fn on_pinned(&mut self, reply: KernelReply) {
        match reply {
            KernelReply::Head(head) => self.kernel_is_at(head),
            KernelReply::Refused { code, rule, .. } => {
                self.log("kernel refused the cluster", rule, Some(code))
            }
            _ => {}
        }
    }

    /// The kernel works; it is given what it lacks of the log, and asked what it still holds.
    fn kernel_is_at(&mut self, head: HeadRef) {
        self.kernel_ready = true;
        let from = usize::try_from(head.size).unwrap_or(usize::MAX);
        let missing: Vec<_> = self.log.iter().skip(from).cloned().collect();
        if !missing.is_empty()
            && let Some(certificate) = self.certificate.clone()
        {
            let call =
                KernelCall::Adopt { entries: missing, certificate: Box::new(certificate.clone()) };
            self.adopting = true;
            self.ask(call, Want::Adopt { entries: Vec::new(), certificate: Box::new(certificate) });
        }
        self.ask(KernelCall::Fence { record: None }, Want::Fences);
        self.sight_pending();
        self.ask(KernelCall::Status, Want::Status);
        for node in self.peers.keys().cloned().collect::<Vec<_>>() {
            self.hello(&node);
        }
        self.pump();
    }

    /// After a start: runs that the kernel still holds go on; the others ended with its memory. A run that
    /// was entered since then is not among them, because the question was asked before it.
    pub(super) fn on_status(&mut self, reply: KernelReply) {
        let KernelReply::Status { held, .. } = reply else { return };
        let before_start = std::mem::take(&mut self.before_start);
        self.leave_orphans(&held);
        let unopened = held.iter().filter(|run| is_unopened(run));
        self.unopened = unopened.map(|run| run.execution_id).collect();
        let live = |op: &super::Operation| op.act_run.filter(|_| !op.state.is_final());
        let open: Vec<_> = self
            .operations
            .iter()
            .filter_map(|(link, op)| Some((*link, live(op)?)))
            .filter(|(_, act_run)| before_start.contains(act_run))
            .collect();
        for (link, act_run) in open {
            let listed = held.iter().find(|h| h.execution_id == act_run);
            let listed = listed.map(|h| (h.result_ref, !is_unopened(h)));
            // A kernel that has put the result together lists it no longer, but repeats its last words.
            let opened = self.operations.get(&link).filter(|op| op.publish_run.is_some());
            let opened = opened.and_then(|op| Some((op.result_ref?, op.state == State::Opening)));
            // A result whose own record the crash took, after the kernel had it: its run cannot be shown to anybody.
            let lost = self.runs.get(&act_run).is_none_or(|run| run.permit_receipt.is_none());
            match listed.or(opened) {
                Some(still) if still.1 || !lost => self.resume_held(&link, &act_run, still),
                _ => self.held_lost(&link),
            }
        }
        self.gather_again();
        for link in self.operations.keys().copied().collect::<Vec<_>>() {
            self.deny_again(&link);
        }
    }

    /// What the kernel holds of a try that was left before a crash, ahead of the kernel's hearing of it: else it would
    /// open that intent no more.
    fn leave_orphans(&mut self, held: &[HeldRun]) {
        for run in held {
            let op = self.operations.get(&run.intent).filter(|op| !op.state.is_final());
            if op.is_some_and(|op| op.act_run != Some(run.execution_id)) {
                let (execution_id, code) = (run.execution_id, ReasonCode::RemoteTimeout);
                self.ask(
                    KernelCall::Abort { execution_id, code },
                    Want::Abort { run: execution_id },
                );
            }
        }
    }

    /// Openings that were gathered before a restart are gone; whoever asked for the act still waits.
    fn gather_again(&mut self) {
        let gathers = |op: &super::Operation| {
            let asking =
                matches!(op.state, State::Proposed | State::Admitted | State::PendingRemote);
            op.coordinator && asking && op.act_run.is_none() && !is_own_stock(op)
        };
        let waiting: Vec<_> =
            self.operations.iter().filter(|(_, op)| gathers(op)).map(|(link, _)| *link).collect();
        for link in waiting {
            if let Some(op) = self.operations.get_mut(&link) {
                op.recovered = true;
            }
            self.begin_attempt(&link);
        }
    }

    fn resume_held(&mut self, link: &Link, act_run: &B32, (result_ref, opening): (B32, bool)) {
        if let Some(op) = self.operations.get_mut(link) {
            op.recovered = true;
            op.result_ref = Some(result_ref);
        }
        let lacks_frames = self.runs.get(act_run).is_some_and(|run| {
            let last = run.ctx.levels();
            run.sent.contains_key(&last) && run.frames_of(last).len() < run.ctx.others().count()
        });
        if lacks_frames && !opening {
            return self.resume_act(link, act_run);
        }
        let state = if opening { State::Opening } else { State::Executed };
        self.set_state(link, state, Vec::new());
        self.start_publication(act_run, result_ref);
    }

    /// The kernel holds the result, but some peers' frames of the act's last level are not here. The
    /// gate asks for them, so the act goes on until they are.
    fn resume_act(&mut self, link: &Link, act_run: &B32) {
        let now = self.running_ms;
        if let Some(run) = self.runs.get_mut(act_run) {
            run.started = true;
            run.level_since_ms = now;
            run.soft_at_ms = now;
        }
        self.set_state(link, State::Running, Vec::new());
        self.resend_all(act_run);
    }
}

/// Whether the kernel still has its share of a result.
fn is_unopened(run: &HeldRun) -> bool {
    matches!(run.phase.as_str(), "Held" | "Granted")
}
