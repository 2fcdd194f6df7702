//! Every field of every message, changed on its way: never a signature, and nobody but its sender is named.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::harness::{Cluster, Dealt, Ends, Hooks, Hop, Plan, for_every_vole, honest};
use crate::testing::{name, party};
use crate::{Fault, Offence, Rule, Unattributed};

for_every_vole!(
    every_changed_field_spoils_the_run_and_names_its_sender_or_nobody,
    messages_of_another_length_name_their_sender,
    a_message_told_two_ways_names_its_sender_at_whom_it_was_told_wrongly,
);

/// What must follow from a change of a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// Whoever received it names the sender.
    Named,
    /// An OLE receiver's message in which one bit may not matter to the OLE's sender: then the receiver finds its
    /// own message changed, and names whom it sent it to.
    NamedOrNotSeen,
    /// The set-ups differ.
    OtherSetup,
    /// The signature does not verify.
    Unattributed,
}

/// The fields of each message, in order.
fn fields(hop: Hop) -> Vec<(&'static str, Range<usize>, Verdict)> {
    let lengths: &[(&str, usize, Verdict)] = match hop {
        Hop::Commitment => &[("com", 32, Verdict::Named)],
        Hop::CommitMessage => &[
            ("set-up digest", 32, Verdict::OtherSetup),
            ("commitment to psi", 32, Verdict::Named),
            ("nonce", 32, Verdict::Named),
            ("u", 256 * 78, Verdict::NamedOrNotSeen),
            ("x", 26, Verdict::Named),
            ("t", 256 * 26, Verdict::Named),
        ],
        Hop::Opening => {
            &[("R", 33, Verdict::Named), ("pk", 33, Verdict::Named), ("salt", 32, Verdict::Named)]
        }
        Hop::MultiplyMessage => &[
            ("gamma u", 33, Verdict::Named),
            ("gamma v", 33, Verdict::Named),
            ("psi", 32, Verdict::Named),
            ("salt of psi", 32, Verdict::Named),
            ("pads", 2 * 416 * 32, Verdict::Named),
            ("check values", 2 * 416 * 32, Verdict::Named),
            ("salt of the extension", 32, Verdict::Named),
            ("hash of r", 32, Verdict::Named),
            ("u of the first input", 32, Verdict::Named),
            ("u of the second input", 32, Verdict::Named),
            ("adjustment of the first input", 32, Verdict::Named),
            ("adjustment of the second input", 32, Verdict::Named),
        ],
        Hop::Share => &[("u", 32, Verdict::Unattributed), ("w", 32, Verdict::Unattributed)],
    };
    let mut at = 0;
    let place = |(what, length, verdict): &(&'static str, usize, Verdict)| {
        let range = at..at + length;
        at = range.end;
        (*what, range, *verdict)
    };
    lengths.iter().map(place).collect()
}

const HOPS: [Hop; 5] =
    [Hop::Commitment, Hop::CommitMessage, Hop::Opening, Hop::MultiplyMessage, Hop::Share];

type Recorded = BTreeMap<(Hop, String, String), Vec<u8>>;

/// An honest run's messages.
fn record<V: Dealt>(cluster: &Cluster<V>, plan: &Plan) -> Recorded {
    let seen = RefCell::new(Recorded::new());
    let tamper = |hop: Hop, from: &str, to: &str, bytes: &mut Vec<u8>| {
        seen.borrow_mut().insert((hop, from.into(), to.into()), bytes.clone());
    };
    let hooks = Hooks { tamper: &tamper, lie: &|_, _| () };
    assert!(cluster.sign(plan, &[3; 32], &hooks, 5).is_ok());
    seen.into_inner()
}

