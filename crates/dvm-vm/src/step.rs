//! The step: one event taken, or not.
//!
//! Source: the design's "The DVM", sections Types, What is hashed, Merge.
//!
//! Always true:
//! - a level's calls open when every participant's frame of the level before is in and no frame in
//!   sight carries another view;
//! - `Err` means that the state has not changed;
//! - a terminal never changes.
//!
//! A view mismatch never resolves into going on: either somebody signed two headers for one slot,
//! or the sender of the odd view is at fault. So nothing further is asked or sent meanwhile.

use dvm_core::digest;
use dvm_core::frame::{self, FrameHeader, PartRef};
use dvm_core::reason::ReasonCode;
use dvm_core::sign::Signed;
use dvm_core::trace::{CallResult, FrameFact, Outcome, Terminal, TickKind, TraceEvent};
use dvm_core::{Link, NodeId};

use crate::calls::{self, CallRequest};
use crate::context::Ctx;
use crate::slot::Slot;
use crate::state::{Frontier, Said, State};

/// What follows from an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Whether the event belongs into the trace. False for repetitions, which change nothing.
    pub recorded: bool,
    /// The level that opened with this event: the kernel is asked for it, calls or none.
    pub opens: Option<u16>,
    /// Every call of that level, in plan order.
    pub calls: Vec<CallRequest>,
    /// The level whose own frame may go out now.
    pub emit: Option<u16>,
    /// Whose signed headers, of which level, are to be asked for. It answers with every header of
    /// that level that it holds, and its own of the next: the one that carries the odd view. A list
    /// with that header is to be taken from its signer's own connection only.
    pub want_headers: Option<(NodeId, u16)>,
    /// Own frames are to be sent again, as stored.
    pub resend: bool,
    /// What the run waits for now.
    pub frontier: Frontier,
    /// How the run ended, from this event on.
    pub terminal: Option<Terminal>,
}

/// Why an event was not taken. The state is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// Not acceptable here and now; the run goes on without it.
    #[error("refused: {0}")]
    Refused(ReasonCode),
    /// This peer's own kernel or driver contradicts the run: it must end here, unfinished.
    #[error("the run is poisoned: {0}")]
    Poison(ReasonCode),
}

impl StepError {
    /// The reason.
    pub fn code(self) -> ReasonCode {
        match self {
            Self::Refused(code) | Self::Poison(code) => code,
        }
    }
}

use StepError::{Poison, Refused};

/// A level that opened, and its calls.
type Opened = (u16, Vec<CallRequest>);

/// What an event did, besides completing levels.
#[derive(Default)]
struct Effects {
    recorded: bool,
    opened: Option<Opened>,
    emit: Option<u16>,
    resend: bool,
}

/// What is known of the signatures in an event.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signatures {
    /// Nothing yet.
    Unverified,
    /// This node verified them when it took the event for the first time.
    Verified,
}

/// Takes one event.
///
/// # Errors
/// [`StepError`]; the state has not changed then.
pub fn step(ctx: &Ctx, state: &mut State, event: &TraceEvent) -> Result<Transition, StepError> {
    take(ctx, state, event, Signatures::Unverified)
}

pub(crate) fn take(
    ctx: &Ctx,
    state: &mut State,
    event: &TraceEvent,
    signatures: Signatures,
) -> Result<Transition, StepError> {
    if state.terminal.is_some() {
        return Err(Refused(ReasonCode::WrongPhase));
    }
    let was_in_doubt = state.doubt(ctx);
    let effects = match event {
        TraceEvent::Start => start(ctx, state)?,
        TraceEvent::Frame(fact) if fact.header.body.from == *ctx.self_peer() => {
            own_frame(ctx, state, fact, signatures)?
        }
        TraceEvent::Frame(fact) => peer_frame(ctx, state, fact, signatures)?,
        TraceEvent::Headers(headers) => take_headers(ctx, state, headers, signatures)?,
        TraceEvent::Result(result) => take_result(ctx, state, result)?,
        TraceEvent::Tick { kind, level } => tick(ctx, state, *kind, *level)?,
        TraceEvent::Cancel(code) => cancel(ctx, state, *code)?,
    };
    let opened = effects.opened.or_else(|| advance(ctx, state));
    let (opens, calls) = opened.map_or((None, Vec::new()), |(level, calls)| (Some(level), calls));
    let running = state.terminal.is_none();
    // Asked once when the doubt arises, and again with every re-send.
    let doubt = state.doubt(ctx).filter(|_| running);
    let want_headers = doubt.clone().filter(|_| effects.resend || doubt != was_in_doubt);
    Ok(Transition {
        recorded: effects.recorded,
        opens,
        calls,
        emit: effects.emit.filter(|_| doubt.is_none()),
        want_headers,
        resend: effects.resend,
        frontier: state.frontier(ctx),
        terminal: state.terminal.clone(),
    })
}

