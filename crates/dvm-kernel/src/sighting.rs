//! What this kernel saw of other kernels, and what it was shown of itself: how restored and copied vaults are found.
//!
//! Source: the design's kernel page, "Rollback and clones"; docs/decisions/0008.
//! Always true:
//! - the highest statement seen of each peer's kernel is kept with its signature, so whoever doubts can be shown it;
//! - two statements that no single kernel makes fence their node, durably, before the refusal is said;
//! - nobody can end this kernel but by a statement under its own key that it does not know. A mere claim of one ends no
//!   more than the run it came with.
//!
//! Not here: fences that governance sets (`dvm-governance`); what the node does about either.

use std::collections::BTreeMap;

use dvm_core::authority::NodePassport;
use dvm_core::call::{Attestation, KernelCall, KernelReply};
use dvm_core::codec::Artifact;
use dvm_core::frame::FrameHeader;
use dvm_core::run::{Boot, Proposal};
use dvm_core::sighting::{FencingRecord, Seen, Sighting, Statement};
use dvm_core::{B32, NodeId, PublicKey, ReasonCode, Signed};
use serde::{Deserialize, Serialize};

use crate::authority::Pinned;
use crate::stash::Stash;
use crate::stop::{Stop, ensure};
use crate::store::{self, Draft, Kind};
use crate::vault::Vault;
use crate::{Answer, Kernel};

const OWN: &[u8] = b"own";
const FENCED: ReasonCode = ReasonCode::SplitBrainFenced;

/// The highest statement seen of one peer's kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PeerMark {
    /// Its key then: a node that was bound anew starts from nothing.
    kernel: PublicKey,
    statement: Statement,
}

impl Artifact for PeerMark {
    const SCHEMA: &'static str = "dvm/kernel-peer-mark/2";
}

/// One start of this kernel, as it was recorded before it said anything.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnBoot {
    id: B32,
    /// The highest number that earlier starts had taken.
    began_at: u64,
}

impl Artifact for OwnBoot {
    const SCHEMA: &'static str = "dvm/kernel-own-boot/1";
}

/// What showed this kernel that it must not work any more.
#[derive(Serialize, Deserialize)]
enum End {
    Shown(Signed<Sighting>),
    Fenced(FencingRecord),
}

impl Artifact for End {
    const SCHEMA: &'static str = "dvm/kernel-end/1";
}

/// What is known of the other nodes' kernels.
pub(crate) struct Others {
    marks: BTreeMap<NodeId, PeerMark>,
    fences: BTreeMap<NodeId, FencingRecord>,
}

impl Others {
    pub(crate) fn load(vault: &mut Vault) -> Result<Self, Stop> {
        let fences = store::load_all::<FencingRecord>(vault, Kind::Fence)?;
        let fences = fences.into_iter().map(|(_, r)| (r.node.clone(), r)).collect();
        let mut marks = BTreeMap::new();
        for (id, mark) in store::load_all::<PeerMark>(vault, Kind::Peer)? {
            let node = std::str::from_utf8(&id).ok().and_then(|text| text.parse().ok());
            marks.insert(node.ok_or_else(|| Stop::internal("a peer's mark has no name"))?, mark);
        }
        Ok(Self { marks, fences })
    }

    fn of(&self, passport: &NodePassport) -> Option<&Statement> {
        let mark = self.marks.get(&passport.node).filter(|m| m.kernel == passport.kernel_key);
        mark.map(|m| &m.statement)
    }

    pub(crate) fn boot(&self, passport: &NodePassport) -> Option<Boot> {
        self.of(passport).map(Statement::boot)
    }

    /// Refuses a kernel that is known to run twice, until its node is bound to another.
    pub(crate) fn refuse_fenced(&self, passport: &NodePassport) -> Result<(), Stop> {
        let record = self.fences.get(&passport.node);
        let fenced = record.is_some_and(|r| r.kernel == passport.kernel_key);
        ensure(!fenced, FENCED, "a node whose kernel runs twice")
    }

    /// What an opening says of the others.
    pub(crate) fn seen(&self, pinned: &Pinned) -> Vec<Seen> {
        let others = pinned.state.manifest().nodes.iter().filter(|p| p.node != pinned.node);
        let seen = |p: &NodePassport| {
            let said = self.of(p)?;
            Some(Seen { kernel: p.kernel_key, boot: said.boot(), vault_seq: said.vault_seq() })
        };
        let mut seen: Vec<Seen> = others.filter_map(seen).collect();
        seen.sort();
        seen
    }

