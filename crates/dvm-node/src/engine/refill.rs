//! Keeping one-time material in stock: what a signature spends, when more of it is made, and how that gives way.
//!
//! Source: the plan of presignatures in the design's VM page.
//! Always true:
//! - a batch is an act like any other: judged by every signer's policy and floor, opened by every kernel, on record;
//! - nothing is made for a set of signers before this node signed with it, nor while one of them is away or in doubt;
//! - while anything else waits for the kernel, a batch's next level waits too, though not for long;
//! - a signature whose material a kernel does not have is made anew without any, once and for all.
//!
//! Not here: raw digests, which no kernel signs with material.

use std::collections::{BTreeMap, BTreeSet};

use dvm_core::B32;
use dvm_core::call::{KernelCall, KernelReply};
use dvm_core::digest::sha256;
use dvm_core::ids::{IdempotencyKey, NodeId, PersonId, Tenant};
use dvm_core::intent::{Act, ActClass, CanonicalIntent, Scope};
use dvm_core::limits::PRESIGN_COUNT_MAX;
use dvm_core::link::Link;
use dvm_core::reason::ReasonCode;
use dvm_core::run::Material;
use dvm_policy::Role;

use super::drive::Run;
use super::operation::State;
use super::pool::{Boots, SetOf};
use super::{Engine, Operation, Token, Want};

/// Whose acts a node's own batches are.
pub const SYSTEM_TENANT: &str = "system";
/// How often the kernel is asked what it has in stock.
const STATUS_MS: u64 = 5_000;
/// A batch that is not made by then never is: peers and kernels forget it, and this node has the next one made.
const REFILL_TTL_MS: u64 = 20_000;
/// So long at most a batch's level waits for other work of the kernel: well under the deadlines of a level.
const GIVE_WAY_MS: u64 = 250;
/// Pieces of one batch while something is being signed here: the kernel is busy with one level of it for milliseconds.
const BUSY_COUNT: u32 = 8;
/// Multiplications of one batch with the other signers: the kernel's own bound.
const PRODUCTS_MAX: u32 = 128;

/// What the refiller has under way.
#[derive(Debug, Default)]
pub(super) struct Refill {
    /// Batches asked for since this start: names the next.
    count: u64,
    /// Levels of batches that give way: run, level, since when.
    levels: Vec<(B32, u16, u64)>,
    /// When the kernel was last asked what it has.
    asked_ms: u64,
}

/// Whether an operation is a node's own: material for its stock.
pub(super) fn is_own_stock(op: &Operation) -> bool {
    let class = op.intent.act.class();
    class == ActClass::PresignBatch && op.intent.tenant.as_str() == SYSTEM_TENANT
}

/// The set that an act's signers are, if its signatures may be made with material: of what people read, never of a raw
/// digest.
fn set_of(act: &Act, signers: &[NodeId]) -> Option<SetOf> {
    let spends = matches!(act.class(), ActClass::SignMessage | ActClass::SignEvmTransaction);
    let (key_id, key_epoch) = act.signs_with().filter(|_| spends)?;
    let path = act.path().to_vec();
    Some(SetOf { key_id: key_id.clone(), key_epoch, path, signers: signers.to_vec() })
}

/// Pieces of one batch for so many signers: a kernel refuses larger ones.
fn count_max(signers: usize) -> u32 {
    let others = u32::try_from(signers).unwrap_or(u32::MAX).saturating_sub(1).max(1);
    u32::from(PRESIGN_COUNT_MAX).min(PRODUCTS_MAX / others)
}

impl Engine {
    /// Whether a try of this operation with these signers would have material.
    pub(super) fn has_material(&self, intent: &Link, signers: &[NodeId]) -> bool {
        let plain = self.gathering.get(intent).is_some_and(|gathering| gathering.plain);
        let act = self.operations.get(intent).map(|op| &op.intent.act).filter(|_| !plain);
        act.and_then(|act| set_of(act, signers)).is_some_and(|set| self.pool.has(&set))
    }

    /// Takes material for a try with these signers, if there is any. It is spent with that, whatever becomes of the try.
    pub(super) fn take_material(&mut self, intent: &Link, signers: &[NodeId]) -> Option<Material> {
        self.forget_old_boots();
        if !self.has_material(intent, signers) {
            return None;
        }
        let set = set_of(&self.operations.get(intent)?.intent.act, signers)?;
        self.pool.take(&set)
    }

