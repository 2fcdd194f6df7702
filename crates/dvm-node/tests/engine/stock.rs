//! One-time material in stock: when it is made, that signatures spend it, and what is left when anything goes wrong.

use dvm_core::ReasonCode;
use dvm_core::intent::{ActClass, Backend};
use dvm_node::engine::PoolMarks;
use dvm_node::wire::PeerMessage;
use serde_json::{Value, json};

use crate::hostile_peer::{LIAR, retold_whole};
use crate::net::stock::stocked;
use crate::net::{Net, floor};

const BOTH: [Backend; 2] = [Backend::FrostEd25519, Backend::Dkls23Secp256k1];
const ECDSA: Backend = Backend::Dkls23Secp256k1;

/// Three nodes that have signed once together at n1, with n2.
fn warm(backend: Backend) -> Net {
    let mut net = Net::formed().with(backend, 2, stocked(0));
    let first = net.signs("n1", 1);
    assert_eq!(first["state"], "Published", "{first:#}");
    assert_eq!((&first["material"], &first["signers"]), (&Value::Null, &json!(["n1", "n2"])));
    net.pass_ms(1_000);
    net
}

fn published(view: &Value) {
    assert_eq!(view["state"], "Published", "{view:#}");
}

#[test]
fn first_signature_with_a_set_stocks_it_and_the_next_ones_spend_a_piece_each() {
    for backend in BOTH {
        let mut net = Net::formed().with(backend, 2, stocked(0));
        net.pass_ms(5_000);
        assert_eq!(net.depth("n1", "n1,n2"), None, "nothing is made for a set that never signed");
        published(&net.signs("n1", 1));
        net.pass_ms(1_000);
        for node in ["n1", "n2"] {
            assert_eq!(net.depth(node, "n1,n2"), Some(32), "{backend:?} {node}");
        }
        assert_eq!(net.depth("n1", "n1,n3"), None);
        let mut spent = Vec::new();
        for nonce in 2..6 {
            let view = net.signs("n1", nonce);
            published(&view);
            spent.push(view["material"].as_str().unwrap().to_owned());
            assert_eq!(net.observed("n1", &view)[0]["levels"], 1);
            assert_eq!(net.report("n1", &view).state.name(), "Published");
        }
        let all = spent.len();
        spent.sort();
        spent.dedup();
        assert_eq!(spent.len(), all, "no piece twice: {spent:?}");
        assert_eq!(net.depth("n2", "n1,n2"), Some(28), "the other kernel spent the same");
        assert_eq!(net.counted("n1", "Published", "stashed"), 4);
        assert_eq!(net.counted("n1", "Published", "fresh"), 1);
    }
}

#[test]
fn below_the_low_mark_more_is_made_up_to_the_high_one() {
    let mut net = warm(Backend::FrostEd25519);
    // 16 of the 32 pieces are n1's; of them fewer than 4 are left after 13.
    for nonce in 2..15 {
        published(&net.signs("n1", nonce));
    }
    net.pass_ms(1_000);
    let depth = net.depth("n1", "n1,n2").unwrap();
    assert!((32..=64).contains(&depth), "{depth}");
    let runs = net.metrics("n1")["runs"].clone();
    let batches = runs.as_array().unwrap().iter().find(|line| line["kind"] == "batch").unwrap();
    assert_eq!((&batches["end"], &batches["count"]), (&json!("done"), &json!(2)), "{runs:#}");
}

#[test]
fn nothing_is_stocked_where_the_floor_does_not_name_it_or_the_configuration_does_not_want_it() {
    let unnamed = dvm_core::authority::Floor {
        acts: vec![ActClass::SignMessage, ActClass::SignEvmTransaction],
        ..stocked(0)
    };
    let mut net = Net::formed().with(ECDSA, 2, unnamed);
    published(&net.signs("n1", 1));
    net.pass_ms(2_000);
    assert_eq!(net.depth("n1", "n1,n2"), Some(0));
    let view = net.prepares("n1", "b-1", &["n1", "n2"], 2);
    assert_eq!((&view["state"], &view["codes"]), (&json!("Denied"), &json!(["POLICY_DENIED"])));

    let mut net = Net::formed();
    net.marks = PoolMarks { high: 0, ..PoolMarks::default() };
    for node in ["n1", "n2", "n3"] {
        net.crash_and_restart(node);
    }
    let mut net = net.with(Backend::FrostEd25519, 2, stocked(0));
    published(&net.signs("n1", 1));
    net.pass_ms(2_000);
    assert_eq!(net.depth("n1", "n1,n2").unwrap_or(0), 0);
}

