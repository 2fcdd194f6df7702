//! Faults that heal: afterwards every request has a result, or ends with a code.

use std::cell::Cell;
use std::rc::Rc;

use dvm_core::NodeId;
use dvm_node::wire::PeerMessage;
use serde_json::json;

use crate::net::{Net, floor, id};

#[test]
fn request_whose_name_another_took_at_too_many_nodes_ends_with_the_conflict_and_at_few_goes_on() {
    let mut net = Net::with_key(floor(0, 0));
    // n1 alone has given the name away: the two others do without it.
    net.lies("n1", |_, _, message| match message {
        PeerMessage::Consider(_) => Vec::new(),
        other => vec![other],
    });
    let lonely = net.sign("n1", "s-1", "demo", b"m");
    assert_eq!(lonely["state"], "PendingRemote", "{lonely:#}");
    let other = net.sign("n2", "s-1", "demo", b"m");
    assert_ne!(lonely["intent"], other["intent"]);
    assert_eq!((&other["state"], &other["signers"]), (&json!("Published"), &json!(["n2", "n3"])));
    // The two others have given it away: n1 can only give up.
    assert_eq!(net.view("n1", &lonely)["state"], "PendingRemote");
    net.lies("n1", |_, _, message| vec![message]);
    net.pass_ms(20_000);
    let lonely = net.view("n1", &lonely);
    assert_eq!(
        (&lonely["state"], &lonely["codes"]),
        (&json!("Denied"), &json!(["REPLAY_OR_CONFLICT"])),
        "{lonely:#}"
    );
}

#[test]
fn signer_that_has_not_seen_the_end_of_the_act_is_waited_for_and_its_result_is_kept() {
    for (lost, attempts) in [(3, 1), (u32::MAX, 2)] {
        let mut net = Net::with_key(floor(0, 0));
        let frames = Rc::new(Cell::new(0));
        let sent = frames.clone();
        net.lies("n1", move |to, of_act, message| match &message {
            PeerMessage::Frame(frame)
                if of_act && frame.header.body.level == 2 && *to == id::<NodeId>("n2") =>
            {
                sent.set(sent.get() + 1);
                if sent.get() > lost { vec![message] } else { Vec::new() }
            }
            _ => vec![message],
        });
        let first = net.sign("n1", "s-1", "demo", b"m");
        net.pass_ms(20_000);
        let view = net.view("n1", &first);
        assert!(frames.get() >= 3, "{}", frames.get());
        assert_eq!(view["state"], "Published", "{view:#}");
        assert_eq!(view["attempt"], attempts, "{view:#}");
        assert_eq!(view["culprits"], json!([]), "{view:#}");
        assert!(net.verifies("demo", b"m", &view));
    }
}

#[test]
fn node_that_lost_its_record_of_a_held_result_gives_it_up_and_its_evidence_holds() {
    let mut net = Net::with_key(floor(0, 0));
    net.dies = Some((id("n1"), 2));
    let view = net.sign("n2", "s-1", "demo", b"m");
    assert_eq!(net.dies, None, "n1 was asked");
    net.crash_and_restart("n1");
    net.pass_ms(20_000);
    let view = net.view("n2", &view);
    assert_eq!(view["state"], "Published", "{view:#}");
    assert!(net.verifies("demo", b"m", &view));
    for node in ["n1", "n2", "n3"] {
        let report = net.report(node, &view);
        let own = report.runs.iter().filter(|run| run.peer == id::<NodeId>(node));
        assert!(own.count() > 0, "{node}");
    }
}

#[test]
fn clock_that_is_set_back_stops_no_deadline() {
    let mut net = Net::with_key(floor(0, 0));
    net.take_down("n2");
    net.take_down("n3");
    net.set_back_ms(600_000);
    let view = net.sign("n1", "s-1", "demo", b"m");
    assert_eq!(
        (&view["state"], &view["codes"]),
        (&json!("PendingRemote"), &json!(["REMOTE_TIMEOUT"])),
        "{view:#}"
    );
}

#[test]
fn node_whose_opening_nobody_took_up_says_whom_it_waits_for_and_still_hears_the_end() {
    let mut net = Net::with_key(floor(0, 1));
    let held = net.sign("n1", "s-1", "demo", b"m");
    assert_eq!((&held["state"], &held["signers"]), (&json!("Executed"), &json!(["n1", "n2"])));
    net.pass_ms(3_500);
    assert_eq!(net.view("n3", &held)["state"], "Admitted");
    net.pass_ms(1_000);
    let waits = net.view("n3", &held);
    assert_eq!(
        (&waits["state"], &waits["codes"], &waits["missing"]),
        (&json!("PendingRemote"), &json!(["REMOTE_TIMEOUT"]), &json!(["n1"])),
        "{waits:#}"
    );
    net.approve_release("n3", &held, "a1");
    net.pass_ms(1_000);
    assert_eq!(net.view("n3", &held)["state"], "Published");
}

#[test]
fn grant_over_what_is_destroyed_has_no_peer_open_its_share() {
    let mut net = Net::with_key(floor(0, 1));
    let held = net.sign("n1", "s-1", "demo", b"m");
    assert_eq!((&held["state"], &held["signers"]), (&json!("Executed"), &json!(["n1", "n2"])));
    net.take_down("n2");
    net.approve_release("n1", &held, "a1");
    net.pass_ms(5_000);
    let anew = net.view("n1", &held);
    assert_eq!((&anew["state"], &anew["signers"]), (&json!("Executed"), &json!(["n1", "n3"])));
    net.bring_up("n2");
    net.approve_release("n2", &held, "a1");
    net.pass_ms(3_000);
    assert_eq!(net.view("n2", &held)["state"], "Executed");
    net.approve_release("n1", &anew, "a1");
    net.pass_ms(1_000);
    assert_eq!(net.view("n2", &held)["state"], "Published");
}
