//! Denials by people, and the end of a run.
//!
//! Source: the design's life of a signature, step 7; the phase table.
//! Always true: a denial by a member of the key's approver sets is durable before anything else happens with the
//! intent, and outlives every run; from Opening on nothing is destroyed, because the signature may exist.

use dvm_core::admission::Denial;
use dvm_core::authority::{ApprovalRule, Floor, ReleaseRule};
use dvm_core::call::KernelReply;
use dvm_core::{B32, ReasonCode, Signed};
use dvm_governance::AuthorityState;

use crate::authority::intent_link;
use crate::gate::Verdicts;
use crate::ledger::tombstone_id;
use crate::phase::{Phase, Verb};
use crate::run::{Run, Stage};
use crate::stop::{Stop, ensure};
use crate::store::Kind;
use crate::{Answer, Kernel};

impl Kernel {
    /// Tombstones the intent and destroys what it holds.
    pub(crate) fn deny(&mut self, denial: Signed<Denial>, now_ms: u64) -> Answer {
        let pinned = self.pinned()?;
        check_denial(&pinned.state, &denial)?;
        let intent = denial.body.intent;
        let run = self.runs.get(&intent);
        let phase = run.map_or(Phase::Empty, Run::phase);
        let opening = phase == Phase::Opening;
        ensure(!opening, ReasonCode::WrongPhase, "the result may be out already")?;
        if let Some(run) = run {
            let same = denial.body.display_hash == run.intent.display_hash
                && denial.body.key_id == *run.intent.act.key_id()
                && denial.body.key_epoch == run.intent.act.key_epoch();
            ensure(same, ReasonCode::BindingMismatch, "the denial is of something else")?;
        }
        let mut draft = self.draft();
        let mut receipts = Vec::new();
        let mut ends = matches!(phase, Phase::Admitted | Phase::Running);
        if let (Some(Run { stage: Stage::Held(held), .. }), Phase::Held | Phase::Granted) =
            (run, phase)
        {
            let words = Verdicts::destroyed(None, ReasonCode::DeniedByApprover);
            receipts.push(self.statement(held, words, &mut draft, now_ms)?);
            held.destroy(&mut draft);
            ends = true;
        }
        draft.put(Kind::Tombstone, &tombstone_id(&intent, &denial.body.key_id), &denial);
        self.commit(draft)?;
        if let (true, Some(run)) = (ends, self.runs.get_mut(&intent)) {
            run.stage = Stage::Closed;
        }
        Ok(KernelReply::Denied(receipts))
    }

    /// Ends a run. An act run gives its PermitReceipt; a held result, the receipt of its destruction.
    pub(crate) fn abort(&mut self, execution_id: B32, code: ReasonCode, now_ms: u64) -> Answer {
        let link = self.find(&execution_id)?;
        let Some(run) = self.runs.get(&link) else { return Err(Stop::internal("no run")) };
        run.phase().may(Verb::Abort, Phase::Closed)?;
        let Stage::Held(held) = &run.stage else {
            let receipt = self.end_run(link, code, now_ms)?;
            return Ok(KernelReply::Aborted(receipt.map(Box::new)));
        };
        let mut draft = self.draft();
        let receipt = self.statement(held, Verdicts::destroyed(None, code), &mut draft, now_ms)?;
        held.destroy(&mut draft);
        let link = intent_link(&held.intent);
        self.commit(draft)?;
        if let Some(run) = self.runs.get_mut(&link) {
            run.stage = Stage::Closed;
        }
        Ok(KernelReply::Denied(vec![receipt]))
    }
}

/// The floor that an intent of this key meets: the cluster's for a key that is not in the log yet.
fn floor_of<'a>(state: &'a AuthorityState, denial: &Denial) -> Option<&'a Floor> {
    match state.key(&denial.key_id) {
        Some(record) => record.floor.as_ref(),
        None => Some(&state.manifest().keygen_floor),
    }
}

/// Whether a member of an approver set that the floor names signed it.
fn check_denial(state: &AuthorityState, denial: &Signed<Denial>) -> Result<(), Stop> {
    let body = &denial.body;
    ensure(
        body.cluster == state.cluster(),
        ReasonCode::BindingMismatch,
        "a denial of another cluster",
    )?;
    let floor = floor_of(state, body);
    let release = floor.and_then(|floor| match &floor.release {
        ReleaseRule::Approvals(rule) => Some(rule),
        ReleaseRule::Auto => None,
    });
    let rules = floor.and_then(|f| f.admit.as_ref()).into_iter().chain(release);
    let members = rules
        .filter_map(|rule: &ApprovalRule| state.sets().get(&rule.set))
        .flat_map(|s| &s.members);
    let mut approver = members.filter(|p| p.person == body.approver);
    let signed = approver.any(|p| denial.verify(p.key).is_ok());
    ensure(signed, ReasonCode::BindingMismatch, "not signed by an approver of this key")
}