#[test]
fn two_nodes_that_sign_at_once_never_reach_for_one_piece() {
    for backend in BOTH {
        let mut net = warm(backend);
        published(&net.signs("n2", 2));
        net.pass_ms(1_000);
        let asked: Vec<(&str, u64)> =
            (0..8).map(|n| (if n % 2 == 0 { "n1" } else { "n2" }, 10 + n)).collect();
        let views = net.signs_at_once(&asked);
        for view in &views {
            published(view);
        }
        let mut spent: Vec<&str> = views.iter().filter_map(|v| v["material"].as_str()).collect();
        let all = spent.len();
        spent.sort_unstable();
        spent.dedup();
        assert_eq!(spent.len(), all, "{spent:?}");
        assert!(all >= 4, "{all} of 8 spent material");
        let poisoned = |(_, _, code): &&(_, _, ReasonCode)| *code == ReasonCode::MaterialPoisoned;
        assert_eq!(net.refusals.iter().filter(poisoned).count(), 0);
    }
}

#[test]
fn signature_whose_material_a_peer_does_not_have_is_made_anew_without_and_the_peer_stays() {
    for backend in BOTH {
        let mut net = warm(backend);
        // Another batch is at hand, too: the second try might reach for that one.
        assert_eq!(net.prepares("n1", "b-1", &["n1", "n2"], 4)["state"], "Stashed");
        let mut spends = std::collections::BTreeSet::new();
        // n2 hears of the material in the proposal, and denies that it has it.
        net.lies(LIAR, move |_, of_act, message| match message {
            PeerMessage::Frame(frame)
                if of_act && spends.insert(frame.header.body.execution_id) =>
            {
                let execution_id = frame.header.body.execution_id;
                if spends.len() > 1 {
                    return vec![PeerMessage::Frame(frame)];
                }
                let code = ReasonCode::MaterialPoisoned;
                vec![PeerMessage::Stopped { execution_id, code }]
            }
            message => vec![message],
        });
        let view = net.signs("n1", 2);
        published(&view);
        assert_eq!((&view["attempt"], &view["material"]), (&json!(2), &Value::Null), "{view:#}");
        assert_eq!((&view["culprits"], &view["left_out"]), (&json!([]), &json!([])));
        // Nothing of that batch is tried again; more is made.
        net.pass_ms(2_000);
        let next = net.signs("n1", 3);
        published(&next);
        assert_eq!(next["attempt"], 1, "{next:#}");
        assert!(next["material"].is_string(), "{next:#}");
    }
}

#[test]
fn what_was_in_stock_is_gone_with_a_kernel_and_what_watchers_are_told_says_so() {
    for backend in BOTH {
        let mut net = warm(backend);
        assert_eq!(net.depth("n1", "n1,n2"), Some(32));
        // n2 cannot help to make more.
        net.take_down("n2");
        net.crash_and_restart("n1");
        assert_eq!(net.depth("n1", "n1,n2"), Some(0), "{backend:?}");
        published(&net.signs("n1", 2));
        assert_eq!(net.counted("n1", "Published", "stashed"), 0);
        // Its own kernel runs on, and so does what it has; but nobody can spend it with n1's new one.
        net.bring_up("n2");
        net.pass_ms(6_000);
        // n1 signed with the set in the last hour, so that it is stocked again without another first signature.
        assert_eq!(net.depth("n1", "n1,n2"), Some(32), "{backend:?}");
        let view = net.signs("n1", 3);
        published(&view);
        assert_eq!(view["attempt"], 1);
    }
}

#[test]
fn a_peers_new_kernel_empties_the_stock_beside_it_before_anybody_reaches_for_it() {
    let mut net = warm(ECDSA);
    net.crash_and_restart("n2");
    let view = net.signs("n1", 2);
    published(&view);
    assert_eq!(view["attempt"], 1, "{view:#}");
    assert_eq!(view["material"], Value::Null, "{view:#}");
    net.pass_ms(6_000);
    assert_eq!(net.depth("n2", "n1,n2"), Some(32));
    assert!(net.signs("n1", 3)["material"].is_string());
}

