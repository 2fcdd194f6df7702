//! DKLs23 (eprint 2023/765) as rewrite rules: threshold ECDSA in three rounds, for any t.
//!
//! Source: its Protocol 3.6. A nonce, its inverse and the product with the key become one protocol: each pair
//! of signers multiplies by vector OLE, and the shares of numerator and denominator of s are what it leaves. Keys are
//! made by the DKG that all backends share, with a set-up for each pair beside it.
//!
//! Always true: R_i, its commitment and pk_i are broadcast, so that telling two stories shows in the views;
//! what a multiplication says is sealed. Nothing counts before `check_consistency`. What a multiplication says is
//! never exclusive: a batch has as many levels as one presignature.

use super::frost::{
    DIGEST, FINALIZE_SIG, LOAD, MAKE, PROBE, PROBE_NONCE, STASH, finalize_key, last, local,
};
use super::{Exclusive, Len, Need, Rule, Table, Template, Yield, publication};
use crate::ir::{Kind, Workflow};
use crate::op::{Effect, MicroOp, PhaseKind};

/// ECDSA over secp256k1.
pub static SECP256K1: Table = Table {
    id: "dkls23-secp256k1/1",
    rules: &[
        (Workflow::KeyGenerate, &[MAKE, PAIRS, PROBE_NONCE, PROBE, FINALIZE_KEY]),
        (Workflow::Sign, &[LOAD, TAKEN, ROUNDS, QUOTIENT, FINALIZE_SIG]),
        (Workflow::Presign, &[LOAD, AHEAD, STASH]),
        (Workflow::PublishKey, publication::RULES),
        (Workflow::PublishSig, publication::RULES),
    ],
};

/// HPKE's key and tag around whatever is sealed.
const SEAL: u32 = 48;
const SCALAR: u32 = 32;
const POINT: u32 = 33;
/// Both sides of 256 base OTs: the sender's point with a proof of 64 repetitions, the receiver's 256 proofs of its
/// choices. And a commitment to the pair's seed.
const PAIR_OFFER: Len = Len::fixed(87_969 + 32 + SEAL);
/// A seed and its salt.
const PAIR_OPEN: Len = Len::fixed(64 + SEAL);
/// The digest of the pair's set-up.
const PAIR_CONFIRM: Len = Len::fixed(32 + SEAL);
/// The pair's set-up digest, a commitment to ψ, and 256 columns of 78 bytes with the OT extension's check.
const VOLE_RECV: Len = Len::fixed(32 + 32 + 26_682 + SEAL);
/// R_i, pk_i and the commitment's salt.
const NONCE_OPEN: Len = Len::fixed(2 * POINT + 32);
/// Two Γ, ψ with its salt, and four rows of 416 scalars with the multiplication's check.
const VOLE_SEND: Len = Len::fixed(2 * POINT + SCALAR + 32 + 53_440 + SEAL);

const PAIRS: Rule = Rule {
    name: "provision(x) => a set-up for each pair of holders",
    pattern: &[Kind::Provision],
    emits: &[
        Template {
            exclusive: Some(Exclusive::Provision),
            ..p2p(MicroOp::PairOffer, 0, PAIR_OFFER, Effect::Sample, &[])
        },
        p2p(MicroOp::PairOpen, 0, PAIR_OPEN, Effect::Reveal, &[Need::Same(MicroOp::PairOffer)]),
        Template {
            exclusive: Some(Exclusive::Provision),
            ..local(
                MicroOp::PairFinish,
                Effect::Pure,
                &[Need::Same(MicroOp::PairOffer), Need::Same(MicroOp::PairOpen)],
            )
        },
        p2p(
            MicroOp::PairConfirm,
            0,
            PAIR_CONFIRM,
            Effect::Reveal,
            &[Need::Same(MicroOp::PairFinish)],
        ),
        local(
            MicroOp::PairAgree,
            Effect::Pure,
            &[Need::Same(MicroOp::PairFinish), Need::Same(MicroOp::PairConfirm)],
        ),
    ],
    yields: &[Yield { at: 0, out: 0, from: Some(MicroOp::PairAgree) }],
};

/// No key is ready before each of its pairs is. No site reads the set-up, so the order is said here.
const FINALIZE_KEY: Rule = finalize_key(END);
const END: &[Template] = &[last(
    MicroOp::FinalizeKey,
    Effect::Consume,
    &[Need::Operands, Need::Other(MicroOp::PairAgree)],
)];

