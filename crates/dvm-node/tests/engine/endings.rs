//! Every request ends: a node that missed how, for whatever reason, is told or finds out.

use dvm_core::intent::Backend;
use dvm_core::{B32, ReasonCode};
use dvm_node::wire::{Consider, PeerMessage};
use serde_json::Value;

use crate::net::{Net, floor, id};

/// `n1` has opened its share and `n2` has granted, but never hears that `n1` has.
fn opened_alone() -> (Net, Value) {
    let mut net = Net::with_key(floor(0, 1));
    net.lies("n1", |to, of_act, message| match message {
        PeerMessage::Frame(_) if !of_act && to.as_str() == "n2" => Vec::new(),
        other => vec![other],
    });
    let held = net.sign("n1", "s-1", "demo", b"m");
    net.approve_release("n1", &held, "a1");
    net.pass_ms(2_000);
    let view = net.view("n1", &held);
    assert_eq!((&view["state"], &view["codes"][0]), (&"Opening".into(), &"REMOTE_TIMEOUT".into()));
    assert_eq!(net.view("n2", &held)["state"], "Executed");
    (net, view)
}

#[test]
fn node_whose_share_is_out_learns_that_another_try_was_published() {
    let (mut net, opened) = opened_alone();
    net.take_down("n1");
    let held = net.sign("n3", "s-1", "demo", b"m");
    assert_eq!(held["intent"], opened["intent"]);
    net.approve_release("n3", &held, "a1");
    let done = net.view("n3", &held);
    assert_eq!((&done["state"], &done["signers"]), (&"Published".into(), &vec!["n2", "n3"].into()));
    net.bring_up("n1");
    let learnt = net.view("n1", &opened);
    assert_eq!(learnt["state"], "Published", "{learnt:#}");
    assert_eq!(learnt["signature_hex"], done["signature_hex"]);
    assert_eq!(net.report("n1", &learnt).state.name(), "Published");
}

#[test]
fn node_whose_share_is_out_says_so_with_a_code_when_the_other_signer_destroyed_its_own() {
    let (mut net, opened) = opened_alone();
    net.deny("n2", &opened, "a2");
    assert_eq!(net.view("n2", &opened)["state"], "Discarded");
    net.pass_ms(5_000);
    let ended = net.view("n1", &opened);
    assert_eq!(ended["state"], "Poisoned", "{ended:#}");
    assert_eq!(ended["codes"][0], "MATERIAL_POISONED");
}

#[test]
fn question_of_a_try_that_was_made_destroys_nothing_when_it_comes_again() {
    let mut net = Net::with_key(floor(0, 1));
    let asked = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let kept = asked.clone();
    net.lies("n1", move |to, _, message| {
        if matches!(message, PeerMessage::Consider(_)) && to.as_str() == "n2" {
            kept.borrow_mut().push(message.clone());
        }
        vec![message]
    });
    let held = net.sign("n1", "s-1", "demo", b"m");
    assert_eq!(held["state"], "Executed", "{held:#}");
    let before = net.disks("n2").1;
    for again in asked.take() {
        net.inject("n1", "n2", again);
    }
    assert_eq!(net.disks("n2").1, before);
    net.approve_release("n1", &held, "a1");
    let done = net.view("n1", &held);
    assert_eq!((&done["state"], &done["attempt"]), (&"Published".into(), &1.into()), "{done:#}");
}

#[test]
fn peer_that_is_asked_again_before_its_kernel_answers_gives_the_last_opening_and_not_the_one_before()
 {
    let mut net = Net::with_key(floor(0, 0));
    net.lies("n1", |to, _, message| match message {
        PeerMessage::Consider(ask) if to.as_str() == "n2" => {
            let before = Box::new(Consider { attempt: 0, ..*ask.clone() });
            vec![PeerMessage::Consider(before), PeerMessage::Consider(ask)]
        }
        other => vec![other],
    });
    net.take_down("n3");
    net.slow = Some(id("n2"));
    let done = net.sign("n1", "s-1", "demo", b"m");
    assert_eq!((&done["state"], &done["attempt"]), (&"Published".into(), &1.into()), "{done:#}");
    assert!(net.refusals.iter().all(|(_, _, code)| *code != ReasonCode::ReplayOrConflict));
}

