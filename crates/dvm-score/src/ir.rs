//! L1: a backend-neutral SSA program of semantic sites. It is what people review.
//!
//! Source: the design's table of sites. A site's results are named by the site's position, so every
//! name is assigned once by construction. Each site declares the type and visibility of its
//! results; the checker derives both again and compares.
//!
//! Always true: nothing here names a protocol, a curve or a round; Schnorr and ECDSA are two scores
//! over the same sites.
//!
//! Not here: whether a score is sound ([`crate::check()`]).

use dvm_core::B32;
use dvm_core::codec::{self, Artifact};
use dvm_core::digest::{Domain, Tagged};
use dvm_core::intent::Scope;
use serde::{Deserialize, Serialize};

use crate::op::Effect;

/// Sites of one score: key generation has 9, a batch of 32 presignatures 162.
pub const SITES_MAX: usize = 256;
/// Operands of one linear combination.
pub const TERMS_MAX: usize = 64;
/// Values of one stash: a whole batch, four for each presignature.
pub const STASH_VALUES_MAX: usize = 4 * dvm_core::limits::PRESIGN_COUNT_MAX as usize;

/// One result of one site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Var {
    /// The site's position.
    pub site: u16,
    /// Which of its results.
    pub out: u8,
}

/// Who may see a value. `To` lists places in the sorted participants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// Nobody whole: each kernel has its share.
    Secret,
    /// These kernels.
    To(Vec<u16>),
    /// Everyone.
    Public,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Type {
    /// A scalar of which each party has a share.
    Shared,
    /// Nonce or key commitment: a·G for keys and ECDSA, the pair (D, E) for FROST.
    Commitment,
    /// R, derived from a commitment and the message.
    Nonce,
    /// A public scalar: the Schnorr challenge, or an opened value.
    Scalar,
    /// Pairwise backend setup.
    Setup,
    /// One-time material in the kernel's memory.
    Material,
    /// A new key behind a handle.
    KeyHandle,
    /// A signature share behind a handle.
    SigHandle,
    /// Every signer's PublicationReceipt.
    Grants,
    /// A published public key.
    PublicKey,
    /// A published signature.
    Signature,
}

/// A declared result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// What it is.
    pub ty: Type,
    /// Who may see it.
    pub label: Label,
}

/// The public bytes that a transcript or coefficient is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// The content of a `sign.message`.
    Content,
    /// The digest of a `sign.digest`.
    Digest,
    /// The digest of a `sign.evm_transaction`'s payload.
    Transaction,
    /// The activation probe's: derived from the key's own DKG transcript.
    Activation,
}

/// Which public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyRef {
    /// The intent's key at the intent's epoch.
    Intent,
    /// The key committed to here.
    Of(Var),
}

/// A public coefficient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Coeff {
    /// 1.
    One,
    /// The message as a scalar.
    Message(Message),
    /// A public scalar.
    Of(Var),
    /// Its inverse.
    InverseOf(Var),
    /// r(R): the x-coordinate of a commitment.
    XOf(Var),
}

/// `coeff · [share]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Term {
    /// The public factor.
    pub coeff: Coeff,
    /// The shared factor.
    pub share: Var,
}

/// What kind of one-time material a `take` expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaterialKind {
    /// R, φ, u, v: the backend-neutral ECDSA presignature.
    Aff3,
    /// K, k: a FROST nonce pair.
    Nonce,
}

