//! FROST (RFC 9591) as rewrite rules, the same for both suites.
//!
//! Source: the design's FROST choreography and shared DKG. Key generation is commit, open, share,
//! confirm, then a probe signature that never leaves the kernels; signing is two levels.
//!
//! Always true: no partial signature is sent here. It stays behind the handle until publication. The rules that
//! have nothing of FROST in them serve the other backends, too.

use super::{Len, Need, Rule, Table, Template, Yield, publication};
use crate::ir::{Kind, Workflow};
use crate::op::{Effect, MicroOp, PhaseKind};

/// FROST over Ed25519.
pub static ED25519: Table = Table { id: "frost-ed25519/1", rules: WORKFLOWS };
/// FROST over secp256k1 with BIP-340 signatures.
pub static SECP256K1_TR: Table = Table { id: "frost-secp256k1-tr/1", rules: WORKFLOWS };

const WORKFLOWS: &[(Workflow, &[Rule])] = &[
    (Workflow::KeyGenerate, &[MAKE, PROBE_NONCE, PROBE, FINALIZE_KEY]),
    (Workflow::Sign, &[LOAD, NONCE, TAKE, TRANSCRIPT, RESPONSE, FINALIZE_SIG]),
    (Workflow::Presign, &[NONCE, STASH]),
    (Workflow::PublishKey, publication::RULES),
    (Workflow::PublishSig, publication::RULES),
];

/// A sha2-256 digest.
pub(super) const DIGEST: Len = Len::fixed(32);
/// Two compressed points (at most 66 bytes) with the suite's and the codec's headers.
const COMMITMENT: Len = Len::fixed(128);
/// One sealed scalar: HPKE's key and tag (48 bytes), the scalar, the suite's and the codec's headers.
const SEALED_SCALAR: Len = Len::fixed(256);
/// A sealed round-1 package: t points of at most 33 bytes with their lengths, a proof of knowledge,
/// headers, HPKE's key and tag.
const SEALED_PACKAGE: Len = Len { base: 256, per_threshold: 40, per_party: 0 };

/// The key share of a signature.
pub(super) const LOAD: Rule = Rule {
    name: "the kernel holds the key share",
    pattern: &[Kind::ShareLoad],
    emits: &[],
    yields: &[Yield { at: 0, out: 0, from: None }],
};

const NONCE: Rule = Rule {
    name: "share_rand(k) + share_ec_mul(k) => nonce_commit",
    pattern: &[Kind::ShareRand, Kind::ShareEcMulPublic],
    emits: &[Template {
        op: MicroOp::NonceCommit,
        at: 1,
        phase: PhaseKind::Bcast,
        len: COMMITMENT,
        effect: Effect::Reveal,
        exclusive: None,
        needs: &[],
    }],
    yields: &[
        Yield { at: 0, out: 0, from: Some(MicroOp::NonceCommit) },
        Yield { at: 1, out: 0, from: Some(MicroOp::NonceCommit) },
    ],
};

const TAKE: Rule = Rule {
    name: "take => take_nonce",
    pattern: &[Kind::Take],
    emits: &[local(MicroOp::TakeNonce, Effect::Consume, &[])],
    yields: &[
        Yield { at: 0, out: 0, from: Some(MicroOp::TakeNonce) },
        Yield { at: 0, out: 1, from: Some(MicroOp::TakeNonce) },
    ],
};

const TRANSCRIPT: Rule = Rule {
    name: "transcript => binding_factor + challenge",
    pattern: &[Kind::Transcript],
    emits: &[
        local(MicroOp::BindingFactor, Effect::Pure, &[Need::Operands]),
        local(MicroOp::Challenge, Effect::Pure, &[Need::Same(MicroOp::BindingFactor)]),
    ],
    yields: &[
        Yield { at: 0, out: 0, from: Some(MicroOp::BindingFactor) },
        Yield { at: 0, out: 1, from: Some(MicroOp::Challenge) },
    ],
};

const RESPONSE: Rule = Rule {
    name: "share_lin => partial_sig",
    pattern: &[Kind::ShareLin],
    emits: &[local(MicroOp::PartialSig, Effect::Consume, &[Need::Operands])],
    yields: &[Yield { at: 0, out: 0, from: Some(MicroOp::PartialSig) }],
};

/// The end of every signature: what is held has a name, which all signers say.
pub(super) const FINALIZE_SIG: Rule = Rule {
    name: "finalize_sig",
    pattern: &[Kind::FinalizeSig],
    emits: &[last(MicroOp::FinalizeSig, Effect::Consume, &[Need::Operands])],
    yields: &[Yield { at: 0, out: 0, from: Some(MicroOp::FinalizeSig) }],
};

/// The end of every batch: what is in memory has a name, which all signers say.
pub(super) const STASH: Rule = Rule {
    name: "stash",
    pattern: &[Kind::Stash],
    emits: &[last(MicroOp::Stash, Effect::Pure, &[Need::Operands])],
    yields: &[Yield { at: 0, out: 0, from: Some(MicroOp::Stash) }],
};