fn start(ctx: &Ctx, state: &mut State) -> Result<Effects, StepError> {
    if state.level != 0 {
        return Err(Refused(ReasonCode::ReplayOrConflict));
    }
    let opened = Some(open(ctx, state, 1));
    Ok(Effects { recorded: true, opened, ..Effects::default() })
}

/// Opens a level: every input of its calls is in.
fn open(ctx: &Ctx, state: &mut State, level: u16) -> Opened {
    state.level = level;
    state.overdue = false;
    state.own.clear();
    // Nothing said in a level that no step of this or a later one consumes is needed any more.
    state.said.retain(|(l, _), _| *l >= level || ctx.last_use(*l) >= level);
    let steps = ctx.plan().at_level(level);
    let asked: Vec<CallRequest> = steps.filter_map(|s| calls::call(ctx, state, s)).collect();
    state.open = asked.iter().map(|call| (call.step, call.link)).collect();
    (level, asked)
}

/// Completes the open level if it can be, and opens the next; gives the level that opened.
fn advance(ctx: &Ctx, state: &mut State) -> Option<Opened> {
    if state.terminal.is_some() || abort_on_other_header(ctx, state) {
        return None;
    }
    let fresh = state.level > 0 && state.views.len() == usize::from(state.level);
    if !fresh || state.doubt(ctx).is_some() {
        return None;
    }
    let roots = state.roots(ctx, state.level)?;
    state.views.push(frame::view(&ctx.execution_id(), state.level, &roots));
    state.confirmed = state.level.saturating_sub(1);
    // Frames of the next level that came early can be checked only now.
    if state.doubt(ctx).is_some() {
        return None;
    }
    if state.level == ctx.levels() {
        state.terminal = Some(Terminal::Done);
        return None;
    }
    let next = state.level.saturating_add(1);
    Some(open(ctx, state, next))
}

/// Another view of level 0 is another header: a configuration error, nobody's blame.
fn abort_on_other_header(ctx: &Ctx, state: &mut State) -> bool {
    let other = state.doubt(ctx).is_some_and(|(_, level)| level == 0);
    if other {
        state.terminal = Some(Terminal::Benign(ReasonCode::SessionMismatch));
    }
    other
}

/// Checks a signed header: this run, a level within reach, a participant, its kernel's signature.
fn checked(
    ctx: &Ctx,
    state: &State,
    header: &Signed<FrameHeader>,
    signatures: Signatures,
) -> Result<(u16, Link), StepError> {
    let body = &header.body;
    // One level ahead is buffered: a peer can be that far only. Further ahead nobody honest can be.
    let reach = state.level.saturating_add(1).min(ctx.levels());
    if body.execution_id != ctx.execution_id() || !(1..=reach).contains(&body.level) {
        return Err(Refused(ReasonCode::SessionMismatch));
    }
    let outsider = Refused(ReasonCode::SessionMismatch);
    let seat = ctx.index_of(&body.from).ok_or(outsider)?;
    let key = ctx.key(&body.from).ok_or(outsider)?;
    let link = match signatures {
        Signatures::Unverified => header.verified_link(key),
        Signatures::Verified => Ok(header.link()),
    };
    Ok((seat, link.map_err(|_| Refused(ReasonCode::BindingMismatch))?))
}

/// Merges a checked header into its slot. True if the slot rose.
fn merge(ctx: &Ctx, state: &mut State, at: (u16, u16), header: Link) -> bool {
    let slot = state.slots.entry(at).or_default();
    let before = *slot;
    *slot = before.merge(Slot::Seen(header));
    let after = *slot;
    if let (Slot::Conflict(..), Some(culprit)) = (after, ctx.node_at(at.1)) {
        // Which of the two came first must not show.
        state.said.remove(&at);
        state.terminal =
            Some(Terminal::Blamed { code: ReasonCode::Equivocation, culprit: culprit.clone() });
    }
    after != before
}

