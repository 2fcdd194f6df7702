use super::*;
use crate::compile::{Run, compile};
use crate::testing::{digest, material, nodes, presign, transaction};
use dvm_core::intent::{Act, Backend};

#[test]
fn the_ecdsa_score_reads_as_the_design_writes_it() {
    assert_program(
        &digest(),
        Run::Act(None),
        &[
            "%0 = share_load(key)",
            "%1 = share_rand",
            "%2 = share_ec_mul(%1)",
            "%3 = share_inv(%1)",
            "%4 = share_mul(%3, %0)",
            "%5 = share_lin(digest·[%3] + r(%2)·[%4])",
            "%6 = finalize_sig(%2, %5)",
        ],
    );
}

#[test]
fn the_presignature_and_its_use_read_as_the_design_writes_them() {
    assert_program(
        &presign(nodes(2), 1),
        Run::Act(None),
        &[
            "%0 = share_load(key)",
            "%1 = share_rand",
            "%2 = share_ec_mul(%1)",
            "%3 = share_rand",
            "%4 = share_mul(%1, %3)",
            "%5 = share_mul(%3, %0)",
            "%6 = stash(%2, %3, %4, %5)",
        ],
    );
    let taken = format!("(%0, %0.1, %0.2, %0.3) = take(aff3 7 of {})", material(7).batch);
    assert_program(
        &transaction(),
        Run::Act(Some(material(7))),
        &[
            &taken,
            "%1 = open_to(%0.2)",
            "%2 = share_lin(transaction·[%0.1] + r(%0)·[%0.3])",
            "%3 = share_lin(1/%1·[%2])",
            "%4 = finalize_sig(%0, %3)",
        ],
    );
}

fn assert_program(act: &Act, run: Run, wanted: &[&str]) {
    let compiled = compile(act, run, Backend::Dkls23Secp256k1, &nodes(2)).unwrap();
    let text = l1(compiled.score().score());
    let program: Vec<&str> = text.lines().skip(3).map(|line| line.trim_start()).collect();
    assert_eq!(program.len(), wanted.len());
    for (line, start) in program.iter().zip(wanted) {
        assert!(line.starts_with(start), "{line}");
    }
}

#[test]
fn text_and_data_name_every_site_and_step() {
    let compiled = compile(&digest(), Run::Act(None), Backend::FrostEd25519, &nodes(2)).unwrap();
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
