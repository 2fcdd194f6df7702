//! The stash: one-time material made before it is known what it will sign, in this process's memory and nowhere else.
//!
//! Source: the design's VM page (`stash`, `take`) and kernel page ("One-time material").
//! Always true:
//! - a piece is good for the key, epoch, path, protocol, signers and starts of their kernels that made it, and for
//!   nothing else; who names a piece for something else has spent it;
//! - a piece is moved out when a run that takes it starts, so no two runs have it; it goes with its run, however that
//!   ends; a marker of it is durable with the first word of that run, and the vault takes no second one;
//! - nothing of it outlives this process, a ban or a failure among its signers, the key's epoch or authority, a new
//!   start of a signer's kernel that was seen, or its age.
//!
//! Not here: which act may take what (the score), and scaling a piece for its message (the microcode).

use dvm_core::authority::KeyReady;
use dvm_core::call::{Stashed, StashedBatch};
use dvm_core::codec::link_of;
use dvm_core::intent::{Act, Backend};
use dvm_core::run::{Boot, Material, RunHeader, batch_name};
use dvm_core::{B32, KeyId, Link, NodeId, ReasonCode, limits};
use dvm_governance::{KeyRecord, KeyState};
use dvm_score::{MicroOp, Step};

use crate::Kernel;
use crate::course::{Peers, boots_of};
use crate::performance::{Failure, Named, Piece, works_in_pairs};
use crate::run::{Run, Running, Stage};
use crate::stop::{Stop, ensure};
use crate::store::{Draft, Kind};

/// Pieces at hand. A signer has less than a kilobyte of each.
const PIECES_MAX: usize = 4_096;
/// A piece that nobody took for so long is forgotten: what is made ahead is made for the signatures of the next minutes.
const AGE_MS_MAX: u64 = 600_000;
/// Batches that are made at the same time, of which every other holder may have asked for one: 128 products of 80 kB said
/// and heard, each held twice or three times on the way, are some 25 MB a batch.
const PREPARED_AT_ONCE: usize = 4;
/// Multiplications of one batch with others, pieces times peers. So many first words fit one frame whoever takes part,
/// and no item hears the second round before it heard the first.
const PRODUCTS_MAX: usize = 128;

/// What a batch was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Purpose {
    key_id: KeyId,
    key_epoch: u32,
    /// The key's facts.
    ready: Link,
    backend: Backend,
    path: Vec<u32>,
    /// Exactly these, in order.
    signers: Vec<NodeId>,
    /// The other signers' kernels: pieces die with the process that has their other parts.
    boots: Vec<(NodeId, Boot)>,
}

/// A batch.
pub(crate) struct Batch<P = Piece> {
    name: B32,
    purpose: Purpose,
    made_ms: u64,
    /// By their place; none where one was taken.
    pieces: Vec<Option<P>>,
}

/// Every batch at hand, the oldest first.
pub(crate) struct Stash<P = Piece>(Vec<Batch<P>>);

impl<P> Default for Stash<P> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl Purpose {
    /// What a run makes material for, or takes it for.
    fn of(ready: &KeyReady, path: &[u32], (header, peers): (&RunHeader, &Peers)) -> Self {
        Self {
            key_id: ready.key_id.clone(),
            key_epoch: ready.key_epoch,
            ready: link_of(ready),
            backend: ready.backend,
            path: path.to_vec(),
            signers: header.participants.clone(),
            boots: boots_of(peers),
        }
    }
}

impl Batch {
    /// The batch that a run made, under its public name.
    pub(crate) fn of(
        running: &Running,
        act: &Act,
        made: Vec<Named>,
        made_ms: u64,
    ) -> Result<Self, Failure> {
        let ready = running.ready.as_ref().ok_or(Failure::Bug)?;
        let nonces = made.iter().map(|named| named.nonce.as_slice());
        Ok(Self {
            name: batch_name(&running.course.execution_id, nonces),
            purpose: Purpose::of(ready, act.path(), (&running.header, &running.peers)),
            made_ms,
            pieces: made.into_iter().map(|named| Some(named.piece)).collect(),
        })
    }
}

impl<P> Batch<P> {
    pub(crate) fn name(&self) -> B32 {
        self.name
    }

    /// What the reply of the level that made it says.
    pub(crate) fn stashed(&self) -> Stashed {
        Stashed { batch: self.name, count: u32::try_from(self.pieces.len()).unwrap_or(u32::MAX) }
    }

    /// Places not taken yet.
    fn free(&self) -> impl Iterator<Item = u32> {
        let places = (0_u32..).zip(&self.pieces);
        places.filter(|(_, piece)| piece.is_some()).map(|(place, _)| place)
    }

    fn described(&self) -> StashedBatch {
        let Purpose { key_id, key_epoch, path, backend, signers, .. } = self.purpose.clone();
        let (batch, made_ms, free) = (self.name, self.made_ms, self.free().collect());
        StashedBatch { batch, key_id, key_epoch, path, backend, signers, free, made_ms }
    }
}

impl<P> Stash<P> {
    /// Takes a batch in; the oldest ones make room.
    pub(crate) fn put(&mut self, batch: Batch<P>) {
        self.0.push(batch);
        while self.pieces() > PIECES_MAX {
            self.0.remove(0);
        }
    }

    fn pieces(&self) -> usize {
        self.0.iter().map(|batch| batch.free().count()).sum()
    }

