//! Heads, certificates, notes, and the sign-once register.

use dvm_core::governance::EventKind;
use dvm_core::{B32, ReasonCode, Signed};

use crate::fixture::*;
use crate::{
    CertificateRefused, Register, adopt, check_certificate, checkpoint, note_of, parse_note,
    signer_name,
};

#[test]
fn any_three_of_four_members_certify_and_two_do_not() {
    let world = World::active("k");
    let genesis = World::forming();
    let with = |members: &[&str]| {
        adopt(&genesis.state, &world.entries, &certificate(&world.state, members)).err()
    };
    for three in [["n1", "n2", "n3"], ["n1", "n2", "w1"], ["n2", "n3", "w1"]] {
        assert_eq!(with(&three), None);
    }
    assert_eq!(with(&["n1", "w1"]), Some(CertificateRefused::Quorum { counted: 2, wanted: 3 }));
    let bad = |index| Some(CertificateRefused::Cosignature { index });
    assert_eq!(with(&["n1", "n1", "n2"]), bad(0));
    assert_eq!(with(&["n2", "n1", "w1"]), bad(0));
    assert_eq!(with(&["n1", "n2", "w1", "x1"]), bad(3));
}

#[test]
fn a_certificate_is_for_one_head_one_time_and_one_cluster() {
    let world = World::formed();
    let state = std::slice::from_ref(&world.state);
    let good = certificate(&world.state, &["n1", "n2", "n3"]);
    let with = |change: &dyn Fn(&mut dvm_core::governance::HeadCertificate)| {
        let mut other = good.clone();
        change(&mut other);
        check_certificate(state, &world.state.head(), &other).err()
    };
    assert_eq!(with(&|_| {}), None);
    assert_eq!(with(&|c| c.head.size += 1), Some(CertificateRefused::OtherHead { size: 1 }));
    let elsewhere = dvm_core::Link::of_raw(b"x");
    assert_eq!(with(&|c| c.cluster = elsewhere), Some(CertificateRefused::OtherHead { size: 1 }));
    let second = Some(CertificateRefused::Cosignature { index: 1 });
    assert_eq!(with(&|c| c.cosignatures[1].time_s += 1), second);
    assert_eq!(with(&|c| c.cosignatures[1].signature.0[5] ^= 1), second);
    assert_eq!(with(&|c| c.cosignatures[1].signature.0.truncate(63)), second);
    let later = World::active("k");
    let refused = check_certificate(state, &later.state.head(), &good).err();
    assert_eq!(refused, Some(CertificateRefused::OtherHead { size: later.state.head().size }));
}

#[test]
fn a_change_of_members_needs_the_old_and_the_new_quorum() {
    let before = World::formed();
    let mut after = before.clone();
    for new in ["w2", "w3", "w4"] {
        after.push(EventKind::WitnessAdded { passport: witness(new) });
    }
    let entries = &after.entries[1..];
    let with =
        |members: &[&str]| adopt(&before.state, entries, &certificate(&after.state, members)).err();
    assert_eq!(with(&["n1", "n2", "n3", "w1", "w2"]), None);
    let old = Some(CertificateRefused::Quorum { counted: 2, wanted: 3 });
    assert_eq!(
        with(&["n1", "w1", "w2", "w3", "w4"]),
        old,
        "five of seven, but two of the old four"
    );
    let new = Some(CertificateRefused::Quorum { counted: 3, wanted: 4 });
    assert_eq!(with(&["n1", "n2", "n3"]), new);
}

#[test]
fn a_log_that_is_spliced_truncated_or_reordered_is_refused() {
    let world = World::active("k");
    let genesis = World::forming();
    let certificate = certificate(&world.state, &["n1", "n2", "n3"]);
    let with = |change: &dyn Fn(&mut Vec<dvm_core::governance::LogEntry>)| {
        let mut entries = world.entries.clone();
        change(&mut entries);
        adopt(&genesis.state, &entries, &certificate).err().map(|e| e.code())
    };
    assert_eq!(with(&|_| {}), None);
    let broken = Some(ReasonCode::LogInconsistent);
    assert_eq!(with(&|e| drop(e.pop())), broken);
    assert_eq!(with(&|e| drop(e.remove(1))), broken);
    assert_eq!(with(&|e| e.swap(1, 2)), broken);
    assert_eq!(with(&|e| e.push(e[0].clone())), broken);
}

#[test]
fn the_checkpoint_has_the_c2sp_form() {
    let world = World::formed();
    let text = checkpoint(&world.state.cluster(), &world.state.head());
    let lines: Vec<&str> = text.split('\n').collect();
    assert_eq!(lines[0], format!("dvm-mpc/{}", world.state.cluster()));
    assert_eq!((lines[1], lines[2].len(), lines[3], lines.len()), ("1", 44, "", 4));
}