#[test]
fn signer_that_was_down_when_people_approved_is_told_of_it() {
    let mut net = Net::with_key(floor(0, 1));
    let held = net.sign("n1", "s-1", "demo", b"m");
    net.take_down("n2");
    net.approve_release("n1", &held, "a1");
    assert_eq!(net.view("n1", &held)["state"], "Executed");
    net.bring_up("n2");
    let done = net.view("n1", &held);
    assert_eq!((&done["state"], &done["attempt"]), (&"Published".into(), &1.into()), "{done:#}");
}

#[test]
fn peer_that_does_not_know_of_the_publication_yet_undoes_nothing_and_one_that_lost_it_does() {
    for (code, anew) in [(ReasonCode::SessionMismatch, false), (ReasonCode::MaterialPoisoned, true)]
    {
        let mut net = Net::with_key(floor(0, 1));
        let held = net.sign("n1", "s-1", "demo", b"m");
        let execution_id = B32::from_hex(held["publication_id"].as_str().unwrap()).unwrap();
        net.inject("n2", "n1", PeerMessage::Stopped { execution_id, code });
        let view = net.view("n1", &held);
        assert_eq!(view["execution_id"] != held["execution_id"], anew, "{code}: {view:#}");
    }
}

#[test]
fn held_result_is_kept_from_a_second_coordinator_until_a_signer_of_it_is_away() {
    let mut net = Net::with_key(floor(0, 1));
    let held = net.sign("n1", "s-1", "demo", b"m");
    let second = net.sign("n3", "s-1", "demo", b"m");
    assert_eq!(second["intent"], held["intent"]);
    let told = (&second["state"], &second["codes"][0]);
    assert_eq!(told, (&"PendingRemote".into(), &"APPROVALS_MISSING".into()), "{second:#}");
    let kept = net.view("n1", &held);
    let same = (&kept["state"], &kept["execution_id"]);
    assert_eq!(same, (&"Executed".into(), &held["execution_id"]), "{kept:#}");
    net.take_down("n1");
    net.pass_ms(20_000);
    let anew = net.view("n3", &held);
    assert_eq!(anew["state"], "Executed", "{anew:#}");
    net.approve_release("n3", &anew, "a1");
    assert_eq!(net.view("n2", &held)["state"], "Published");
}

#[test]
fn held_result_that_only_the_kernel_has_lost_is_made_anew() {
    let mut net = Net::with_key(floor(0, 1));
    let held = net.sign("n1", "s-1", "demo", b"m");
    net.kernel_aborts("n1", &held);
    net.crash_and_restart("n1");
    net.pass_ms(3_000);
    let anew = net.view("n1", &held);
    assert_eq!(
        (&anew["state"], &anew["codes"][0]),
        (&"Executed".into(), &"APPROVALS_MISSING".into())
    );
    assert_ne!(anew["execution_id"], held["execution_id"]);
    net.approve_release("n1", &anew, "a1");
    assert_eq!(net.view("n1", &held)["state"], "Published");
}

#[test]
fn node_that_lost_its_last_record_of_a_published_result_hears_it_from_its_kernel() {
    let mut net = Net::with_key(floor(0, 1));
    let held = net.sign("n1", "s-1", "demo", b"m");
    let before = net.disks("n2").0;
    net.lies("n2", |_, of_act, message| match message {
        PeerMessage::Frame(frame) if !of_act && frame.header.body.level > 1 => Vec::new(),
        other => vec![other],
    });
    net.approve_release("n1", &held, "a1");
    assert_eq!(net.view("n2", &held)["state"], "Published");
    assert_eq!(net.view("n1", &held)["state"], "Opening");
    net.lies("n2", |_, _, message| vec![message]);
    net.restart_with("n2", before);
    net.pass_ms(3_000);
    for node in ["n1", "n2"] {
        let done = net.view(node, &held);
        assert_eq!(done["state"], "Published", "{node}: {done:#}");
    }
}

#[test]
fn human_no_that_a_node_has_and_its_kernel_has_not_comes_before_any_grant() {
    let mut net = Net::with_key(floor(0, 1));
    let held = net.sign("n1", "s-1", "demo", b"m");
    net.full = Some(id("n1"));
    net.deny("n1", &held, "a2");
    assert_eq!(net.view("n1", &held)["state"], "Executed");
    net.full = None;
    net.crash_and_restart("n1");
    let denied = net.view("n1", &held);
    assert_eq!(denied["state"], "Discarded", "{denied:#}");
    assert_eq!(denied["codes"][0], "DENIED_BY_APPROVER");
}

