//! Every checker complains about a hand-made bad history, and is silent about its good twin.

use dvm_core::trace::{Terminal, TraceRoot};
use dvm_core::{Link, NodeId, ReasonCode};

use super::*;

fn node(name: &str) -> NodeId {
    crate::cast::id(name)
}

fn b32(n: u8) -> B32 {
    B32([n; 32])
}

fn link(text: &str) -> Link {
    Link::of_raw(text.as_bytes())
}

fn run(execution: u8, publishes: Option<(B32, B32)>) -> Fact {
    Fact::Run(RunFacts {
        execution: b32(execution),
        intent: link("intent"),
        participants: vec![node("n1"), node("n2")],
        publishes,
        signs_with: Some(crate::cast::id("demo")),
        multiplies: true,
        material: None,
    })
}

fn said(name: &str, (execution, level): (u8, u16), root: u8, broadcast: &[u8]) -> Fact {
    let broadcast = broadcast.to_vec();
    let words = Words { execution: b32(execution), level, root: b32(root), broadcast };
    Fact::Said { node: node(name), vault_seq: 5, words }
}

fn granted(name: &str) -> Fact {
    Fact::Granted { node: node(name), publication: b32(2) }
}

/// The act run 1 and its publication 2.
fn judge(asks: Asks) -> Judge {
    let mut judge = Judge::new(asks);
    judge.see(run(1, None)).unwrap();
    judge.see(run(2, Some((b32(1), b32(7))))).unwrap();
    judge
}

fn complains(judge: &mut Judge, fact: Fact, checker: &str) {
    assert!(CHECKERS.contains(&checker));
    assert_eq!(judge.see(fact).unwrap_err().checker, checker);
}

#[test]
fn one_time_ids_complains_about_a_nonce_in_two_runs_and_not_about_one_sent_twice() {
    let mut judge = judge(Asks::default());
    judge.see(run(3, None)).unwrap();
    judge.see(said("n1", (1, 1), 1, b"nonce")).unwrap();
    judge.see(said("n1", (1, 1), 1, b"nonce")).unwrap();
    complains(&mut judge, said("n1", (3, 1), 1, b"nonce"), "one-time-ids");
}

#[test]
fn one_time_ids_complains_about_two_partial_signatures_of_one_act_even_after_a_rollback() {
    let mut judge = judge(Asks::default());
    judge.rolled_back(node("n1"));
    judge.see(granted("n1")).unwrap();
    judge.see(granted("n2")).unwrap();
    judge.see(said("n1", (2, 2), 1, b"share")).unwrap();
    judge.see(said("n1", (2, 2), 1, b"share")).unwrap();
    complains(&mut judge, said("n1", (2, 2), 1, b"other"), "one-time-ids");
}

#[test]
fn one_time_ids_complains_about_two_roots_of_an_honest_kernel_and_not_of_a_liar() {
    let mut judge = judge(Asks::default());
    judge.see(said("n1", (1, 2), 1, b"")).unwrap();
    complains(&mut judge, said("n1", (1, 2), 2, b""), "one-time-ids");
    judge.distrust(node("n2"));
    judge.see(said("n2", (1, 2), 1, b"")).unwrap();
    judge.see(said("n2", (1, 2), 2, b"")).unwrap();
}

#[test]
fn one_time_ids_complains_about_a_permit_in_two_contexts() {
    let mut judge = judge(Asks::default());
    let permit =
        |context: &str| Fact::Permit { node: node("n1"), permit: b32(1), context: link(context) };
    judge.see(permit("a")).unwrap();
    judge.see(permit("a")).unwrap();
    complains(&mut judge, permit("b"), "one-time-ids");
    judge.rolled_back(node("n1"));
    judge.see(permit("b")).unwrap();
}

#[test]
fn grants_first_complains_about_a_share_before_the_last_grant() {
    let mut early = judge(Asks::default());
    early.see(granted("n1")).unwrap();
    complains(&mut early, said("n1", (2, 2), 1, b"share"), "grants-first");
    let mut late = judge(Asks::default());
    late.see(granted("n1")).unwrap();
    late.see(granted("n2")).unwrap();
    late.see(said("n1", (2, 2), 1, b"share")).unwrap();
    assert_eq!(late.openings, 1);
}

fn root(name: &str, view: u8, terminal: Option<Terminal>) -> Fact {
    let root = TraceRoot {
        cluster: link("cluster"),
        self_peer: node(name),
        execution_id: b32(1),
        header: link("header"),
        score_id: b32(1),
        plan_id: b32(1),
        vm_version: 1,
        facts_root: b32(1),
        facts: 1,
        results_root: b32(1),
        confirmed_level: 1,
        view_root: b32(view),
        terminal,
    };
    Fact::Root { node: node(name), root: Box::new(root) }
}

