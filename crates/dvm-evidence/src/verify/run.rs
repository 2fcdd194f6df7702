//! One run of one peer: openings, header, plan, trace, permits and their receipt.
//!
//! Always true of a [`CheckedRun`]: its header follows from the openings, its plan from the act, its
//! signed TraceRoot from its events; each call's context is the one that the interpreter derives and
//! that the kernel bound a permit to; and its own frames' broadcast payloads are at hand.

use std::collections::{BTreeMap, BTreeSet};

use dvm_core::admission::Purpose;
use dvm_core::authority::KeyReady;
use dvm_core::bytes::Bytes;
use dvm_core::codec::link_of;
use dvm_core::frame::PayloadRef;
use dvm_core::governance::HeadRef;
use dvm_core::intent::Backend;
use dvm_core::merkle;
use dvm_core::reason::ReasonCode;
use dvm_core::receipt::{PermitEvent, PermitReceipt};
use dvm_core::run::{Open, RunHeader, RunKind};
use dvm_core::sign::Signed;
use dvm_core::trace::{CallResult, FrameFact, Outcome, TraceEvent};
use dvm_core::{B32, Link, NodeId};
use dvm_governance::{AuthorityState, fenced};
use dvm_score::{MicroOp, compile};
use dvm_vm::Ctx;

use crate::peer::{PeerEvidence, RunEvidence};
use crate::verify::ban;
use crate::verify::key::{check_account, key_at, participants_fit};
use crate::verify::verdict::allowing;
use crate::verify::{Case, Refused, ensure};

/// A run that holds by itself. Made only by [`check_runs`].
pub(crate) struct CheckedRun<'a> {
    pub(crate) part: &'a PeerEvidence,
    pub(crate) run: &'a RunEvidence,
    pub(crate) ctx: Ctx,
    pub(crate) path: String,
    /// For a signature: the key it is made with.
    pub(crate) ready: Option<KeyReady>,
    /// Own broadcast payloads, by step.
    pub(crate) said: BTreeMap<u16, &'a Bytes>,
}

impl<'a> CheckedRun<'a> {
    /// What this peer said to all in the step of this kind.
    pub(crate) fn said(&self, op: MicroOp) -> Option<&'a Bytes> {
        let step = self.ctx.plan().steps.iter().find(|step| step.op == op)?;
        self.said.get(&step.index).copied()
    }

    /// What this peer's kernel made public in the step of this kind.
    fn showed(&self, op: MicroOp) -> Option<&'a [u8]> {
        let step = self.ctx.plan().steps.iter().find(|step| step.op == op)?;
        let of_step = results(self.run).find(|result| result.step == step.index)?;
        match &of_step.outcome {
            Outcome::Ok { public, .. } => public.as_ref().map(|bytes| bytes.0.as_slice()),
            Outcome::Fault { .. } => None,
        }
    }

    /// The frames in its trace.
    pub(crate) fn frames(&self) -> impl Iterator<Item = &'a FrameFact> + use<'a> {
        frames(self.run)
    }

    /// Whether its own frame of this level is out.
    pub(crate) fn spoke(&self, level: u16) -> bool {
        let me = &self.part.node;
        self.frames().any(|f| f.header.body.from == *me && f.header.body.level == level)
    }

    /// The act run that a publication is of; none for an act run.
    pub(crate) fn of(&self) -> Option<(B32, B32)> {
        match self.ctx.header().kind {
            RunKind::Act { .. } => None,
            RunKind::Publish { of, result_ref } => Some((of, result_ref)),
        }
    }
}

fn frames(run: &RunEvidence) -> impl Iterator<Item = &FrameFact> {
    run.trace.events.iter().filter_map(|event| match event {
        TraceEvent::Frame(fact) => Some(fact),
        _ => None,
    })
}

pub(crate) fn results(run: &RunEvidence) -> impl Iterator<Item = &CallResult> {
    run.trace.events.iter().filter_map(|event| match event {
        TraceEvent::Result(result) => Some(result),
        _ => None,
    })
}

