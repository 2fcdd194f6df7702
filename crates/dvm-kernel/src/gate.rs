//! Held → Granted: this kernel's signed yes or no, level 1 of a publication.
//!
//! Source: the design's life of a signature, steps 6 and 7; the kernel page, points 3 and 6.
//! Always true: a grant is over exactly one result of one execution, judged at the head that this kernel has now, above
//! the floor's release rule; a grant or refusal is durable before it is said; a grant is said again in the same bytes.

use dvm_core::admission::{AdmissionReceipt, Approval, Purpose, Verdict};
use dvm_core::call::{KernelReply, LevelReply, StepCall};
use dvm_core::codec;
use dvm_core::intent::Act;
use dvm_core::receipt::{PermitEvent, PublicationReceipt};
use dvm_core::{B32, Bytes, Link, NodeId, ReasonCode, Signed};
use dvm_governance::{ApprovalContext, check_floor_release, fenced, signing_authority};
use dvm_score::{Plan, Step};

use crate::authority::{Pinned, intent_link};
use crate::course::{Asked, Heard, Peers};
use crate::held::{Gate, HeldRecord};
use crate::ledger;
use crate::level::{self, Output, Place, Word};
use crate::open::check_judgement;
use crate::phase::Verb;
use crate::run::{Run, Stage};
use crate::start::compiled;
use crate::step::mark_consumed;
use crate::stop::{Stop, ensure};
use crate::store::Draft;
use crate::{Answer, Kernel};

/// How many published runs are kept to be said again: a node that was down asks within its own backlog, and the kernel's
/// memory and start stay small.
const PUBLISHED_KEPT: usize = 256;

/// What comes with `Grant`.
pub(crate) struct Case {
    pub(crate) judgement: Signed<AdmissionReceipt>,
    pub(crate) approvals: Vec<Signed<Approval>>,
}

/// What the kernel finds at the gate.
enum Ruling {
    /// It may leave; these approvals counted.
    Allow(Vec<Link>),
    /// Not now.
    Deny(ReasonCode),
    /// Never: the share is destroyed with the statement.
    Destroy(ReasonCode),
}

/// The words of a statement at the gate that are not the held result's own.
pub(crate) struct Verdicts {
    pub(crate) judgement: Option<Link>,
    pub(crate) verdict: Verdict,
    pub(crate) codes: Vec<ReasonCode>,
    pub(crate) destroyed: bool,
    pub(crate) approvals: Vec<Link>,
}

impl Verdicts {
    /// A denial without words, to be filled in.
    fn none(judgement: Option<Link>) -> Self {
        let (codes, approvals) = (Vec::new(), Vec::new());
        Self { judgement, verdict: Verdict::Deny, codes, destroyed: false, approvals }
    }

    /// A destruction for this reason.
    pub(crate) fn destroyed(judgement: Option<Link>, code: ReasonCode) -> Self {
        Self { codes: vec![code], destroyed: true, ..Self::none(judgement) }
    }
}

impl Kernel {
    pub(crate) fn grant(
        &mut self,
        execution_id: B32,
        calls: &[StepCall],
        case: &Case,
        now_ms: u64,
    ) -> Answer {
        let (held, publication) = self.publication(&execution_id)?;
        held.gate.phase().allows(Verb::Grant)?;
        let plan = compiled(&publication.header, &held.intent, held.backend)?;
        let pinned = self.pinned()?;
        let heard = publication.course.hear(&plan, &pinned.node, &Peers::new(), (0, Vec::new()))?;
        let events = match publication.course.ask(&plan, 1, calls, &heard)? {
            Asked::Again => return repeated(&publication.replies, 1),
            Asked::Elsewhere => {
                return Err(Stop::refused(
                    ReasonCode::StepPermitReused,
                    "a consumed permit in another context",
                ));
            }
            Asked::Next(events) => events,
        };
        let others = publication.header.participants.iter().filter(|p| **p != pinned.node);
        self.refuse_unseen(others)?;
        let purpose = Purpose::Release {
            execution_id: held.facts.execution_id,
            result_ref: held.facts.result_ref(),
        };
        check_judgement(pinned, &case.judgement, &held.intent, &purpose)?;
        let judgement = Some(case.judgement.link());
        let fence = fenced(&pinned.state, &pinned.node, self.boot.generation);
        ensure(!fence, ReasonCode::SplitBrainFenced, "this boot is fenced")?;
        let (intent, about) = (intent_link(&held.intent), held.intent.clone());
        let ruling = rule(pinned, held, case, (&purpose, now_ms));
        ledger::refuse_tombstoned(&mut self.vault, &about)?;
        match ruling {
            Ruling::Allow(approvals) => {
                let words =
                    Verdicts { verdict: Verdict::Allow, approvals, ..Verdicts::none(judgement) };
                self.allow(execution_id, (&plan, heard, events), words, now_ms)
            }
            Ruling::Deny(code) => {
                let mut codes = vec![ReasonCode::PublicationDenied, code];
                codes.sort();
                codes.dedup();
                let words = Verdicts { codes, ..Verdicts::none(judgement) };
                let told = match code {
                    ReasonCode::PolicyDenied => ReasonCode::PublicationDenied,
                    other => other,
                };
                self.refuse_at_gate(intent, words, told, now_ms)
            }
            Ruling::Destroy(code) => {
                let words = Verdicts::destroyed(judgement, code);
                self.refuse_at_gate(intent, words, code, now_ms)
            }
        }
    }