    /// Moves a piece out. From here on it is in the run that names it, or nowhere.
    ///
    /// # Errors
    /// `MATERIAL_POISONED` if there is no such piece; `BINDING_MISMATCH` if it was made for something else: it is gone
    /// then, because whoever asked so may ask again in a way that this kernel does not see through.
    fn take(&mut self, material: Material, purpose: &Purpose) -> Result<P, Stop> {
        let gone = || Stop::refused(ReasonCode::MaterialPoisoned, "no such material is at hand");
        let batch = self.0.iter_mut().find(|batch| batch.name == material.batch);
        let batch = batch.ok_or_else(gone)?;
        let place = usize::try_from(material.index).ok();
        let slot = place.and_then(|at| batch.pieces.get_mut(at)).ok_or_else(gone)?;
        let piece = slot.take().ok_or_else(gone)?;
        let fits = batch.purpose == *purpose;
        self.keep(|batch| batch.free().next().is_some());
        ensure(fits, ReasonCode::BindingMismatch, "the material was made for something else")?;
        Ok(piece)
    }

    fn keep(&mut self, good: impl Fn(&Batch<P>) -> bool) {
        self.0.retain(good);
    }

    /// Forgets what was made with a cheater of a key.
    pub(crate) fn forget_signer(&mut self, key_id: &KeyId, node: &NodeId) {
        self.keep(|batch| batch.purpose.key_id != *key_id || !batch.purpose.signers.contains(node));
    }

    /// Forgets what exactly these signers of a key made.
    pub(crate) fn forget_signers(&mut self, key_id: &KeyId, signers: &[NodeId]) {
        self.keep(|batch| batch.purpose.key_id != *key_id || batch.purpose.signers != signers);
    }

    /// What `Status` says.
    pub(crate) fn described(&self) -> Vec<StashedBatch> {
        self.0.iter().map(Batch::described).collect()
    }
}

/// Writes the marker of the piece that a run takes, with the level that takes it.
pub(crate) fn mark_taken(draft: &mut Draft, header: &RunHeader, steps: &[Step]) {
    let takes = |step: &Step| matches!(step.op, MicroOp::TakeTriple | MicroOp::TakeNonce);
    let Some(material) = header.kind.material().filter(|_| steps.iter().any(takes)) else { return };
    let id = [b"material/".as_slice(), &material.batch.0, &material.index.to_be_bytes()].concat();
    draft.insert_new(Kind::Consumed, &id, header.execution_id().0.to_vec());
}

impl Kernel {
    /// Forgets what nobody can use any more.
    pub(crate) fn tidy_stash(&mut self, now_ms: u64) {
        let Some(pinned) = &self.pinned else { return };
        let state = &pinned.state;
        let may_sign = state.cluster_state().may_sign();
        let signs = |record: &&KeyRecord| may_sign && record.state == KeyState::Active;
        let active: Vec<Link> =
            state.keys().values().filter(signs).map(|record| link_of(&record.ready)).collect();
        let lives = |(node, boot): &(NodeId, Boot)| {
            state.passport(node).is_some_and(|p| self.others.boot(p).is_none_or(|b| b == *boot))
        };
        self.stash.keep(|batch| {
            now_ms.saturating_sub(batch.made_ms) <= AGE_MS_MAX
                && active.contains(&batch.purpose.ready)
                && batch.purpose.boots.iter().all(lives)
        });
    }

    /// The piece that a run takes, if it names one. Its openings were checked: nothing but the act's own plan may still
    /// refuse the run, and then the piece is spent.
    pub(crate) fn piece_for(
        &mut self,
        header: &RunHeader,
        act: &Act,
        (ready, peers): (Option<&KeyReady>, &Peers),
    ) -> Result<Option<Piece>, Stop> {
        let (Some(material), Some(ready)) = (header.kind.material(), ready) else {
            return Ok(None);
        };
        let purpose = Purpose::of(ready, act.path(), (header, peers));
        self.stash.take(material, &purpose).map(Some)
    }

    /// Refuses to make another batch beside those under way, or one that is too large for its signers.
    pub(crate) fn has_room_to_prepare(&self, act: &Act, backend: Backend) -> Result<(), Stop> {
        let Act::PresignBatch { signers, count, .. } = act else { return Ok(()) };
        let prepares = |run: &&Run| {
            matches!(run.stage, Stage::Running(_))
                && matches!(run.intent.act, Act::PresignBatch { .. })
        };
        let under_way = self.runs.values().filter(prepares).count();
        let rule = "too many batches under way";
        ensure(under_way < PREPARED_AT_ONCE, ReasonCode::ResourceLimit, rule)?;
        let rule = "a batch of so many pieces for so many signers";
        ensure(fits(backend, *count, signers.len()), ReasonCode::ResourceLimit, rule)
    }
}

/// Whether a batch of so many pieces is not too large for so many signers.
fn fits(backend: Backend, count: u16, signers: usize) -> bool {
    let products = usize::from(count).saturating_mul(signers.saturating_sub(1));
    !works_in_pairs(backend) || products <= PRODUCTS_MAX
}

// One batch of the largest size never pushes itself out.
const _: () = assert!(PIECES_MAX >= limits::PRESIGN_COUNT_MAX as usize);

#[cfg(test)]
mod tests;