/// What every signer said in a step of a run, by name; none while a signer's part is missing.
pub(crate) fn all_said(
    runs: &[CheckedRun<'_>],
    id: &B32,
    op: MicroOp,
) -> Option<BTreeMap<String, Vec<u8>>> {
    let of_run: Vec<&CheckedRun<'_>> =
        runs.iter().filter(|run| run.ctx.execution_id() == *id).collect();
    let said = |node: &NodeId| {
        let run = of_run.iter().find(|run| run.part.node == *node)?;
        Some((node.as_str().to_owned(), run.said(op)?.to_vec()))
    };
    of_run.first()?.ctx.participants().iter().map(said).collect()
}

/// What every signer showed in a step of a run, in order; none while a signer's part is missing.
pub(crate) fn all_showed<'a>(
    runs: &[CheckedRun<'a>],
    id: &B32,
    op: MicroOp,
) -> Option<Vec<&'a [u8]>> {
    let of_run: Vec<&CheckedRun<'a>> =
        runs.iter().filter(|run| run.ctx.execution_id() == *id).collect();
    let showed = |node: &NodeId| of_run.iter().find(|run| run.part.node == *node)?.showed(op);
    of_run.first()?.ctx.participants().iter().map(showed).collect()
}

/// Every run of a peer.
pub(crate) fn check_runs<'a>(
    case: &Case<'_>,
    part: &'a PeerEvidence,
) -> Result<Vec<CheckedRun<'a>>, Refused> {
    let mut seen = BTreeSet::new();
    let mut checked = Vec::with_capacity(part.runs.len());
    for (i, run) in part.runs.iter().enumerate() {
        let path = format!("peers/{}/runs/{i}", part.node);
        let next = check_run(case, part, run, &path)?;
        ensure(seen.insert(next.ctx.execution_id()), &path, "the run comes twice")?;
        checked.push(next);
    }
    Ok(checked)
}

fn check_run<'a>(
    case: &Case<'_>,
    part: &'a PeerEvidence,
    run: &'a RunEvidence,
    path: &str,
) -> Result<CheckedRun<'a>, Refused> {
    let state = state_of(case, part, run, path)?;
    check_header(case, &run.proposal.header, path)?;
    match &run.proposal.header.kind {
        RunKind::Act { opens, .. } => check_opens(case, run, (opens, state), path)?,
        RunKind::Publish { of, result_ref } => check_publishes(part, run, (of, result_ref), path)?,
    }
    let (ctx, ready) = context(case, part, run, path)?;
    let at = |what: &str| format!("{path}/{what}");
    let same = run.trace.execution_id == ctx.execution_id();
    ensure(same, &at("trace"), "the execution id does not follow from the header")?;
    let replayed = dvm_vm::replay(&ctx, &run.trace.events).map_err(|e| {
        Refused::code(at("trace"), e.code, "an event does not follow from those before")
    })?;
    ensure(
        replayed == run.trace_root.body,
        &at("trace_root"),
        "the trace replays to another root",
    )?;
    let key = state.passport(&part.node).map(|p| p.policy_key);
    let signed = key.is_some_and(|key| run.trace_root.verify(key).is_ok());
    ensure(signed, &at("trace_root"), "the root is not signed by its peer's policy key")?;
    check_boots(run, path)?;
    let said = check_payloads(part, run, path)?;
    check_permits(&ctx, run, path)?;
    let checked = CheckedRun { part, run, ctx, path: path.to_owned(), ready, said };
    if let Some(receipt) = &run.permit_receipt {
        check_permit_receipt(&checked, state, receipt)?;
    }
    ban::check_bans(&checked, state)?;
    Ok(checked)
}

