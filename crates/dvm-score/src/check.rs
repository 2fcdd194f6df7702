//! The checker: what must hold of a score before anything runs.
//!
//! Source: the design's "A checker proves, before anything runs". A score is straight-line SSA, so
//! "before" is "at a lower position" and dominance needs no graph.
//!
//! Always true: [`CheckedScore`] has one maker, [`check`]. Only `share_ec_mul`, `open_to` and
//! `publish_*` lower a label; nothing that depends on the key is opened except under a fresh mask to
//! kernels that make that key; a signing score ends at `finalize_sig`.
//!
//! Not here: that a backend can perform the score ([`crate::rewrite`]).

mod derive;
mod secrecy;

use dvm_core::{B32, limits};

use crate::ir::{Kind, SITES_MAX, Score, SiteOp, Type, Workflow};

/// A rule of the checker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// Parties or threshold outside 2 to 16, or more shares needed than parties.
    #[error("2 to 16 parties, and a threshold between 2 and their number")]
    Parties,
    /// More sites, terms or results than a score may have.
    #[error("more sites, terms or results than a score may have")]
    Size,
    /// A value that no earlier site gives.
    #[error("uses a value that no earlier site gives")]
    Undefined,
    /// An operand of another type.
    #[error("an operand has the wrong type")]
    OperandType,
    /// The declared results are not what the site gives.
    #[error("the declared types or labels are not those that follow from the operands")]
    Declared,
    /// A list of parties that is empty, unsorted, or names one who does not take part.
    #[error("a label names no one, one twice, or one who does not take part")]
    LabelForm,
    /// A coefficient that not every party can see.
    #[error("a coefficient must be visible to every party")]
    HiddenCoefficient,
    /// `share_ec_mul` of something that was neither sampled nor loaded.
    #[error("share_ec_mul takes a sampled or loaded share only")]
    EcMulOfDerived,
    /// An opening that would tell about the key or a nonce.
    #[error("an opening must be masked by a fresh share that masks nothing else")]
    OpeningUnmasked,
    /// Publication of something that is not a held result.
    #[error("publish_* accepts only a result handle")]
    HandleRequired,
    /// Grants that are not for this result and scope.
    #[error("not dominated by every signer's grant for this result and scope")]
    Ungranted,
    /// One-time material taken twice.
    #[error("one-time material is taken once")]
    TakenTwice,
    /// A site that this workflow does not have.
    #[error("this workflow has no such site")]
    Workflow,
    /// The workflow's last site is missing, early or repeated.
    #[error("the workflow must end at its last site, and have it once")]
    Ending,
}

/// Where a score breaks which rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("site {site}: {rule}")]
pub struct CheckError {
    /// The site; the number of sites where the score as a whole is meant.
    pub site: u16,
    /// The rule.
    pub rule: Rule,
}

/// A score that passed the checker. Made only by [`check`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedScore(Score);

impl CheckedScore {
    /// The score.
    pub fn score(&self) -> &Score {
        &self.0
    }

    /// Its id.
    pub fn id(&self) -> B32 {
        self.0.id()
    }
}

/// Checks a score.
///
/// # Errors
/// [`CheckError`]: the first site that breaks a rule.
pub fn check(score: Score) -> Result<CheckedScore, CheckError> {
    let whole = score.sites.len().try_into().unwrap_or(u16::MAX);
    check_size(&score).map_err(|rule| CheckError { site: whole, rule })?;
    for (at, site) in (0..).zip(&score.sites) {
        check_site(&score, at, &site.op).map_err(|rule| CheckError { site: at, rule })?;
    }
    Ok(CheckedScore(score))
}

fn check_size(score: &Score) -> Result<(), Rule> {
    let parties = usize::from(score.parties);
    if !(2..=limits::PARTIES_MAX).contains(&parties) {
        return Err(Rule::Parties);
    }
    if score.threshold < 2 || score.threshold > score.parties {
        return Err(Rule::Parties);
    }
    if score.sites.len() > SITES_MAX {
        return Err(Rule::Size);
    }
    if score.sites.is_empty() {
        return Err(Rule::Ending);
    }
    Ok(())
}

