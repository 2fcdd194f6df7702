//! Admitted → Running: the kernel binds one proposal and prepares to perform it.
//!
//! Source: the design's kernel page, points 1, 2 and 4.
//! Always true: a run started only if this kernel compiled the same plan from the intent, its own opening in it is the
//! last it gave and was not used before, and every signer's opening is by that signer's kernel, at the same head.

use dvm_core::authority::KeyReady;
use dvm_core::call::KernelReply;
use dvm_core::codec::link_of;
use dvm_core::digest::{Domain, Tagged};
use dvm_core::intent::{Act, Backend, CanonicalIntent};
use dvm_core::run::{Open, Proposal, RunHeader, RunKind};
use dvm_core::sighting::Statement;
use dvm_core::{Link, NodeId, ReasonCode, Signed, limits};
use dvm_governance::{Authority, authority_for, fenced};
use dvm_score::Plan;

use crate::authority::Pinned;
use crate::course::{Course, Peer, PeerBoot, Peers};
use crate::held::key_share_id;
use crate::ledger;
use crate::performance::{
    Holding, Inbox, KeygenTerms, Performance, Piece, RunPairs, SigningTerms, Task, works_in_pairs,
};
use crate::phase::{Phase, Verb};
use crate::run::{Admitted, Running, Stage};
use crate::sighting::{Others, PeerMark};
use crate::stop::{Stop, ensure};
use crate::store::{self, Kind};
use crate::{Answer, Kernel};

/// The plan of a run, compiled here; refused if the header names another.
pub(crate) fn compiled(
    header: &RunHeader,
    intent: &CanonicalIntent,
    backend: Backend,
) -> Result<Plan, Stop> {
    let run = dvm_score::Run::of(&header.kind, intent.scope);
    let compiled = dvm_score::compile(&intent.act, run, backend, &header.participants)
        .map_err(|error| Stop::refused(error.code(), "the act does not compile"))?;
    let same = compiled.plan_id() == header.plan_id;
    ensure(same, ReasonCode::BindingMismatch, "the plan is not the one this kernel compiled")?;
    Ok(compiled.into_plan())
}

/// The backend that performs an intent.
pub(crate) fn backend_of(
    intent: &CanonicalIntent,
    authority: &Authority<'_>,
) -> Result<Backend, Stop> {
    match (&intent.act, authority.record()) {
        (Act::KeyGenerate { backend, .. }, _) => Ok(*backend),
        (_, Some(record)) => Ok(record.ready.backend),
        (_, None) => Err(Stop::internal("a signature without a key record")),
    }
}

fn check_participants(
    header: &RunHeader,
    intent: &CanonicalIntent,
    authority: &Authority<'_>,
    me: &NodeId,
) -> Result<(), Stop> {
    let participants = &header.participants;
    let sorted = participants.is_sorted_by(|a, b| a < b) && participants.contains(me);
    let holders = ledger::holders(intent, authority);
    let fit = match (&intent.act, authority.record()) {
        (Act::KeyGenerate { .. }, _) => participants == holders,
        (_, Some(record)) => {
            participants.len() == usize::from(record.ready.threshold)
                && participants.iter().all(|p| holders.contains(p))
        }
        (_, None) => false,
    };
    ensure(sorted && fit, ReasonCode::BindingMismatch, "participants do not fit the key")
}

