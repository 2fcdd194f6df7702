//! Empty → Admitted: the kernel judges an intent by itself and gives a fresh opening.
//!
//! Source: the design's kernel page, points 1 to 3.
//! Always true: an opening was given only for an act that this kernel parsed, under a head that it pinned, with its own
//! node's admission at that head, above the floor, and counted. A later opening destroys what an earlier one held.

use dvm_act::ParsedAct;
use dvm_act::evm::address_of;
use dvm_core::admission::{AdmissionReceipt, Approval, Purpose, Verdict};
use dvm_core::call::KernelReply;
use dvm_core::intent::{Act, CanonicalIntent};
use dvm_core::run::Open;
use dvm_core::{Bytes, Link, ReasonCode, Signed, limits};
use dvm_governance::{ApprovalContext, KeyRecord, authority_for, check_floor_admit, fenced};

use crate::authority::{Pinned, intent_link};
use crate::ledger::{self, IntentMark, Usage};
use crate::phase::{Phase, Verb};
use crate::run::{Admitted, Run, Stage};
use crate::stop::{Stop, ensure};
use crate::{Answer, Kernel};

/// Most runs that are kept beside a new one: a start reads all that are held, and must be able to.
const RUNS_MAX: usize = 4_096;
/// Most bytes to be signed that wait in memory, of all runs that are not held yet: 16 of the longest contents.
const CONTENTS_BYTES_MAX: usize = 16 * limits::CONTENT_BYTES_MAX;

/// What comes with `Open`.
pub(crate) struct Request {
    pub(crate) intent: CanonicalIntent,
    pub(crate) content: Option<Bytes>,
    pub(crate) admission: Signed<AdmissionReceipt>,
    pub(crate) approvals: Vec<Signed<Approval>>,
}

/// Refuses a judgement that is not this node's own, on this intent, for this purpose, at this head. Whether it says
/// yes is the caller's question.
pub(crate) fn check_judgement(
    pinned: &Pinned,
    judgement: &Signed<AdmissionReceipt>,
    intent: &CanonicalIntent,
    purpose: &Purpose,
) -> Result<(), Stop> {
    let bad = ReasonCode::BindingMismatch;
    let said = judgement
        .verify(pinned.own()?.policy_key)
        .map_err(|_| Stop::refused(bad, "the judgement is not signed by this node's policy key"))?;
    let about = said.cluster == pinned.cluster()
        && said.node == pinned.node
        && said.intent == intent_link(intent)
        && said.key_id == *intent.act.key_id()
        && said.key_epoch == intent.act.key_epoch();
    ensure(about, bad, "the judgement is about something else")?;
    ensure(said.purpose == *purpose, bad, "the judgement has another purpose")?;
    let fresh = said.head == pinned.state.head() && said.policy_root == pinned.state.policy_root();
    ensure(fresh, ReasonCode::StaleEpoch, "the judgement was made at another head")
}

/// Refuses an admission that is not this node's own of this intent at this head, or that says no.
fn check_admitted(
    pinned: &Pinned,
    admission: &Signed<AdmissionReceipt>,
    intent: &CanonicalIntent,
) -> Result<(), Stop> {
    check_judgement(pinned, admission, intent, &Purpose::Admit)?;
    let allowed = admission.body.verdict == Verdict::Allow;
    ensure(allowed, ReasonCode::PolicyDenied, "the node did not admit it")
}

/// Refuses a transaction whose text shows another sender than the account that the key signs for.
fn check_sender(act: &Act, record: Option<&KeyRecord>) -> Result<(), Stop> {
    let Act::SignEvmTransaction { path, from, .. } = act else { return Ok(()) };
    let record = record.ok_or_else(|| Stop::internal("a signature without a key record"))?;
    let key = dvm_blame::key_below(&record.ready, path)
        .map_err(|_| Stop::refused(ReasonCode::PayloadRejected, "the key has none at this path"))?;
    let own = address_of(key.public_key());
    let rule = "the sender is not the account of the key at this path";
    ensure(own == Some(from.0), ReasonCode::BindingMismatch, rule)
}

/// Refuses one more opening beside `kept` other runs, if `bytes` with its own would wait in memory.
fn has_room(kept: usize, bytes: usize) -> Result<(), Stop> {
    let fits = kept < RUNS_MAX && bytes <= CONTENTS_BYTES_MAX;
    ensure(fits, ReasonCode::ResourceLimit, "too many runs under way")
}

