//! A cheater among the signers of an ECDSA key, and kernels that will not work together: the request that meets them
//! succeeds or ends with a code, and the next ones go through with others, though nobody does anything about it.

use dvm_core::authority::Floor;
use dvm_core::governance::EventKind;
use dvm_core::intent::{ActClass, Backend};
use dvm_core::{NodeId, ReasonCode};
use dvm_node::wire::PeerMessage;
use serde_json::{Value, json};

use crate::hostile_peer::{LIAR, retold_whole};
use crate::net::stock::stocked;
use crate::net::{Net, floor, id};

/// No material is kept: what is claimed here is claimed of whole signatures.
fn transfers() -> Floor {
    Floor { acts: vec![ActClass::SignEvmTransaction], ..stocked(0) }
}

const ECDSA: Backend = Backend::Dkls23Secp256k1;

/// What a liar does to a payload.
type Change = fn(&mut Vec<u8>);

const FLIP: Change = |bytes| {
    if let Some(byte) = bytes.get_mut(3) {
        *byte ^= 1;
    }
};
const NOTHING: Change = |_| {};

/// The liar changes what it says in one level of an act, or of a publication.
fn lie_in(net: &mut Net, (act, at): (bool, u16), private: bool) {
    net.lies(LIAR, move |_, of_act, message| match message {
        PeerMessage::Frame(frame) if act == of_act && frame.header.body.level == at => {
            let (to_all, to_one) = if private { (NOTHING, FLIP) } else { (FLIP, NOTHING) };
            let told = retold_whole(&frame, (to_all, to_one), |_| ());
            vec![PeerMessage::Frame(Box::new(told))]
        }
        message => vec![message],
    });
}

fn honest(net: &mut Net) {
    net.lies(LIAR, |_, _, message| vec![message]);
}

fn signed_by(view: &Value, signers: &[&str], attempt: u64) {
    assert_eq!(view["state"], "Published", "{view:#}");
    assert_eq!(view["signers"], json!(signers), "{view:#}");
    assert_eq!(view["attempt"], attempt, "{view:#}");
    assert!(view["raw_transaction_hex"].is_string(), "it recovers to its sender: {view:#}");
}

#[test]
fn cheater_in_each_round_is_named_and_this_signature_and_the_next_go_through_with_the_others() {
    for (round, private) in [(1, false), (1, true), (2, false), (2, true), (3, false)] {
        let mut net = Net::formed().with(ECDSA, 2, transfers());
        lie_in(&mut net, (true, round), private);
        let first = net.signs("n1", 1);
        signed_by(&first, &["n1", "n3"], 2);
        assert_eq!(first["culprits"], json!([LIAR]), "round {round}, private {private}");
        honest(&mut net);
        // By this node's memory of the ban, if its kernel stated one; else by what its kernel says to the try.
        let banned = net.metrics("n1")["bans"].as_u64().unwrap();
        let next = net.signs("n1", 2);
        assert_eq!(next["state"], "Published", "{next:#}");
        if banned > 0 {
            signed_by(&next, &["n1", "n3"], 1);
            assert_eq!((&next["culprits"], &next["left_out"]), (&json!([]), &json!([LIAR])));
        }
        if (round, private) != (2, true) {
            continue;
        }
        // What the ban says is true after a restart, too.
        assert_eq!(banned, 1);
        net.crash_and_restart("n1");
        assert_eq!(net.metrics("n1")["bans"], banned);
        signed_by(&net.signs("n1", 3), &["n1", "n3"], 1);
    }
}

#[test]
fn signers_whose_signature_came_out_wrong_do_not_sign_together_and_the_others_do() {
    let mut net = Net::formed().with(ECDSA, 2, transfers());
    lie_in(&mut net, (false, 2), false);
    // The share is out, so this very request can end in no signature, and nobody can be named.
    let first = net.signs("n1", 1);
    net.pass_ms(20_000);
    let first = net.view("n1", &first);
    assert_eq!((&first["state"], &first["culprits"]), (&json!("Poisoned"), &json!([])));
    honest(&mut net);
    // The kernel says that it keeps the two apart; the request does not notice.
    let next = net.signs("n1", 2);
    signed_by(&next, &["n1", "n3"], 2);
    assert_eq!((&next["culprits"], &next["left_out"]), (&json!([]), &json!([])));
    assert_eq!(next["codes"], json!([]));
    // Nor does the one after it, which does not even try.
    signed_by(&net.signs("n1", 3), &["n1", "n3"], 1);
    // With the third away there is no set left, and that is said.
    net.take_down("n3");
    let alone = net.signs("n1", 4);
    assert_ne!(alone["state"], "Published", "{alone:#}");
    assert_eq!(alone["codes"], json!(["REMOTE_TIMEOUT"]), "{alone:#}");
    assert_eq!(alone["missing"], json!(["n3"]), "{alone:#}");
    // Governors unfreeze the key: the two sign again.
    net.decide(EventKind::KeyUnfrozen { key_id: id("demo") }, None, &["g1", "g2"]);
    signed_by(&net.signs("n1", 5), &["n1", "n2"], 1);
}