fn every_changed_field_spoils_the_run_and_names_its_sender_or_nobody<V: Dealt>() {
    for (t, n, signers) in [(2, 3, vec![1, 3]), (3, 3, vec![1, 2, 3])] {
        let cluster = Cluster::<V>::new(t, n);
        let plan = Plan::of(&signers);
        let other = Plan { run_sid: [8; 32], ..plan.clone() };
        let old = record(&cluster, &other);
        for hop in HOPS {
            for (what, range, verdict) in fields(hop) {
                for change in ["flip", "zero", "another run's"] {
                    if change == "another run's" && verdict == Verdict::OtherSetup {
                        // The set-up is the same in every run.
                        continue;
                    }
                    let tamper = |at: Hop, from: &str, to: &str, bytes: &mut Vec<u8>| {
                        if at != hop || from != name(1) {
                            return;
                        }
                        let field = &mut bytes[range.clone()];
                        let was = field.to_vec();
                        match change {
                            "flip" => field[field.len() / 2] ^= 1,
                            "zero" => field.fill(0),
                            _ => {
                                let old = &old[&(hop, from.into(), to.into())];
                                field.copy_from_slice(&old[range.clone()]);
                            }
                        }
                        assert_ne!(was, field);
                    };
                    let hooks = Hooks { tamper: &tamper, lie: &|_, _| () };
                    let ends = cluster.sign(&plan, &[3; 32], &hooks, 6).err();
                    let ends = ends.unwrap_or_else(|| panic!("{hop:?}: {what}: {change}: signed"));
                    judge(&ends, verdict, &format!("{hop:?}: {what}: {change}: {ends:?}"));
                }
            }
        }
    }
}

/// What the honest signers, all but node-1, say of node-1.
fn judge(ends: &Ends<()>, verdict: Verdict, context: &str) {
    let named = Fault::Blame { culprits: vec![party(1)], what: Offence::Multiplication };
    let honest: Vec<_> = ends.iter().filter(|(node, _)| **node != name(1)).collect();
    assert!(!honest.is_empty(), "{context}");
    let mut seen = BTreeSet::new();
    for (_, end) in honest {
        match (end, verdict) {
            (Err(fault), Verdict::Named) => assert_eq!(*fault, named, "{context}"),
            (Err(fault), Verdict::NamedOrNotSeen) => assert_eq!(*fault, named, "{context}"),
            (Ok(()), Verdict::NamedOrNotSeen) => drop(seen.insert("not seen")),
            (Err(Fault::Refused(Rule::OtherPairSetup(parties))), Verdict::OtherSetup) => {
                assert_eq!(*parties, [party(1)], "{context}");
            }
            (Err(Fault::Unattributed(Unattributed::FinalSignature)), Verdict::Unattributed) => (),
            (Err(Fault::Blame { culprits, what }), Verdict::Unattributed) => {
                // A share that is no pair of scalars.
                assert_eq!(*culprits, [party(1)], "{context}");
                assert_eq!(*what, Offence::MalformedSignatureShare, "{context}");
            }
            _ => panic!("{context}"),
        }
    }
    // If nobody saw it, the run ended at the sender, who finds that its message was not heard as sent.
    if !seen.is_empty() {
        assert!(ends[&name(1)].is_err(), "{context}");
    }
}

fn messages_of_another_length_name_their_sender<V: Dealt>() {
    let cluster = Cluster::<V>::new(2, 3);
    let plan = Plan::of(&[1, 3]);
    for hop in [Hop::CommitMessage, Hop::Opening, Hop::MultiplyMessage] {
        for change in ["empty", "short", "long"] {
            let tamper = |at: Hop, from: &str, _: &str, bytes: &mut Vec<u8>| match change {
                _ if at != hop || from != name(1) => (),
                "empty" => bytes.clear(),
                "short" => drop(bytes.pop()),
                _ => bytes.push(0),
            };
            let hooks = Hooks { tamper: &tamper, lie: &|_, _| () };
            let ends = cluster.sign(&plan, &[3; 32], &hooks, 6).err().unwrap();
            judge(&ends, Verdict::Named, &format!("{hop:?} {change}"));
        }
    }
    assert!(cluster.sign(&plan, &[3; 32], &honest(), 6).is_ok());
}

fn a_message_told_two_ways_names_its_sender_at_whom_it_was_told_wrongly<V: Dealt>() {
    let cluster = Cluster::<V>::new(3, 3);
    let plan = Plan::of(&[1, 2, 3]);
    for hop in [Hop::Commitment, Hop::Opening] {
        let tamper = |at: Hop, from: &str, to: &str, bytes: &mut Vec<u8>| {
            if at == hop && from == name(1) && to == name(2) {
                bytes[0] ^= 1;
            }
        };
        let hooks = Hooks { tamper: &tamper, lie: &|_, _| () };
        let ends = cluster.sign(&plan, &[3; 32], &hooks, 6).err().unwrap();
        let named = Fault::Blame { culprits: vec![party(1)], what: Offence::Multiplication };
        assert_eq!(ends[&name(2)], Err(named), "{hop:?}");
        assert_eq!(ends[&name(3)], Ok(()), "{hop:?}");
    }
}
