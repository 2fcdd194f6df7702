//! What peers say of one another agrees: one header per slot, one broadcast per header, and where all
//! recipients' parts are here, every leaf is under the signed root.
//!
//! Two headers for one slot are evidence against their signer. A bundle with them is accepted only
//! if a peer's trace ended with that blame: else somebody looked away.

use std::collections::BTreeMap;

use dvm_core::frame::Leaf;
use dvm_core::reason::ReasonCode;
use dvm_core::trace::{FrameFact, Outcome, Terminal, TraceEvent};
use dvm_core::{B32, Link, NodeId, merkle};

use crate::verify::{CheckedRun, Refused, ensure};

/// One peer's place in one level of one run.
type Slot = (B32, u16, NodeId);

#[derive(Default)]
struct Seen<'a> {
    /// The header that was seen first, and the broadcast leaf with it.
    first: Option<(Link, B32, &'a Leaf)>,
    /// Private leaves of that header, by recipient.
    private: BTreeMap<&'a NodeId, &'a Leaf>,
}

/// Compares all frames of all runs. True if every root could be derived again.
pub(crate) fn check_frames(runs: &[CheckedRun<'_>]) -> Result<bool, Refused> {
    let mut slots: BTreeMap<Slot, Seen<'_>> = BTreeMap::new();
    for run in runs {
        let path = format!("{}/trace", run.path);
        for fact in run.frames() {
            take(&mut slots, runs, (run, fact), &path)?;
        }
        for event in &run.run.trace.events {
            let TraceEvent::Headers(headers) = event else { continue };
            for header in headers {
                let slot = (header.body.execution_id, header.body.level, header.body.from.clone());
                let known = slots.get(&slot).and_then(|seen| seen.first);
                let other = known.is_some_and(|(link, ..)| link != header.link());
                if other {
                    check_blamed(runs, &slot, &path)?;
                }
            }
        }
    }
    for run in runs {
        check_private_sends(run, &slots)?;
    }
    check_roots(runs, &slots)
}

fn take<'a>(
    slots: &mut BTreeMap<Slot, Seen<'a>>,
    runs: &[CheckedRun<'_>],
    (run, fact): (&CheckedRun<'a>, &'a FrameFact),
    path: &str,
) -> Result<(), Refused> {
    let body = &fact.header.body;
    let slot = (body.execution_id, body.level, body.from.clone());
    let link = fact.header.link();
    let seen = slots.entry(slot.clone()).or_default();
    match seen.first {
        Some((known, ..)) if known != link => return check_blamed(runs, &slot, path),
        Some((_, _, leaf)) => {
            ensure(
                *leaf == fact.broadcast,
                path,
                "peers saw different broadcasts under one header",
            )?;
        }
        None => seen.first = Some((link, body.out_root, &fact.broadcast)),
    }
    if let Some(private) = &fact.private {
        seen.private.insert(&run.part.node, private);
    }
    Ok(())
}

fn check_blamed(runs: &[CheckedRun<'_>], slot: &Slot, path: &str) -> Result<(), Refused> {
    let (execution_id, _, signer) = slot;
    let blamed = |run: &CheckedRun<'_>| match &run.run.trace_root.body.terminal {
        Some(Terminal::Blamed { code: ReasonCode::Equivocation, culprit }) => culprit == signer,
        _ => false,
    };
    let mut same_run = runs.iter().filter(|run| run.ctx.execution_id() == *execution_id);
    if same_run.any(blamed) {
        return Ok(());
    }
    let what = "two headers for one slot, and nobody blamed their signer";
    Err(Refused::code(path, ReasonCode::Equivocation, what))
}

/// What a call said it sends to one peer is what that peer received.
fn check_private_sends(
    run: &CheckedRun<'_>,
    slots: &BTreeMap<Slot, Seen<'_>>,
) -> Result<(), Refused> {
    for event in &run.run.trace.events {
        let TraceEvent::Result(result) = event else { continue };
        let Outcome::Ok { sends, .. } = &result.outcome else { continue };
        let level = run.ctx.plan().steps.get(usize::from(result.step)).map_or(0, |s| s.level);
        let slot = (run.ctx.execution_id(), level, run.part.node.clone());
        let Some(seen) = slots.get(&slot) else { continue };
        for send in sends {
            let Some(leaf) = send.to.as_ref().and_then(|to| seen.private.get(to)) else { continue };
            let said =
                |p: &dvm_core::frame::PartRef| p.step == result.step && p.payload == send.payload;
            let path = format!("{}/trace", run.path);
            ensure(
                leaf.parts.iter().any(said),
                &path,
                "a peer received something else than was sent",
            )?;
        }
    }
    Ok(())
}

/// Derives `out_root` again from all leaves: broadcast first, then each recipient in order.
fn check_roots(runs: &[CheckedRun<'_>], slots: &BTreeMap<Slot, Seen<'_>>) -> Result<bool, Refused> {
    let participants: BTreeMap<B32, &[NodeId]> =
        runs.iter().map(|run| (run.ctx.execution_id(), run.ctx.participants())).collect();
    let mut all = true;
    for ((execution_id, level, from), seen) in slots {
        let Some((_, out_root, broadcast)) = seen.first else { continue };
        let nodes = participants.get(execution_id).copied().unwrap_or_default();
        let recipients = nodes.iter().filter(|node| *node != from);
        let leaves: Option<Vec<&Leaf>> =
            recipients.map(|to| seen.private.get(to).copied()).collect();
        let Some(private) = leaves else {
            all = false;
            continue;
        };
        let digests: Vec<[u8; 32]> =
            [broadcast].into_iter().chain(private).map(|leaf| leaf.digest().0).collect();
        let path = format!("peers/{from}/level {level} of {execution_id}");
        ensure(
            merkle::root(&digests) == out_root,
            &path,
            "the leaves are not under the signed root",
        )?;
    }
    Ok(all)
}
