//! The receipt chain: a liar signs whatever chain it wants; what it left out shows.

use dvm_core::receipt::ChainEntry;
use dvm_core::{Link, Signed};

use super::{assert_refused, by_policy, world};
use crate::rig::{id, key};

fn bodies() -> Vec<ChainEntry> {
    world().input.parts[0].chain.iter().map(|entry| entry.body.clone()).collect()
}

/// Signs entries as `n1`, each naming the one before it.
fn linked(bodies: Vec<ChainEntry>) -> Vec<Signed<ChainEntry>> {
    let mut chain: Vec<Signed<ChainEntry>> = Vec::new();
    for mut body in bodies {
        body.prev = chain.last().map_or(body.prev, |last| Some(last.link()));
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
fn a_gap_in_a_chain_is_refused_however_it_is_signed() {
    let what = "the chain has a gap before this entry";
    let mut skipped = bodies();
    skipped[1].seq += 1;
    refused(linked(skipped), "peers/n1/chain/1", what);
    let mut repeated = bodies();
    repeated[1].seq = repeated[0].seq;
    refused(linked(repeated), "peers/n1/chain/1", what);
    let unlinked: Vec<_> = bodies()
        .into_iter()
        .map(|mut body| {
            body.prev = Some(Link::of_raw(b"x"));
            by_policy("n1", body)
        })
        .collect();
    refused(unlinked, "peers/n1/chain/1", what);
    let mut cut = bodies();
    cut.remove(1);
    refused(linked(cut), "peers/n1/chain/1", what);
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
fn a_receipt_that_is_left_out_twice_or_hidden_by_strangers_is_refused() {
    let mut twice = bodies();
    twice[1].receipt = twice[0].receipt;
    refused(linked(twice), "peers/n1/chain/1", "a receipt has two places in the chain");
    // A denial among the verdicts left out of the part, its place given to another receipt.
    let mut hidden = bodies();
    hidden[1].receipt = Link::of_raw(b"another intent's");
    let what = "a receipt of the part has no place in the chain";
    refused(linked(hidden), "peers/n1/chain", what);
    let ends = "the chain does not begin and end with the part's receipts";
    let mut longer = bodies();
    let last = longer[longer.len() - 1].clone();
    longer.push(ChainEntry { seq: last.seq + 1, receipt: Link::of_raw(b"later"), ..last });
    refused(linked(longer), "peers/n1/chain", ends);
    let mut earlier = bodies();
    let first = earlier[0].clone();
    earlier.insert(0, ChainEntry { seq: first.seq - 1, receipt: Link::of_raw(b"e"), ..first });
    refused(linked(earlier), "peers/n1/chain", ends);
}

#[test]
fn a_denial_left_out_with_its_place_breaks_the_chain() {
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
    let mut input = rig.input();
    input.parts[0].admissions.remove(1);
    // Without its receipt the place stays, as it would for another intent's receipt: the chain is whole.
    assert!(dvm_evidence::verify(&crate::rig::write(input.clone()), cluster).is_ok());
    // Without its place the chain is broken; nobody but the node itself can mend it.
    input.parts[0].chain.remove(1);
    let refused = dvm_evidence::verify(&crate::rig::write(input), cluster).unwrap_err();
    assert_refused(&refused, "peers/n1/chain/1", "the chain has a gap before this entry");
}