#[test]
fn key_that_needs_a_named_culprit_is_given_up_with_a_code() {
    let mut net = Net::formed();
    net.lies(crate::hostile_peer::LIAR, |to, of_act, message| match &message {
        PeerMessage::Frame(frame) if of_act && to.as_str() == "n3" => {
            let other = crate::hostile_peer::retold(frame, |bytes| bytes.fill(7), |_| ());
            vec![PeerMessage::Frame(Box::new(other))]
        }
        _ => vec![message],
    });
    let first = net.submit("n1", "k-1", crate::keygen("demo", Backend::FrostEd25519), None);
    net.pass_ms(10_000);
    let view = net.view("n1", &first);
    assert_eq!(view["culprits"], serde_json::json!([crate::hostile_peer::LIAR]), "{view:#}");
    assert_eq!((&view["state"], &view["codes"][0]), (&"Denied".into(), &"PARTY_BANNED".into()));
}

#[test]
fn node_that_was_away_when_the_end_was_told_asks_for_it() {
    let mut net = Net::with_key(floor(0, 1));
    let held = net.sign("n1", "s-1", "demo", b"m");
    assert_eq!(held["signers"], serde_json::json!(["n1", "n2"]), "{held:#}");
    net.take_down("n3");
    net.approve_release("n1", &held, "a1");
    assert_eq!(net.view("n1", &held)["state"], "Published");
    net.pass_ms(5_000);
    net.bring_up("n3");
    net.pass_ms(1_000);
    assert_eq!(net.view("n3", &held)["state"], "Published");
}

#[test]
fn signer_whose_try_was_replaced_while_it_was_away_hears_the_end() {
    let mut net = Net::with_key(floor(0, 1));
    net.lies("n2", |_, of_act, message| match message {
        PeerMessage::Frame(frame) if of_act && frame.header.body.level == 2 => Vec::new(),
        other => vec![other],
    });
    let held = net.sign("n1", "s-1", "demo", b"m");
    assert_eq!(net.view("n2", &held)["state"], "Executed");
    net.take_down("n2");
    net.pass_ms(6_000);
    let anew = net.view("n1", &held);
    assert_eq!(
        (&anew["state"], &anew["signers"]),
        (&"Executed".into(), &vec!["n1", "n3"].into()),
        "{anew:#}"
    );
    net.approve_release("n1", &anew, "a1");
    assert_eq!(net.view("n1", &anew)["state"], "Published");
    net.bring_up("n2");
    net.pass_ms(3_000);
    let learnt = net.view("n2", &held);
    assert_eq!(learnt["state"], "Published", "{learnt:#}");
}

#[test]
fn signer_that_can_open_no_more_tells_the_one_whose_share_is_out_also_after_a_restart() {
    for restarts in [false, true] {
        let (mut net, opened) = opened_alone();
        let publication = opened["publication_id"].as_str().unwrap().to_owned();
        net.lies("n1", move |_, _, message| match message {
            PeerMessage::Frame(frame) if frame.header.body.execution_id.hex() == publication => {
                Vec::new()
            }
            other => vec![other],
        });
        let other = crate::keygen("other", Backend::FrostEd25519);
        assert_eq!(net.submit("n1", "k-2", other, None)["state"], "Published");
        net.lies("n1", |_, _, message| vec![message]);
        net.pass_ms(1_000);
        if restarts {
            net.crash_and_restart("n2");
        }
        net.pass_ms(5_000);
        let ended = net.view("n1", &opened);
        assert_eq!(
            (&ended["state"], &ended["codes"][0]),
            (&"Poisoned".into(), &"MATERIAL_POISONED".into()),
            "{ended:#}"
        );
    }
}

#[test]
fn grant_that_a_full_disk_kept_from_being_destroyed_is_destroyed_before_the_next_try() {
    let mut net = Net::with_key(floor(0, 1));
    let held = net.sign("n1", "s-1", "demo", b"m");
    net.take_down("n2");
    net.full = Some(id("n1"));
    net.approve_release("n1", &held, "a1");
    net.pass_ms(5_000);
    let stuck = net.view("n1", &held);
    assert_eq!((&stuck["state"], &stuck["codes"][0]), (&"Aborted".into(), &"WRONG_PHASE".into()));
    net.full = None;
    net.pass_ms(5_000);
    let anew = net.view("n1", &held);
    assert_eq!(
        (&anew["state"], &anew["signers"]),
        (&"Executed".into(), &vec!["n1", "n3"].into()),
        "{anew:#}"
    );
}
