//! What this node may spend: the places of batches of one-time material that are its own, as far as it knows.
//!
//! Source: the plan of presignatures in the design's VM page. A batch is good for one key, epoch, path and set of
//! signers. Its place `i` belongs to the signer at position `i mod t`, who alone starts runs that spend it: so two
//! coordinators never reach for one piece.
//!
//! Always true: a place that was handed out is never handed out again; nothing is handed out of a batch in which another
//! boot of a signer's kernel took part than the one that is known of it. Neither is what safety rests on: each kernel
//! gives a piece once, and refuses one that it does not have.
//! Not here: the material, which only kernels hold, and when more is made (`refill`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dvm_core::NodeId;
use dvm_core::bytes::B32;
use dvm_core::call::StashedBatch;
use dvm_core::ids::KeyId;
use dvm_core::limits::PRESIGN_COUNT_MAX;
use dvm_core::link::Link;
use dvm_core::run::{Boot, Material};

/// Sets that are kept in stock, or known: of more, the one that was used longest ago is forgotten.
const SHELVES_MAX: usize = 64;
/// A set that this node has not started a signature with for so long is not kept in stock any more.
const USED_MS: u64 = 3_600_000;
/// The longest pause after refills that failed. Most fail because a signer's kernel has just started anew, which says
/// nothing of the next one.
const PAUSE_MS_MAX: u64 = 30_000;
/// Doubled with each failure: the first pause is a second.
const PAUSE_MS: u64 = 500;

/// How much is kept in stock, and of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolMarks {
    /// Below so many pieces of a set more are made.
    pub low: u32,
    /// Up to so many. 0: nothing is kept in stock.
    pub high: u32,
    /// The paths below a key that are kept in stock.
    pub paths: Vec<Vec<u32>>,
}

impl Default for PoolMarks {
    fn default() -> Self {
        Self { low: 8, high: 32, paths: vec![Vec::new()] }
    }
}

/// What a batch is good for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SetOf {
    pub key_id: KeyId,
    pub key_epoch: u32,
    pub path: Vec<u32>,
    /// Exactly t, sorted.
    pub signers: Vec<NodeId>,
}

/// The boots of the kernels that hold a batch, by node.
pub(super) type Boots = BTreeMap<NodeId, Boot>;

#[derive(Debug)]
struct Batch {
    name: B32,
    free: BTreeSet<u32>,
    boots: Boots,
}

/// What is known of one set.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// Oldest first.
    batches: VecDeque<Batch>,
    /// When this node last started a signature with the set.
    used_ms: Option<u64>,
    /// The batch that this node is having made.
    pub refill: Option<Link>,
    not_before_ms: u64,
    failures: u32,
}

/// All sets.
#[derive(Debug, Default)]
pub(super) struct Pool {
    shelves: BTreeMap<SetOf, Shelf>,
}

/// The places of a batch that belong to this signer.
fn own_places(me: &NodeId, signers: &[NodeId], count: u32) -> BTreeSet<u32> {
    let t = u32::try_from(signers.len()).unwrap_or(u32::MAX).max(1);
    let position = signers.iter().position(|signer| signer == me);
    let position = position.and_then(|at| u32::try_from(at).ok());
    (0..count).filter(|place| Some(place % t) == position).collect()
}

impl Shelf {
    fn free(&self) -> u32 {
        let free = self.batches.iter().map(|batch| batch.free.len()).sum::<usize>();
        u32::try_from(free).unwrap_or(u32::MAX)
    }

    /// How many pieces to have made now, of which a t-th is this node's.
    fn wanted(&self, t: u32, marks: &PoolMarks, now_ms: u64) -> Option<u32> {
        let in_use = self.used_ms.is_some_and(|at| now_ms < at.saturating_add(USED_MS));
        let stock = self.free().saturating_mul(t);
        let due = self.refill.is_none() && now_ms >= self.not_before_ms;
        let lacks = marks.high.saturating_sub(stock).min(u32::from(PRESIGN_COUNT_MAX));
        (in_use && due && stock < marks.low && lacks > 0).then_some(lacks)
    }
}

impl Pool {
    /// This node started a signature with a set, and it came out well: from now on the set is kept in stock.
    pub(super) fn used(&mut self, set: SetOf, now_ms: u64) {
        self.shelf(set).used_ms = Some(now_ms);
    }

    fn shelf(&mut self, set: SetOf) -> &mut Shelf {
        if !self.shelves.contains_key(&set) && self.shelves.len() >= SHELVES_MAX {
            let oldest = self.shelves.iter().min_by_key(|(_, shelf)| shelf.used_ms);
            if let Some(oldest) = oldest.map(|(set, _)| set.clone()) {
                self.shelves.remove(&oldest);
            }
        }
        self.shelves.entry(set).or_default()
    }