    /// A kernel does not have this run's material: nothing of that batch is tried again, and this operation goes on
    /// without. True if the run had any.
    pub(super) fn material_refused(&mut self, run: &Run, code: ReasonCode) -> bool {
        let material = run.ctx.header().kind.material();
        let Some(material) = material.filter(|_| code == ReasonCode::MaterialPoisoned) else {
            return false;
        };
        self.pool.drop_batch(&material.batch);
        self.gathering.entry(run.intent).or_default().plain = true;
        true
    }

    /// What is in stock beside a kernel that has started anew is worth nothing: the material went with the old one.
    fn forget_old_boots(&mut self) {
        let own = self.attestation.as_ref().map(|a| a.body.boot);
        let (me, peers) = (&self.me, &self.peers);
        let same = |boots: &Boots| {
            boots.iter().all(|(node, boot)| {
                let now = if node == me { own } else { peers.get(node).and_then(|p| p.boot) };
                now == Some(*boot)
            })
        };
        self.pool.keep_boots(same);
    }

    /// The act run of a batch is over, and every signer named the same: its material is in their kernels.
    pub(super) fn batch_done(&mut self, run_id: &B32) {
        let Some(run) = self.runs.get(run_id) else { return };
        let intent = run.intent;
        let Some(stashed) = run.stashed else { return };
        if !self.same_result(run_id, &stashed.batch) {
            return;
        }
        let Some(run) = self.runs.get(run_id) else { return };
        let boots: Boots = run.boots.clone();
        let Some(op) = self.operations.get_mut(&intent) else { return };
        op.result_ref = Some(stashed.batch);
        if let Act::PresignBatch { key_id, key_epoch, path, signers, .. } = &op.intent.act {
            let (key_id, key_epoch) = (key_id.clone(), *key_epoch);
            let set = SetOf { key_id, key_epoch, path: path.clone(), signers: signers.clone() };
            self.pool.put(set, &self.me, (stashed.batch, stashed.count), boots);
        }
        self.set_state(&intent, State::Stashed, Vec::new());
        self.wake(&intent);
    }

    /// A signature that this node started is out: its signers are worth keeping material for.
    pub(super) fn note_signed(&mut self, intent: &Link) {
        let Some(op) = self.operations.get(intent).filter(|op| op.coordinator) else { return };
        let signers = op.act_run.and_then(|run| self.runs.get(&run));
        let signers = signers.map(|run| run.ctx.participants()).filter(|s| s.contains(&self.me));
        let set = signers.and_then(|signers| set_of(&op.intent.act, signers));
        if let Some(set) = set.filter(|set| self.marks.paths.contains(&set.path)) {
            self.pool.used(set, self.running_ms);
        }
    }

    /// What was signed in the last hour before a restart tells what to keep in stock after it.
    pub(super) fn recover_stock(&mut self, now_ms: u64) {
        let recent = |op: &Operation| {
            let at_ms = op.admission().map_or(0, |receipt| receipt.body.time_ms);
            op.state == State::Published && now_ms < at_ms.saturating_add(3_600_000)
        };
        let signed = self.operations.iter().filter(|(_, op)| recent(op)).map(|(link, _)| *link);
        for intent in signed.collect::<Vec<_>>() {
            self.note_signed(&intent);
        }
    }

    pub(super) fn tick_stock(&mut self) {
        self.let_levels_go();
        if !self.kernel_ready || self.marks.high == 0 {
            return;
        }
        self.forget_old_boots();
        if self.pool.sets().next().is_some() && self.running_ms >= self.refill.asked_ms + STATUS_MS
        {
            self.ask_stock(None);
        }
        self.settle_refills();
        if !self.pool.refills().is_empty() {
            return;
        }
        let short = self.pool.short(&self.marks, self.running_ms);
        let due = short.into_iter().find(|(set, _)| self.may_stock(set));
        if let Some((set, lacks)) = due {
            self.ask_for_batch(set, lacks);
        }
    }

