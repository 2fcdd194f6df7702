//! What is not kept for ever: what runs said in private once they are over, and a node's own batches once they are old.
//!
//! Source: docs/operating.md, "Material in stock". That a bundle can be exported at any time is said of what people ask
//! for. A batch of the stock signs nothing: its evidence can be exported while it is kept, and the bundles of the
//! signatures that spend it do not need it.
//!
//! Always true: a receipt keeps its place in the chain; what shows that somebody cheated is kept.

use dvm_core::bytes::B32;
use dvm_core::link::Link;
use dvm_core::trace::Terminal;

use super::drive::Run;
use super::records::{self, is_whole};
use super::refill::is_own_stock;
use super::{Engine, Operation};
use crate::journal::{Table, Write};

/// A finished batch of the stock is kept for so long, if no others push it out.
const KEPT_MS: u64 = 3_600_000;
/// And of so many at most.
const KEPT_MAX: usize = 128;
/// How often is looked.
const LOOK_MS: u64 = 10_000;

impl Engine {
    /// A run is over: what it said in private is of no use any more, and is most of its bytes. Of a run that came to its end
    /// only the last level may still be asked for.
    pub(super) fn drop_private(&mut self, run_id: &B32) {
        let Some(run) = self.runs.get(run_id) else { return };
        let makes_key =
            self.operations.get(&run.intent).is_some_and(|op| op.intent.act.makes_key());
        if makes_key || run.ctx.publishes() {
            return;
        }
        let done = run.vm.terminal() == Some(&Terminal::Done);
        let kept_from = if done { run.ctx.levels() } else { u16::MAX };
        let Some(run) = self.runs.get_mut(run_id) else { return };
        let sent = run.sent.iter_mut().filter(|(level, _)| **level < kept_from);
        let received = run.received.iter_mut().filter(|((level, _), _)| *level < kept_from);
        let frames = sent.flat_map(|(_, frames)| frames).chain(received.map(|(_, frame)| frame));
        for frame in frames.filter(|frame| is_whole(frame)) {
            frame.private.payloads = Vec::new();
        }
    }

    /// Forgets finished batches of the stock that are old, and the oldest of too many.
    pub(super) fn tick_forget(&mut self) {
        if self.running_ms < self.forgot_ms.saturating_add(LOOK_MS) {
            return;
        }
        self.forgot_ms = self.running_ms;
        let done = |op: &Operation| {
            let clean = op.culprits.is_empty()
                && op.runs.iter().filter_map(|id| self.runs.get(id)).all(|run| run.bans.is_empty());
            // Until its expiry somebody may ask for it; then nobody opens for it any more, known or not.
            op.state.is_final() && clean && self.now_ms > op.intent.expires_ms
        };
        let mut batches: Vec<(u64, Link)> = self
            .operations
            .iter()
            .filter(|(link, op)| {
                is_own_stock(op) && done(op) && !self.collections.contains_key(link)
            })
            .map(|(link, op)| (op.intent.expires_ms, *link))
            .collect();
        batches.sort_unstable();
        let many = batches.len().saturating_sub(KEPT_MAX);
        let now_ms = self.now_ms;
        let old = |(at, (expires_ms, _)): &(usize, (u64, Link))| {
            *at < many || now_ms > expires_ms.saturating_add(KEPT_MS)
        };
        let old: Vec<Link> =
            batches.into_iter().enumerate().filter(old).map(|(_, (_, link))| link).collect();
        for link in old {
            self.forget(&link);
        }
    }

    fn forget(&mut self, link: &Link) {
        let Some(op) = self.operations.remove(link) else { return };
        self.by_key.remove(&(op.intent.tenant.clone(), op.intent.idempotency_key.clone()));
        self.gathering.remove(link);
        let receipts = op.admissions.iter().map(|receipt| receipt.body.policy_receipt);
        let mut deletes: Vec<Write> =
            receipts.map(|receipt| delete(Table::Receipts, receipt.to_bytes())).collect();
        deletes.push(delete(Table::Intents, link.to_bytes()));
        for run_id in &op.runs {
            if let Some(run) = self.runs.remove(run_id) {
                deletes.extend(deletes_of(run_id, &run));
            }
        }
        self.write(deletes);
    }
}

fn delete(table: Table, key: impl Into<Vec<u8>>) -> Write {
    Write::Delete { table, key: key.into() }
}

/// Everything that the journal has of a run.
fn deletes_of(run_id: &B32, run: &Run) -> Vec<Write> {
    let events = (0..run.events.len())
        .map(|index| delete(Table::TraceEvents, records::event_key(run_id, index)));
    let sent = run.sent.iter().flat_map(|(level, frames)| frames.iter().map(move |f| (*level, f)));
    let sent = sent.map(|(level, frame)| records::frame_key(run_id, true, level, &frame.to));
    let received = run.received.keys();
    let received = received.map(|(level, from)| records::frame_key(run_id, false, *level, from));
    let frames = sent.chain(received).map(|key| delete(Table::Outbox, key));
    let root = run.trace_root.map(|root| delete(Table::Blocks, root.to_bytes()));
    let record = delete(Table::Executions, run_id.0);
    events.chain(frames).chain(root).chain([record]).collect()
}
