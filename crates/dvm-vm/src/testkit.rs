//! A seeded network of interpreters with toy kernels, for tests.
//!
//! The kernels sign real frames over made-up payloads. The network delivers in any order, repeats,
//! answers header requests and passes on evidence, as a driver does.

use std::collections::{BTreeMap, BTreeSet};

use dvm_core::frame::{self, Envelope, FrameHeader, OutTree, Outgoing, PayloadRef};
use dvm_core::run::{Boot, RunHeader, RunKind};
use dvm_core::sign::{Signed, Signer};
use dvm_core::trace::{CallResult, FrameFact, Outcome, SendRef, Terminal, TraceEvent};
use dvm_core::{B32, Bytes, Link, NodeId, PublicKey};
use dvm_score::{Effect, MicroOp, PhaseKind, PhaseSpec, Plan, Step};
use ed25519_dalek::SigningKey;

use crate::{CallRequest, Ctx, State, StepError, Transition, VM_VERSION, step};

pub(crate) const LEVELS: u16 = 5;
pub(crate) const LEN_MAX: u32 = 64;

pub(crate) fn node(index: usize) -> NodeId {
    format!("n{index}").parse().unwrap()
}

pub(crate) fn key(index: usize) -> SigningKey {
    SigningKey::from_bytes(&[u8::try_from(index).unwrap() + 1; 32])
}

fn plan_step(index: u16, op: MicroOp, level: u16, kind: PhaseKind, inputs: &[u16]) -> Step {
    let phase = PhaseSpec { kind, len_max: LEN_MAX };
    Step { index, site: index, op, level, phase, effect: Effect::Pure, inputs: inputs.to_vec() }
}

/// Every kind of phase, an echo with its two levels, a level without steps, an early input used
/// late.
pub(crate) fn plan(parties: usize) -> Plan {
    use MicroOp::*;
    use PhaseKind::*;
    Plan {
        score_id: B32([3; 32]),
        backend: "toy/1".into(),
        vm_version: VM_VERSION,
        participants: (0..parties).map(node).collect(),
        steps: vec![
            plan_step(0, NonceCommit, 1, Bcast, &[]),
            plan_step(1, DkgCommit, 1, EchoBcast, &[]),
            plan_step(2, DkgShare, 2, P2p, &[0]),
            plan_step(3, DkgFinish, 3, Local, &[1, 2]),
            plan_step(4, FinalizeSig, 3, Bcast, &[3]),
            plan_step(5, ProbeVerify, LEVELS, Local, &[0, 4]),
            plan_step(6, Confirm, LEVELS, Bcast, &[5]),
        ],
    }
}

pub(crate) fn publish_plan(parties: usize) -> Plan {
    use MicroOp::*;
    use PhaseKind::*;
    let steps = vec![
        plan_step(0, GateGrant, 1, Bcast, &[]),
        plan_step(1, OpenShare, 2, Bcast, &[0]),
        plan_step(2, VerifyShares, 3, Local, &[1]),
        plan_step(3, Confirm, 3, Bcast, &[2]),
    ];
    Plan { steps, ..plan(parties) }
}

pub(crate) fn header(plan: &Plan, publish: bool) -> RunHeader {
    let act = RunKind::Act { attempt: 1, opens: vec![], material: None };
    let publication = RunKind::Publish { of: B32([1; 32]), result_ref: B32([2; 32]) };
    RunHeader {
        cluster: Link::of_artifact(b"cluster"),
        intent: Link::of_artifact(b"intent"),
        kind: if publish { publication } else { act },
        plan_id: plan.id(),
        key_epoch: 1,
        participants: plan.participants.clone(),
        soft_deadline_ms: 1_000,
        hard_deadline_ms: if publish { 0 } else { 10_000 },
    }
}

pub(crate) fn keys(parties: usize) -> BTreeMap<NodeId, PublicKey> {
    (0..parties).map(|i| (node(i), key(i).public_key())).collect()
}

pub(crate) fn ctx(parties: usize, index: usize) -> Ctx {
    let plan = plan(parties);
    Ctx::new(node(index), header(&plan, false), plan, keys(parties)).unwrap()
}

pub(crate) fn publish_ctx(parties: usize, index: usize) -> Ctx {
    let plan = publish_plan(parties);
    Ctx::new(node(index), header(&plan, true), plan, keys(parties)).unwrap()
}

