use super::*;
use crate::compile::{Run, compile};
use crate::lower;
use dvm_core::intent::{Act, Backend};

#[test]
fn the_ecdsa_score_reads_as_the_design_writes_it() {
    let score = lower::ecdsa_sign_score(2).unwrap();
    let text = l1(&score);
    let program: Vec<&str> = text.lines().skip(3).map(|line| line.trim_start()).collect();
    let wanted = [
        "%0 = share_load(key)",
        "%1 = share_rand",
        "%2 = share_ec_mul(%1)",
        "%3 = share_inv(%1)",
        "%4 = share_mul(%3, %0)",
        "%5 = share_lin(digest·[%3] + r(%2)·[%4])",
        "%6 = finalize_sig(%2, %5)",
    ];
    assert_eq!(program.len(), wanted.len());
    for (line, start) in program.iter().zip(wanted) {
        assert!(line.starts_with(start), "{line}");
    }
}

#[test]
fn text_and_data_name_every_site_and_step() {
    let act = Act::SignDigest {
        key_id: "k".parse().unwrap(),
        key_epoch: 1,
        digest: dvm_core::B32::default(),
    };
    let peers = ["a".parse().unwrap(), "b".parse().unwrap()];
    let compiled = compile(&act, Run::Act, Backend::FrostEd25519, &peers).unwrap();
    let (score, made) = (compiled.score().score(), compiled.plan());
    let (score_view, plan_view) = (ScoreView::from(score), PlanView::from(made));
    assert_eq!(score_view.score_id, compiled.score_id().hex());
    assert_eq!(plan_view.plan_id, compiled.plan_id().hex());
    assert_eq!((plan_view.levels, plan_view.steps.len()), (2, made.steps.len()));
    let (l1, l0, plan) = (l1(score), l0(score, made), plan(made));
    for site in &score_view.sites {
        assert!(l1.contains(&site.expression) && l0.contains(site.kind));
    }
    for step in &plan_view.steps {
        assert!(l0.contains(step.op) && plan.contains(step.op));
    }
    assert!(l1.contains(&score_view.score_id) && plan.contains(&plan_view.plan_id));
}
