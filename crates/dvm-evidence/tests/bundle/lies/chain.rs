//! The receipt chain: a liar signs whatever chain it wants; what it left out shows.

use dvm_core::receipt::ChainEntry;
use dvm_core::{Link, Signed};

use super::{assert_refused, by_policy, world};
use crate::rig::{id, key};

fn bodies() -> Vec<ChainEntry> {
    world().input.parts[0].chain.iter().map(|entry| entry.body.clone()).collect()
}

/// Signs entries as `n1`, each naming the one before it on this intent.
fn linked(bodies: Vec<ChainEntry>) -> Vec<Signed<ChainEntry>> {
    let mut chain: Vec<Signed<ChainEntry>> = Vec::new();
    for mut body in bodies {
        body.same_intent = chain.last().map(Signed::link);
        chain.push(by_policy("n1", body));
    }
    chain
}

fn refused(chain: Vec<Signed<ChainEntry>>, link: &str, what: &str) {
    assert_refused(&world().lie(|i| i.parts[0].chain = chain), link, what);
}

#[test]
fn a_chain_entry_by_another_key_or_of_another_chain_is_refused() {
    let mut chain = world().input.parts[0].chain.clone();
    chain[1] = Signed::new(chain[1].body.clone(), &key("n2/policy"));
    let what = "the entry is not signed by its node's policy key";
    refused(chain, "peers/n1/chain/1", what);
    let others: [fn(&mut ChainEntry); 2] =
        [|entry| entry.cluster = Link::of_raw(b"x"), |entry| entry.node = id("n2")];
    for other in others {
        let mut bodies = bodies();
        other(&mut bodies[1]);
        refused(linked(bodies), "peers/n1/chain/1", "the entry is of another chain");
    }
}

#[test]
fn entries_that_do_not_follow_one_another_are_refused_however_they_are_signed() {
    let what = "an entry on this intent is missing before this one";
    for seq in [0, 1] {
        let mut again = bodies();
        again[1].seq = again[0].seq - 1 + seq;
        refused(linked(again), "peers/n1/chain/1", what);
    }
    let naming = |at: usize, before: Option<Link>| {
        let mut chain = world().input.parts[0].chain.clone();
        let body = ChainEntry { same_intent: before, ..chain[at].body.clone() };
        chain[at] = by_policy("n1", body);
        chain
    };
    let stranger = Some(Link::of_raw(b"x"));
    refused(naming(0, stranger), "peers/n1/chain/0", what);
    refused(naming(1, stranger), "peers/n1/chain/1", what);
    refused(naming(1, None), "peers/n1/chain/1", what);
    for left_out in [0, 1] {
        let mut cut = world().input.parts[0].chain.clone();
        cut.remove(left_out);
        refused(cut, &format!("peers/n1/chain/{left_out}"), what);
    }
}

#[test]
fn only_the_first_place_has_none_before_it() {
    let what = "only the first entry has none before it";
    let mut first = bodies();
    first[0].prev = None;
    refused(linked(first), "peers/n1/chain/0", what);
    let mut zero = bodies();
    zero[0].seq = 0;
    refused(linked(zero), "peers/n1/chain/0", what);
}

#[test]
fn a_chain_is_of_the_parts_receipts_and_of_no_other() {
    let mut twice = bodies();
    twice[1].receipt = twice[0].receipt;
    refused(linked(twice), "peers/n1/chain/1", "a receipt has two places in the chain");
    let what = "the chain is not of the part's receipts and of no other";
    let mut hidden = bodies();
    hidden[1].receipt = Link::of_raw(b"another's");
    refused(linked(hidden), "peers/n1/chain", what);
    let mut longer = bodies();
    let last = longer[longer.len() - 1].clone();
    longer.push(ChainEntry { seq: last.seq + 1, receipt: Link::of_raw(b"later"), ..last });
    refused(linked(longer), "peers/n1/chain", what);
}

#[test]
fn a_denial_left_out_with_or_without_its_place_is_missed_unless_it_was_the_last() {
    use dvm_core::ReasonCode;
    use dvm_core::admission::Purpose;
    let mut rig = crate::rig::Rig::active(dvm_core::intent::Backend::FrostEd25519);
    rig.ask_signature(b"first no", "first-no");
    let node = id("n1");
    rig.judge(&node, &Purpose::Admit, &[ReasonCode::ApprovalsMissing]);
    rig.judge(&node, &Purpose::Admit, &[ReasonCode::PolicyDenied]);
    rig.judge(&node, &Purpose::Admit, &[ReasonCode::NotAuthorized]);
    let cluster = rig.cluster();
    assert!(dvm_evidence::verify(&rig.bundle(), cluster).is_ok());
    let without = |denial: usize, places: &[usize]| {
        let mut input = rig.input();
        input.parts[0].admissions.remove(denial);
        places.iter().for_each(|place| drop(input.parts[0].chain.remove(*place)));
        dvm_evidence::verify(&crate::rig::write(input), cluster)
    };
    for denial in [0, 1] {
        let what = "the chain is not of the part's receipts and of no other";
        assert_refused(&without(denial, &[]).unwrap_err(), "peers/n1/chain", what);
        let what = "an entry on this intent is missing before this one";
        let place = format!("peers/n1/chain/{denial}");
        assert_refused(&without(denial, &[denial]).unwrap_err(), &place, what);
    }
    assert_refused(
        &without(2, &[]).unwrap_err(),
        "peers/n1/chain",
        "the chain is not of the part's receipts and of no other",
    );
    // Nothing after it names it.
    assert!(without(2, &[2]).is_ok());
}