#[test]
fn one_story_complains_about_two_honest_finishers_with_two_views() {
    let done = || Some(Terminal::Done);
    let mut judge = judge(Asks::default());
    judge.see(root("n1", 1, done())).unwrap();
    judge.see(root("n2", 1, done())).unwrap();
    assert_eq!(judge.stories, 1);
    judge.see(root("n2", 2, Some(Terminal::Benign(ReasonCode::RemoteTimeout)))).unwrap();
    complains(&mut judge, root("n3", 2, done()), "one-story");
    judge.distrust(node("n2"));
    judge.see(root("n2", 3, done())).unwrap();
}

#[test]
fn honest_never_blamed_complains_unless_the_culprit_lies() {
    let blamed = |culprit: &str| {
        let terminal =
            Terminal::Blamed { code: ReasonCode::PayloadRejected, culprit: node(culprit) };
        root("n1", 1, Some(terminal))
    };
    let mut judge = judge(Asks::default());
    judge.distrust(node("n3"));
    judge.see(blamed("n3")).unwrap();
    complains(&mut judge, blamed("n2"), "honest-never-blamed");
}

/// The publication 4 of n2 and n3, of the intent that n1 and n2 publish in 2.
fn by_others() -> Fact {
    let Fact::Run(mut other) = run(4, Some((b32(3), b32(8)))) else { unreachable!() };
    other.participants = vec![node("n2"), node("n3")];
    Fact::Run(other)
}

fn result(bytes: &[u8], publication: Option<u8>, verifies: bool) -> Fact {
    let (node, intent) = (node("n1"), link("intent"));
    Fact::Result {
        node,
        intent,
        result: bytes.to_vec(),
        publication: publication.map(b32),
        verifies,
    }
}

#[test]
fn one_signature_complains_about_a_second_one_and_about_a_bad_one() {
    let mut judge = judge(Asks::default());
    judge.see(result(b"a", Some(2), true)).unwrap();
    judge.see(result(b"a", None, true)).unwrap();
    complains(&mut judge, result(b"b", None, true), "one-signature");
    complains(&mut judge, result(b"b", Some(2), true), "one-signature");
    complains(&mut judge, result(b"a", Some(2), false), "one-signature");
}

#[test]
fn one_signature_lets_a_second_one_be_only_if_who_had_a_part_in_both_has_forgotten_or_lies() {
    let mut judge = judge(Asks::default());
    judge.see(by_others()).unwrap();
    judge.see(result(b"a", Some(2), true)).unwrap();
    judge.rolled_back(node("n3"));
    complains(&mut judge, result(b"b", Some(4), true), "one-signature");
    judge.rolled_back(node("n2"));
    judge.see(result(b"b", Some(4), true)).unwrap();
    complains(&mut judge, result(b"c", Some(2), true), "one-signature");
    complains(&mut judge, result(b"c", None, true), "one-signature");
}

#[test]
fn refusal_changes_nothing_complains_about_a_commit_and_about_an_act() {
    let kernel = |commits, code| Fact::KernelRefused {
        node: node("n1"),
        code,
        rule: "a rule".into(),
        commits,
    };
    let mut judge = judge(Asks::default());
    judge.see(kernel(0, ReasonCode::WrongPhase)).unwrap();
    judge.see(kernel(1, ReasonCode::StepPermitReused)).unwrap();
    complains(&mut judge, kernel(1, ReasonCode::WrongPhase), "refusal-changes-nothing");
    // Evidence of a key that speaks twice is kept; but only a liar or an old directory makes any.
    let fenced = || kernel(1, ReasonCode::SplitBrainFenced);
    complains(&mut judge, fenced(), "refusal-changes-nothing");
    judge.distrust(node("n3"));
    judge.see(fenced()).unwrap();
    complains(&mut judge, kernel(1, ReasonCode::WrongPhase), "refusal-changes-nothing");
    let engine =
        |acts| Fact::EngineRefused { node: node("n1"), event: "frame refused".into(), acts };
    judge.see(engine(false)).unwrap();
    complains(&mut judge, engine(true), "refusal-changes-nothing");
}

#[test]
fn durable_before_said_complains_about_a_kernel_that_knows_less_than_it_said() {
    let booted = |vault_seq| Fact::Booted { node: node("n1"), vault_seq };
    let mut judge = judge(Asks::default());
    judge.see(said("n1", (1, 1), 1, b"nonce")).unwrap();
    judge.see(booted(5)).unwrap();
    complains(&mut judge, booted(4), "durable-before-said");
    judge.rolled_back(node("n1"));
    judge.see(booted(4)).unwrap();
}

