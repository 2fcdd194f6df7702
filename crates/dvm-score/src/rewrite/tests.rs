use super::*;
use crate::check::check;
use crate::ir::{Coeff, KeyRef, Label, Message, SiteOp, Term};
use crate::lower::{self, Builder};

#[test]
fn frost_has_no_rule_for_ecdsa_and_says_at_which_site() {
    let score = check(lower::ecdsa_sign_score(2).unwrap()).unwrap();
    for backend in Backend::ALL {
        let refused = rewrite(&score, table(backend)).unwrap_err();
        assert_eq!(refused, RewriteError::NoRule { site: 3 });
    }
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
