//! What may be opened, and what may be committed to.
//!
//! Source: the design's rule that only named sites lower a label, and the presignature's algebra
//! (u = k·φ may be known, v = φ·x never alone). Conservative: an opening is refused unless one of the
//! few patterns that are known to tell nothing covers it.
//!
//! Always true: an allowed opening is (a) a product of shares that do not depend on the key, one of
//! which is a fresh mask; or (b) the activation probe's `k + c·x`, to kernels only, in a score that
//! makes that key, under a nonce of its own; or (c) the `u` of stashed material.

use super::Rule;
use crate::ir::{Coeff, Label, MaterialKind, Score, SiteOp, Term, Var, Workflow};

/// The place of `u` among what `take` gives of an AFF3 triple.
const AFF3_U: u8 = 2;
/// The place of `v`, which depends on the key.
const AFF3_V: u8 = 3;

/// That `share_ec_mul` is of a sampled, loaded or re-shared secret: a commitment to a derived value
/// would say something about both of its sources.
pub(super) fn committable(score: &Score, a: Var) -> Result<(), Rule> {
    match op_of(score, a) {
        Some(SiteOp::ShareRand | SiteOp::ShareLoad | SiteOp::Reshare { .. }) => Ok(()),
        _ => Err(Rule::EcMulOfDerived),
    }
}

/// That opening this value tells nothing but itself.
pub(super) fn openable(score: &Score, at: u16, a: Var, to: &Label) -> Result<(), Rule> {
    let masked = match op_of(score, a) {
        Some(SiteOp::ShareMul { a: x, b: y }) => {
            x != y
                && !depends_on_key(score, a)
                && [x, y].into_iter().any(|mask| masks_one_product(score, at, a.site, *mask))
        }
        Some(SiteOp::ShareLin { terms }) => {
            let makes_key = matches!(score.workflow, Workflow::KeyGenerate | Workflow::KeyReshare);
            let to_kernels = matches!(to, Label::To(_));
            makes_key && to_kernels && terms.iter().any(|t| masks_one_sum(score, a.site, t))
        }
        Some(SiteOp::Take { kind: MaterialKind::Aff3, .. }) => a.out == AFF3_U,
        _ => false,
    };
    if masked { Ok(()) } else { Err(Rule::OpeningUnmasked) }
}

fn op_of(score: &Score, var: Var) -> Option<&SiteOp> {
    score.site(var.site).map(|site| &site.op)
}

fn is_sampled(score: &Score, var: Var) -> bool {
    matches!(op_of(score, var), Some(SiteOp::ShareRand))
}

/// A fresh share without a commitment that masks no other product opened so far.
fn masks_one_product(score: &Score, at: u16, product: u16, mask: Var) -> bool {
    let committed = uses_of(score, mask).any(|op| matches!(op, SiteOp::ShareEcMul { .. }));
    let opened_before = score.sites.iter().take(usize::from(at)).any(|site| match &site.op {
        SiteOp::OpenTo { a, .. } => a.site != product && reads(score, *a, mask),
        _ => false,
    });
    is_sampled(score, mask) && !committed && !opened_before
}

/// `1·[k]` with a fresh k that has a commitment and no other use: a Schnorr nonce.
fn masks_one_sum(score: &Score, sum: u16, term: &Term) -> bool {
    let only_here = (0..).zip(&score.sites).all(|(at, site): (u16, _)| {
        let is_commitment = matches!(site.op, SiteOp::ShareEcMul { .. });
        at == sum || is_commitment || !site.op.uses().contains(&term.share)
    });
    let once = match score.site(sum).map(|site| &site.op) {
        Some(SiteOp::ShareLin { terms }) => {
            terms.iter().filter(|t| t.share == term.share).count() == 1
        }
        _ => false,
    };
    term.coeff == Coeff::One && is_sampled(score, term.share) && only_here && once
}

fn uses_of(score: &Score, var: Var) -> impl Iterator<Item = &SiteOp> {
    score.sites.iter().map(|site| &site.op).filter(move |op| op.uses().contains(&var))
}

fn reads(score: &Score, reader: Var, var: Var) -> bool {
    op_of(score, reader).is_some_and(|op| op.uses().contains(&var))
}

/// Whether shares of this value depend on a key: one loaded, or the one that the score makes.
fn depends_on_key(score: &Score, var: Var) -> bool {
    let made = score.sites.iter().find_map(|site| match site.op {
        SiteOp::FinalizeKey { share, .. } => Some(share),
        _ => None,
    });
    // Positions fall along operands, so the walk ends.
    let mut open = vec![var];
    let mut seen = std::collections::BTreeSet::new();
    while let Some(var) = open.pop() {
        if !seen.insert(var) {
            continue;
        }
        match op_of(score, var) {
            Some(SiteOp::ShareLoad) => return true,
            Some(SiteOp::Take { kind: MaterialKind::Aff3, .. }) if var.out == AFF3_V => {
                return true;
            }
            // What is public already carries no dependence on.
            Some(SiteOp::ShareEcMul { .. } | SiteOp::OpenTo { .. } | SiteOp::Transcript { .. }) => {
            }
            Some(op) => open.extend(op.uses()),
            None => {}
        }
        if made == Some(var) {
            return true;
        }
    }
    false
}
