//! FROST (RFC 9591) as rewrite rules, the same for both suites.
//!
//! Source: the design's FROST choreography and shared DKG. Key generation is commit, open, share,
//! confirm, then a probe signature that never leaves the kernels; signing is two levels.
//!
//! Always true: no partial signature is sent here. It stays behind the handle until publication.

use super::{Len, Need, Rule, Table, Template, Yield, publication};
use crate::ir::{Kind, Workflow};
use crate::op::{Effect, MicroOp, PhaseKind};

/// FROST over Ed25519.
pub static ED25519: Table = Table { id: "frost-ed25519/1", rules: WORKFLOWS };
/// FROST over secp256k1 with BIP-340 signatures.
pub static SECP256K1_TR: Table = Table { id: "frost-secp256k1-tr/1", rules: WORKFLOWS };

const WORKFLOWS: &[(Workflow, &[Rule])] = &[
    (Workflow::KeyGenerate, KEY_GENERATE),
    (Workflow::Sign, SIGN),
    (Workflow::PublishKey, publication::RULES),
    (Workflow::PublishSig, publication::RULES),
];

/// A sha2-256 digest.
const DIGEST: Len = Len::fixed(32);
/// Two compressed points (at most 66 bytes) with the suite's and the codec's headers.
const COMMITMENT: Len = Len::fixed(128);
/// One sealed scalar: HPKE's key and tag (48 bytes), the scalar, the suite's and the codec's headers.
const SEALED_SCALAR: Len = Len::fixed(256);
/// A sealed round-1 package: t points of at most 33 bytes with their lengths, a proof of knowledge,
/// headers, HPKE's key and tag.
const SEALED_PACKAGE: Len = Len { base: 256, per_threshold: 40, per_party: 0 };

const SIGN: &[Rule] = &[
    Rule {
        name: "the kernel holds the key share",
        pattern: &[Kind::ShareLoad],
        emits: &[],
        yields: &[Yield { at: 0, out: 0, from: None }],
    },
    Rule {
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
    },
    Rule {
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
    },
    Rule {
        name: "share_lin => partial_sig",
        pattern: &[Kind::ShareLin],
        emits: &[local(MicroOp::PartialSig, Effect::Consume, &[Need::Operands])],
        yields: &[Yield { at: 0, out: 0, from: Some(MicroOp::PartialSig) }],
    },
    Rule {
        name: "finalize_sig",
        pattern: &[Kind::FinalizeSig],
        emits: &[Template {
            op: MicroOp::FinalizeSig,
            at: 0,
            phase: PhaseKind::Bcast,
            len: DIGEST,
            effect: Effect::Consume,
            exclusive: None,
            needs: &[Need::Operands],
        }],
        yields: &[Yield { at: 0, out: 0, from: Some(MicroOp::FinalizeSig) }],
    },
];

const KEY_GENERATE: &[Rule] = &[
    Rule {
        name: "share_rand(x) + share_ec_mul(x) => Pedersen DKG with commit, open and confirm",
        pattern: &[Kind::ShareRand, Kind::ShareEcMulTo],
        emits: DKG,
        yields: &[
            Yield { at: 0, out: 0, from: Some(MicroOp::DkgFinish) },
            // X counts only once all holders confirmed that they have the same.
            Yield { at: 1, out: 0, from: Some(MicroOp::DkgConfirm) },
        ],
    },
    Rule {
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
    },
    Rule {
        name: "transcript + share_lin + open_to => probe_sign + probe_verify",
        pattern: &[Kind::Transcript, Kind::ShareLin, Kind::OpenTo],
        emits: PROBE,
        yields: &[Yield { at: 2, out: 0, from: Some(MicroOp::ProbeVerify) }],
    },
    Rule {
        name: "finalize_key",
        pattern: &[Kind::FinalizeKey],
        emits: &[Template {
            op: MicroOp::FinalizeKey,
            at: 0,
            phase: PhaseKind::Bcast,
            len: DIGEST,
            effect: Effect::Consume,
            exclusive: None,
            needs: &[Need::Operands],
        }],
        yields: &[Yield { at: 0, out: 0, from: Some(MicroOp::FinalizeKey) }],
    },
];

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

const PROBE: &[Template] = &[
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

const fn local(op: MicroOp, effect: Effect, needs: &'static [Need]) -> Template {
    Template { op, at: 0, phase: PhaseKind::Local, len: Len::NONE, effect, exclusive: None, needs }
}
