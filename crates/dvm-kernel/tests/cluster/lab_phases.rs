//! Hostile runtime: every call in every phase of a run that does not allow it.
//!
//! The table below is the design's, cell by cell, as a runtime meets it: one life of one signature is walked, and in each
//! phase every verb is tried that the phase does not allow. Then the life goes on, so nothing was broken by trying.

use dvm_core::call::{KernelCall, KernelReply, StepCall};
use dvm_core::intent::{Backend, CanonicalIntent};
use dvm_core::run::Proposal;
use dvm_core::{B32, NodeId, ReasonCode};

use crate::harness::{Cluster, id};
use crate::messenger::{Course, level};
use crate::refusals_at_the_gate::denial;

const BACKEND: Backend = Backend::FrostEd25519;
const CONTENT: &[u8] = b"content";
use ReasonCode::{NotFound, ReplayOrConflict, WrongPhase};

/// What a runtime can ask with, whatever phase the run is in: the real ids, frames and approvals as far as they exist.
struct Hand {
    intent: CanonicalIntent,
    act: Proposal,
    publication: Option<Proposal>,
    /// The run that a verb on a run names.
    execution_id: B32,
    course: Option<Course>,
}

const VERBS: [&str; 8] =
    ["open", "start act", "start publication", "step", "grant", "open 2", "open 3", "abort"];

impl Hand {
    fn call(&self, cluster: &Cluster, verb: &str) -> KernelCall {
        let n1: NodeId = id("n1");
        let frames = self.course.as_ref().and_then(|c| c.inbox.get(&n1).cloned());
        let frames = frames.unwrap_or_default();
        let known = self.course.as_ref().and_then(|c| c.calls.get(&n1).cloned());
        let calls = known.unwrap_or(vec![StepCall { step: 0, step_permit: B32([1; 32]) }]);
        let execution_id = self.execution_id;
        match verb {
            "open" => cluster.open_call("n1", &self.intent, Some(CONTENT)),
            "start act" => {
                KernelCall::Start { proposal: Box::new(self.act.clone()), frames: Vec::new() }
            }
            "start publication" => {
                let proposal = self.publication.clone().unwrap_or_else(|| made_up(&self.act));
                KernelCall::Start { proposal: Box::new(proposal), frames }
            }
            "step" => KernelCall::Step {
                execution_id: self.act.header.execution_id(),
                level: 1,
                calls,
                frames: Vec::new(),
            },
            "grant" => {
                let course = Course {
                    header: self.publication.clone().unwrap_or_else(|| made_up(&self.act)).header,
                    execution_id,
                    calls: [(n1.clone(), calls)].into(),
                    ..self.course.clone().unwrap()
                };
                cluster.grant_call(&self.intent, &course, &n1, &["a2", "a3"])
            }
            "open 2" => KernelCall::OpenResult { execution_id, level: 2, calls, frames },
            "open 3" => KernelCall::OpenResult { execution_id, level: 3, calls, frames },
            "abort" => KernelCall::Abort { execution_id, code: ReasonCode::RemoteTimeout },
            other => panic!("no such verb: {other}"),
        }
    }

    /// Tries every verb of the phase that has a code, and expects that code and no change.
    fn refused(&self, cluster: &mut Cluster, phase: &str, cells: [Option<ReasonCode>; 8]) {
        for (verb, code) in VERBS.into_iter().zip(cells) {
            let Some(code) = code else { continue };
            let call = self.call(cluster, verb);
            let before = cluster.standing("n1");
            let reply = cluster.call("n1", call);
            let KernelReply::Refused { code: found, publication: None, .. } = reply else {
                panic!("{verb} in {phase}: {reply:?}");
            };
            assert_eq!(found, code, "{verb} in {phase}");
            assert_eq!(cluster.standing("n1"), before, "{verb} in {phase}");
        }
    }
}

/// A publication of something that is not held.
fn made_up(act: &Proposal) -> Proposal {
    let mut header = act.header.clone();
    let of = header.execution_id();
    header.kind = dvm_core::run::RunKind::Publish { of, result_ref: B32([2; 32]) };
    Proposal { header, opens: Vec::new() }
}

fn hand(cluster: &mut Cluster, name: &str) -> (Hand, Course) {
    let intent = cluster.sign_intent(CONTENT, name);
    let opens = ["n1", "n2"].map(|node| cluster.open(node, &intent, Some(CONTENT))).to_vec();
    let (act, plan) = cluster.proposal(&intent, opens, BACKEND);
    let course = Course {
        header: act.header.clone(),
        plan,
        execution_id: act.header.execution_id(),
        level: 0,
        calls: Default::default(),
        inbox: Default::default(),
        replies: Default::default(),
    };
    let execution_id = course.execution_id;
    let hand = Hand { intent, act, publication: None, execution_id, course: Some(course.clone()) };
    (hand, course)
}

const NO: Option<ReasonCode> = None;

