//! The course of one run in this kernel: levels performed, views, and the permits that bind each step to them.
//!
//! Source: the design's VM page (frames, views) and kernel page (permits).
//! Always true:
//! - [`Heard`] exists only if every other participant's kernel signed its frame of that level, in this run, with the
//!   view of the level before that this kernel computed itself;
//! - a permit is good for one step of this run, and the context it is consumed in is recorded with it;
//! - nothing here changes state: [`Course::advance`] is called after the commit.
//!
//! Not here: what a step does.

use std::collections::{BTreeMap, BTreeSet};

use dvm_core::authority::NodePassport;
use dvm_core::call::StepCall;
use dvm_core::codec::{Artifact, link_of};
use dvm_core::digest::{Domain, Tagged};
use dvm_core::frame::{self, Authentic, Envelope, FrameHeader, Leaf};
use dvm_core::limits;
use dvm_core::receipt::{CallContext, PermitEvent, args_digest};
use dvm_core::run::Boot;
use dvm_core::{B32, Bytes, Link, NodeId, ReasonCode, Signed};
use dvm_score::{PhaseKind, Plan, Step};
use serde::{Deserialize, Serialize};

use crate::stop::{Stop, ensure};

/// A participant as this kernel knows it.
pub(crate) struct Peer {
    pub(crate) passport: NodePassport,
    /// Which boots of it may speak in this run.
    pub(crate) boot: PeerBoot,
}

/// Which boots of a peer may speak in a run.
#[derive(Clone, Copy)]
pub(crate) enum PeerBoot {
    /// The one that gave the opening: an act run dies with its kernel.
    Exactly(Boot),
    /// Any that does not contradict the highest one seen: a publication outlives restarts, and what an earlier boot
    /// said in it stays said.
    NotBeside(Option<Boot>),
}

impl PeerBoot {
    fn admits(self, boot: Boot) -> bool {
        match self {
            Self::Exactly(expected) => expected == boot,
            Self::NotBeside(None) => true,
            Self::NotBeside(Some(seen)) => seen.generation != boot.generation || seen.id == boot.id,
        }
    }
}

/// The other participants of a run, by id.
pub(crate) type Peers = BTreeMap<NodeId, Peer>;

/// The boots that take part in an act run, in order of their nodes.
pub(crate) fn boots_of(peers: &Peers) -> Vec<(NodeId, Boot)> {
    let exact = |(node, peer): (&NodeId, &Peer)| match peer.boot {
        PeerBoot::Exactly(boot) => Some((node.clone(), boot)),
        PeerBoot::NotBeside(_) => None,
    };
    peers.iter().filter_map(exact).collect()
}

/// One payload's digest, kept for the arguments of later steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Received {
    step: u16,
    from: NodeId,
    digest: B32,
}

/// A permit that was consumed, and in which context.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spent {
    permit: B32,
    context: Link,
}

/// The course of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Course {
    pub(crate) execution_id: B32,
    pub(crate) plan_id: B32,
    /// Secret: permits are derived from it.
    seed: B32,
    /// The run's permit handle.
    pub(crate) handle: B32,
    /// `views[l]` is the view of level l; level 0 is the header itself.
    views: Vec<B32>,
    own_roots: Vec<B32>,
    received: Vec<Received>,
    spent: Vec<Spent>,
    /// Links of the permit events, in order.
    pub(crate) events: Vec<Link>,
    highest: Vec<(NodeId, u64)>,
}

impl Artifact for Course {
    const SCHEMA: &'static str = "dvm/kernel-course/1";
    const BYTES_MAX: usize = limits::CALL_BYTES_MAX;
}

/// The frames of one level, authenticated and checked against the plan and this kernel's own views.
pub(crate) struct Heard {
    /// View of the level that was heard.
    pub(crate) view: B32,
    /// Payloads by (step, sender).
    pub(crate) payloads: BTreeMap<(u16, NodeId), Bytes>,
    /// What their kernels signed.
    pub(crate) headers: Vec<Signed<FrameHeader>>,
    received: Vec<Received>,
    highest: Vec<(NodeId, u64)>,
}

/// What became of a request for a level.
pub(crate) enum Asked {
    /// The next level: these permits are consumed with it.
    Next(Vec<PermitEvent>),
    /// Permits of a level that is done, in the same context.
    Again,
    /// A consumed permit in another context.
    Elsewhere,
}

impl Course {
    /// A run that has performed nothing yet.
    pub(crate) fn new(execution_id: B32, plan_id: B32, seed: B32) -> Self {
        let handle = Tagged::new(Domain::PermitHandle).part(&seed.0).part(&execution_id.0).finish();
        Self {
            execution_id,
            plan_id,
            seed,
            handle,
            views: vec![frame::view(&execution_id, 0, &BTreeMap::new())],
            own_roots: Vec::new(),
            received: Vec::new(),
            spent: Vec::new(),
            events: Vec::new(),
            highest: Vec::new(),
        }
    }

