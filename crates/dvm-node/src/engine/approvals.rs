//! Human statements: approvals are counted, a denial ends the intent. Both are signed; who carried
//! them does not matter.

use dvm_core::admission::{Approval, Denial, Purpose};
use dvm_core::call::{KernelCall, KernelReply};
use dvm_core::ids::NodeId;
use dvm_core::link::Link;
use dvm_core::reason::ReasonCode;
use dvm_core::sign::{PublicKey, Signed};

use super::operation::State;
use super::{Engine, Token, Want};
use crate::wire::PeerMessage;

/// How long a statement's caller waits to see what came of it.
const SETTLE_MS: u64 = 2_000;

impl Engine {
    pub(super) fn api_approve(&mut self, token: Token, approval: Signed<Approval>) {
        let intent = approval.body.intent;
        if let Err(code) = self.take_approval(&approval) {
            let why = "the approval is not by a known approver over this operation as it is now";
            return self.refuse(token, code, why);
        }
        self.spread(PeerMessage::Approval(Box::new(approval)));
        self.forget_reasons(&intent);
        self.after_approval(&intent);
        self.wait_for(token, intent, SETTLE_MS, false);
    }

    pub(super) fn on_approval(&mut self, approval: Signed<Approval>) {
        let intent = approval.body.intent;
        if self.take_approval(&approval) == Ok(true) {
            self.after_approval(&intent);
        }
    }

    /// Records an approval; true if it is new. Nothing of it is counted here: policy and kernel do.
    fn take_approval(&mut self, approval: &Signed<Approval>) -> Result<bool, ReasonCode> {
        let body = &approval.body;
        let op = self.operations.get(&body.intent).ok_or(ReasonCode::NotFound)?;
        if op.state.is_final() {
            return Err(op.codes.first().copied().unwrap_or(ReasonCode::WrongPhase));
        }
        let right_act = body.cluster == self.cluster
            && body.display_hash == op.intent.display_hash
            && body.key_id == *op.intent.act.key_id();
        if !right_act {
            return Err(ReasonCode::BindingMismatch);
        }
        if let Purpose::Release { execution_id, result_ref } = &body.purpose
            && (op.act_run.is_some_and(|run| run != *execution_id)
                || op.result_ref.is_some_and(|result| result != *result_ref))
        {
            // A node that did not sign knows of no result; it only carries the approval.
            return Err(ReasonCode::SessionMismatch);
        }
        self.verify_person(&body.approver, |key| approval.verify(key).is_ok())?;
        let Some(op) = self.operations.get_mut(&body.intent) else {
            return Err(ReasonCode::NotFound);
        };
        let added = op.add_approvals(std::slice::from_ref(approval));
        self.save(&approval.body.intent);
        Ok(added)
    }

    fn verify_person(
        &self,
        person: &dvm_core::PersonId,
        holds: impl Fn(PublicKey) -> bool,
    ) -> Result<(), ReasonCode> {
        let members = self.authority.sets().values().flat_map(|s| &s.members);
        let known = members.filter(|m| m.person == *person).any(|m| holds(m.key));
        if known { Ok(()) } else { Err(ReasonCode::BindingMismatch) }
    }

    /// The reasons shown so far are about to be judged anew: an answer waits for the new ones.
    fn forget_reasons(&mut self, intent: &Link) {
        if let Some(op) = self.operations.get_mut(intent)
            && op.state == State::Executed
        {
            op.codes.clear();
        }
    }

    fn after_approval(&mut self, intent: &Link) {
        let Some(op) = self.operations.get(intent) else { return };
        match op.state {
            State::AwaitingApproval if op.coordinator => self.begin_attempt(intent),
            // Elsewhere the coordinator asks again, with every approval it has. In Opening, too: after a restart the
            // kernel may be further than this node's record of what people said.
            State::Executed | State::Opening => self.try_gate(intent),
            _ => {}
        }
    }

    pub(super) fn spread(&mut self, message: PeerMessage) {
        let nodes: Vec<NodeId> = self.manifest.nodes.iter().map(|p| p.node.clone()).collect();
        for node in nodes {
            if node != self.me {
                self.send(&node, 0, message.clone());
            }
        }
    }