#[test]
fn one_signature_complains_about_an_intent_performed_anew_whose_share_is_out() {
    let opened = |name: &str| Fact::Opened { node: node(name), intent: link("intent") };
    let mut judge = judge(Asks::default());
    judge.see(opened("n1")).unwrap();
    judge.see(granted("n1")).unwrap();
    judge.see(granted("n2")).unwrap();
    judge.see(opened("n1")).unwrap();
    judge.see(said("n1", (2, 2), 9, b"share")).unwrap();
    judge.see(opened("n2")).unwrap();
    complains(&mut judge, opened("n1"), "one-signature");
    judge.rolled_back(node("n1"));
    judge.see(opened("n1")).unwrap();
}

#[test]
fn people_decide_complains_about_a_grant_with_one_approval_too_few_or_for_another_purpose() {
    let approved = |person: &str, purpose| Fact::Approved {
        person: person.into(),
        intent: link("intent"),
        purpose,
    };
    let release = || Purpose::Release { execution_id: b32(1), result_ref: b32(7) };
    let mut judge = judge(Asks { admit: 0, release: 2 });
    judge.see(approved("a1", release())).unwrap();
    judge.see(approved("a1", release())).unwrap();
    judge.see(approved("a2", Purpose::Admit)).unwrap();
    complains(&mut judge, granted("n1"), "people-decide");
    judge.see(approved("a2", release())).unwrap();
    judge.see(granted("n1")).unwrap();
}

#[test]
fn people_decide_complains_about_an_opening_without_admission_or_after_a_denial() {
    let opened = || Fact::Opened { node: node("n1"), intent: link("intent") };
    let mut judge = judge(Asks { admit: 1, release: 0 });
    judge.expect(link("intent"));
    complains(&mut judge, opened(), "people-decide");
    let person = "a1".to_owned();
    judge.see(Fact::Approved { person, intent: link("intent"), purpose: Purpose::Admit }).unwrap();
    judge.see(opened()).unwrap();
    judge.see(Fact::Tombstoned { node: node("n1"), intent: link("intent") }).unwrap();
    complains(&mut judge, opened(), "people-decide");
    complains(&mut judge, granted("n1"), "people-decide");
}

#[test]
fn every_request_ends_complains_about_what_stands_still_without_people_to_wait_for() {
    let ended = |state: &str, codes: &[&str], excused| {
        Fact::Ended(Ended {
            node: node("n1"),
            intent: "intent".into(),
            state: state.into(),
            codes: codes.iter().map(|c| (*c).to_owned()).collect(),
            excused,
        })
    };
    let mut judge = judge(Asks::default());
    judge.see(ended("Published", &[], false)).unwrap();
    judge.see(ended("Executed", &["APPROVALS_MISSING"], false)).unwrap();
    judge.see(ended("PendingRemote", &["REMOTE_TIMEOUT"], true)).unwrap();
    complains(&mut judge, ended("PendingRemote", &["REMOTE_TIMEOUT"], false), "every-request-ends");
    complains(&mut judge, ended("Running", &[], true), "every-request-ends");
    let silent = Fact::Unanswered { node: node("n1"), what: "a look".into(), waited_ms: 1 };
    complains(&mut judge, silent, "every-request-ends");
}

#[test]
fn no_internal_and_bundles_verify_complain() {
    let mut judge = judge(Asks::default());
    let internal = Fact::KernelInternal { node: node("n1"), rule: "a rule".into() };
    complains(&mut judge, internal, "no-internal");
    let bundle = |refused: Option<&str>| Fact::Bundle {
        node: node("n1"),
        intent: "intent".into(),
        refused: refused.map(str::to_owned),
    };
    judge.see(bundle(None)).unwrap();
    complains(&mut judge, bundle(Some("no")), "bundles-verify");
}

fn key() -> dvm_core::KeyId {
    crate::cast::id("demo")
}

fn banned(name: &str, culprit: &str) -> Fact {
    Fact::Banned { node: node(name), culprit: node(culprit), key: key() }
}

fn performed(name: &str, execution: u8, level: u16) -> Fact {
    Fact::Performed { node: node(name), execution: b32(execution), level }
}

fn started(name: &str, execution: u8) -> Fact {
    Fact::Started { node: node(name), execution: b32(execution) }
}

#[test]
fn bans_hold_complains_about_a_start_and_about_a_level_with_whom_the_kernel_banned() {
    let mut judge = judge(Asks::default());
    judge.distrust(node("n2"));
    judge.see(started("n1", 1)).unwrap();
    judge.see(performed("n1", 1, 1)).unwrap();
    judge.see(banned("n1", "n2")).unwrap();
    complains(&mut judge, started("n1", 1), "bans-hold");
    complains(&mut judge, performed("n1", 1, 2), "bans-hold");
    // A ban is its kernel's own, and what is held with the banned one is published all the same.
    judge.see(performed("n2", 1, 2)).unwrap();
    judge.see(performed("n1", 2, 2)).unwrap();
    assert_eq!(judge.bans, 1);
    judge.rolled_back(node("n1"));
    judge.see(performed("n1", 1, 2)).unwrap();
}