#[test]
fn every_verb_in_every_phase_that_does_not_allow_it_is_refused_and_the_life_goes_on() {
    let mut cluster = Cluster::roomy(BACKEND);
    let (mut hand, course) = hand(&mut cluster, "life");
    let (gone, wrong) = (Some(NotFound), Some(WrongPhase));

    // Empty: this kernel was told of another intent only.
    let mut empty = Hand { intent: cluster.sign_intent(CONTENT, "never"), ..hand };
    empty.act.header.intent = dvm_core::codec::link_of(&empty.intent);
    empty.execution_id = B32([9; 32]);
    empty.refused(&mut cluster, "Empty", [NO, gone, gone, gone, gone, gone, gone, gone]);
    hand = crate::lab_phases::hand(&mut cluster, "life").0;
    let mut course = Course { header: hand.act.header.clone(), ..course };
    course.execution_id = hand.execution_id;

    // Admitted: no run has an id yet, so a verb on a run finds none.
    hand.refused(&mut cluster, "Admitted", [NO, NO, wrong, gone, gone, gone, gone, gone]);

    let mut course = cluster.start(&hand.act, course.plan.clone(), &Default::default());
    hand.course = Some(course.clone());
    hand.refused(&mut cluster, "Running", [NO, wrong, wrong, NO, wrong, wrong, wrong, NO]);

    cluster.run_to_held(&mut course);
    let (publication, plan) = Cluster::publication(&hand.intent, &course, BACKEND);
    let mut published = cluster.start(&publication, plan, &course.inbox);
    hand.execution_id = published.execution_id;
    hand.publication = Some(publication);
    hand.course = Some(Course { calls: published.calls.clone(), ..course.clone() });
    hand.refused(&mut cluster, "Held", [NO, wrong, NO, wrong, NO, wrong, wrong, NO]);

    cluster.grant_all(&hand.intent, &mut published);
    hand.refused(&mut cluster, "Granted", [wrong, wrong, NO, wrong, NO, NO, wrong, NO]);
    other_publication_is_refused(&mut cluster, &hand);

    cluster.advance(&mut published, |_, course, node| Cluster::open_result_call(course, node));
    hand.refused(&mut cluster, "Opening", [wrong, wrong, NO, wrong, NO, NO, NO, wrong]);
    other_publication_is_refused(&mut cluster, &hand);
    let denied = denial(&cluster, &hand.intent, "a1");
    cluster.refused("n1", denied, WrongPhase);

    let last = Cluster::open_result_call(&published, &id("n1"));
    assert!(level(cluster.call("n1", last)).published.is_some());
    let used = Some(ReplayOrConflict);
    hand.refused(&mut cluster, "Closed", [used, wrong, NO, wrong, NO, NO, NO, wrong]);
    other_publication_is_refused(&mut cluster, &hand);
}

/// From the grant on, one publication has the result.
fn other_publication_is_refused(cluster: &mut Cluster, hand: &Hand) {
    let mut other = hand.publication.clone().unwrap();
    other.header.soft_deadline_ms += 1;
    let frames = hand.course.as_ref().unwrap().inbox[&id("n1")].clone();
    let call = KernelCall::Start { proposal: Box::new(other), frames };
    cluster.refused("n1", call, ReplayOrConflict);
}

#[test]
fn aborted_and_denied_runs_allow_no_verb_but_a_new_opening_and_the_denied_not_even_that() {
    let mut cluster = Cluster::roomy(BACKEND);
    let (gone, wrong) = (Some(NotFound), Some(WrongPhase));
    let closed = [NO, wrong, wrong, gone, gone, gone, gone, gone];
    let (mut running, course) = hand(&mut cluster, "running");
    let course = cluster.start(&running.act, course.plan, &Default::default());
    running.course = Some(course.clone());
    let abort = running.call(&cluster, "abort");
    assert!(matches!(cluster.call("n1", abort), KernelReply::Aborted(Some(_))));
    running.refused(&mut cluster, "aborted from Running", closed);

    let (mut held, course) = hand(&mut cluster, "held");
    let mut course = cluster.start(&held.act, course.plan, &Default::default());
    cluster.run_to_held(&mut course);
    held.publication = Some(Cluster::publication(&held.intent, &course, BACKEND).0);
    held.course = Some(course);
    let abort = held.call(&cluster, "abort");
    assert!(matches!(cluster.call("n1", abort), KernelReply::Denied(_)));
    held.refused(&mut cluster, "aborted from Held", closed);

    let denied = denial(&cluster, &held.intent, "a1");
    assert!(matches!(cluster.call("n1", denied), KernelReply::Denied(_)));
    let never = [Some(ReasonCode::DeniedByApprover), wrong, wrong, gone, gone, gone, gone, gone];
    held.refused(&mut cluster, "denied", never);
    assert_eq!(cluster.open("n1", &running.intent, Some(CONTENT)).body.opening, 2);
}