    /// The next level to perform.
    pub(crate) fn next_level(&self) -> u16 {
        u16::try_from(self.own_roots.len()).unwrap_or(u16::MAX).saturating_add(1)
    }

    /// This kernel's view of a level that it has heard.
    pub(crate) fn view(&self, level: u16) -> Option<B32> {
        self.views.get(usize::from(level)).copied()
    }

    /// The permits of a level.
    pub(crate) fn mint(&self, plan: &Plan, level: u16) -> Vec<StepCall> {
        let call = |s: &Step| StepCall { step: s.index, step_permit: self.permit(s.index) };
        plan.at_level(level).map(call).collect()
    }

    fn permit(&self, step: u16) -> B32 {
        Tagged::new(Domain::StepPermit).part(&self.seed.0).number(step.into()).finish()
    }

    /// Authenticates the frames of a level of all other participants.
    ///
    /// # Errors
    /// `BINDING_MISMATCH` for anything that is not what the sender's kernel signed for this slot, or that the plan does
    /// not expect there; `SPLIT_BRAIN_FENCED` for another boot; `EQUIVOCATION` for another view.
    pub(crate) fn hear(
        &self,
        plan: &Plan,
        me: &NodeId,
        peers: &Peers,
        (level, frames): (u16, Vec<Envelope>),
    ) -> Result<Heard, Stop> {
        let mut heard = Heard {
            view: self.views.first().copied().unwrap_or_default(),
            payloads: BTreeMap::new(),
            headers: Vec::new(),
            received: Vec::new(),
            // Frames of a level that was heard before are judged again only to compare contexts.
            highest: if level.saturating_add(1) < self.next_level() {
                Vec::new()
            } else {
                self.highest.clone()
            },
        };
        if level == 0 {
            ensure(
                frames.is_empty(),
                ReasonCode::BindingMismatch,
                "level 1 has no frames before it",
            )?;
            return Ok(heard);
        }
        let before = self.view(level.saturating_sub(1));
        let own = self.own_roots.get(usize::from(level).saturating_sub(1));
        let (Some(prev_view), Some(own)) = (before, own) else {
            return Err(Stop::refused(
                ReasonCode::WrongPhase,
                "the level before was not performed",
            ));
        };
        let mut roots = BTreeMap::from([(me.clone(), *own)]);
        for envelope in frames {
            let frame = self.authentic(me, peers, envelope)?;
            let header = frame.header();
            ensure(header.level == level, ReasonCode::BindingMismatch, "frame of another level")?;
            ensure(
                header.prev_view == prev_view,
                ReasonCode::Equivocation,
                "the sender saw another level before",
            )?;
            ensure(
                roots.insert(header.from.clone(), header.out_root).is_none(),
                ReasonCode::BindingMismatch,
                "two frames of one sender",
            )?;
            heard.take(plan, level, &frame)?;
        }
        ensure(
            roots.len() == peers.len() + 1,
            ReasonCode::BindingMismatch,
            "a participant's frame is missing",
        )?;
        heard.view = frame::view(&self.execution_id, level, &roots);
        Ok(heard)
    }

    fn authentic(&self, me: &NodeId, peers: &Peers, envelope: Envelope) -> Result<Authentic, Stop> {
        let bad = |rule| Stop::refused(ReasonCode::BindingMismatch, rule);
        ensure(envelope.to == *me, ReasonCode::WrongRecipient, "frame for another node")?;
        let peer =
            peers.get(&envelope.header.body.from).ok_or_else(|| bad("sender is no participant"))?;
        let frame = envelope
            .authenticate(peer.passport.kernel_key)
            .map_err(|_| bad("frame is not what its sender's kernel signed"))?;
        let header = frame.header();
        ensure(
            header.execution_id == self.execution_id,
            ReasonCode::SessionMismatch,
            "frame of another run",
        )?;
        ensure(
            peer.boot.admits(header.boot),
            ReasonCode::SplitBrainFenced,
            "frame of another boot of its sender",
        )?;
        Ok(frame)
    }