#[test]
fn bans_hold_lets_a_banned_one_make_and_sign_with_another_key() {
    let mut judge = judge(Asks::default());
    judge.distrust(node("n2"));
    judge.see(banned("n1", "n2")).unwrap();
    for (execution, signs_with) in [(5, None), (6, Some(crate::cast::id("other")))] {
        let Fact::Run(mut other) = run(execution, None) else { unreachable!() };
        other.signs_with = signs_with;
        judge.see(Fact::Run(other)).unwrap();
        judge.see(started("n1", execution)).unwrap();
        judge.see(performed("n1", execution, 2)).unwrap();
    }
}

#[test]
fn bans_hold_complains_about_signers_that_start_again_after_they_failed_together() {
    let mut judge = judge(Asks::default());
    judge.see(run(3, None)).unwrap();
    let Fact::Run(mut others) = run(4, None) else { unreachable!() };
    others.participants = vec![node("n1"), node("n3")];
    judge.see(Fact::Run(others)).unwrap();
    judge.see(started("n1", 3)).unwrap();
    judge.see(Fact::FailedUnnamed { node: node("n1"), execution: b32(2) }).unwrap();
    complains(&mut judge, started("n1", 3), "bans-hold");
    judge.see(started("n1", 4)).unwrap();
    judge.see(started("n2", 3)).unwrap();
    // What they had begun before may end.
    judge.see(performed("n1", 3, 2)).unwrap();
}

#[test]
fn honest_never_blamed_complains_about_a_ban_of_whoever_only_has_a_bad_runtime_or_an_old_directory()
{
    let mut judge = judge(Asks::default());
    judge.distrust_runtime(node("n2"));
    judge.rolled_back(node("n3"));
    let by = node("n1");
    let named = Fact::Blamed { by, culprit: node("n2"), what: "a share".into() };
    complains(&mut judge, named, "honest-never-blamed");
    complains(&mut judge, banned("n1", "n2"), "honest-never-blamed");
    complains(&mut judge, banned("n1", "n3"), "honest-never-blamed");
    judge.distrust(node("n2"));
    judge.see(banned("n1", "n2")).unwrap();
    judge.see(banned("n2", "n1")).unwrap();
}

#[test]
fn cheats_show_complains_about_a_run_that_ends_well_at_whom_it_was_lied_to() {
    let mut judge = judge(Asks::default());
    judge.lied_to(node("n1"), b32(1), 3);
    judge.see(performed("n1", 1, 3)).unwrap();
    judge.lied_to(node("n1"), b32(1), 2);
    judge.see(performed("n1", 1, 2)).unwrap();
    judge.see(performed("n2", 1, 3)).unwrap();
    complains(&mut judge, performed("n1", 1, 3), "cheats-show");
    judge.see(granted("n2")).unwrap();
    complains(&mut judge, granted("n1"), "cheats-show");
    judge.distrust(node("n1"));
    judge.see(performed("n1", 1, 3)).unwrap();
}

#[test]
fn cheats_show_asks_of_signers_that_do_not_multiply_only_that_they_do_not_grant() {
    let mut judge = judge(Asks::default());
    let Fact::Run(mut plain) = run(1, None) else { unreachable!() };
    plain.multiplies = false;
    judge.see(Fact::Run(plain)).unwrap();
    judge.lied_to(node("n1"), b32(1), 1);
    judge.see(performed("n1", 1, 3)).unwrap();
    complains(&mut judge, granted("n1"), "cheats-show");
}

/// Act run 3 or 5 with a piece of a batch.
fn takes(execution: u8, batch: u8, index: u32) -> Fact {
    let Fact::Run(mut with) = run(execution, None) else { unreachable!() };
    with.material = Some(dvm_core::run::Material { batch: b32(batch), index });
    Fact::Run(with)
}

#[test]
fn one_time_ids_complains_about_material_in_two_runs_even_after_a_rollback() {
    for (batch, index, again) in [(7, 0, true), (7, 1, false), (8, 0, false)] {
        let mut judge = judge(Asks::default());
        judge.see(takes(3, 7, 0)).unwrap();
        judge.see(takes(5, batch, index)).unwrap();
        judge.rolled_back(node("n1"));
        judge.see(said("n1", (3, 1), 1, b"one")).unwrap();
        judge.see(said("n1", (3, 1), 1, b"one")).unwrap();
        // The level says the result's name, which is the same at all.
        judge.see(said("n3", (3, 1), 1, b"one")).unwrap();
        // Another's part of the same piece is another's.
        judge.see(said("n2", (5, 1), 1, b"two")).unwrap();
        let second = said("n1", (5, 1), 1, b"three");
        if again {
            complains(&mut judge, second, "one-time-ids");
        } else {
            judge.see(second).unwrap();
        }
    }
}