/// The DKG of every key over a group, whatever signs with it.
pub(super) const MAKE: Rule = Rule {
    name: "share_rand(x) + share_ec_mul(x) => Pedersen DKG with commit, open and confirm",
    pattern: &[Kind::ShareRand, Kind::ShareEcMulTo],
    emits: DKG,
    yields: &[
        Yield { at: 0, out: 0, from: Some(MicroOp::DkgFinish) },
        // X counts only once all holders confirmed that they have the same.
        Yield { at: 1, out: 0, from: Some(MicroOp::DkgConfirm) },
    ],
};

/// The nonce of the activation probe.
pub(super) const PROBE_NONCE: Rule = Rule {
    name: "share_rand(k) + share_ec_mul(k) => probe_commit",
    pattern: &[Kind::ShareRand, Kind::ShareEcMulPublic],
    emits: &[Template {
        op: MicroOp::ProbeCommit,
        at: 1,
        phase: PhaseKind::Bcast,
        len: COMMITMENT,
        effect: Effect::Reveal,
        exclusive: None,
        // RFC 9591, section 4.1: the nonce is hedged with the key share.
        needs: &[Need::Other(MicroOp::DkgFinish)],
    }],
    yields: &[
        Yield { at: 0, out: 0, from: Some(MicroOp::ProbeCommit) },
        Yield { at: 1, out: 0, from: Some(MicroOp::ProbeCommit) },
    ],
};

/// The activation probe: a Schnorr signature under any key, opened to the holders alone.
pub(super) const PROBE: Rule = Rule {
    name: "transcript + share_lin + open_to => probe_sign + probe_verify",
    pattern: &[Kind::Transcript, Kind::ShareLin, Kind::OpenTo],
    emits: TRY,
    yields: &[Yield { at: 2, out: 0, from: Some(MicroOp::ProbeVerify) }],
};

const FINALIZE_KEY: Rule = finalize_key(END);
const END: &[Template] = &[last(MicroOp::FinalizeKey, Effect::Consume, &[Need::Operands])];

/// The end of every key generation.
pub(super) const fn finalize_key(emits: &'static [Template]) -> Rule {
    Rule {
        name: "finalize_key",
        pattern: &[Kind::FinalizeKey],
        emits,
        yields: &[Yield { at: 0, out: 0, from: Some(MicroOp::FinalizeKey) }],
    }
}

const DKG: &[Template] = &[
    Template {
        op: MicroOp::DkgCommit,
        at: 0,
        phase: PhaseKind::EchoBcast,
        len: DIGEST,
        effect: Effect::Sample,
        exclusive: None,
        needs: &[],
    },
    Template {
        op: MicroOp::DkgOpen,
        at: 0,
        phase: PhaseKind::P2p,
        len: SEALED_PACKAGE,
        effect: Effect::Reveal,
        exclusive: None,
        // No package before every commitment is confirmed: nobody chooses theirs by another's.
        needs: &[Need::Same(MicroOp::DkgCommit)],
    },
    Template {
        op: MicroOp::DkgShare,
        at: 0,
        phase: PhaseKind::P2p,
        len: SEALED_SCALAR,
        effect: Effect::Reveal,
        exclusive: None,
        // The openings are checked against the commitments here.
        needs: &[Need::Same(MicroOp::DkgCommit), Need::Same(MicroOp::DkgOpen)],
    },
    local(
        MicroOp::DkgFinish,
        Effect::Pure,
        &[Need::Same(MicroOp::DkgOpen), Need::Same(MicroOp::DkgShare)],
    ),
    Template {
        op: MicroOp::DkgConfirm,
        at: 1,
        phase: PhaseKind::EchoBcast,
        len: DIGEST,
        effect: Effect::Reveal,
        exclusive: None,
        needs: &[Need::Same(MicroOp::DkgFinish)],
    },
];

const TRY: &[Template] = &[
    Template {
        op: MicroOp::ProbeSign,
        at: 1,
        phase: PhaseKind::P2p,
        len: SEALED_SCALAR,
        effect: Effect::Consume,
        exclusive: None,
        needs: &[Need::AllOperands],
    },
    Template {
        op: MicroOp::ProbeVerify,
        at: 2,
        phase: PhaseKind::Local,
        len: Len::NONE,
        effect: Effect::Pure,
        exclusive: None,
        needs: &[Need::Same(MicroOp::ProbeSign)],
    },
];

/// A step that says nothing.
pub(super) const fn local(op: MicroOp, effect: Effect, needs: &'static [Need]) -> Template {
    Template { op, at: 0, phase: PhaseKind::Local, len: Len::NONE, effect, exclusive: None, needs }
}

/// The last step of a run: says the digest that names what came of it.
pub(super) const fn last(op: MicroOp, effect: Effect, needs: &'static [Need]) -> Template {
    Template { op, at: 0, phase: PhaseKind::Bcast, len: DIGEST, effect, exclusive: None, needs }
}
