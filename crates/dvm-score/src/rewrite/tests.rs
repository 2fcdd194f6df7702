use super::*;
use crate::check::check;
use crate::ir::{Coeff, KeyRef, Label, Message, SiteOp, Term};
use crate::lower::{self, Builder};
use crate::testing::digest;
use dvm_core::intent::Scheme;

#[test]
fn a_backend_has_no_rule_for_the_other_scheme_and_says_at_which_site() {
    let score = |scheme| check(lower::score_for(&digest(), 2, scheme, None).unwrap()).unwrap();
    for backend in [Backend::FrostEd25519, Backend::FrostSecp256k1Tr] {
        let refused = rewrite(&score(Scheme::Ecdsa), table(backend)).unwrap_err();
        assert_eq!(refused, RewriteError::NoRule { site: 3 });
    }
    let refused = rewrite(&score(Scheme::Schnorr), table(Backend::Dkls23Secp256k1)).unwrap_err();
    assert_eq!(refused, RewriteError::NoRule { site: 1 });
}

/// Schnorr with the sites of the nonce apart from each other.
fn spread_out() -> CheckedScore {
    let mut b = Builder::new(Workflow::Sign, 2, 2);
    let k = b.push(SiteOp::ShareRand).unwrap();
    let x = b.push(SiteOp::ShareLoad).unwrap();
    let commitment = b.push(SiteOp::ShareEcMul { a: k, to: Label::Public }).unwrap();
    let message = Message::Content;
    let nonce = b.push(SiteOp::Transcript { commitment, key: KeyRef::Intent, message }).unwrap();
    let c = Var { site: nonce.site, out: 1 };
    let terms = vec![Term { coeff: Coeff::Of(c), share: x }, Term { coeff: Coeff::One, share: k }];
    let s = b.push(SiteOp::ShareLin { terms }).unwrap();
    b.push(SiteOp::FinalizeSig { nonce, s }).unwrap();
    check(b.score).unwrap()
}

#[test]
fn a_pattern_matches_sites_that_are_not_next_to_each_other() {
    let nodes = rewrite(&spread_out(), table(Backend::FrostEd25519)).unwrap();
    let ops: Vec<(MicroOp, u16, &[usize])> =
        nodes.iter().map(|n| (n.op, n.site, n.needs.as_slice())).collect();
    let wanted: Vec<(MicroOp, u16, &[usize])> = vec![
        (MicroOp::NonceCommit, 2, &[]),
        (MicroOp::BindingFactor, 3, &[0]),
        (MicroOp::Challenge, 3, &[1]),
        (MicroOp::PartialSig, 4, &[0, 2]),
        (MicroOp::FinalizeSig, 5, &[1, 3]),
    ];
    assert_eq!(ops, wanted);
}

const LOAD: Rule = Rule {
    name: "load",
    pattern: &[Kind::ShareLoad],
    emits: &[],
    yields: &[Yield { at: 0, out: 0, from: None }],
};

const fn whole(needs: &'static [Need]) -> Template {
    Template {
        op: MicroOp::PartialSig,
        at: 0,
        phase: PhaseKind::Local,
        len: Len::NONE,
        effect: Effect::Pure,
        exclusive: None,
        needs,
    }
}

fn with_rest(rest: &'static [Rule]) -> Result<Vec<Node>, RewriteError> {
    let mut b = Builder::new(Workflow::Sign, 2, 2);
    let x = b.push(SiteOp::ShareLoad).unwrap();
    let nonce = b.push(SiteOp::ShareEcMul { a: x, to: Label::Public }).unwrap();
    b.push(SiteOp::FinalizeSig { nonce, s: x }).unwrap();
    let rules: &'static [(Workflow, &'static [Rule])] =
        Box::leak(Box::new([(Workflow::Sign, rest)]));
    rewrite(&check(b.score).unwrap(), &Table { id: "test/1", rules })
}