fn peer_frame(
    ctx: &Ctx,
    state: &mut State,
    fact: &FrameFact,
    signatures: Signatures,
) -> Result<Effects, StepError> {
    let (seat, link) = checked(ctx, state, &fact.header, signatures)?;
    let body = &fact.header.body;
    let private = fact.private.as_ref().ok_or(Refused(ReasonCode::PayloadRejected))?;
    calls::expects(ctx.plan(), body.level, &fact.broadcast, Some(private)).map_err(Refused)?;
    if private.to.as_ref() != Some(ctx.self_peer()) {
        return Err(Refused(ReasonCode::WrongRecipient));
    }
    let parts = fact.broadcast.parts.iter().chain(&private.parts).copied().collect();
    let said = Said { out_root: body.out_root, prev_view: body.prev_view, parts };
    take_said(ctx, state, (body.level, seat), (link, said))
}

fn take_said(
    ctx: &Ctx,
    state: &mut State,
    at: (u16, u16),
    (link, said): (Link, Said),
) -> Result<Effects, StepError> {
    let same_header = state.slots.get(&at) == Some(&Slot::Seen(link));
    let known = state.said.get(&at);
    // One root, other leaves: not what was authenticated the first time.
    if same_header && known.is_some_and(|known| *known != said) {
        return Err(Refused(ReasonCode::BindingMismatch));
    }
    let fills = known.is_none() && at.0 >= state.level;
    let rose = merge(ctx, state, at, link);
    if fills && state.terminal.is_none() {
        state.said.insert(at, said);
    }
    Ok(Effects { recorded: rose || fills, ..Effects::default() })
}

fn own_frame(
    ctx: &Ctx,
    state: &mut State,
    fact: &FrameFact,
    signatures: Signatures,
) -> Result<Effects, StepError> {
    let (seat, link) = checked(ctx, state, &fact.header, signatures)?;
    let body = &fact.header.body;
    let at = (body.level, seat);
    let said = Said { out_root: body.out_root, prev_view: body.prev_view, parts: Vec::new() };
    if state.slots.get(&at).is_some_and(|slot| *slot != Slot::Empty) && at.0 <= state.level {
        // Its own slot is filled: a repetition, or its kernel has signed twice.
        let filled = state.said.contains_key(&at) || at.0 < state.level;
        if filled {
            return take_said(ctx, state, at, (link, said));
        }
    }
    if body.level != state.level || !state.open.is_empty() {
        return Err(Refused(ReasonCode::WrongPhase));
    }
    let view = state.level.checked_sub(1).and_then(|l| state.view(l));
    if Some(body.prev_view) != view || fact.private.is_some() {
        return Err(Poison(ReasonCode::BindingMismatch));
    }
    calls::expects(ctx.plan(), body.level, &fact.broadcast, None).map_err(Poison)?;
    if fact.broadcast.parts != state.own {
        return Err(Poison(ReasonCode::BindingMismatch));
    }
    let taken = take_said(ctx, state, at, (link, said))?;
    Ok(Effects { emit: state.terminal.is_none().then_some(at.0), ..taken })
}

fn take_headers(
    ctx: &Ctx,
    state: &mut State,
    headers: &[Signed<FrameHeader>],
    signatures: Signatures,
) -> Result<Effects, StepError> {
    // An answer is one level, with at most both stories of each participant.
    if headers.is_empty() || headers.len() > 2 * ctx.participants().len() {
        return Err(Refused(ReasonCode::ResourceLimit));
    }
    let mut found = Vec::with_capacity(headers.len());
    for header in headers {
        let (seat, link) = checked(ctx, state, header, signatures)?;
        found.push(((header.body.level, seat), link));
    }
    found.sort_unstable();
    let mut rose = false;
    for (at, link) in &found {
        rose |= merge(ctx, state, *at, *link);
        if state.terminal.is_some() {
            return Ok(Effects { recorded: true, ..Effects::default() });
        }
    }
    let answered = state.doubt(ctx).filter(|(peer, level)| answers(ctx, &found, peer, *level));
    // Every header that went into the odd view is the one seen here: the view is of nothing signed.
    if let Some((culprit, _)) = answered {
        state.terminal = Some(Terminal::Blamed { code: ReasonCode::BindingMismatch, culprit });
        rose = true;
    }
    Ok(Effects { recorded: rose, ..Effects::default() })
}