    /// Says yes: the grant is the level's broadcast, and durable with the phase.
    fn allow(
        &mut self,
        execution_id: B32,
        (plan, heard, events): (&Plan, Heard, Vec<PermitEvent>),
        words: Verdicts,
        now_ms: u64,
    ) -> Answer {
        let mut draft = self.draft();
        let (held, _) = self.publication(&execution_id)?;
        let grant = self.statement(held, words, &mut draft, now_ms)?;
        let mut record = held.clone();
        let mut output = Output::default();
        for event in &events {
            let broadcast = Some(Bytes(codec::encode(&grant)));
            output.say(event, Word { broadcast, ..Word::default() });
        }
        let mut reply = self.sign_level(&mut record, (plan, heard, events), output, &mut draft)?;
        reply.publication = Some(grant.clone());
        if let Some(publication) = &mut record.publication {
            publication.grant = Some(grant);
            publication.replies.push(reply.clone());
        }
        self.keep(record, (Verb::Grant, Gate::Granted), draft)?;
        Ok(KernelReply::Level(Box::new(reply)))
    }

    /// Says no with a receipt; the share stays held, or is destroyed if the words say so.
    pub(crate) fn refuse_at_gate(
        &mut self,
        intent: Link,
        words: Verdicts,
        code: ReasonCode,
        now_ms: u64,
    ) -> Answer {
        let mut draft = self.draft();
        let Some(Run { stage: Stage::Held(held), .. }) = self.runs.get(&intent) else {
            return Err(Stop::internal("nothing is held"));
        };
        let destroyed = words.destroyed;
        let receipt = Box::new(self.statement(held, words, &mut draft, now_ms)?);
        if destroyed {
            held.destroy(&mut draft);
        }
        self.commit(draft)?;
        if let (true, Some(run)) = (destroyed, self.runs.get_mut(&intent)) {
            run.stage = Stage::Closed;
        }
        Err(Stop::AtTheGate { code, receipt })
    }

    /// A signed statement at the gate. Without a publication under way it names the act run.
    pub(crate) fn statement(
        &self,
        held: &HeldRecord,
        words: Verdicts,
        draft: &mut Draft,
        now_ms: u64,
    ) -> Result<Signed<PublicationReceipt>, Stop> {
        let pinned = self.pinned()?;
        let publication = held.publication.as_ref().map(|p| p.course.execution_id);
        let receipt = PublicationReceipt {
            cluster: pinned.cluster(),
            node: pinned.node.clone(),
            boot: self.boot,
            vault_seq: draft.next_seq(),
            execution_id: publication.unwrap_or(held.facts.execution_id),
            intent: intent_link(&held.intent),
            permit: held.permit,
            judgement: words.judgement,
            facts: held.facts.clone(),
            result_ref: held.facts.result_ref(),
            scope: held.intent.scope,
            verdict: words.verdict,
            codes: words.codes,
            destroyed: words.destroyed,
            approvals: words.approvals,
            head: pinned.state.head(),
            time_ms: now_ms,
        };
        Ok(Signed::new(receipt, self.identity.signer()))
    }

    /// Signs a level of a publication and takes it over in the record, which is not durable yet.
    pub(crate) fn sign_level(
        &mut self,
        record: &mut HeldRecord,
        (plan, heard, events): (&Plan, Heard, Vec<PermitEvent>),
        output: Output,
        draft: &mut Draft,
    ) -> Result<LevelReply, Stop> {
        let from = self.pinned()?.node.clone();
        let Some(publication) = &mut record.publication else {
            return Err(Stop::internal("no publication is under way"));
        };
        let course = &mut publication.course;
        let level = course.next_level();
        let others = publication.header.participants.iter().filter(|p| **p != from);
        let recipients: Vec<NodeId> = others.cloned().collect();
        let place = Place {
            signer: self.identity.signer(),
            boot: self.boot,
            from,
            execution_id: course.execution_id,
            level,
            prev_view: heard.view,
            recipients: &recipients,
        };
        let (mut reply, own_root) = level::sign(place, output, draft, &mut *self.around.rng);
        let steps: Vec<Step> = plan.at_level(level).cloned().collect();
        mark_consumed(draft, &steps, &events);
        course.advance(heard, &events, own_root);
        reply.next = course.mint(plan, level.saturating_add(1));
        reply.permits = events;
        Ok(reply)
    }

