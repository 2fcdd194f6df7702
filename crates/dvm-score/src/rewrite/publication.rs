//! Publication as rewrite rules, the same for every backend: grant, open, verify, confirm.
//!
//! Source: the design's order of grants, openings and refusals.
//!
//! Always true: an opening needs the grants of all signers, which are in the level before it.

use super::{Exclusive, Len, Need, Rule, Template, Yield};
use crate::ir::Kind;
use crate::op::{Effect, MicroOp, PhaseKind};

/// A signed PublicationReceipt: 32 approval links of 40 bytes, ids of 64, and fixed fields.
const RECEIPT: Len = Len::fixed(8 << 10);
/// A signature share: a scalar with the suite's and the codec's headers.
const SHARE: Len = Len::fixed(128);
/// A signed KeyReady: ids of 64 bytes and a verifying share of at most 72 for each party.
const KEY_READY: Len = Len { base: 2 << 10, per_threshold: 0, per_party: 256 };
/// A sha2-256 digest.
const DIGEST: Len = Len::fixed(32);

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        name: "the kernel holds the result",
        pattern: &[Kind::ResultLoad],
        emits: &[],
        yields: &[Yield { at: 0, out: 0, from: None }],
    },
    Rule {
        name: "gate_grant",
        pattern: &[Kind::GateGrant],
        emits: &[gate(MicroOp::GateGrant, RECEIPT)],
        yields: &[Yield { at: 0, out: 0, from: Some(MicroOp::GateGrant) }],
    },
    Rule {
        name: "publish_sig => open_share + verify_shares",
        pattern: &[Kind::PublishSig],
        emits: &[
            gate(MicroOp::OpenShare, SHARE),
            verify(MicroOp::VerifyShares, &[Need::Same(MicroOp::OpenShare)]),
        ],
        yields: &[Yield { at: 0, out: 0, from: Some(MicroOp::VerifyShares) }],
    },
    Rule {
        name: "publish_pubkey => open_key + verify_key",
        pattern: &[Kind::PublishPubkey],
        emits: &[
            gate(MicroOp::OpenKey, KEY_READY),
            verify(MicroOp::VerifyKey, &[Need::Same(MicroOp::OpenKey)]),
        ],
        yields: &[Yield { at: 0, out: 0, from: Some(MicroOp::VerifyKey) }],
    },
    Rule {
        name: "confirm",
        pattern: &[Kind::Confirm],
        emits: &[Template {
            op: MicroOp::Confirm,
            at: 0,
            phase: PhaseKind::Bcast,
            len: DIGEST,
            effect: Effect::Pure,
            exclusive: None,
            needs: &[Need::Operands],
        }],
        yields: &[],
    },
];

const fn gate(op: MicroOp, len: Len) -> Template {
    Template {
        op,
        at: 0,
        phase: PhaseKind::Bcast,
        len,
        effect: Effect::Publish,
        exclusive: Some(Exclusive::Gate),
        needs: &[Need::Operands],
    }
}

const fn verify(op: MicroOp, needs: &'static [Need]) -> Template {
    Template {
        op,
        at: 0,
        phase: PhaseKind::Local,
        len: Len::NONE,
        effect: Effect::Pure,
        exclusive: None,
        needs,
    }
}