/// The state under which a run's statements are judged: an act's openings name it; a publication is
/// judged where its own kernel granted, or else where its act was opened.
fn state_of<'c>(
    case: &'c Case<'_>,
    part: &PeerEvidence,
    run: &RunEvidence,
    path: &str,
) -> Result<&'c AuthorityState, Refused> {
    let opened = |run: &RunEvidence| run.proposal.opens.first().map(|open| open.body.head);
    let head: Option<HeadRef> = match &run.proposal.header.kind {
        RunKind::Act { .. } => opened(run),
        RunKind::Publish { of, .. } => {
            let granted = run.publications.first().map(|p| p.body.head);
            let act = part.runs.iter().find(|r| r.trace.execution_id == *of);
            granted.or_else(|| act.and_then(opened))
        }
    };
    let head = head.ok_or_else(|| Refused::at(path, "no opening says at which head it ran"))?;
    case.history.at(&head, path)
}

/// Header, plan and keys of a run, derived again.
pub(crate) fn context(
    case: &Case<'_>,
    part: &PeerEvidence,
    run: &RunEvidence,
    path: &str,
) -> Result<(Ctx, Option<KeyReady>), Refused> {
    let state = state_of(case, part, run, path)?;
    let header = &run.proposal.header;
    let (backend, ready): (Backend, Option<KeyReady>) = key_at(case, state, path)?;
    ready.as_ref().map_or(Ok(()), |ready| check_account(case.act.act(), ready, path))?;
    let kind = dvm_score::Run::of(&header.kind, case.parts.intent.scope);
    let compiled = compile(case.act.act(), kind, backend, &header.participants)
        .map_err(|e| Refused::code(path, e.code(), "the act has no plan for these participants"))?;
    let same = compiled.plan_id() == header.plan_id;
    ensure(same, &format!("{path}/header"), "the plan is not the one that the act compiles to")?;
    let key = |node: &NodeId| Some((node.clone(), state.passport(node)?.kernel_key));
    let keys: Option<BTreeMap<_, _>> = header.participants.iter().map(key).collect();
    let keys = keys.ok_or_else(|| Refused::at(path, "a participant is no node of the cluster"))?;
    let ctx = Ctx::new(part.node.clone(), header.clone(), compiled.into_plan(), keys)
        .map_err(|e| Refused::code(path, e.code(), "header, plan and keys do not make a run"))?;
    Ok((ctx, ready))
}

fn check_header(case: &Case<'_>, header: &RunHeader, path: &str) -> Result<(), Refused> {
    let about = header.cluster == case.history.cluster()
        && header.intent == case.intent
        && header.key_epoch == case.act.act().key_epoch();
    ensure(about, &format!("{path}/header"), "the run is of something else")
}

fn check_opens(
    case: &Case<'_>,
    run: &RunEvidence,
    (links, state): (&[Link], &AuthorityState),
    path: &str,
) -> Result<(), Refused> {
    let opens = &run.proposal.opens;
    let header = &run.proposal.header;
    let named = opens.iter().map(Signed::link).eq(links.iter().copied());
    ensure(named, &format!("{path}/opens"), "the header names other openings")?;
    let in_order = opens.iter().map(|open| &open.body.node).eq(&header.participants);
    ensure(in_order, &format!("{path}/opens"), "not one opening per participant, in order")?;
    participants_fit(case, state, header, path)?;
    for (k, open) in opens.iter().enumerate() {
        let at = format!("{path}/opens/{k}");
        let body = &open.body;
        let key = state.passport(&body.node).map(|p| p.kernel_key);
        let signed = key.is_some_and(|key| open.verify(key).is_ok());
        ensure(signed, &at, "the opening is not signed by its node's kernel")?;
        let about = body.cluster == header.cluster && body.intent == header.intent;
        ensure(about, &at, "the opening is of another intent")?;
        ensure(body.head == state.head(), &at, "the openings are at different heads")?;
        let fence = fenced(state, &body.node, body.boot.generation);
        ensure(!fence, &at, "the opening is of a fenced boot")?;
    }
    Ok(())
}