#[test]
fn what_nobody_spends_is_gone_after_its_time_and_watchers_see_it_go() {
    let mut net = warm(ECDSA);
    net.take_down("n2");
    net.jump_ms(9 * 60_000);
    assert_eq!(net.depth("n1", "n1,n2"), Some(32));
    net.jump_ms(2 * 60_000);
    assert_eq!(net.depth("n1", "n1,n2"), Some(0));
    published(&net.signs("n1", 2));
}

#[test]
fn batch_gives_way_to_signatures_and_is_made_all_the_same() {
    let mut net = warm(ECDSA);
    for nonce in 2..15 {
        published(&net.signs("n1", nonce));
    }
    assert_eq!(
        net.depth("n1", "n1,n2"),
        Some(19),
        "three of its own: one less than it wants at least"
    );
    net.batch_levels.clear();
    // More is made just as eight signatures are asked for.
    let asked: Vec<(&str, u64)> = (0..8).map(|n| ("n1", 20 + n)).collect();
    for view in net.signs_at_once(&asked) {
        published(&view);
    }
    assert!(net.batch_levels.len() >= 3, "{:?}", net.batch_levels);
    assert!(net.batch_levels.iter().all(|waiting| *waiting == 0), "{:?}", net.batch_levels);
    assert!(net.depth("n1", "n1,n2").unwrap() >= 8);
}

#[test]
fn batch_that_people_ask_for_ends_in_the_kernels_and_its_bundle_holds() {
    for backend in BOTH {
        let mut net = Net::formed().with(backend, 2, stocked(1));
        let view = net.prepares("n1", "b-1", &["n1", "n3"], 6);
        assert_eq!((&view["state"], &view["act"]), (&json!("Stashed"), &json!("presign.batch")));
        assert_eq!((&view["codes"], &view["signature_hex"]), (&json!([]), &Value::Null));
        assert_eq!(
            view["receipts"].as_array().unwrap().len(),
            2,
            "a verdict, and what the kernel did"
        );
        for node in ["n1", "n3"] {
            assert_eq!(net.view(node, &view)["state"], "Stashed");
            assert_eq!(net.depth(node, "n1,n3"), Some(6));
            let run = net.observed(node, &view).remove(0);
            let done = |site: &Value| site["status"] == "done";
            assert!(run["sites"].as_array().unwrap().iter().all(done), "{run:#}");
            let report = net.report(node, &view);
            assert_eq!((report.state.name(), report.complete), ("Stashed", true));
        }
        // The same request is the same batch; and it is one after a restart.
        let again = net.prepares("n1", "b-1", &["n1", "n3"], 6);
        assert_eq!(again["intent"], view["intent"]);
        net.crash_and_restart("n1");
        assert_eq!(net.view("n1", &view)["state"], "Stashed");
        assert_eq!(net.report("n1", &view).state.name(), "Stashed");
        assert_eq!(net.depth("n1", "n1,n3").unwrap_or(0), 0);
    }
}

#[test]
fn cheater_in_a_batch_is_named_and_signatures_go_on_with_the_others() {
    for (round, private) in [(1, true), (2, false), (2, true)] {
        let mut net = Net::formed().with(ECDSA, 2, stocked(0));
        net.lies(LIAR, move |_, of_act, message| match message {
            PeerMessage::Frame(frame) if of_act && frame.header.body.level == round => {
                let flip = |bytes: &mut Vec<u8>| bytes[3] ^= 1;
                let to_all = move |bytes: &mut Vec<u8>| {
                    if !private {
                        flip(bytes)
                    }
                };
                let to_one = move |bytes: &mut Vec<u8>| {
                    if private {
                        flip(bytes)
                    }
                };
                vec![PeerMessage::Frame(Box::new(retold_whole(&frame, (to_all, to_one), |_| ())))]
            }
            message => vec![message],
        });
        let view = net.prepares("n1", "b-1", &["n1", "n2"], 3);
        net.pass_ms(5_000);
        let view = net.view("n1", &view);
        assert_eq!((&view["state"], &view["culprits"]), (&json!("Denied"), &json!([LIAR])));
        assert_eq!(view["codes"], json!(["PARTY_BANNED"]));
        net.lies(LIAR, |_, _, message| vec![message]);
        let next = net.signs("n1", 1);
        published(&next);
        if net.metrics("n1")["bans"] == 1 {
            assert_eq!((&next["signers"], &next["attempt"]), (&json!(["n1", "n3"]), &json!(1)));
        }
    }
}