    /// The mark after this statement, which its kernel signed; none if it shows nothing higher. Refused for an older
    /// boot, and for what a restored vault would say.
    pub(crate) fn raised(
        &self,
        pinned: &Pinned,
        passport: &NodePassport,
        said: Statement,
    ) -> Result<Option<(NodeId, PeerMark)>, Stop> {
        self.refuse_fenced(passport)?;
        let rises = match self.of(passport) {
            None => true,
            Some(seen) if seen.contradicts(&said) => {
                return Err(Stop::Contradiction(Box::new(FencingRecord {
                    cluster: pinned.cluster(),
                    node: passport.node.clone(),
                    kernel: passport.kernel_key,
                    first: seen.clone(),
                    second: said,
                })));
            }
            Some(seen) => {
                let (before, now) = (seen.boot().generation, said.boot().generation);
                ensure(now >= before, FENCED, "an older boot than one seen before")?;
                // A restored disk would start again below what it had said.
                let below = said.vault_seq() < seen.vault_seq();
                let twice = said.vault_seq() == seen.vault_seq() && said.numbered().is_some();
                let fell = now > before && (below || twice);
                ensure(!fell, FENCED, "a newer boot with an older vault_seq")?;
                now > before || said.vault_seq() > seen.vault_seq()
            }
        };
        let mark = PeerMark { kernel: passport.kernel_key, statement: said };
        Ok(rises.then(|| (passport.node.clone(), mark)))
    }