impl Kernel {
    pub(crate) fn open(&mut self, request: Request, now_ms: u64) -> Answer {
        let Request { intent, content, admission, approvals } = request;
        let link = intent_link(&intent);
        let phase = self.runs.get(&link).map_or(Phase::Empty, Run::phase);
        phase.allows(Verb::Open)?;

        let pinned = self
            .pinned
            .as_ref()
            .ok_or_else(|| Stop::refused(ReasonCode::GuardRefused, "no cluster is pinned"))?;
        self.identity.refuse_unless_named_in(pinned.own()?)?;
        let state = &pinned.state;
        let authority = authority_for(state, &intent, now_ms)
            .map_err(|code| Stop::refused(code, "no authority for this intent"))?;
        let act = dvm_act::parse(&intent, content.as_ref().map(|c| c.0.as_slice()))
            .map_err(|error| Stop::refused(error.code(), "the act does not parse"))?;
        check_sender(&intent.act, authority.record())?;
        check_admitted(pinned, &admission, &intent)?;
        let context = ApprovalContext::of(state, &intent, &Purpose::Admit, now_ms);
        check_floor_admit(authority.floor(), act.class(), state.sets(), &approvals, &context)
            .map_err(|code| Stop::refused(code, "the key's floor"))?;
        let (node, boot) = (pinned.node.clone(), self.boot);
        let holds = ledger::holders(&intent, &authority).contains(&node);
        ensure(holds, ReasonCode::NotFound, "this node is no holder of the key")?;
        let fence = fenced(state, &node, boot.generation);
        ensure(!fence, ReasonCode::SplitBrainFenced, "this boot is fenced")?;
        ledger::refuse_tombstoned(&mut self.vault, &intent)?;
        let mut mark = IntentMark::load(&mut self.vault, &link)?;
        ensure(
            !mark.opened_result,
            ReasonCode::ReplayOrConflict,
            "this intent's result may be out already",
        )?;
        let mut usage = Usage::load(&mut self.vault, &intent.act)?;
        usage.has_room(&intent.act, &authority, now_ms)?;
        self.has_room_for(&act, &link, now_ms)?;
        phase.may(Verb::Open, Phase::Admitted)?;

        let (cluster, head) = (pinned.cluster(), state.head());
        let seen = self.others.seen(pinned);
        mark.openings = mark.openings.saturating_add(1);
        usage.opened(&intent.act, now_ms);
        let mut draft = self.draft();
        let open = Open {
            cluster,
            node,
            boot,
            vault_seq: draft.next_seq(),
            head,
            intent: link,
            admission: admission.link(),
            opening: mark.openings,
            nonce: self.draw(),
            time_ms: now_ms,
            seen,
        };
        let open = Signed::new(open, self.identity.signer());
        mark.save(&mut draft, &link);
        usage.save(&mut draft, &intent.act);
        if let Some(Run { stage: Stage::Held(held), .. }) = self.runs.get(&link) {
            held.destroy(&mut draft);
        }
        self.commit(draft)?;
        self.runs.retain(|_, run| !run.is_spent(now_ms));
        let stage = Stage::Admitted(Box::new(Admitted { act, open: open.clone() }));
        self.runs.insert(link, Run { intent, stage });
        Ok(KernelReply::Opened(Box::new(open)))
    }

    /// Refuses an opening for which this kernel has no room beside its other runs.
    fn has_room_for(&self, act: &ParsedAct, link: &Link, now_ms: u64) -> Result<(), Stop> {
        let others = self.runs.iter().filter(|(at, run)| *at != link && !run.is_spent(now_ms));
        let own = act.bytes_to_sign().map_or(0, <[u8]>::len);
        let (kept, bytes) = others.fold((0_usize, own), |(kept, bytes), (_, run)| {
            (kept.saturating_add(1), bytes.saturating_add(run.content_bytes()))
        });
        has_room(kept, bytes)
    }

    /// The intent of the run with this id.
    pub(crate) fn find(&self, execution_id: &dvm_core::B32) -> Result<Link, Stop> {
        let found = self.runs.iter().find(|(_, run)| run.is(execution_id)).map(|(link, _)| *link);
        found.ok_or_else(|| Stop::refused(ReasonCode::NotFound, "no such run"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opening_is_refused_when_runs_or_contents_under_way_reach_their_bounds() {
        assert!(has_room(RUNS_MAX - 1, CONTENTS_BYTES_MAX).is_ok());
        assert!(has_room(RUNS_MAX, 0).is_err());
        assert!(has_room(0, CONTENTS_BYTES_MAX + 1).is_err());
    }
}