/// n3's kernel says this of every run with n2 in it.
fn n3_refuses_n2(net: &mut Net, code: ReasonCode) {
    let with_n2 = std::cell::RefCell::new(std::collections::BTreeSet::new());
    net.lies("n3", move |_, of_act, message| match message {
        PeerMessage::Frame(frame) if of_act => {
            let run = frame.header.body.execution_id;
            let to_n2 = frame.to == id::<NodeId>("n2");
            if to_n2 {
                with_n2.borrow_mut().insert(run);
            }
            if with_n2.borrow().contains(&run) || to_n2 {
                vec![PeerMessage::Stopped { execution_id: run, code }]
            } else {
                vec![PeerMessage::Frame(frame)]
            }
        }
        message => vec![message],
    });
}

#[test]
fn set_that_a_peers_kernel_refuses_is_left_for_another_and_the_peer_is_not_left_out() {
    const FIVE: [&str; 5] = ["n1", "n2", "n3", "n4", "n5"];
    for code in [ReasonCode::PartyBanned, ReasonCode::KeyFrozen] {
        let mut net = Net::of(&FIVE).with(Backend::FrostEd25519, 3, floor(0, 0));
        n3_refuses_n2(&mut net, code);
        let mut tries = Vec::new();
        for n in 0..4_u64 {
            let view = net.sign("n1", &format!("s-{n}"), "demo", b"m");
            assert_eq!(view["state"], "Published", "{view:#}");
            assert_eq!((&view["culprits"], &view["left_out"]), (&json!([]), &json!([])));
            tries.push(view["attempt"].as_u64().unwrap());
        }
        assert_eq!(tries[0], 2, "{tries:?}");
        assert!(tries[1..].iter().all(|tries| *tries == 1), "{tries:?}");
        // With n4 away n3 signs with those that it signs with, or the others do without it.
        net.take_down("n4");
        let view = net.sign("n1", "s-9", "demo", b"m");
        assert_eq!((&view["state"], &view["attempt"]), (&json!("Published"), &json!(1)));
        let together = |node: &&str| view["signers"].as_array().unwrap().contains(&json!(node));
        assert!(!["n2", "n3"].iter().all(together), "{view:#}");
    }
}

#[test]
fn peer_whose_kernel_refuses_two_sets_of_one_operation_is_not_left_out_for_it() {
    const SEVEN: [&str; 7] = ["n1", "n2", "n3", "n4", "n5", "n6", "n7"];
    let mut net = Net::of(&SEVEN).with(Backend::FrostEd25519, 4, floor(0, 0));
    n3_refuses_n2(&mut net, ReasonCode::PartyBanned);
    let view = net.sign("n1", "s-1", "demo", b"m");
    assert_eq!((&view["state"], &view["attempt"]), (&json!("Published"), &json!(3)), "{view:#}");
    assert_eq!((&view["culprits"], &view["left_out"]), (&json!([]), &json!([])), "{view:#}");
}

#[test]
fn peer_that_refuses_every_set_rules_out_none_but_its_own() {
    const FOUR: [&str; 4] = ["n1", "n2", "n3", "n4"];
    let mut net = Net::of(&FOUR).with(Backend::FrostEd25519, 3, floor(0, 0));
    net.lies(LIAR, |_, of_act, message| match message {
        PeerMessage::Frame(frame) if of_act => {
            let (execution_id, code) = (frame.header.body.execution_id, ReasonCode::PartyBanned);
            vec![PeerMessage::Stopped { execution_id, code }]
        }
        message => vec![message],
    });
    for n in 0..2_u64 {
        let view = net.sign("n1", &format!("s-{n}"), "demo", b"m");
        assert_eq!(view["state"], "Published", "{view:#}");
        assert_eq!(view["signers"], json!(["n1", "n3", "n4"]), "{view:#}");
    }
}