    /// Judges the calls for a level against the plan and the permits; `heard` is of the level before.
    ///
    /// # Errors
    /// `WRONG_PHASE` for a level that is not next; `BINDING_MISMATCH` for calls that are not exactly the level's
    /// steps with the permits minted for them.
    pub(crate) fn ask(
        &self,
        plan: &Plan,
        level: u16,
        calls: &[StepCall],
        heard: &Heard,
    ) -> Result<Asked, Stop> {
        let consumed = calls.iter().any(|c| self.spent.iter().any(|s| s.permit == c.step_permit));
        let exact = calls == self.mint(plan, level).as_slice();
        if consumed {
            let events = if exact { self.events(plan, level, heard) } else { Vec::new() };
            let same = |event: &PermitEvent| {
                let context = link_of(&event.context);
                self.spent.iter().any(|s| s.permit == event.step_permit && s.context == context)
            };
            return Ok(if exact && events.iter().all(same) {
                Asked::Again
            } else {
                Asked::Elsewhere
            });
        }
        ensure(
            level == self.next_level(),
            ReasonCode::WrongPhase,
            "not the next level of the run",
        )?;
        ensure(
            exact,
            ReasonCode::BindingMismatch,
            "not the level's steps with the permits minted for them",
        )?;
        Ok(Asked::Next(self.events(plan, level, heard)))
    }

    fn events(&self, plan: &Plan, level: u16, heard: &Heard) -> Vec<PermitEvent> {
        let event = |step: &Step| PermitEvent {
            context: CallContext {
                execution_id: self.execution_id,
                plan_id: self.plan_id,
                site: step.site,
                step: step.index,
                level,
                view: heard.view,
                args: self.args(plan, step, heard),
            },
            permit_handle: self.handle,
            step_permit: self.permit(step.index),
        };
        plan.at_level(level).map(event).collect()
    }

    /// Digest over what the step receives: for each speaking input, each other participant's payload, sorted.
    fn args(&self, plan: &Plan, step: &Step, heard: &Heard) -> B32 {
        let speaks = |index: &&u16| {
            let input = plan.steps.get(usize::from(**index));
            input.is_some_and(|s| s.phase.kind != PhaseKind::Local)
        };
        let mut all = Vec::new();
        for input in step.inputs.iter().filter(speaks) {
            let here = self.received.iter().chain(&heard.received).filter(|r| r.step == *input);
            let by_sender: BTreeMap<&NodeId, &B32> = here.map(|r| (&r.from, &r.digest)).collect();
            all.extend(by_sender);
        }
        args_digest(all.into_iter())
    }

    /// Takes a performed level over.
    pub(crate) fn advance(&mut self, heard: Heard, events: &[PermitEvent], own_root: B32) {
        if usize::from(self.next_level()) > self.views.len() {
            self.views.push(heard.view);
        }
        self.received.extend(heard.received);
        self.highest = heard.highest;
        for event in events {
            let context = link_of(&event.context);
            self.spent.push(Spent { permit: event.step_permit, context });
            self.events.push(link_of(event));
        }
        self.own_roots.push(own_root);
    }
}

impl Heard {
    /// Takes one frame's payloads: exactly those that the plan expects at that level, each within its bound.
    fn take(&mut self, plan: &Plan, level: u16, frame: &Authentic) -> Result<(), Stop> {
        let (from, seq) = (&frame.header().from, frame.header().vault_seq);
        let known = self.highest.iter().position(|(node, _)| node == from);
        match known.and_then(|at| self.highest.get_mut(at)) {
            Some((_, highest)) => {
                // One kernel counts upward; a lower number is a second copy of its disk.
                ensure(
                    seq > *highest,
                    ReasonCode::SplitBrainFenced,
                    "the sender's vault_seq fell back",
                )?;
                *highest = seq;
            }
            None => self.highest.push((from.clone(), seq)),
        }
        let (broadcast, private) = plan.expected(level);
        let envelope = frame.envelope();
        self.headers.push(envelope.header.clone());
        check_leaf(&envelope.broadcast.leaf, &broadcast)?;
        check_leaf(&envelope.private.leaf, &private)?;
        for carried in [&envelope.broadcast, &envelope.private] {
            for (part, bytes) in carried.leaf.parts.iter().zip(&carried.payloads) {
                let digest = part.payload.digest;
                self.received.push(Received { step: part.step, from: from.clone(), digest });
                self.payloads.insert((part.step, from.clone()), bytes.clone());
            }
        }
        Ok(())
    }
}

fn check_leaf(leaf: &Leaf, expected: &[&Step]) -> Result<(), Stop> {
    let said: Vec<u16> = leaf.parts.iter().map(|p| p.step).collect();
    let wanted: BTreeSet<u16> = expected.iter().map(|s| s.index).collect();
    let exact = said.iter().eq(wanted.iter());
    let fits = expected.iter().zip(&leaf.parts).all(|(s, p)| p.payload.len <= s.phase.len_max);
    ensure(exact && fits, ReasonCode::PayloadRejected, "frame does not carry what the plan expects")
}