/// An opening rests on an admission of its node, which allowed the act at the same head.
pub(crate) fn check_open_rests(
    part: &PeerEvidence,
    open: &Signed<Open>,
    path: &str,
) -> Result<(), Refused> {
    let admission = allowing(part, &open.body.admission, |p| *p == Purpose::Admit);
    let rests = admission.is_some_and(|a| a.head == open.body.head);
    ensure(rests, path, "the opening does not rest on an admission of its node")
}

fn check_publishes(
    part: &PeerEvidence,
    run: &RunEvidence,
    (of, result_ref): (&B32, &B32),
    path: &str,
) -> Result<(), Refused> {
    let none = run.proposal.opens.is_empty();
    ensure(none, &format!("{path}/opens"), "a publication has no openings")?;
    let act = part.runs.iter().find(|r| r.trace.execution_id == *of);
    let act = act.filter(|act| matches!(act.proposal.header.kind, RunKind::Act { .. }));
    let act =
        act.ok_or_else(|| Refused::at(path, "the act run that it publishes is not in the part"))?;
    let (ours, its) = (&run.proposal.header, &act.proposal.header);
    ensure(ours.participants == its.participants, path, "other participants than the act's")?;
    let held = act.permit_receipt.as_ref().and_then(|r| r.body.result_ref);
    ensure(held == Some(*result_ref), path, "it publishes another result than the act run holds")
}

/// In an act run only the boots that gave the openings speak, and after their openings.
fn check_boots(run: &RunEvidence, path: &str) -> Result<(), Refused> {
    if run.proposal.opens.is_empty() {
        return Ok(());
    }
    for fact in frames(run) {
        let body = &fact.header.body;
        let open = run.proposal.opens.iter().map(|o| &o.body).find(|o| o.node == body.from);
        let speaks = open.is_some_and(|o| o.boot == body.boot && o.vault_seq < body.vault_seq);
        if !speaks {
            let what = "a frame is of another boot than the opening, or older";
            return Err(Refused::code(format!("{path}/trace"), ReasonCode::SplitBrainFenced, what));
        }
    }
    Ok(())
}

/// The bytes of own broadcasts are those that the own frames name, in order.
fn check_payloads<'a>(
    part: &PeerEvidence,
    run: &'a RunEvidence,
    path: &str,
) -> Result<BTreeMap<u16, &'a Bytes>, Refused> {
    let own = frames(run).filter(|fact| fact.header.body.from == part.node);
    let named: Vec<(u16, PayloadRef)> =
        own.flat_map(|f| &f.broadcast.parts).map(|p| (p.step, p.payload)).collect();
    let all = named.len() == run.broadcasts.len();
    ensure(
        all,
        &format!("{path}/broadcasts"),
        "not one payload for each that the own frames name",
    )?;
    for (i, ((_, name), bytes)) in named.iter().zip(&run.broadcasts).enumerate() {
        let at = format!("{path}/broadcasts/{i}");
        ensure(PayloadRef::of(bytes) == *name, &at, "not the payload that the frame names")?;
    }
    Ok(named.into_iter().map(|(step, _)| step).zip(&run.broadcasts).collect())
}

/// The permits are those of the plan's steps in order, and each call's result names its permit's
/// context, which the replay has derived.
fn check_permits(ctx: &Ctx, run: &RunEvidence, path: &str) -> Result<(), Refused> {
    let mut seen = BTreeSet::new();
    let handle = run.permits.first().map(|p| p.permit_handle);
    for (i, (permit, step)) in run.permits.iter().zip(&ctx.plan().steps).enumerate() {
        let at = format!("{path}/permits/{i}");
        let context = &permit.context;
        let bound = context.execution_id == ctx.execution_id()
            && context.plan_id == ctx.header().plan_id
            && (context.step, context.site, context.level) == (step.index, step.site, step.level);
        ensure(bound, &at, "the permit is of another step than the plan's")?;
        ensure(Some(permit.permit_handle) == handle, &at, "the permit has another handle")?;
        ensure(seen.insert(permit.step_permit), &at, "the permit was used before")?;
    }
    let fits = run.permits.len() <= ctx.plan().steps.len();
    ensure(fits, &format!("{path}/permits"), "more permits than steps")?;
    let mut bound = run.permits.iter().map(|p| link_of(&p.context));
    let answered = results(run).all(|result| bound.next() == Some(result.context));
    ensure(answered, &format!("{path}/permits"), "a call's result has no permit of its context")
}