/// Whether these headers are the full answer of the sender of an odd view: that frame's own header,
/// so that headers which others pass on are no answer, and everybody else's of the level asked for.
/// Its own header of that level cannot speak for it.
fn answers(ctx: &Ctx, found: &[((u16, u16), Link)], peer: &NodeId, level: u16) -> bool {
    let has = |level: u16, seat: u16| found.iter().any(|(at, _)| *at == (level, seat));
    ctx.seats().all(|(seat, node)| {
        let asked = if node == peer { level.saturating_add(1) } else { level };
        has(asked, seat)
    })
}

fn take_result(ctx: &Ctx, state: &mut State, result: &CallResult) -> Result<Effects, StepError> {
    // In plan order, each once: a trace of the same level reads the same everywhere.
    let next = state.open.first_key_value().filter(|(step, _)| **step == result.step);
    let (_, expected) = next.ok_or(Refused(ReasonCode::ReplayOrConflict))?;
    if result.context != *expected {
        return Err(Poison(ReasonCode::BindingMismatch));
    }
    let step = ctx.plan().steps.get(usize::from(result.step));
    let step = step.ok_or(Poison(ReasonCode::Internal))?;
    match &result.outcome {
        Outcome::Ok { sends, public, .. } => {
            if !calls::sends_fit(ctx, step, sends) {
                return Err(Poison(ReasonCode::PayloadRejected));
            }
            let to_all = sends.iter().filter(|send| send.to.is_none());
            state.own.extend(to_all.map(|s| PartRef { step: step.index, payload: s.payload }));
            if let Some(public) = public {
                state.publics.insert(step.index, digest::sha256(public));
            }
        }
        Outcome::Fault { code, blame: Some(culprit) } => {
            if ctx.index_of(culprit).is_none_or(|seat| seat == ctx.self_index()) {
                return Err(Poison(ReasonCode::PayloadRejected));
            }
            state.terminal = Some(Terminal::Blamed { code: *code, culprit: culprit.clone() });
        }
        Outcome::Fault { code, blame: None } => state.terminal = Some(Terminal::Benign(*code)),
    }
    state.open.remove(&result.step);
    Ok(Effects { recorded: true, ..Effects::default() })
}

fn tick(ctx: &Ctx, state: &mut State, kind: TickKind, level: u16) -> Result<Effects, StepError> {
    if level == 0 || level != state.level {
        return Err(Refused(ReasonCode::WrongPhase));
    }
    match kind {
        TickKind::Soft => {
            // Re-sends repeat for as long as it takes; the statement is made once per level.
            let first = !state.overdue;
            state.overdue = true;
            Ok(Effects { recorded: first, resend: true, ..Effects::default() })
        }
        TickKind::Hard if ctx.publishes() => Err(Refused(ReasonCode::WrongPhase)),
        TickKind::Hard => {
            state.overdue = true;
            state.terminal = Some(Terminal::Benign(ReasonCode::RemoteTimeout));
            Ok(Effects { recorded: true, ..Effects::default() })
        }
    }
}

fn cancel(ctx: &Ctx, state: &mut State, code: ReasonCode) -> Result<Effects, StepError> {
    // From the first answer of level 2 on, a publication has let its share go: no way back.
    let asked = ctx.plan().at_level(2).count();
    let opening = state.level > 2
        || (state.level == 2 && (state.open.len() < asked || state.own_frame_is_in(ctx, 2)));
    if ctx.publishes() && opening {
        return Err(Refused(ReasonCode::WrongPhase));
    }
    state.terminal = Some(Terminal::Benign(code));
    Ok(Effects { recorded: true, ..Effects::default() })
}

impl State {
    fn own_frame_is_in(&self, ctx: &Ctx, level: u16) -> bool {
        self.said.contains_key(&(level, ctx.self_index()))
    }
}
