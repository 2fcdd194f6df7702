//! Types and labels of a site's results, from those of its operands.
//!
//! Source: the design's table of sites. Used twice: the builder of [`crate::lower`] declares with it,
//! and the checker derives again from nothing but the declared operands.
//!
//! Always true: a result's label is never lower than its operands' labels, except for the sites that
//! lower one by name.

use dvm_core::intent::Scope;

use super::{Rule, handle_of};
use crate::ir::{
    Coeff, KeyRef, Label, MaterialKind, STASH_VALUES_MAX, Score, SiteOp, Slot, TERMS_MAX, Term,
    Type, Var,
};

/// What a site gives.
pub(crate) fn results(score: &Score, op: &SiteOp) -> Result<Vec<Slot>, Rule> {
    let shared = || Ok(vec![slot(Type::Shared, Label::Secret)]);
    match op {
        SiteOp::ShareLoad | SiteOp::ShareRand | SiteOp::ShareZero => shared(),
        SiteOp::ShareLin { terms } => {
            check_terms(score, terms)?;
            shared()
        }
        SiteOp::ShareMul { a, b } => {
            want(score, *a, &[Type::Shared])?;
            want(score, *b, &[Type::Shared])?;
            shared()
        }
        SiteOp::ShareInv { a } => want(score, *a, &[Type::Shared]).and_then(|_| shared()),
        SiteOp::ShareEcMul { a, to } => lowered(score, *a, to, Type::Commitment),
        SiteOp::OpenTo { a, to } => lowered(score, *a, to, Type::Scalar),
        SiteOp::Transcript { commitment, key, .. } => {
            let label = transcript_label(score, *commitment, *key)?;
            Ok(vec![slot(Type::Nonce, label.clone()), slot(Type::Scalar, label)])
        }
        SiteOp::Reshare { a, threshold } => {
            want(score, *a, &[Type::Shared])?;
            if *threshold < 2 || *threshold > score.parties {
                return Err(Rule::Parties);
            }
            shared()
        }
        SiteOp::Provision { a } => {
            want(score, *a, &[Type::Shared])?;
            Ok(vec![slot(Type::Setup, Label::Secret)])
        }
        SiteOp::Stash { values } => stashed(score, values),
        SiteOp::Take { kind, .. } => Ok(taken(*kind)),
        SiteOp::FinalizeKey { share, commitment, probe } => {
            want(score, *share, &[Type::Shared])?;
            want(score, *commitment, &[Type::Commitment])?;
            want(score, *probe, &[Type::Scalar])?;
            Ok(vec![slot(Type::KeyHandle, Label::Secret)])
        }
        SiteOp::FinalizeSig { nonce, s } => {
            want(score, *nonce, &[Type::Nonce, Type::Commitment])?;
            want(score, *s, &[Type::Shared])?;
            Ok(vec![slot(Type::SigHandle, Label::Secret)])
        }
        _ => publication(score, op),
    }
}

fn publication(score: &Score, op: &SiteOp) -> Result<Vec<Slot>, Rule> {
    let handle = handle_of(score.workflow).ok_or(Rule::Workflow)?;
    let is_handle = |var| {
        want(score, var, &[handle]).map_err(|rule| match rule {
            Rule::OperandType => Rule::HandleRequired,
            other => other,
        })
    };
    let published = |ty, result, grants, scope| {
        is_handle(result)?;
        want(score, grants, &[Type::Grants])?;
        let label = match scope {
            Scope::Public => Label::Public,
        };
        Ok(vec![slot(ty, label)])
    };
    match op {
        SiteOp::ResultLoad { ty } if *ty == handle => Ok(vec![slot(*ty, Label::Secret)]),
        SiteOp::GateGrant { result, .. } => {
            is_handle(*result)?;
            Ok(vec![slot(Type::Grants, Label::Public)])
        }
        SiteOp::PublishPubkey { result, grants, scope } => {
            published(Type::PublicKey, *result, *grants, *scope)
        }
        SiteOp::PublishSig { result, grants, scope } => {
            published(Type::Signature, *result, *grants, *scope)
        }
        SiteOp::Confirm { published } => {
            want(score, *published, &[Type::PublicKey, Type::Signature])?;
            Ok(Vec::new())
        }
        _ => Err(Rule::HandleRequired),
    }
}

