//! Start of a publication: Held and after, nothing moves; the permits of the publication run are minted.
//!
//! Source: the design's life of a signature, step 6.
//! Always true: every participant of the act run named the same result in its last level, under the same view, before
//! anything can be granted. The same start repeats after a restart; until a grant is out another may take its place.

use dvm_core::call::KernelReply;
use dvm_core::frame::Envelope;
use dvm_core::run::{Proposal, RunHeader, RunKind};
use dvm_core::{B32, Link, ReasonCode};
use dvm_score::{MicroOp, Plan};

use crate::authority::Pinned;
use crate::course::{Course, Peer, PeerBoot, Peers};
use crate::held::{Gate, HeldRecord, Publication};
use crate::phase::Verb;
use crate::run::{Run, Stage};
use crate::start::compiled;
use crate::stop::{Stop, ensure};
use crate::{Answer, Kernel};

impl Kernel {
    pub(crate) fn start_publication(
        &mut self,
        proposal: Proposal,
        frames: Vec<Envelope>,
    ) -> Answer {
        let header = proposal.header;
        let (link, held) = self.held_for(&header)?;
        ensure(
            proposal.opens.is_empty(),
            ReasonCode::BindingMismatch,
            "a publication has no openings",
        )?;
        check_header(&header, held, self.pinned()?)?;
        let plan = compiled(&header, &held.intent, held.backend)?;
        self.check_last_level(held, frames)?;
        let execution_id = header.execution_id();

        let under_way = held.publication.as_ref().map(|p| p.course.execution_id);
        if held.gate != Gate::Held && under_way != Some(execution_id) {
            return Err(Stop::refused(
                ReasonCode::ReplayOrConflict,
                "another publication was granted",
            ));
        }
        if under_way != Some(execution_id) {
            // Until the grant this lives in memory only: nothing was said in it.
            let course = Course::new(execution_id, header.plan_id, self.draw());
            let publication = Publication { header, course, grant: None, replies: Vec::new() };
            if let Some(Run { stage: Stage::Held(held), .. }) = self.runs.get_mut(&link) {
                held.publication = Some(publication);
            }
        }
        let (_, publication) = self.publication(&execution_id)?;
        // After a restart the node may stand at any level up to the next one; what was said is said again.
        let course = &publication.course;
        let permits =
            (1..=course.next_level()).flat_map(|level| course.mint(&plan, level)).collect();
        Ok(KernelReply::Started { execution_id, permits })
    }

    fn held_for(&self, header: &RunHeader) -> Result<(Link, &HeldRecord), Stop> {
        let run = self.runs.get(&header.intent);
        let run = run.ok_or_else(|| {
            Stop::refused(ReasonCode::NotFound, "nothing is held for this intent")
        })?;
        run.phase().allows(Verb::Start)?;
        match &run.stage {
            Stage::Held(held) => Ok((header.intent, held)),
            _ => Err(Stop::refused(ReasonCode::WrongPhase, "nothing is held for this intent")),
        }
    }

    /// The held result and the publication under way, by the publication's id.
    pub(crate) fn publication(
        &self,
        execution_id: &B32,
    ) -> Result<(&HeldRecord, &Publication), Stop> {
        let link = self.find(execution_id)?;
        let Some(Run { stage: Stage::Held(held), .. }) = self.runs.get(&link) else {
            return Err(Stop::refused(ReasonCode::WrongPhase, "nothing is held"));
        };
        let publication =
            held.publication.as_ref().filter(|p| p.course.execution_id == *execution_id);
        let publication = publication.ok_or_else(|| {
            Stop::refused(ReasonCode::WrongPhase, "this is not a publication under way")
        })?;
        Ok((held, publication))
    }

    /// Hears the act run's last level: all participants must have named the same result, having seen the same.
    fn check_last_level(&self, held: &HeldRecord, frames: Vec<Envelope>) -> Result<(), Stop> {
        let pinned = self.pinned()?;
        let plan = compiled(&held.header, &held.intent, held.backend)?;
        let peers = act_peers(pinned, held)?;
        let heard = held.course.hear(&plan, &pinned.node, &peers, (plan.levels(), frames))?;
        let result_ref = held.facts.result_ref();
        let finalize = finalizing_step(&plan)?;
        for node in peers.keys() {
            let said = heard.payloads.get(&(finalize, node.clone()));
            let same = said.is_some_and(|bytes| bytes.0 == result_ref.0);
            ensure(same, ReasonCode::BindingMismatch, "a participant holds another result")?;
        }
        Ok(())
    }
}

fn check_header(header: &RunHeader, held: &HeldRecord, pinned: &Pinned) -> Result<(), Stop> {
    let RunKind::Publish { of, result_ref } = &header.kind else {
        return Err(Stop::refused(ReasonCode::BindingMismatch, "not a publication"));
    };
    let same = *of == held.facts.execution_id
        && *result_ref == held.facts.result_ref()
        && header.cluster == pinned.cluster()
        && header.key_epoch == held.header.key_epoch
        && header.participants == held.header.participants;
    ensure(same, ReasonCode::BindingMismatch, "the publication is of another result")
}

fn finalizing_step(plan: &Plan) -> Result<u16, Stop> {
    let finalizes = |op| matches!(op, MicroOp::FinalizeSig | MicroOp::FinalizeKey);
    let step = plan.steps.iter().find(|s| finalizes(s.op)).map(|s| s.index);
    step.ok_or_else(|| Stop::internal("an act plan without a final step"))
}

fn act_peers(pinned: &Pinned, held: &HeldRecord) -> Result<Peers, Stop> {
    let peer = |(node, boot): &(dvm_core::NodeId, dvm_core::run::Boot)| {
        let passport = pinned.passport(node)?.clone();
        Ok((node.clone(), Peer { passport, boot: PeerBoot::Exactly(*boot) }))
    };
    held.boots.iter().map(peer).collect()
}
