//! L0 micro-ops: the vocabulary of plans. Each belongs to an L1 site and declares statically
//! whether it speaks, to whom, and how much.

use dvm_core::codec::Artifact;
use serde::{Deserialize, Serialize};

/// The interpreter's version, pinned per run: a run never migrates.
pub const VM_VERSION: u16 = 1;

/// A micro-op of some backend, or of the publication that all backends share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MicroOp {
    /// DKG: hash commitment to this dealer's round-1 package.
    DkgCommit,
    /// DKG: the package itself, sealed to each kernel.
    DkgOpen,
    /// DKG: each receiver's share, sealed.
    DkgShare,
    /// DKG: verify shares, derive key share and group key.
    DkgFinish,
    /// DKG: digest of the transcript, so that all hold the same key.
    DkgConfirm,
    /// Pair set-up: what this kernel needs of each other one to multiply with it, sealed.
    PairOffer,
    /// Pair set-up: this kernel's half of the seed that the pair shares, sealed.
    PairOpen,
    /// Pair set-up: both directions finished.
    PairFinish,
    /// Pair set-up: digest of what the pair has now, sealed.
    PairConfirm,
    /// Pair set-up: the pair has the same.
    PairAgree,
    /// Activation probe: nonce commitment.
    ProbeCommit,
    /// Activation probe: partial signature, sealed.
    ProbeSign,
    /// Activation probe: the aggregate verifies; it never leaves the kernels.
    ProbeVerify,
    /// The key behind a handle.
    FinalizeKey,
    /// Round one of a signature. FROST: (D, E). ECDSA: a hash commitment to R_i.
    NonceCommit,
    /// FROST: binding factors over key, message and all commitments; gives R.
    BindingFactor,
    /// FROST: the Schnorr challenge c.
    Challenge,
    /// FROST round two: z_i; consumes the nonce.
    PartialSig,
    /// ECDSA: this signer's part of a fresh sharing of zero.
    ZeroShare,
    /// ECDSA: the choosing side of a multiplication with each other signer, sealed.
    VoleRecv,
    /// ECDSA round two: R_i and this signer's part of the public key, for its masked key share.
    NonceOpen,
    /// ECDSA: the sending side of each multiplication, sealed.
    VoleSend,
    /// ECDSA: what this signer chose to get of each multiplication.
    VoleFinish,
    /// ECDSA: openings, products and the public key fit together; gives R.
    CheckConsistency,
    /// ECDSA: this signer's part of numerator and denominator of s.
    AffineShare,
    /// A presignature out of the stash, once.
    TakeTriple,
    /// A FROST nonce out of the stash, once.
    TakeNonce,
    /// One-time material into the stash; its public name.
    Stash,
    /// The signature share behind a handle.
    FinalizeSig,
    /// Publication: this signer's PublicationReceipt.
    GateGrant,
    /// Publication: this signer's share of the result. Only with all grants.
    OpenShare,
    /// Publication: verify every share and the signature.
    VerifyShares,
    /// Publication: the public key fact, signed by this kernel. Only with all grants.
    OpenKey,
    /// Publication: the facts of all holders agree.
    VerifyKey,
    /// Publication: everyone has the same result.
    Confirm,
}

impl MicroOp {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::DkgCommit => "dkg_commit",
            Self::DkgOpen => "dkg_open",
            Self::DkgShare => "dkg_share",
            Self::DkgFinish => "dkg_finish",
            Self::DkgConfirm => "dkg_confirm",
            Self::PairOffer => "pair_offer",
            Self::PairOpen => "pair_open",
            Self::PairFinish => "pair_finish",
            Self::PairConfirm => "pair_confirm",
            Self::PairAgree => "pair_agree",
            Self::ProbeCommit => "probe_commit",
            Self::ProbeSign => "probe_sign",
            Self::ProbeVerify => "probe_verify",
            Self::FinalizeKey => "finalize_key",
            Self::NonceCommit => "nonce_commit",
            Self::BindingFactor => "binding_factor",
            Self::Challenge => "challenge",
            Self::PartialSig => "partial_sig",
            Self::ZeroShare => "zero_share",
            Self::VoleRecv => "vole_recv",
            Self::NonceOpen => "nonce_open",
            Self::VoleSend => "vole_send",
            Self::VoleFinish => "vole_finish",
            Self::CheckConsistency => "check_consistency",
            Self::AffineShare => "affine_share",
            Self::TakeTriple => "take_triple",
            Self::TakeNonce => "take_nonce",
            Self::Stash => "stash",
            Self::FinalizeSig => "finalize_sig",
            Self::GateGrant => "gate_grant",
            Self::OpenShare => "open_share",
            Self::VerifyShares => "verify_shares",
            Self::OpenKey => "open_key",
            Self::VerifyKey => "verify_key",
            Self::Confirm => "confirm",
        }
    }
}