    /// What came of the batches under way. One that waits for a signer keeps the other sets waiting no longer: should it
    /// still be made, its pieces are taken all the same.
    fn settle_refills(&mut self) {
        for (set, intent) in self.pool.refills() {
            let state = self.operations.get(&intent).map(|op| op.state);
            let waits = |state| {
                matches!(state, State::Aborted | State::PendingRemote) || !self.may_stock(&set)
            };
            if state.is_none_or(|state| state.is_final() || waits(state)) {
                let well = state == Some(State::Stashed);
                self.pool.refilled(&set, well, self.running_ms);
            }
        }
    }

    /// Whether a batch for this set can come to anything now.
    fn may_stock(&self, set: &SetOf) -> bool {
        let there = |node: &NodeId| {
            *node == self.me
                || self.peers.get(node).is_some_and(|peer| peer.up && peer.refused.is_none())
        };
        let active = dvm_governance::signing_authority(&self.authority, &set.key_id, set.key_epoch);
        let floor = active.ok().and_then(|record| record.floor.as_ref());
        floor.is_some_and(|floor| floor.acts.contains(&ActClass::PresignBatch))
            && set.signers.iter().all(there)
            && self.may_ask(&set.key_id, &set.signers)
    }

    fn ask_for_batch(&mut self, set: SetOf, lacks: u32) {
        let signing = |op: &Operation| {
            let under_way = matches!(op.state, State::Admitted | State::Running | State::Opening);
            under_way && op.intent.act.publishes()
        };
        let busy = self.operations.values().any(signing);
        let most = count_max(set.signers.len()).min(if busy { BUSY_COUNT } else { u32::MAX });
        let count = u16::try_from(lacks.min(most)).unwrap_or(PRESIGN_COUNT_MAX);
        let SetOf { key_id, key_epoch, path, signers } = set.clone();
        let act = Act::PresignBatch { key_id, key_epoch, path, signers, count };
        let Some(intent) = self.stock_intent(act) else { return };
        let roles = BTreeSet::from([Role::Operator]);
        match self.accept(intent, None, roles) {
            Ok(link) => {
                if let Some(shelf) = self.pool.shelf_mut(&set) {
                    shelf.refill = Some(link);
                }
                self.coordinate(&link);
            }
            Err(code) => {
                self.log("no batch asked for", set.key_id.to_string(), Some(code));
                self.pool.refilled(&set, false, self.running_ms);
            }
        }
    }

    fn stock_intent(&mut self, act: Act) -> Option<CanonicalIntent> {
        self.refill.count += 1;
        let boot = self.attestation.as_ref()?.body.boot;
        let count = self.refill.count.to_be_bytes();
        let name = [self.me.as_str().as_bytes(), &boot.id.0, &count].concat();
        let name: String = sha256(&name).hex().chars().take(32).collect();
        let idempotency_key: IdempotencyKey = format!("pool-{name}").parse().ok()?;
        let tenant: Tenant = SYSTEM_TENANT.parse().ok()?;
        let requester: PersonId = self.manifest.passport(&self.me)?.org.clone();
        let mut intent = CanonicalIntent {
            cluster: self.cluster,
            tenant,
            idempotency_key,
            requester,
            act,
            scope: Scope::Public,
            display_hash: B32::default(),
            expires_ms: self.now_ms + REFILL_TTL_MS,
        };
        intent.display_hash = dvm_act::display(&intent, None).ok()?.hash();
        Some(intent)
    }

    /// A node asks for its own stock in its own name only.
    pub(super) fn stock_of(&self, from: &NodeId, intent: &CanonicalIntent) -> bool {
        let org = self.manifest.passport(from).map(|passport| &passport.org);
        intent.tenant.as_str() != SYSTEM_TENANT || org == Some(&intent.requester)
    }

    /// Asks the kernel what it has; a caller may wait for the answer.
    pub(super) fn ask_stock(&mut self, token: Option<Token>) {
        self.refill.asked_ms = self.running_ms;
        self.ask(KernelCall::Status, Want::Stock { token });
    }

    pub(super) fn on_stock(&mut self, token: Option<Token>, reply: KernelReply) {
        let stash = match reply {
            KernelReply::Status { stash, .. } => Some(stash),
            _ => None,
        };
        if let Some(stash) = &stash {
            self.pool.agree(stash);
        }
        if let Some(token) = token {
            self.reply_metrics(token, stash.as_deref());
        }
    }