    pub(super) fn shelf_mut(&mut self, set: &SetOf) -> Option<&mut Shelf> {
        self.shelves.get_mut(set)
    }

    /// Every signer's kernel has a batch now: this node's places of it may be spent.
    pub(super) fn put(&mut self, set: SetOf, me: &NodeId, (name, count): (B32, u32), boots: Boots) {
        let free = own_places(me, &set.signers, count);
        let shelf = self.shelf(set);
        if shelf.batches.iter().all(|batch| batch.name != name) {
            shelf.batches.push_back(Batch { name, free, boots });
        }
    }

    /// Whether there is anything to spend.
    pub(super) fn has(&self, set: &SetOf) -> bool {
        self.shelves.get(set).is_some_and(|shelf| shelf.free() > 0)
    }

    /// Hands out the oldest place of a set.
    pub(super) fn take(&mut self, set: &SetOf) -> Option<Material> {
        let shelf = self.shelves.get_mut(set)?;
        let batch = shelf.batches.iter_mut().find(|batch| !batch.free.is_empty())?;
        Some(Material { batch: batch.name, index: batch.free.pop_first()? })
    }

    /// A kernel does not have this batch, or not all of it.
    pub(super) fn drop_batch(&mut self, name: &B32) {
        for shelf in self.shelves.values_mut() {
            shelf.batches.retain(|batch| batch.name != *name);
        }
    }

    /// Keeps the batches whose signers' kernels still run as they did.
    pub(super) fn keep_boots(&mut self, same: impl Fn(&Boots) -> bool) {
        for shelf in self.shelves.values_mut() {
            shelf.batches.retain(|batch| same(&batch.boots));
        }
    }

    /// What the own kernel says it has. It was asked after everything in the pool had been stashed, so the rest is gone.
    pub(super) fn agree(&mut self, stash: &[StashedBatch]) {
        let held: BTreeMap<B32, BTreeSet<u32>> =
            stash.iter().map(|b| (b.batch, b.free.iter().copied().collect())).collect();
        for batch in self.shelves.values_mut().flat_map(|shelf| &mut shelf.batches) {
            match held.get(&batch.name) {
                Some(free) => batch.free.retain(|place| free.contains(place)),
                None => batch.free.clear(),
            }
        }
        for shelf in self.shelves.values_mut() {
            shelf.batches.retain(|batch| !batch.free.is_empty());
        }
    }

    /// What a refill came to: after a failure the next waits, longer each time.
    pub(super) fn refilled(&mut self, set: &SetOf, well: bool, now_ms: u64) {
        let Some(shelf) = self.shelves.get_mut(set) else { return };
        shelf.refill = None;
        shelf.failures = if well { 0 } else { shelf.failures.saturating_add(1) };
        let pause = PAUSE_MS.saturating_mul(1_u64 << shelf.failures.min(10)).min(PAUSE_MS_MAX);
        shelf.not_before_ms = if well { now_ms } else { now_ms.saturating_add(pause) };
    }

    /// A node is back: what failed without it says nothing any more.
    pub(super) fn peer_is_up(&mut self, node: &NodeId) {
        let with = self.shelves.iter_mut().filter(|(set, _)| set.signers.contains(node));
        for (_, shelf) in with {
            (shelf.failures, shelf.not_before_ms) = (0, 0);
        }
    }

    /// The sets that run short, those with the least first, and how many pieces each lacks.
    pub(super) fn short(&self, marks: &PoolMarks, now_ms: u64) -> Vec<(SetOf, u32)> {
        let t = |set: &SetOf| u32::try_from(set.signers.len()).unwrap_or(u32::MAX);
        let lacks = |(set, shelf): (&SetOf, &Shelf)| {
            Some((shelf.free(), set.clone(), shelf.wanted(t(set), marks, now_ms)?))
        };
        let mut short: Vec<_> = self.shelves.iter().filter_map(lacks).collect();
        short.sort();
        short.into_iter().map(|(_, set, lacks)| (set, lacks)).collect()
    }

    /// The refills under way.
    pub(super) fn refills(&self) -> Vec<(SetOf, Link)> {
        self.shelves.iter().filter_map(|(set, s)| Some((set.clone(), s.refill?))).collect()
    }

    /// The sets that are known, with or without anything in stock.
    pub(super) fn sets(&self) -> impl Iterator<Item = &SetOf> {
        self.shelves.keys()
    }
}

#[cfg(test)]
mod tests;