fn check_site(score: &Score, at: u16, op: &SiteOp) -> Result<(), Rule> {
    check_place(score, at, op)?;
    if op.uses().iter().any(|var| var.site >= at || score.slot(*var).is_none()) {
        return Err(Rule::Undefined);
    }
    let derived = derive::results(score, op)?;
    if score.site(at).is_none_or(|site| site.gives != derived) {
        return Err(Rule::Declared);
    }
    match op {
        SiteOp::ShareEcMul { a, .. } => secrecy::committable(score, *a),
        SiteOp::OpenTo { a, to } => secrecy::openable(score, at, *a, to),
        SiteOp::Take { batch, index, .. } => check_taken_once(score, at, batch, *index),
        SiteOp::PublishPubkey { result, grants, scope }
        | SiteOp::PublishSig { result, grants, scope } => {
            let granted = SiteOp::GateGrant { result: *result, scope: *scope };
            let is_for_this = score.site(grants.site).is_some_and(|site| site.op == granted);
            if is_for_this { Ok(()) } else { Err(Rule::Ungranted) }
        }
        _ => Ok(()),
    }
}

/// That the workflow has such a site, and its last site only at the end.
fn check_place(score: &Score, at: u16, op: &SiteOp) -> Result<(), Rule> {
    let kind = op.kind();
    if !allows(score.workflow, kind) {
        return Err(Rule::Workflow);
    }
    let is_last = usize::from(at) + 1 == score.sites.len();
    if is_last != (kind == last_kind(score.workflow)) {
        return Err(Rule::Ending);
    }
    Ok(())
}

fn last_kind(workflow: Workflow) -> Kind {
    match workflow {
        Workflow::KeyGenerate | Workflow::KeyReshare => Kind::FinalizeKey,
        Workflow::Presign => Kind::Stash,
        Workflow::Sign => Kind::FinalizeSig,
        Workflow::PublishKey | Workflow::PublishSig => Kind::Confirm,
    }
}

fn allows(workflow: Workflow, kind: Kind) -> bool {
    use Workflow::{KeyGenerate, KeyReshare, Presign, PublishKey, PublishSig, Sign};
    let home: &[Workflow] = match kind {
        Kind::ShareRand | Kind::ShareZero | Kind::ShareLin | Kind::ShareMul | Kind::ShareInv => {
            &[KeyGenerate, KeyReshare, Presign, Sign]
        }
        Kind::ShareEcMulPublic | Kind::OpenTo | Kind::Transcript => {
            &[KeyGenerate, KeyReshare, Presign, Sign]
        }
        Kind::ShareEcMulTo | Kind::Provision | Kind::FinalizeKey => &[KeyGenerate, KeyReshare],
        Kind::ShareLoad => &[KeyReshare, Presign, Sign],
        Kind::Reshare => &[KeyReshare],
        Kind::Stash => &[Presign],
        Kind::Take | Kind::FinalizeSig => &[Sign],
        Kind::PublishPubkey => &[PublishKey],
        Kind::PublishSig => &[PublishSig],
        Kind::ResultLoad | Kind::GateGrant | Kind::Confirm => &[PublishKey, PublishSig],
    };
    home.contains(&workflow)
}

fn check_taken_once(score: &Score, at: u16, batch: &B32, index: u32) -> Result<(), Rule> {
    let same = |op: &SiteOp| matches!(op, SiteOp::Take { batch: b, index: i, .. } if b == batch && *i == index);
    let before = score.sites.iter().take(usize::from(at));
    if before.into_iter().any(|site| same(&site.op)) { Err(Rule::TakenTwice) } else { Ok(()) }
}

/// The handle that a workflow publishes.
pub(crate) fn handle_of(workflow: Workflow) -> Option<Type> {
    match workflow {
        Workflow::PublishKey => Some(Type::KeyHandle),
        Workflow::PublishSig => Some(Type::SigHandle),
        _ => None,
    }
}

pub(crate) use derive::results;

#[cfg(test)]
mod tests;