    /// Whether this run makes a batch, and its next level has to wait for what else the kernel is asked.
    pub(super) fn gives_way(&mut self, run_id: &B32, level: u16) -> bool {
        let Some(run) = self.runs.get(run_id) else { return false };
        let batch = self.operations.get(&run.intent).is_some_and(|op| !op.intent.act.publishes());
        let waits = batch && self.kernel_is_wanted();
        if waits && !self.refill.levels.iter().any(|(known, _, _)| known == run_id) {
            self.refill.levels.push((*run_id, level, self.running_ms));
        }
        waits
    }

    /// Whether the kernel has been asked for anything that somebody waits for.
    fn kernel_is_wanted(&self) -> bool {
        let idle = |want: &Want| matches!(want, Want::Stock { .. } | Want::Greeting { .. });
        self.wants.values().any(|want| !idle(want))
    }

    /// The first of the levels that gave way goes on, if the kernel is free now or it has waited for long enough.
    pub(super) fn let_levels_go(&mut self) {
        let Some((run_id, level, since_ms)) = self.refill.levels.first().copied() else { return };
        let waited = self.running_ms >= since_ms.saturating_add(GIVE_WAY_MS);
        if self.kernel_is_wanted() && !waited {
            return;
        }
        self.refill.levels.remove(0);
        let open = self.runs.get(&run_id).is_some_and(|run| {
            let due = run.vm.level() == level && run.vm.terminal().is_none();
            due && !run.calling && !run.vm.frontier(&run.ctx).open_calls.is_empty()
        });
        if open {
            self.ask_level(&run_id, level);
        }
    }

    /// The pieces in stock by what they are good for, as the kernel says: zero for what is known and not there.
    pub(super) fn stock_depths(
        &self,
        stash: &[dvm_core::call::StashedBatch],
    ) -> BTreeMap<(String, String, String), u64> {
        let names =
            |signers: &[NodeId]| signers.iter().map(NodeId::as_str).collect::<Vec<_>>().join(",");
        let label = |key_id: &dvm_core::KeyId, path: &[u32], signers: &[NodeId]| {
            (key_id.to_string(), names(signers), dvm_act::path_text(path))
        };
        let known = self.pool.sets().map(|set| (label(&set.key_id, &set.path, &set.signers), 0));
        let mut depths: BTreeMap<_, u64> = known.collect();
        for batch in stash {
            let at = depths.entry(label(&batch.key_id, &batch.path, &batch.signers)).or_default();
            *at = at.saturating_add(batch.free.len() as u64);
        }
        depths
    }
}

#[cfg(test)]
mod tests {
    use dvm_core::Address20;

    use super::*;

    #[test]
    fn what_people_read_spends_material_and_a_raw_digest_or_a_new_key_never_does() {
        let (key_id, key_epoch, link) = (|| "k".parse().unwrap(), 3, Link::of_raw(b"c"));
        let signers: Vec<NodeId> = ["n1", "n2"].map(|node| node.parse().unwrap()).into();
        let path = vec![0, 7];
        let from = Address20::default();
        let spends = |act: &Act| set_of(act, &signers).map(|set| (set.key_epoch, set.path));
        let message = Act::SignMessage { key_id: key_id(), key_epoch, message: link, len: 1 };
        assert_eq!(spends(&message), Some((3, Vec::new())));
        let (id, transaction) = (key_id(), link);
        let transfer = Act::SignEvmTransaction {
            key_id: id,
            key_epoch,
            path: path.clone(),
            from,
            transaction,
            len: 1,
        };
        assert_eq!(spends(&transfer), Some((3, path.clone())));
        let digest = Act::SignDigest { key_id: key_id(), key_epoch, digest: B32::default() };
        let batch = Act::PresignBatch {
            key_id: key_id(),
            key_epoch,
            path,
            signers: signers.clone(),
            count: 1,
        };
        for act in [digest, batch] {
            assert_eq!(spends(&act), None, "{act:?}");
        }
    }

    #[test]
    fn batch_is_as_large_as_kernels_make_it_for_so_many_signers() {
        assert_eq!([2, 5, 6, 16].map(count_max), [32, 32, 25, 8]);
    }
}