#[test]
fn batches_of_the_stock_are_exported_while_they_are_kept_and_forgotten_after_an_hour() {
    let mut net = warm(ECDSA);
    let signature = net.signs("n1", 2);
    let batch = {
        let all = net.executions_of("n1", "presign.batch");
        assert_eq!(all.len(), 1);
        all[0].clone()
    };
    assert_eq!((&batch["tenant"], &batch["requester"]), (&json!("system"), &json!("n1")));
    assert_eq!(net.report("n1", &batch).state.name(), "Stashed");
    let (rows, bytes) = net.rows("n1");
    net.jump_ms(30 * 60_000);
    net.pass_ms(11_000);
    assert_eq!(net.report("n1", &batch).state.name(), "Stashed");
    // The first is old now. Those that took its place go in turn: with no signature for an hour no more are made.
    net.jump_ms(40 * 60_000);
    net.pass_ms(11_000);
    assert!(net.view_or_none("n1", &batch).is_none());
    net.jump_ms(120 * 60_000);
    net.pass_ms(11_000);
    for node in ["n1", "n2"] {
        assert!(net.view_or_none(node, &batch).is_none(), "{node}");
    }
    let (fewer, less) = net.rows("n1");
    assert!(fewer < rows && less < bytes, "{fewer} of {rows} rows, {less} of {bytes} bytes");
    // What it was for stands, alone and over a restart.
    net.crash_and_restart("n1");
    let report = net.report("n1", &signature);
    assert_eq!((report.state.name(), report.complete), ("Published", true));
    published(&net.signs("n1", 9));
}

#[test]
fn what_a_run_said_in_private_is_not_kept_once_it_is_over() {
    let mut net = Net::formed().with(ECDSA, 2, stocked(0));
    let view = net.signs("n1", 1);
    published(&view);
    let told = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let heard = told.clone();
    net.lies("n1", move |_, _, message| {
        if let PeerMessage::Frame(frame) = &message {
            heard.borrow_mut().push(frame.header.body.level);
        }
        vec![message]
    });
    // Some 80 kB of the first two levels are gone; what everybody was told in the last one can be had.
    let execution_id = dvm_core::B32::from_hex(view["execution_id"].as_str().unwrap()).unwrap();
    net.inject("n2", "n1", PeerMessage::Resend { execution_id, level: 1 });
    assert_eq!(*told.borrow(), [3]);
}

#[test]
fn nobody_has_a_batch_made_in_anothers_name() {
    let mut net = warm(Backend::FrostEd25519);
    let asked = std::rc::Rc::new(std::cell::RefCell::new(None));
    let seen = asked.clone();
    net.lies("n1", move |to, _, message| {
        if let PeerMessage::Consider(ask) = &message
            && ask.intent.tenant.as_str() == "system"
            && to.as_str() == "n2"
        {
            *seen.borrow_mut() = Some(ask.clone());
        }
        vec![message]
    });
    for nonce in 2..15 {
        published(&net.signs("n1", nonce));
    }
    net.pass_ms(1_000);
    let mut ask = asked.borrow().clone().expect("n1 had more made");
    ask.intent.idempotency_key = "pool-forged".parse().unwrap();
    let known = net.executions("n2");
    net.inject("n3", "n2", PeerMessage::Consider(ask.clone()));
    assert_eq!(net.executions("n2"), known, "n3 asks in n1's name");
    net.inject("n1", "n2", PeerMessage::Consider(ask));
    assert_eq!(net.executions("n2"), known + 1);
}

#[test]
fn metrics_are_told_by_a_node_whose_floor_stocks_nothing() {
    let mut net = Net::with_key(floor(0, 0));
    published(&net.sign("n1", "s-1", "demo", b"m"));
    let metrics = net.metrics("n1");
    assert_eq!(metrics["kernel_answers"], true);
    assert_eq!((&metrics["bans"], net.counted("n1", "Published", "fresh")), (&json!(0), 1));
    assert_eq!(net.counted("n2", "Published", "fresh"), 0, "counted once, where it was asked for");
}
