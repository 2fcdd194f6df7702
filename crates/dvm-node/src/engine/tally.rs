//! What this node counted since it started, for who watches it.
//!
//! Always true: what is in stock is the kernel's own word at that moment, and none is told without it; a signature is
//! counted once, at the node that gathered its signers, when nothing more can happen to it.

use std::collections::BTreeMap;

use dvm_core::bytes::B32;
use dvm_core::call::StashedBatch;
use dvm_core::link::Link;
use dvm_core::trace::Terminal;
use serde_json::{Value, json};

use super::drive::Run;
use super::operation::State;
use super::{ApiReply, Engine, Token};

/// The counts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// By (state, whether material was spent).
    signatures: BTreeMap<(&'static str, &'static str), u64>,
    /// By (what was run, how it ended).
    runs: BTreeMap<(&'static str, String), u64>,
    bans: u64,
}

fn kind_of(run: &Run, makes_key: bool, publishes: bool) -> &'static str {
    match () {
        () if run.ctx.publishes() => "publication",
        () if makes_key => "keygen",
        () if publishes => "signature",
        () => "batch",
    }
}

impl Engine {
    /// A run is over here.
    pub(super) fn count_run(&mut self, run_id: &B32) {
        let end = match self.runs.get(run_id).and_then(|run| run.vm.terminal()) {
            Some(Terminal::Done) => "done".to_owned(),
            Some(Terminal::Benign(code) | Terminal::Blamed { code, .. }) => code.name().to_owned(),
            None => return,
        };
        self.count_run_as(run_id, end);
    }

    /// A run ended with this.
    pub(super) fn count_run_as(&mut self, run_id: &B32, end: String) {
        let Some(run) = self.runs.get(run_id) else { return };
        let Some(op) = self.operations.get(&run.intent) else { return };
        let act = &op.intent.act;
        let kind = kind_of(run, act.makes_key(), act.publishes());
        let count = self.tally.runs.entry((kind, end)).or_default();
        *count = count.saturating_add(1);
    }

    pub(super) fn count_bans(&mut self, new: usize) {
        self.tally.bans = self.tally.bans.saturating_add(new as u64);
    }

    /// An operation comes to this state. Of a signature it is counted, if it is the last.
    pub(super) fn count_end(&mut self, intent: &Link, before: State, state: State) {
        let Some(op) = self.operations.get(intent) else { return };
        let act = &op.intent.act;
        let signs = act.publishes() && !act.makes_key();
        if before.is_final() || !state.is_final() || !op.coordinator || !signs {
            return;
        }
        let run = op.act_run.and_then(|run| self.runs.get(&run));
        let spent = run.is_some_and(|run| run.ctx.header().kind.material().is_some());
        let material = if spent { "stashed" } else { "fresh" };
        let count = self.tally.signatures.entry((state.event(), material)).or_default();
        *count = count.saturating_add(1);
    }

    pub(super) fn api_metrics(&mut self, token: Token) {
        if self.kernel_ready {
            self.ask_stock(Some(token));
        } else {
            self.reply_metrics(token, None);
        }
    }

    /// Everything that is measured; without the kernel's word nothing is said of what it has.
    pub(super) fn reply_metrics(&mut self, token: Token, stash: Option<&[StashedBatch]>) {
        let pool: Vec<Value> = stash
            .map(|stash| self.stock_depths(stash))
            .into_iter()
            .flatten()
            .map(|((key, set, path), depth)| json!({ "key": key, "set": set, "path": path, "depth": depth }))
            .collect();
        let tally = &self.tally;
        let signatures: Vec<Value> = tally
            .signatures
            .iter()
            .map(|((result, material), n)| json!({ "result": result, "material": material, "count": n }))
            .collect();
        let runs: Vec<Value> = tally
            .runs
            .iter()
            .map(|((kind, end), n)| json!({ "kind": kind, "end": end, "count": n }))
            .collect();
        let body = json!({
            "kernel_answers": stash.is_some(),
            "pool": pool,
            "bans": tally.bans,
            "signatures": signatures,
            "runs": runs,
            "operations": self.operations.len(),
        });
        self.reply(token, ApiReply::Json(body));
    }
}