    /// Makes a held record durable in its new phase, and takes it over.
    pub(crate) fn keep(
        &mut self,
        mut record: HeldRecord,
        (verb, gate): (Verb, Gate),
        mut draft: Draft,
    ) -> Result<(), Stop> {
        record.gate.phase().may(verb, gate.phase())?;
        record.gate = gate;
        record.save(&mut draft);
        let forgotten = if gate == Gate::Published { self.oldest_published() } else { None };
        if let Some(Run { stage: Stage::Held(held), .. }) =
            forgotten.as_ref().and_then(|link| self.runs.get(link))
        {
            held.destroy(&mut draft);
        }
        self.commit(draft)?;
        if let Some(link) = forgotten {
            self.runs.remove(&link);
        }
        let link = intent_link(&record.intent);
        if let Some(run) = self.runs.get_mut(&link) {
            run.stage = Stage::Held(Box::new(record));
        }
        Ok(())
    }
}

impl Kernel {
    /// The published run to forget, once more are kept than [`PUBLISHED_KEPT`]. Its intent stays marked for ever.
    fn oldest_published(&self) -> Option<Link> {
        let held = self.runs.iter().filter_map(|(link, run)| match &run.stage {
            Stage::Held(held) => Some((held.gate, held.held_at_ms, *link)),
            _ => None,
        });
        oldest_published(held)
    }
}

/// Of what is held, by gate, time and intent: what was published first, unless one more has room.
fn oldest_published(held: impl Iterator<Item = (Gate, u64, Link)>) -> Option<Link> {
    let published = held.filter(|(gate, ..)| *gate == Gate::Published);
    let published: Vec<(u64, Link)> = published.map(|(_, at_ms, link)| (at_ms, link)).collect();
    let oldest = published.iter().min().map(|(_, link)| *link);
    oldest.filter(|_| published.len() >= PUBLISHED_KEPT)
}

/// A level that was performed before, in the same bytes.
pub(crate) fn repeated(replies: &[LevelReply], level: u16) -> Answer {
    let reply = replies.get(usize::from(level).saturating_sub(1)).cloned();
    let reply = reply.ok_or_else(|| Stop::internal("the level's reply is missing"))?;
    Ok(KernelReply::Level(Box::new(reply)))
}

fn rule(
    pinned: &Pinned,
    held: &HeldRecord,
    case: &Case,
    (purpose, now_ms): (&Purpose, u64),
) -> Ruling {
    let state = &pinned.state;
    if held.is_expired(now_ms) {
        return Ruling::Destroy(ReasonCode::Expired);
    }
    // A hold or a dispute ends what is held: when it is lifted, the act must be asked for again.
    if !state.cluster_state().may_sign() {
        return Ruling::Destroy(ReasonCode::KeyNotActive);
    }
    let act = &held.intent.act;
    let floor = match act {
        Act::KeyGenerate { key_id, .. } => match state.key(key_id) {
            None => &state.manifest().keygen_floor,
            Some(_) => return Ruling::Destroy(ReasonCode::ReplayOrConflict),
        },
        _ => match signing_authority(state, act.key_id(), act.key_epoch()) {
            Err(ReasonCode::StaleEpoch) => return Ruling::Destroy(ReasonCode::StaleEpoch),
            Err(code) => return Ruling::Deny(code),
            Ok(record) => match &record.floor {
                Some(floor) if record.ready == *held.ready() => floor,
                Some(_) => return Ruling::Destroy(ReasonCode::StaleEpoch),
                None => return Ruling::Deny(ReasonCode::KeyNotActive),
            },
        },
    };
    match case.judgement.body.verdict {
        Verdict::Allow => {}
        Verdict::Awaiting => return Ruling::Deny(ReasonCode::ApprovalsMissing),
        Verdict::Deny => return Ruling::Deny(ReasonCode::PolicyDenied),
    }
    let context = ApprovalContext::of(state, &held.intent, purpose, now_ms);
    match check_floor_release(floor, state.sets(), &case.approvals, &context) {
        Ok(approvals) => Ruling::Allow(approvals),
        Err(code) => Ruling::Deny(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_published_first_is_forgotten_once_no_more_has_room_and_nothing_else() {
        let link = |number: usize| Link::of_artifact(&number.to_be_bytes());
        // The later ones of these times come first.
        let published = |count: usize| {
            (0..count).map(move |at| (Gate::Published, 1_000 - at as u64, link(at))).rev()
        };
        let unpublished = [(Gate::Held, 1, link(7_000)), (Gate::Opening, 2, link(7_001))];
        let held = |count| unpublished.into_iter().chain(published(count));
        assert_eq!(oldest_published(held(0)), None);
        assert_eq!(oldest_published(held(PUBLISHED_KEPT - 1)), None);
        for count in [PUBLISHED_KEPT, PUBLISHED_KEPT + 1] {
            assert_eq!(oldest_published(held(count)), Some(link(count - 1)));
        }
    }
}