#[test]
fn a_table_that_does_not_say_where_an_input_comes_from_is_refused() {
    static YIELDS: &[Rule] = &[
        LOAD,
        Rule {
            name: "commit",
            pattern: &[Kind::ShareEcMulPublic],
            emits: &[],
            yields: &[Yield { at: 0, out: 0, from: None }],
        },
        Rule {
            name: "end",
            pattern: &[Kind::FinalizeSig],
            emits: &[whole(&[Need::Operands])],
            yields: &[],
        },
    ];
    static SILENT: &[Rule] = &[
        LOAD,
        Rule { name: "commit", pattern: &[Kind::ShareEcMulPublic], emits: &[], yields: &[] },
        Rule {
            name: "end",
            pattern: &[Kind::FinalizeSig],
            emits: &[whole(&[Need::Operands])],
            yields: &[],
        },
    ];
    static NO_OTHER: &[Rule] = &[
        LOAD,
        Rule {
            name: "commit and end",
            pattern: &[Kind::ShareEcMulPublic, Kind::FinalizeSig],
            emits: &[whole(&[Need::Other(MicroOp::NonceCommit)])],
            yields: &[],
        },
    ];
    assert!(with_rest(YIELDS).is_ok());
    let hole = |site| Err(RewriteError::Table { site, op: MicroOp::PartialSig });
    assert_eq!(with_rest(SILENT), hole(2));
    assert_eq!(with_rest(NO_OTHER), hole(1));
}

#[test]
fn a_workflow_that_the_backend_does_not_have_is_refused() {
    let rules: &[(Workflow, &[Rule])] = &[];
    let refused = rewrite(&spread_out(), &Table { id: "empty/1", rules }).unwrap_err();
    assert_eq!(refused, RewriteError::NoRule { site: 0 });
}

/// Two presignatures whose sites are mixed, in which a second mask is read by `masked` alone.
fn mixed(masked: impl Fn(&mut Builder, [Var; 3]) -> Var) -> CheckedScore {
    let mut b = Builder::new(Workflow::Presign, 2, 2);
    let x = b.push(SiteOp::ShareLoad).unwrap();
    let k = b.push(SiteOp::ShareRand).unwrap();
    let other = b.push(SiteOp::ShareRand).unwrap();
    let phi = b.push(SiteOp::ShareRand).unwrap();
    let nonce = b.push(SiteOp::ShareEcMul { a: k, to: Label::Public }).unwrap();
    let second = b.push(SiteOp::ShareEcMul { a: other, to: Label::Public }).unwrap();
    let mask = b.push(SiteOp::ShareRand).unwrap();
    let first_mask = b.push(SiteOp::ShareRand).unwrap();
    let u = masked(&mut b, [k, phi, first_mask]);
    let v = b.push(SiteOp::ShareMul { a: first_mask, b: x }).unwrap();
    let second_u = b.push(SiteOp::ShareMul { a: mask, b: other }).unwrap();
    let second_v = b.push(SiteOp::ShareMul { a: mask, b: x }).unwrap();
    let values = vec![nonce, first_mask, u, v, second, mask, second_u, second_v];
    b.push(SiteOp::Stash { values }).unwrap();
    check(b.score).unwrap()
}

#[test]
fn a_sampled_site_is_of_the_match_whose_next_site_reads_it() {
    // %3 is sampled and read by nobody: it has no place in either match.
    let score = mixed(|b, [k, _, mask]| b.push(SiteOp::ShareMul { a: k, b: mask }).unwrap());
    let refused = rewrite(&score, table(Backend::Dkls23Secp256k1)).unwrap_err();
    assert_eq!(refused, RewriteError::NoRule { site: 3 });
    let matches = match_all(score.score(), &[AHEAD_ALONE, LOAD, RAND, STASH]).unwrap();
    let found: Vec<&[u16]> = matches.iter().map(|m| m.sites.as_slice()).collect();
    let wanted: [&[u16]; 5] = [&[0], &[1, 4, 7, 8, 9], &[2, 5, 6, 10, 11], &[3], &[12]];
    assert_eq!(found, wanted);
    // A product that takes the mask and nothing of the match does not bring the mask into it.
    let foreign = mixed(|b, [_, phi, mask]| b.push(SiteOp::ShareMul { a: phi, b: mask }).unwrap());
    let refused = rewrite(&foreign, table(Backend::Dkls23Secp256k1)).unwrap_err();
    assert_eq!(refused, RewriteError::NoRule { site: 1 });
}

const fn alone(name: &'static str, pattern: &'static [Kind]) -> Rule {
    Rule { name, pattern, emits: &[], yields: &[] }
}

const AHEAD_ALONE: Rule = alone(
    "ahead",
    &[Kind::ShareRand, Kind::ShareEcMulPublic, Kind::ShareRand, Kind::ShareMul, Kind::ShareMul],
);
const RAND: Rule = alone("rand", &[Kind::ShareRand]);
const STASH: Rule = alone("stash", &[Kind::Stash]);