/// What a toy kernel gives for one level: results, its own frame, and everybody else's view of it.
pub(crate) struct Performed {
    pub(crate) results: Vec<CallResult>,
    pub(crate) own: FrameFact,
    pub(crate) for_others: BTreeMap<NodeId, FrameFact>,
}

/// Performs a level. `story` varies the payloads: two stories of one level are an equivocation.
pub(crate) fn perform(
    ctx: &Ctx,
    level: u16,
    calls: &[CallRequest],
    prev_view: B32,
    story: u8,
) -> Performed {
    let me = ctx.self_peer();
    let others: Vec<NodeId> = ctx.others().cloned().collect();
    let mut out = Outgoing::default();
    let mut results = Vec::new();
    for call in calls {
        let say = |to: &str| Bytes::from(format!("{} {me} {to} {story}", call.step).into_bytes());
        let mut sends = Vec::new();
        match ctx.plan().steps[usize::from(call.step)].phase.kind {
            PhaseKind::Local => {}
            PhaseKind::Bcast | PhaseKind::EchoBcast => {
                sends.push(SendRef { to: None, payload: PayloadRef::of(&say("all")) });
                out.broadcast.push((call.step, say("all")));
            }
            PhaseKind::P2p => {
                for to in &others {
                    let bytes = say(to.as_str());
                    sends.push(SendRef { to: Some(to.clone()), payload: PayloadRef::of(&bytes) });
                    out.private.entry(to.clone()).or_default().push((call.step, bytes));
                }
            }
        }
        // Public values are the same at every peer.
        let public = (call.step == 3).then(|| Bytes::from(b"public".as_slice()));
        let outcome = Outcome::Ok { handle: B32([9; 32]), sends, public };
        results.push(CallResult { step: call.step, context: call.link, outcome });
    }
    let tree = OutTree::lay_out(out, &others, || B32([story; 32]));
    let signed = sign_header(ctx, level, prev_view, tree.out_root);
    let fact = |e: Envelope| {
        let private = Some(e.private.leaf);
        (e.to, FrameFact { header: e.header, broadcast: e.broadcast.leaf, private })
    };
    let for_others: BTreeMap<_, _> = tree.envelopes(&signed).into_iter().map(fact).collect();
    let own = FrameFact { private: None, ..for_others.values().next().unwrap().clone() };
    Performed { results, own, for_others }
}

pub(crate) fn sign_header(
    ctx: &Ctx,
    level: u16,
    prev_view: B32,
    out_root: B32,
) -> Signed<FrameHeader> {
    let index = ctx.participants().iter().position(|n| n == ctx.self_peer()).unwrap();
    let body = FrameHeader {
        execution_id: ctx.execution_id(),
        boot: Boot { generation: 1, id: B32([4; 32]) },
        vault_seq: level.into(),
        level,
        from: ctx.self_peer().clone(),
        prev_view,
        out_root,
    };
    Signed::new(body, &key(index))
}

pub(crate) fn view_zero(ctx: &Ctx) -> B32 {
    frame::view(&ctx.execution_id(), 0, &BTreeMap::new())
}

/// One interpreter with its trace and its toy kernel.
pub(crate) struct Peer {
    pub(crate) ctx: Ctx,
    pub(crate) state: State,
    pub(crate) events: Vec<TraceEvent>,
    /// Signed headers held, by level: what it answers when asked.
    pub(crate) held: BTreeMap<u16, BTreeSet<usize>>,
    pub(crate) headers: Vec<Signed<FrameHeader>>,
}

impl Peer {
    pub(crate) fn new(ctx: Ctx) -> Self {
        let state = State::new(&ctx);
        Self { ctx, state, events: vec![], held: BTreeMap::new(), headers: vec![] }
    }

    /// Takes an event, records it, and checks that whatever is not taken or not recorded has
    /// changed nothing.
    pub(crate) fn take(&mut self, event: TraceEvent) -> Result<Transition, StepError> {
        let before = self.state.clone();
        let taken = step(&self.ctx, &mut self.state, &event);
        if !taken.as_ref().is_ok_and(|t| t.recorded) {
            assert_eq!(before, self.state, "not recorded, yet changed by {event:?}");
            return taken;
        }
        if let TraceEvent::Frame(fact) = &event {
            let level = fact.header.body.level;
            self.held.entry(level).or_default().insert(self.headers.len());
            self.headers.push(fact.header.clone());
        }
        self.events.push(event);
        taken
    }