/// Checks every opening, and gives the other participants and what to remember of them.
fn check_opens(
    pinned: &Pinned,
    others: &Others,
    (proposal, own): (&Proposal, &Signed<Open>),
    now_ms: u64,
) -> Result<(Peers, Vec<(NodeId, PeerMark)>), Stop> {
    let bad = ReasonCode::BindingMismatch;
    let RunKind::Act { opens, .. } = &proposal.header.kind else {
        return Err(Stop::refused(bad, "not an act run"));
    };
    let links: Vec<Link> = proposal.opens.iter().map(Signed::link).collect();
    ensure(links == *opens, bad, "the header names other openings")?;
    let in_order = proposal.opens.iter().map(|o| &o.body.node).eq(&proposal.header.participants);
    ensure(in_order, bad, "one opening per participant, in order")?;
    let (mut peers, mut raised) = (Peers::new(), Vec::new());
    for signed in &proposal.opens {
        let passport = pinned.passport(&signed.body.node)?;
        let open = signed
            .verify(passport.kernel_key)
            .map_err(|_| Stop::refused(bad, "an opening is not signed by its node's kernel"))?;
        ensure(
            open.cluster == pinned.cluster() && open.intent == proposal.header.intent,
            bad,
            "an opening of another intent",
        )?;
        ensure(
            open.head == pinned.state.head(),
            ReasonCode::StaleEpoch,
            "an opening at another head",
        )?;
        let claims = &open.seen;
        let bounded = claims.len() <= limits::MEMBERS_MAX && claims.is_sorted_by(|a, b| a < b);
        ensure(bounded, bad, "an opening whose sightings are not in order")?;
        let skew_ms = open.time_ms.abs_diff(now_ms);
        ensure(
            skew_ms <= limits::CLOCK_SKEW_MS_MAX,
            ReasonCode::Expired,
            "an opening's time is too far from ours",
        )?;
        if open.node == pinned.node {
            ensure(
                signed == own,
                ReasonCode::ReplayOrConflict,
                "our opening in it is not the last that we gave",
            )?;
            continue;
        }
        let fence = fenced(&pinned.state, &open.node, open.boot.generation);
        ensure(!fence, ReasonCode::SplitBrainFenced, "a fenced boot")?;
        let statement = Statement::Open(Box::new(signed.clone()));
        raised.extend(others.raised(pinned, passport, statement)?);
        let peer = Peer { passport: passport.clone(), boot: PeerBoot::Exactly(open.boot) };
        peers.insert(open.node.clone(), peer);
    }
    Ok((peers, raised))
}

impl Kernel {
    pub(crate) fn start_act(
        &mut self,
        proposal: Proposal,
        frames: &[dvm_core::frame::Envelope],
        now_ms: u64,
    ) -> Answer {
        let header = &proposal.header;
        ensure(frames.is_empty(), ReasonCode::BindingMismatch, "an act starts without frames")?;
        self.refuse_signers(header)?;
        let run = self
            .runs
            .get(&header.intent)
            .ok_or_else(|| Stop::refused(ReasonCode::NotFound, "this intent was not opened"))?;
        run.phase().may(Verb::Start, Phase::Running)?;
        let Stage::Admitted(admitted) = &run.stage else {
            return Err(Stop::internal("an admitted run without an opening"));
        };
        let pinned = self.pinned()?;
        let authority = authority_for(&pinned.state, &run.intent, now_ms)
            .map_err(|code| Stop::refused(code, "no authority for this intent"))?;
        let about =
            header.cluster == pinned.cluster() && header.key_epoch == run.intent.act.key_epoch();
        ensure(
            about,
            ReasonCode::BindingMismatch,
            "the header is of another cluster or key epoch",
        )?;
        check_participants(header, &run.intent, &authority, &pinned.node)?;
        let backend = backend_of(&run.intent, &authority)?;
        self.has_room_to_prepare(&run.intent.act, backend)?;
        let (peers, raised) =
            check_opens(pinned, &self.others, (&proposal, &admitted.open), now_ms)?;
        let ready = authority.record().map(|r| r.ready.clone());
        let intent = run.intent.clone();
        self.refuse_if_outrun(&proposal)?;
        // Whatever refuses the run after this has spent what it names.
        self.tidy_stash(now_ms);
        let piece = self.piece_for(header, &intent.act, (ready.as_ref(), &peers))?;
        let plan = compiled(header, &intent, backend)?;

        let seed = self.draw();
        let performance = self.prepare(header, (ready.as_ref(), piece), &plan)?;
        let mut running =
            self.running(proposal.header, (plan, peers, seed), (backend, ready, performance))?;
        running.raised = raised;
        let execution_id = running.course.execution_id;
        let permits = running.course.mint(&running.plan, 1);
        let intent = running.header.intent;
        // Durable with level 1, before this kernel says anything in the run; a start alone says nothing to anyone.
        for mark in running.raised.clone() {
            self.others.set(mark);
        }
        self.shown.extend(running.recipients());
        if let Some(run) = self.runs.get_mut(&intent) {
            run.stage = Stage::Running(Box::new(running));
        }
        Ok(KernelReply::Started { execution_id, permits })
    }