const ROUNDS: Rule = Rule {
    name: "share_rand(k) + share_ec_mul(k) + share_inv(k) + share_mul(1/k, x) => three rounds",
    pattern: &[Kind::ShareRand, Kind::ShareEcMulPublic, Kind::ShareInv, Kind::ShareMul],
    emits: &rounds(Places { commitment: 1, mask: 2, product: 3, key_product: 3 }),
    yields: &[
        Yield { at: 0, out: 0, from: Some(MicroOp::NonceCommit) },
        Yield { at: 1, out: 0, from: Some(MicroOp::CheckConsistency) },
        Yield { at: 2, out: 0, from: Some(MicroOp::CheckConsistency) },
        Yield { at: 3, out: 0, from: Some(MicroOp::CheckConsistency) },
    ],
};

const AHEAD: Rule = Rule {
    name: "share_rand(k) + share_ec_mul(k) + share_rand(φ) + share_mul(k, φ) + share_mul(φ, x) => three rounds",
    pattern: &[
        Kind::ShareRand,
        Kind::ShareEcMulPublic,
        Kind::ShareRand,
        Kind::ShareMul,
        Kind::ShareMul,
    ],
    emits: &rounds(Places { commitment: 1, mask: 2, product: 3, key_product: 4 }),
    yields: &[
        Yield { at: 0, out: 0, from: Some(MicroOp::NonceCommit) },
        Yield { at: 1, out: 0, from: Some(MicroOp::CheckConsistency) },
        Yield { at: 2, out: 0, from: Some(MicroOp::CheckConsistency) },
        Yield { at: 3, out: 0, from: Some(MicroOp::CheckConsistency) },
        Yield { at: 4, out: 0, from: Some(MicroOp::CheckConsistency) },
    ],
};

const QUOTIENT: Rule = Rule {
    name: "share_lin => affine_share",
    pattern: &[Kind::ShareLin],
    emits: &[local(MicroOp::AffineShare, Effect::Consume, &[Need::Operands])],
    yields: &[Yield { at: 0, out: 0, from: Some(MicroOp::AffineShare) }],
};

/// The denominator is opened with the numerator, behind the gate: one rule, though u alone would tell nothing.
const TAKEN: Rule = Rule {
    name: "take + open_to(u) + share_lin(numerator) + share_lin(s) => take_triple + affine_share",
    pattern: &[Kind::Take, Kind::OpenTo, Kind::ShareLin, Kind::ShareLin],
    emits: &[
        local(MicroOp::TakeTriple, Effect::Consume, &[]),
        Template {
            at: 3,
            ..local(MicroOp::AffineShare, Effect::Consume, &[Need::Same(MicroOp::TakeTriple)])
        },
    ],
    yields: &[
        Yield { at: 0, out: 0, from: Some(MicroOp::TakeTriple) },
        Yield { at: 3, out: 0, from: Some(MicroOp::AffineShare) },
    ],
};

/// Where in a pattern the sites are that the rounds belong to.
struct Places {
    commitment: usize,
    mask: usize,
    product: usize,
    key_product: usize,
}

const fn rounds(at: Places) -> [Template; 7] {
    use MicroOp::{
        CheckConsistency, NonceCommit, NonceOpen, VoleFinish, VoleRecv, VoleSend, ZeroShare,
    };
    [
        bcast(NonceCommit, at.commitment, DIGEST, Effect::Sample, &[]),
        Template { at: at.key_product, ..local(ZeroShare, Effect::Sample, &[]) },
        p2p(VoleRecv, at.mask, VOLE_RECV, Effect::Sample, &[]),
        // No R_i before every commitment to one: nobody chooses theirs by another's.
        bcast(
            NonceOpen,
            at.commitment,
            NONCE_OPEN,
            Effect::Reveal,
            &[Need::Same(NonceCommit), Need::Same(ZeroShare)],
        ),
        p2p(
            VoleSend,
            at.product,
            VOLE_SEND,
            Effect::Reveal,
            &[Need::Same(NonceCommit), Need::Same(ZeroShare), Need::Same(VoleRecv)],
        ),
        Template {
            at: at.product,
            ..local(VoleFinish, Effect::Pure, &[Need::Same(VoleRecv), Need::Same(VoleSend)])
        },
        Template {
            at: at.key_product,
            ..local(
                CheckConsistency,
                Effect::Pure,
                &[
                    Need::Same(NonceCommit),
                    Need::Same(NonceOpen),
                    Need::Same(VoleSend),
                    Need::Same(VoleFinish),
                ],
            )
        },
    ]
}

const fn bcast(
    op: MicroOp,
    at: usize,
    len: Len,
    effect: Effect,
    needs: &'static [Need],
) -> Template {
    Template { op, at, phase: PhaseKind::Bcast, len, effect, exclusive: None, needs }
}

const fn p2p(op: MicroOp, at: usize, len: Len, effect: Effect, needs: &'static [Need]) -> Template {
    Template { op, at, phase: PhaseKind::P2p, len, effect, exclusive: None, needs }
}