    /// The marks after these frames. One by an earlier boot stays said, and shows nothing new.
    pub(crate) fn raised_by(
        &self,
        pinned: &Pinned,
        headers: Vec<Signed<FrameHeader>>,
    ) -> Result<Vec<(NodeId, PeerMark)>, Stop> {
        let mut all = Vec::new();
        for header in headers {
            let passport = pinned.passport(&header.body.from)?;
            match self.raised(pinned, passport, Statement::Frame(Box::new(header))) {
                Ok(raised) => all.extend(raised),
                Err(Stop::Refused { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(all)
    }

    pub(crate) fn set(&mut self, (node, mark): (NodeId, PeerMark)) {
        self.marks.insert(node, mark);
    }
}

/// Makes peers' marks durable.
pub(crate) fn save_marks(draft: &mut Draft, raised: &[(NodeId, PeerMark)]) {
    for (node, mark) in raised {
        draft.put(Kind::Peer, node.as_str().as_bytes(), mark);
    }
}

/// Records this start, before anything is said in it.
pub(crate) fn record_boot(vault: &mut Vault, boot: Boot, clock_high_ms: u64) -> Result<(), Stop> {
    let mut draft = Draft::new(vault);
    let own = OwnBoot { id: boot.id, began_at: vault.vault_seq() };
    draft.put(Kind::Boot, &boot.generation.to_be_bytes(), &own);
    draft.commit(vault, clock_high_ms)
}

/// Whether an earlier start, or this one before a restart, ended this kernel.
pub(crate) fn has_ended(vault: &mut Vault) -> Result<bool, Stop> {
    Ok(store::read(vault, Kind::End, OWN)?.is_some())
}

/// Whether a call makes this kernel speak for its node: never again once it was shown that it is not the only one.
fn speaks(call: &KernelCall) -> bool {
    use KernelCall as C;
    matches!(
        call,
        C::Open { .. }
            | C::Start { .. }
            | C::Step { .. }
            | C::Grant { .. }
            | C::OpenResult { .. }
            | C::Cosign { .. }
    )
}

impl Kernel {
    pub(crate) fn refuse_if_ended(&self, call: &KernelCall) -> Result<(), Stop> {
        let works = !self.ended || !speaks(call);
        ensure(works, FENCED, "this kernel's vault was restored or copied")
    }

    /// A peer's kernel shows itself. The answer is what was seen of it before, for that boot of it.
    pub(crate) fn sight(&mut self, node: &NodeId, attestation: Signed<Attestation>) -> Answer {
        let pinned = self.pinned()?;
        let bad = ReasonCode::BindingMismatch;
        ensure(*node != pinned.node, bad, "this node's own kernel")?;
        let passport = pinned.passport(node)?;
        let body = attestation
            .verify(passport.kernel_key)
            .map_err(|_| Stop::refused(bad, "an attestation by another kernel"))?;
        let sighting = Sighting {
            cluster: pinned.cluster(),
            by: pinned.node.clone(),
            kernel: passport.kernel_key,
            to: body.boot,
            seen: self.others.of(passport).cloned(),
        };
        let ended = body.stopped;
        let sighting = Box::new(Signed::new(sighting, self.identity.signer()));
        let statement = Statement::Attestation(Box::new(attestation));
        let refused = match self.others.raised(pinned, passport, statement) {
            Ok(raised) => {
                self.remember(raised.into_iter().collect())?;
                ended
            }
            Err(Stop::Refused { code, .. }) => Some(code),
            Err(Stop::Contradiction(record)) => {
                self.keep_fence(*record)?;
                Some(FENCED)
            }
            Err(other) => return Err(other),
        };
        Ok(KernelReply::Sighted { sighting, refused })
    }

    fn remember(&mut self, raised: Vec<(NodeId, PeerMark)>) -> Result<(), Stop> {
        if raised.is_empty() {
            return Ok(());
        }
        let mut draft = self.draft();
        save_marks(&mut draft, &raised);
        self.commit(draft)?;
        raised.into_iter().for_each(|mark| self.others.set(mark));
        Ok(())
    }

    /// A peer's kernel says what it had seen of this one.
    pub(crate) fn show(&mut self, sighting: Signed<Sighting>) -> Answer {
        let pinned = self.pinned()?;
        let bad = ReasonCode::BindingMismatch;
        let own = self.identity.public_key();
        let passport = pinned.passport(&sighting.body.by)?;
        let body = sighting
            .verify(passport.kernel_key)
            .map_err(|_| Stop::refused(bad, "a sighting by another kernel"))?;
        let about = body.cluster == pinned.cluster() && body.kernel == own;
        ensure(about && body.by != pinned.node, bad, "a sighting of another kernel")?;
        let fresh = body.to == self.boot;
        ensure(fresh, ReasonCode::ReplayOrConflict, "a sighting told to another boot")?;
        let by = body.by.clone();
        if let Some(statement) = &body.seen {
            let ours = statement.verify(own);
            ours.map_err(|_| Stop::refused(bad, "a sighting of what this kernel did not sign"))?;
            let (boot, seq) = (statement.boot(), statement.vault_seq());
            if !self.knows(boot, seq)? {
                self.end(End::Shown(sighting))?;
                return Err(Stop::refused(FENCED, "this kernel's vault was restored or copied"));
            }
        }
        self.shown.insert(by);
        Ok(KernelReply::Shown)
    }

    /// Takes evidence that a kernel runs twice; gives all that is kept.
    pub(crate) fn fence(&mut self, record: Option<FencingRecord>) -> Answer {
        let pinned = self.pinned()?;
        if let Some(record) = record {
            let kernel = pinned.passport(&record.node)?.kernel_key;
            let holds =
                record.cluster == pinned.cluster() && record.kernel == kernel && record.holds();
            ensure(holds, ReasonCode::BindingMismatch, "a fencing record that does not hold")?;
            if kernel == self.identity.public_key() {
                self.end(End::Fenced(record.clone()))?;
            }
            self.keep_fence(record)?;
        }
        Ok(KernelReply::Fences(self.others.fences.values().cloned().collect()))
    }

    pub(crate) fn keep_fence(&mut self, record: FencingRecord) -> Result<(), Stop> {
        let known = self.others.fences.get(&record.node);
        if known.is_some_and(|r| r.kernel == record.kernel) {
            return Ok(());
        }
        let mut draft = self.draft();
        draft.put(Kind::Fence, record.node.as_str().as_bytes(), &record);
        self.commit(draft)?;
        self.others.fences.insert(record.node.clone(), record);
        Ok(())
    }

    fn end(&mut self, end: End) -> Result<(), Stop> {
        if self.ended {
            return Ok(());
        }
        let mut draft = self.draft();
        draft.put(Kind::End, OWN, &end);
        self.commit(draft)?;
        self.ended = true;
        self.stash = Stash::default();
        Ok(())
    }

    /// Whether this kernel may have said something under this number in that boot.
    fn knows(&mut self, boot: Boot, vault_seq: u64) -> Result<bool, Stop> {
        if boot.generation >= self.boot.generation {
            return Ok(boot == self.boot && vault_seq <= self.vault.vault_seq());
        }
        let recorded = |vault: &mut Vault, generation: u64| {
            store::load::<OwnBoot>(vault, Kind::Boot, &generation.to_be_bytes())
        };
        if recorded(&mut self.vault, boot.generation)?.is_none_or(|own| own.id != boot.id) {
            return Ok(false);
        }
        // Its last number is where the next start began. A start that died before its record said nothing.
        for generation in boot.generation.saturating_add(1)..=self.boot.generation {
            if let Some(next) = recorded(&mut self.vault, generation)? {
                return Ok(vault_seq <= next.began_at);
            }
        }
        Err(Stop::internal("this start is not recorded"))
    }

    /// Refuses a run with a signer whose kernel saw more of this one than it knows of itself.
    pub(crate) fn refuse_if_outrun(&mut self, proposal: &Proposal) -> Result<(), Stop> {
        let own = self.identity.public_key();
        let claims = proposal.opens.iter().flat_map(|open| &open.body.seen);
        for claim in claims.filter(|claim| claim.kernel == own) {
            let known = self.knows(claim.boot, claim.vault_seq)?;
            ensure(known, FENCED, "a signer's kernel saw more of this one than it knows itself")?;
        }
        Ok(())
    }

    /// Refuses to say more in a publication until every other participant's kernel has said, to this boot, what it
    /// saw of this one: the openings of the act do for the boot that started it.
    pub(crate) fn refuse_unseen<'a>(
        &self,
        mut others: impl Iterator<Item = &'a NodeId>,
    ) -> Result<(), Stop> {
        let all = others.all(|node| self.shown.contains(node));
        let rule = "a participant's kernel has not said what it saw of this one";
        ensure(all, ReasonCode::RemoteTimeout, rule)
    }
}