    /// The headers that it holds of a level.
    pub(crate) fn holds(&self, level: u16) -> Vec<Signed<FrameHeader>> {
        let held = self.held.get(&level).into_iter().flatten();
        held.map(|i| self.headers[*i].clone()).collect()
    }

    /// What it says when asked for a level: those, and its own header that built on them.
    pub(crate) fn answer(&self, level: u16) -> Vec<Signed<FrameHeader>> {
        let mut all = self.holds(level);
        let next = self.holds(level + 1);
        all.extend(next.into_iter().filter(|h| h.body.from == *self.ctx.self_peer()));
        all
    }
}

/// Who tells whom another story, when, and what its later frames claim.
#[derive(Clone, Copy)]
pub(crate) struct Lie {
    pub(crate) liar: usize,
    pub(crate) level: u16,
    pub(crate) victim: usize,
}

/// All peers of one run and what is under way between them.
pub(crate) struct Net {
    pub(crate) peers: Vec<Peer>,
    pub(crate) queue: Vec<(usize, TraceEvent)>,
    pub(crate) lie: Option<Lie>,
    seed: u64,
}

impl Net {
    pub(crate) fn new(contexts: Vec<Ctx>, seed: u64) -> Self {
        let queue = (0..contexts.len()).map(|i| (i, TraceEvent::Start)).collect();
        Self { peers: contexts.into_iter().map(Peer::new).collect(), queue, lie: None, seed }
    }

    /// splitmix64: enough to shuffle.
    fn draw(&mut self, bound: usize) -> usize {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(bound).unwrap()).unwrap()
    }

    /// Delivers everything, in the seed's order, a third of it more than once.
    pub(crate) fn run(&mut self) {
        while !self.queue.is_empty() {
            let at = self.draw(self.queue.len());
            let repeats = self.draw(3) == 0;
            let (to, event) =
                if repeats { self.queue[at].clone() } else { self.queue.swap_remove(at) };
            self.deliver(to, event);
        }
    }

    pub(crate) fn deliver(&mut self, to: usize, event: TraceEvent) {
        let repeated_start = matches!(event, TraceEvent::Start);
        let ended = self.peers[to].state.terminal().is_some();
        match self.peers[to].take(event) {
            Ok(transition) => self.follow(to, transition),
            Err(error) => assert!(ended || repeated_start, "{error}"),
        }
    }

    fn follow(&mut self, at: usize, transition: Transition) {
        if let Some((asked, level)) = transition.want_headers {
            let asked = self.peers.iter().position(|p| *p.ctx.self_peer() == asked).unwrap();
            self.queue.push((at, TraceEvent::Headers(self.peers[asked].answer(level))));
        }
        if let Some(Terminal::Blamed { .. }) = transition.terminal {
            self.pass_on_evidence(at);
        }
        let Some(level) = transition.opens else { return };
        let ctx = self.peers[at].ctx.clone();
        let view = self.peers[at].state.view(level - 1).unwrap();
        let done = perform(&ctx, level, &transition.calls, view, 0);
        for result in done.results {
            self.peers[at].take(TraceEvent::Result(result)).unwrap();
        }
        let mut sent = done.for_others;
        if let Some(lie) = self.lie.filter(|lie| lie.liar == at && lie.level == level) {
            let mut other = perform(&ctx, level, &transition.calls, view, 1).for_others;
            let victim = node(lie.victim);
            sent.insert(victim.clone(), other.remove(&victim).unwrap());
        }
        let taken = self.peers[at].take(TraceEvent::Frame(done.own)).unwrap();
        if taken.emit.is_some() {
            for (to, fact) in sent {
                let to = self.peers.iter().position(|p| *p.ctx.self_peer() == to).unwrap();
                self.queue.push((to, TraceEvent::Frame(fact)));
            }
        }
        self.follow(at, taken);
    }

    fn pass_on_evidence(&mut self, from: usize) {
        let TraceEvent::Headers(proof) = self.peers[from].events.last().unwrap().clone() else {
            return;
        };
        for to in (0..self.peers.len()).filter(|to| *to != from) {
            self.queue.push((to, TraceEvent::Headers(proof.clone())));
            let level = proof[0].body.level;
            let held = self.peers[from].holds(level);
            self.queue.push((to, TraceEvent::Headers(held)));
        }
    }
}

/// An honest run, delivered in the seed's order.
pub(crate) fn honest(parties: usize, seed: u64) -> Net {
    let mut net = Net::new((0..parties).map(|i| ctx(parties, i)).collect(), seed);
    net.run();
    net
}