/// One semantic site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SiteOp {
    /// The intent's key share.
    ShareLoad,
    /// A fresh random shared scalar.
    ShareRand,
    /// A fresh sharing of zero.
    ShareZero,
    /// A linear combination; local.
    ShareLin {
        /// Its terms.
        terms: Vec<Term>,
    },
    /// A product.
    ShareMul {
        /// One factor.
        a: Var,
        /// The other.
        b: Var,
    },
    /// An inverse.
    ShareInv {
        /// Of what.
        a: Var,
    },
    /// A commitment to a sampled or loaded share.
    ShareEcMul {
        /// To what.
        a: Var,
        /// Who sees the commitment.
        to: Label,
    },
    /// Opens a value.
    OpenTo {
        /// Which.
        a: Var,
        /// Who sees it.
        to: Label,
    },
    /// (R, c) of commitment, key and message.
    Transcript {
        /// The nonce commitment.
        commitment: Var,
        /// The key.
        key: KeyRef,
        /// The message.
        message: Message,
    },
    /// The same secret at a new roster and threshold.
    Reshare {
        /// Which secret.
        a: Var,
        /// The new threshold.
        threshold: u16,
    },
    /// Pairwise backend setup for a new key.
    Provision {
        /// Whose share it serves.
        a: Var,
    },
    /// One-time material into the kernel's memory.
    Stash {
        /// What.
        values: Vec<Var>,
    },
    /// One-time material out of it, once.
    Take {
        /// The presign execution.
        batch: B32,
        /// Its place there.
        index: u32,
        /// What it is.
        kind: MaterialKind,
    },
    /// The key behind a handle.
    FinalizeKey {
        /// Its shares.
        share: Var,
        /// The commitment to it.
        commitment: Var,
        /// The activation probe's signature, opened to the holders.
        probe: Var,
    },
    /// The signature behind a handle.
    FinalizeSig {
        /// R or the commitment that is R.
        nonce: Var,
        /// The share of s.
        s: Var,
    },
    /// The result that another run holds.
    ResultLoad {
        /// `KeyHandle` or `SigHandle`.
        ty: Type,
    },
    /// Every signer's PublicationReceipt.
    GateGrant {
        /// For what.
        result: Var,
        /// To whom.
        scope: Scope,
    },
    /// The public key leaves.
    PublishPubkey {
        /// The handle.
        result: Var,
        /// The grants for it.
        grants: Var,
        /// To whom.
        scope: Scope,
    },
    /// The signature leaves.
    PublishSig {
        /// The handle.
        result: Var,
        /// The grants for it.
        grants: Var,
        /// To whom.
        scope: Scope,
    },
    /// Everyone states that it has the same result.
    Confirm {
        /// Which.
        published: Var,
    },
}

/// A site with its declared results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// What it does.
    pub op: SiteOp,
    /// What it gives.
    pub gives: Vec<Slot>,
}

/// What a score is for: decides which sites it may have and how it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Workflow {
    /// Makes a key; ends at `finalize_key`.
    KeyGenerate,
    /// Moves a key to a new roster; ends at `finalize_key`.
    KeyReshare,
    /// Prepares one-time material; ends at `stash`.
    Presign,
    /// Signs; ends at `finalize_sig`.
    Sign,
    /// Publishes a held key; ends at `confirm`.
    PublishKey,
    /// Publishes a held signature; ends at `confirm`.
    PublishSig,
}

impl Workflow {
    /// Every workflow.
    pub const ALL: [Self; 6] = [
        Self::KeyGenerate,
        Self::KeyReshare,
        Self::Presign,
        Self::Sign,
        Self::PublishKey,
        Self::PublishSig,
    ];

    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::KeyGenerate => "key_generate",
            Self::KeyReshare => "key_reshare",
            Self::Presign => "presign",
            Self::Sign => "sign",
            Self::PublishKey => "publish_key",
            Self::PublishSig => "publish_sig",
        }
    }
}

/// A score. Unchecked until [`crate::check()`] says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Score {
    /// What it is for.
    pub workflow: Workflow,
    /// How many take part.
    pub parties: u16,
    /// Shares that sign with the key: `t` for key generation, all who take part elsewhere.
    pub threshold: u16,
    /// The program.
    pub sites: Vec<Site>,
}

impl Artifact for Score {
    const SCHEMA: &'static str = "dvm/score/1";
}

impl Score {
    /// The score's id: digest of its canonical bytes.
    pub fn id(&self) -> B32 {
        Tagged::new(Domain::Score).part(&codec::encode(self)).finish()
    }

    /// The site at a position.
    pub fn site(&self, at: u16) -> Option<&Site> {
        self.sites.get(usize::from(at))
    }

    /// What a value was declared to be.
    pub fn slot(&self, var: Var) -> Option<&Slot> {
        self.site(var.site)?.gives.get(usize::from(var.out))
    }
}

/// The kind of a site, as workflows and rewrite rules name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `share_load`
    ShareLoad,
    /// `share_rand`
    ShareRand,
    /// `share_zero`
    ShareZero,
    /// `share_lin`
    ShareLin,
    /// `share_mul`
    ShareMul,
    /// `share_inv`
    ShareInv,
    /// `share_ec_mul` that everyone sees: a nonce's.
    ShareEcMulPublic,
    /// `share_ec_mul` that only some kernels see: a new key's.
    ShareEcMulTo,
    /// `open_to`
    OpenTo,
    /// `transcript`
    Transcript,
    /// `reshare`
    Reshare,
    /// `provision`
    Provision,
    /// `stash`
    Stash,
    /// `take`
    Take,
    /// `finalize_key`
    FinalizeKey,
    /// `finalize_sig`
    FinalizeSig,
    /// `result_load`
    ResultLoad,
    /// `gate_grant`
    GateGrant,
    /// `publish_pubkey`
    PublishPubkey,
    /// `publish_sig`
    PublishSig,
    /// `confirm`
    Confirm,
}