    pub(super) fn api_release(&mut self, token: Token, id: &str) {
        let Some(intent) = self.find(id) else {
            return self.refuse(
                token,
                ReasonCode::NotFound,
                format!("no operation `{id}` at this node"),
            );
        };
        self.forget_reasons(&intent);
        self.try_gate(&intent);
        self.wait_for(token, intent, SETTLE_MS, false);
    }

    pub(super) fn api_deny(&mut self, token: Token, denial: Signed<Denial>) {
        let intent = denial.body.intent;
        if let Err(code) = self.take_denial(&denial) {
            let why =
                "the denial is not by a known approver over this operation, or it is too late";
            return self.refuse(token, code, why);
        }
        self.spread(PeerMessage::Denial(Box::new(denial)));
        self.forget_reasons(&intent);
        self.wait_for(token, intent, SETTLE_MS, false);
    }

    pub(super) fn on_denial(&mut self, denial: Signed<Denial>) {
        // A refused denial changes nothing; the sender learns of it through its own kernel.
        if let Err(code) = self.take_denial(&denial) {
            self.log("denial refused", denial.body.intent.to_string(), Some(code));
        }
    }

    fn take_denial(&mut self, denial: &Signed<Denial>) -> Result<(), ReasonCode> {
        let body = &denial.body;
        let op = self.operations.get(&body.intent).ok_or(ReasonCode::NotFound)?;
        if op.denials.contains(denial) {
            self.deny_again(&body.intent);
            return Ok(());
        }
        if matches!(op.state, State::Opening | State::Published) {
            return Err(ReasonCode::WrongPhase);
        }
        if body.cluster != self.cluster || body.display_hash != op.intent.display_hash {
            return Err(ReasonCode::BindingMismatch);
        }
        self.verify_person(&body.approver, |key| denial.verify(key).is_ok())?;
        let intent = body.intent;
        let Some(op) = self.operations.get_mut(&intent) else { return Err(ReasonCode::NotFound) };
        op.denials.push(denial.clone());
        self.save(&intent);
        self.ask_to_deny(denial);
        Ok(())
    }

    fn ask_to_deny(&mut self, denial: &Signed<Denial>) {
        let denial = Box::new(denial.clone());
        self.ask(KernelCall::Deny { denial: denial.clone() }, Want::Deny { denial });
    }

    /// A no that the kernel has not made durable, because its disk failed or it went down, is asked for again
    /// before anything else of the intent. True if there is one.
    pub(super) fn deny_again(&mut self, intent: &Link) -> bool {
        let live = self.operations.get(intent).filter(|op| !op.state.is_final());
        let denial = live.and_then(|op| op.denials.first()).cloned();
        if let Some(denial) = &denial {
            self.ask_to_deny(denial);
        }
        denial.is_some()
    }

    /// The kernel has tombstoned the intent, and destroyed what it held.
    pub(super) fn on_denied(&mut self, denial: &Signed<Denial>, reply: KernelReply) {
        let intent = &denial.body.intent;
        match reply {
            KernelReply::Denied(receipts) => {
                let run = self.operations.get(intent).and_then(|op| op.publish_run.or(op.act_run));
                // A signer's kernel says what it destroyed; any other node goes by what it was told.
                let destroyed = receipts.iter().any(|receipt| receipt.body.destroyed);
                let known = self.operations.get(intent).is_some_and(|op| op.result_ref.is_some());
                for receipt in receipts {
                    let run_id = run.unwrap_or(receipt.body.execution_id);
                    self.record_publication(intent, &run_id, receipt);
                }
                let state = if destroyed || known { State::Discarded } else { State::Denied };
                if let Some(run_id) = run {
                    let code = ReasonCode::DeniedByApprover;
                    self.feed(&run_id, dvm_core::trace::TraceEvent::Cancel(code));
                }
                self.set_state(intent, state, vec![ReasonCode::DeniedByApprover]);
                self.wake(intent);
            }
            KernelReply::Refused { code, rule, .. } => {
                self.log("kernel refused the denial", format!("{intent} {rule}"), Some(code));
                if code != ReasonCode::Internal
                    && let Some(op) = self.operations.get_mut(intent)
                {
                    op.denials.retain(|d| d != denial);
                    self.save(intent);
                    // The gate was not asked while this stood before it.
                    self.try_gate(intent);
                }
                self.wake(intent);
            }
            _ => self.log("kernel answered amiss", intent.to_string(), Some(ReasonCode::Internal)),
        }
    }
}