fn check_permit_receipt(
    run: &CheckedRun<'_>,
    state: &AuthorityState,
    receipt: &Signed<PermitReceipt>,
) -> Result<(), Refused> {
    let path = format!("{}/permit_receipt", run.path);
    let body = &receipt.body;
    let part = run.part;
    let key = state.passport(&part.node).map(|p| p.kernel_key);
    let signed = key.is_some_and(|key| receipt.verify(key).is_ok());
    ensure(signed, &path, "the receipt is not signed by its node's kernel")?;
    let header = run.ctx.header();
    let about = body.cluster == header.cluster
        && body.node == part.node
        && body.execution_id == run.ctx.execution_id()
        && body.header == run.ctx.header_link()
        && body.intent == header.intent;
    ensure(about, &path, "the receipt is of another run")?;
    let own = run.run.proposal.opens.iter().map(|o| &o.body).find(|o| o.node == part.node);
    let own = own.ok_or_else(|| Refused::at(&path, "a receipt of a run without an own opening"))?;
    let opened = own.boot == body.boot && own.vault_seq < body.vault_seq;
    ensure(opened, &path, "the receipt is of another boot than the opening, or older")?;
    let rests = allowing(part, &body.admission, |p| *p == Purpose::Admit).is_some();
    let rests = rests && own.admission == body.admission;
    ensure(rests, &path, "the receipt does not rest on the admission that was opened")?;
    check_permits_root(&run.run.permits, body, &path)?;
    ensure(
        body.result_ref.is_some() != body.aborted.is_some(),
        &path,
        "it neither holds nor ended",
    )?;
    body.result_ref.map_or(Ok(()), |held| check_held(run, body, held, &path))
}

fn check_permits_root(
    permits: &[PermitEvent],
    receipt: &PermitReceipt,
    path: &str,
) -> Result<(), Refused> {
    let links: Vec<Vec<u8>> = permits.iter().map(|p| link_of(p).to_bytes()).collect();
    let root = merkle::root(&links) == receipt.permits_root;
    let count = usize::try_from(receipt.permits).is_ok_and(|n| n == permits.len());
    ensure(root && count, path, "its root is not over the run's permits")?;
    let handle = permits.iter().all(|p| p.permit_handle == receipt.permit_handle);
    ensure(handle, path, "it has another permit handle than the permits")
}

/// A held result: its name is what the last frame said, and the kernel's view is the trace's.
fn check_held(
    run: &CheckedRun<'_>,
    receipt: &PermitReceipt,
    held: B32,
    path: &str,
) -> Result<(), Refused> {
    let all = run.run.permits.len() == run.ctx.plan().steps.len();
    ensure(all, path, "a result is held before every step had its permit")?;
    let last = run.ctx.levels();
    let me = &run.part.node;
    let own = run.frames().map(|f| &f.header.body).find(|h| h.from == *me && h.level == last);
    // The level may have been performed and the driver stopped before it recorded the frame.
    let Some(own) = own else { return Ok(()) };
    ensure(own.prev_view == receipt.view, path, "the kernel had another view than its own frame")?;
    let named = run.ctx.plan().naming_step().and_then(|step| run.said.get(&step.index));
    let said = named.is_some_and(|bytes| bytes.0.as_slice() == held.0);
    ensure(said, path, "the result's name is not the one that the last frame said")
}