impl SiteOp {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::ShareLoad => Kind::ShareLoad,
            Self::ShareRand => Kind::ShareRand,
            Self::ShareZero => Kind::ShareZero,
            Self::ShareLin { .. } => Kind::ShareLin,
            Self::ShareMul { .. } => Kind::ShareMul,
            Self::ShareInv { .. } => Kind::ShareInv,
            Self::ShareEcMul { to: Label::Public, .. } => Kind::ShareEcMulPublic,
            Self::ShareEcMul { .. } => Kind::ShareEcMulTo,
            Self::OpenTo { .. } => Kind::OpenTo,
            Self::Transcript { .. } => Kind::Transcript,
            Self::Reshare { .. } => Kind::Reshare,
            Self::Provision { .. } => Kind::Provision,
            Self::Stash { .. } => Kind::Stash,
            Self::Take { .. } => Kind::Take,
            Self::FinalizeKey { .. } => Kind::FinalizeKey,
            Self::FinalizeSig { .. } => Kind::FinalizeSig,
            Self::ResultLoad { .. } => Kind::ResultLoad,
            Self::GateGrant { .. } => Kind::GateGrant,
            Self::PublishPubkey { .. } => Kind::PublishPubkey,
            Self::PublishSig { .. } => Kind::PublishSig,
            Self::Confirm { .. } => Kind::Confirm,
        }
    }

    /// The values it reads, in the order it names them.
    pub fn uses(&self) -> Vec<Var> {
        match self {
            Self::ShareLoad | Self::ShareRand | Self::ShareZero => Vec::new(),
            Self::Take { .. } | Self::ResultLoad { .. } => Vec::new(),
            Self::ShareLin { terms } => {
                terms.iter().flat_map(|t| t.coeff.var().into_iter().chain([t.share])).collect()
            }
            Self::ShareMul { a, b } => vec![*a, *b],
            Self::ShareInv { a }
            | Self::ShareEcMul { a, .. }
            | Self::OpenTo { a, .. }
            | Self::Reshare { a, .. }
            | Self::Provision { a } => vec![*a],
            Self::Transcript { commitment, key: KeyRef::Of(key), .. } => vec![*commitment, *key],
            Self::Transcript { commitment, key: KeyRef::Intent, .. } => vec![*commitment],
            Self::Stash { values } => values.clone(),
            Self::FinalizeKey { share, commitment, probe } => vec![*share, *commitment, *probe],
            Self::FinalizeSig { nonce, s } => vec![*nonce, *s],
            Self::GateGrant { result, .. } => vec![*result],
            Self::PublishPubkey { result, grants, .. }
            | Self::PublishSig { result, grants, .. } => vec![*result, *grants],
            Self::Confirm { published } => vec![*published],
        }
    }

    /// What it does to secrets and to the world.
    pub fn effect(&self) -> Effect {
        match self.kind() {
            Kind::ShareRand | Kind::ShareZero | Kind::ShareMul | Kind::ShareInv => Effect::Sample,
            Kind::Reshare | Kind::Provision => Effect::Sample,
            Kind::ShareEcMulPublic | Kind::ShareEcMulTo | Kind::OpenTo => Effect::Reveal,
            Kind::Take | Kind::FinalizeKey | Kind::FinalizeSig => Effect::Consume,
            Kind::GateGrant | Kind::PublishPubkey | Kind::PublishSig => Effect::Publish,
            Kind::ShareLoad | Kind::ShareLin | Kind::Transcript => Effect::Pure,
            Kind::Stash | Kind::ResultLoad | Kind::Confirm => Effect::Pure,
        }
    }
}

impl Coeff {
    /// The value it reads, if it reads one.
    pub fn var(self) -> Option<Var> {
        match self {
            Self::One | Self::Message(_) => None,
            Self::Of(var) | Self::InverseOf(var) | Self::XOf(var) => Some(var),
        }
    }
}

impl Kind {
    /// The name that people read, as the design writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ShareLoad => "share_load",
            Self::ShareRand => "share_rand",
            Self::ShareZero => "share_zero",
            Self::ShareLin => "share_lin",
            Self::ShareMul => "share_mul",
            Self::ShareInv => "share_inv",
            Self::ShareEcMulPublic | Self::ShareEcMulTo => "share_ec_mul",
            Self::OpenTo => "open_to",
            Self::Transcript => "transcript",
            Self::Reshare => "reshare",
            Self::Provision => "provision",
            Self::Stash => "stash",
            Self::Take => "take",
            Self::FinalizeKey => "finalize_key",
            Self::FinalizeSig => "finalize_sig",
            Self::ResultLoad => "result_load",
            Self::GateGrant => "gate_grant",
            Self::PublishPubkey => "publish_pubkey",
            Self::PublishSig => "publish_sig",
            Self::Confirm => "confirm",
        }
    }
}