impl PhaseKind {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::P2p => "p2p",
            Self::Bcast => "bcast",
            Self::EchoBcast => "echo_bcast",
        }
    }

    /// Levels until another step may use what it gives: none if it says nothing, two if everybody
    /// must first be sure that all got the same (an equivocation shows one level later).
    pub fn latency(self) -> u16 {
        match self {
            Self::Local => 0,
            Self::P2p | Self::Bcast => 1,
            Self::EchoBcast => 2,
        }
    }

    /// Whether it says anything.
    pub fn speaks(self) -> bool {
        self != Self::Local
    }
}

/// How a micro-op speaks, once, in its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum PhaseKind {
    /// Says nothing.
    #[serde(rename = "local")]
    Local,
    /// One sealed payload for each other participant.
    #[serde(rename = "p2p")]
    P2p,
    /// One payload for all.
    #[serde(rename = "bcast")]
    Bcast,
    /// One payload for all, of which everybody must be sure that all got the same: latency 2.
    #[serde(rename = "echo_bcast")]
    EchoBcast,
}

/// The static shape of a micro-op.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhaseSpec {
    /// How it speaks.
    pub kind: PhaseKind,
    /// Bytes of one payload at most, as it travels (sealed, where private).
    pub len_max: u32,
}

/// What a step does to secrets and to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Derives.
    Pure,
    /// Draws fresh randomness.
    Sample,
    /// Uses up one-time material.
    Consume,
    /// Shows a value to others.
    Reveal,
    /// Lets a result leave.
    Publish,
}

impl Effect {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pure => "pure",
            Self::Sample => "sample",
            Self::Consume => "consume",
            Self::Reveal => "reveal",
            Self::Publish => "publish",
        }
    }
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Position in [`Plan::steps`].
    pub index: u16,
    /// The L1 site that it belongs to.
    pub site: u16,
    /// What it does.
    pub op: MicroOp,
    /// When: levels count from 1.
    pub level: u16,
    /// How it speaks.
    pub phase: PhaseSpec,
    /// What it does to secrets.
    pub effect: Effect,
    /// Steps whose payloads or values it needs, ascending.
    pub inputs: Vec<u16>,
}

/// A fused plan: what every participant computes for itself and must agree on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Digest of the L1 score.
    pub score_id: dvm_core::B32,
    /// The backend's name and version, such as `frost-ed25519/1`.
    pub backend: String,
    /// The interpreter's version.
    pub vm_version: u16,
    /// Participants, sorted.
    pub participants: Vec<dvm_core::NodeId>,
    /// Sorted by (level, site, position).
    pub steps: Vec<Step>,
}

impl Artifact for Plan {
    const SCHEMA: &'static str = "dvm/plan/1";
}

impl Plan {
    /// The plan's id: digest of its canonical bytes.
    pub fn id(&self) -> dvm_core::B32 {
        use dvm_core::digest::{Domain, Tagged};
        Tagged::new(Domain::Plan).part(&dvm_core::codec::encode(self)).finish()
    }

    /// The last level.
    pub fn levels(&self) -> u16 {
        self.steps.iter().map(|s| s.level).max().unwrap_or(0)
    }

    /// The steps of a level, in plan order.
    pub fn at_level(&self, level: u16) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(move |s| s.level == level)
    }

    /// The step in which every participant of an act says the name of what came of it.
    pub fn naming_step(&self) -> Option<&Step> {
        let names = [MicroOp::FinalizeSig, MicroOp::FinalizeKey, MicroOp::Stash];
        self.steps.iter().find(|step| names.contains(&step.op))
    }

    /// The steps whose payloads a peer's frame of this level must carry: (broadcast, private).
    pub fn expected(&self, level: u16) -> (Vec<&Step>, Vec<&Step>) {
        let speaking = self.at_level(level).filter(|s| s.phase.kind.speaks());
        speaking.partition(|s| s.phase.kind != PhaseKind::P2p)
    }
}