    fn running(
        &self,
        header: RunHeader,
        (plan, peers, seed): (Plan, Peers, dvm_core::B32),
        (backend, ready, performance): (Backend, Option<KeyReady>, Performance),
    ) -> Result<Running, Stop> {
        let Some(Stage::Admitted(admitted)) = self.runs.get(&header.intent).map(|r| &r.stage)
        else {
            return Err(Stop::internal("an admitted run without an opening"));
        };
        let Admitted { act, open } = &**admitted;
        Ok(Running {
            header_link: link_of(&header),
            admission: open.body.admission,
            since: open.body.head.size,
            course: Course::new(header.execution_id(), header.plan_id, seed),
            inbox: Inbox::of(&plan),
            plan,
            peers,
            backend,
            ready,
            message: act.bytes_to_sign().map(<[u8]>::to_vec),
            performance,
            microtrace: microtrace_of(&seed),
            raised: Vec::new(),
            header,
        })
    }

    /// The secret side of an act: a fresh key generation, or the share that governance activated, with what was made
    /// before.
    fn prepare(
        &mut self,
        header: &RunHeader,
        (ready, piece): (Option<&KeyReady>, Option<Piece>),
        plan: &Plan,
    ) -> Result<Performance, Stop> {
        let node = self.pinned()?.node.clone();
        let bug = |_| Stop::internal("the microcode refused the terms");
        let Some(run) = self.runs.get(&header.intent) else {
            return Err(Stop::internal("no run"));
        };
        if let Act::KeyGenerate { backend, threshold, roster, .. } = &run.intent.act {
            let terms = KeygenTerms {
                execution_id: header.execution_id(),
                roster,
                threshold: *threshold,
                me: &node,
            };
            return Performance::keygen(*backend, &terms).map_err(bug);
        }
        let (Some(ready), Stage::Admitted(admitted)) = (ready, &run.stage) else {
            return Err(Stop::internal("a signature without a key record"));
        };
        let message = admitted.act.bytes_to_sign().map(<[u8]>::to_vec);
        let path = run.intent.act.path().to_vec();
        let terms =
            SigningTerms { header, table: plan.backend.as_str(), ready, path: path.as_slice() };
        let task = match (message, piece) {
            (Some(message), Some(Piece::Triple(triple))) => {
                return Performance::of_triple(&terms, (&message, *triple)).map_err(bug);
            }
            (Some(message), Some(piece)) => Task::Spend(message, piece),
            (Some(message), None) => Task::Sign(message),
            (None, _) => Task::Prepare,
        };
        let id = key_share_id(&ready.key_id, &link_of(ready));
        let share = store::read(&mut self.vault, Kind::KeyShare, &id)?.ok_or_else(|| {
            Stop::refused(ReasonCode::NotFound, "this kernel holds no share of the active key")
        })?;
        let pairs = match works_in_pairs(ready.backend) {
            true => self.pairs_with(ready, &header.participants)?,
            false => RunPairs::new(),
        };
        let holding = Holding { share: &share, pairs };
        Performance::signing(&terms, holding, task, &mut self.group_keys).map_err(bug)
    }
}

/// Where the microtrace of a run begins: secret like the seed, but no way back to it, for a run that ends before its first
/// step shows it.
fn microtrace_of(seed: &dvm_core::B32) -> dvm_core::B32 {
    Tagged::new(Domain::Microtrace).part(&seed.0).finish()
}

/// The other participants of a publication: any boot that does not contradict the highest seen may speak.
pub(crate) fn publication_peers(
    pinned: &Pinned,
    known: &Others,
    participants: &[NodeId],
) -> Result<Peers, Stop> {
    let others = participants.iter().filter(|p| **p != pinned.node);
    let peer = |node: &NodeId| {
        let passport = pinned.passport(node)?.clone();
        known.refuse_fenced(&passport)?;
        let boot = PeerBoot::NotBeside(known.boot(&passport));
        Ok((node.clone(), Peer { passport, boot }))
    };
    others.map(peer).collect()
}