/// A `cosignature/v1` verifier written from the specification, for the third-party note reader.
struct Cosigner {
    name: String,
    key: dvm_core::PublicKey,
}

impl signed_note::Verifier for Cosigner {
    fn name(&self) -> &str {
        &self.name
    }
    fn key_id(&self) -> u32 {
        signed_note::key_id(&self.name, &[&[4_u8][..], &self.key.0.0].concat())
    }
    fn verify(&self, msg: &[u8], sig: &[u8]) -> bool {
        let time = u64::from_be_bytes(sig[..8].try_into().unwrap());
        let mut message = format!("cosignature/v1\ntime {time}\n").into_bytes();
        message.extend_from_slice(msg);
        self.key.verify(&message, sig[8..].try_into().unwrap())
    }
}

#[test]
fn an_off_the_shelf_reader_verifies_the_note_and_it_reads_back() {
    let world = World::active("k");
    let cert = certificate(&world.state, &["n1", "n3", "w1"]);
    let note = note_of(world.state.manifest(), &cert);
    let list = ["n1", "n2", "n3", "w1"].map(|m| {
        let key = world.state.manifest().cosign_key(&id(m)).unwrap();
        let name = signer_name(&world.state.cluster(), &id(m));
        Box::new(Cosigner { name, key }) as Box<dyn signed_note::Verifier>
    });
    let read = signed_note::Note::from_bytes(note.as_bytes()).unwrap();
    let verifiers = signed_note::VerifierList::new(list.into());
    let (verified, unverified) = read.verify(&verifiers).unwrap();
    assert_eq!((verified.len(), unverified.len()), (3, 0));
    assert_eq!(parse_note(&world.state, &note), Some(cert.clone()));
    let stranger = format!("{note}— someone-else AAAAAAAA\n");
    assert_eq!(parse_note(&world.state, &stranger), Some(cert));
    for (from, to) in [("\n4\n", "\n04\n"), ("dvm-mpc", "dvm-mpd"), ("\n\n", "\n"), ("— ", "- ")]
    {
        let other = note.replacen(from, to, 1);
        assert_ne!(other, note);
        assert_eq!(parse_note(&world.state, &other), None, "{from:?}");
    }
}

#[test]
fn a_member_cosigns_one_event_per_sequence_number_for_ever() {
    let world = World::formed();
    let register = Register::new(&world.state);
    let first = world.next(EventKind::ClusterDegraded);
    let leave = register.may_cosign(&world.state, &first, 0).unwrap();
    let mut after = world.clone();
    after.accept(first.clone());
    assert_eq!(leave.head, after.state.head());
    // The same again is fine; another for this place never.
    let again = leave.register.may_cosign(&world.state, &first, 0).unwrap();
    assert_eq!(again.register, leave.register);
    let second = world.next(EventKind::EmergencyHold);
    let refused = leave.register.may_cosign(&world.state, &second, 1_000).err();
    assert_eq!(refused, Some(ReasonCode::Equivocation));
    assert!(register.may_cosign(&world.state, &second, 1_000).is_ok());
    assert_eq!(register.may_cosign(&world.state, &second, 999).err(), Some(ReasonCode::Expired));
    // After certification the place is closed as well.
    let certified = leave.register.certify(std::slice::from_ref(&first), &after.state).unwrap();
    assert_eq!(certified.pending, None);
    let late = certified.may_cosign(&after.state, &second, 1_000).err();
    assert_eq!(late, Some(ReasonCode::Equivocation));
    let stale = certified.may_cosign(&world.state, &first, 0).err();
    assert_eq!(stale, Some(ReasonCode::LogInconsistent));
}

#[test]
fn another_event_certified_where_this_member_cosigned_is_equivocation() {
    let world = World::formed();
    let mine = world.next(EventKind::ClusterDegraded);
    let theirs = world.next(EventKind::EmergencyHold);
    let register = Register::new(&world.state).may_cosign(&world.state, &mine, 0).unwrap().register;
    let mut after = world.clone();
    after.accept(theirs.clone());
    let refused = register.certify(&[theirs], &after.state).err();
    assert_eq!(refused, Some(ReasonCode::Equivocation));
    let back = register.certify(&[], &World::forming().state).err();
    assert_eq!(back, Some(ReasonCode::LogInconsistent));
}

#[test]
fn the_root_is_over_the_event_links() {
    let world = World::active("k");
    let links: Vec<Vec<u8>> =
        world.entries.iter().map(|e| Signed::link(&e.event).to_bytes()).collect();
    assert_eq!(world.state.head().root, dvm_core::merkle::root(&links));
    assert_ne!(world.state.head().root, B32::default());
}