fn slot(ty: Type, label: Label) -> Slot {
    Slot { ty, label }
}

fn want<'a>(score: &'a Score, var: Var, types: &[Type]) -> Result<&'a Slot, Rule> {
    let slot = score.slot(var).ok_or(Rule::Undefined)?;
    if types.contains(&slot.ty) { Ok(slot) } else { Err(Rule::OperandType) }
}

fn check_terms(score: &Score, terms: &[Term]) -> Result<(), Rule> {
    if terms.is_empty() || terms.len() > TERMS_MAX {
        return Err(Rule::Size);
    }
    for Term { coeff, share } in terms {
        want(score, *share, &[Type::Shared])?;
        let public = match coeff {
            Coeff::One | Coeff::Message(_) => continue,
            Coeff::Of(var) | Coeff::InverseOf(var) => want(score, *var, &[Type::Scalar])?,
            Coeff::XOf(var) => want(score, *var, &[Type::Commitment])?,
        };
        if !is_for_all(&public.label, score.parties) {
            return Err(Rule::HiddenCoefficient);
        }
    }
    Ok(())
}

fn is_for_all(label: &Label, parties: u16) -> bool {
    match label {
        Label::Secret => false,
        Label::To(places) => places.iter().copied().eq(0..parties),
        Label::Public => true,
    }
}

fn lowered(score: &Score, a: Var, to: &Label, ty: Type) -> Result<Vec<Slot>, Rule> {
    want(score, a, &[Type::Shared])?;
    let well_formed = match to {
        Label::Secret => false,
        Label::To(places) => {
            let ascending = places.iter().zip(places.iter().skip(1)).all(|(a, b)| a < b);
            ascending && places.last().is_some_and(|last| *last < score.parties)
        }
        Label::Public => true,
    };
    if well_formed { Ok(vec![slot(ty, to.clone())]) } else { Err(Rule::LabelForm) }
}

fn transcript_label(score: &Score, commitment: Var, key: KeyRef) -> Result<Label, Rule> {
    let commitment = &want(score, commitment, &[Type::Commitment])?.label;
    let key = match key {
        KeyRef::Intent => &Label::Public,
        KeyRef::Of(var) => &want(score, var, &[Type::Commitment])?.label,
    };
    Ok(join(commitment, key))
}

/// The label of what follows from both: only those see it who may see both.
fn join(a: &Label, b: &Label) -> Label {
    match (a, b) {
        (Label::Secret, _) | (_, Label::Secret) => Label::Secret,
        (Label::Public, other) | (other, Label::Public) => other.clone(),
        (Label::To(a), Label::To(b)) => {
            let both: Vec<u16> = a.iter().copied().filter(|place| b.contains(place)).collect();
            if both.is_empty() { Label::Secret } else { Label::To(both) }
        }
    }
}

fn stashed(score: &Score, values: &[Var]) -> Result<Vec<Slot>, Rule> {
    if values.is_empty() || values.len() > STASH_VALUES_MAX {
        return Err(Rule::Size);
    }
    for var in values {
        want(score, *var, &[Type::Shared, Type::Commitment])?;
    }
    Ok(vec![slot(Type::Material, Label::Secret)])
}

fn taken(kind: MaterialKind) -> Vec<Slot> {
    let shares = match kind {
        MaterialKind::Aff3 => 3,
        MaterialKind::Nonce => 1,
    };
    let commitment = slot(Type::Commitment, Label::Public);
    let shares = std::iter::repeat_n(slot(Type::Shared, Label::Secret), shares);
    std::iter::once(commitment).chain(shares).collect()
}
