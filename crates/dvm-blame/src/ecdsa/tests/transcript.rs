use std::collections::BTreeMap;

use k256::{ProjectivePoint, Scalar};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId, Signature};
use secp256k1::{Message, PublicKey, Secp256k1};
use sha2::{Digest, Sha256};

use crate::ecdsa::{
    NonceCommitment, NoncePoint, Nonces, OpenedNonce, SignatureTerms, digest_scalar, opening,
    point_bytes,
};
use crate::{Fault, Offence, Party, Roster, Rule, Suite, Unattributed, verify_signature};

const RUN: [u8; 32] = [7; 32];

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

fn scalar(text: &str) -> Scalar {
    digest_scalar(&hash(text))
}

fn point(scalar: &Scalar) -> [u8; 33] {
    point_bytes(&(ProjectivePoint::GENERATOR * scalar)).unwrap()
}

/// A run of some signers, by somebody who knows all their secrets.
struct Run {
    signers: Roster,
    public_key: [u8; 33],
    /// k = Σ r_i and x = Σ sk_i.
    k: Scalar,
    x: Scalar,
    commitments: BTreeMap<String, [u8; 32]>,
    openings: BTreeMap<String, Vec<u8>>,
}

impl Run {
    fn of(names: &[&str], seed: u32) -> Self {
        let signers = Roster::new(names.iter().copied()).unwrap();
        let (mut k, mut x) = (Scalar::ZERO, Scalar::ZERO);
        let (mut commitments, mut openings) = (BTreeMap::new(), BTreeMap::new());
        for node in signers.nodes() {
            let (r_i, sk_i) = (scalar(&format!("r {node} {seed}")), scalar(&format!("x {node}")));
            let (nonce, salt) = (point(&r_i), hash(&format!("salt {node} {seed}")));
            let com = NonceCommitment { run_sid: &RUN, item: 0, node, nonce: &nonce, salt: &salt };
            commitments.insert(node.to_owned(), com.hash());
            openings.insert(node.to_owned(), opening(&nonce, &point(&sk_i), &salt).to_vec());
            k += r_i;
            x += sk_i;
        }
        Self { signers, public_key: point(&x), k, x, commitments, openings }
    }

    fn nonces(&self) -> Nonces<'_> {
        let public_key = &self.public_key;
        Nonces { run_sid: &RUN, item: 0, signers: &self.signers, public_key }
    }

    fn opened(&self) -> BTreeMap<String, OpenedNonce> {
        self.nonces().open(&self.commitments, &self.openings).unwrap()
    }

    fn nonce(&self) -> NoncePoint {
        self.nonces().sum(&self.opened(), None).unwrap()
    }

    /// Shares of Σu = kφ and Σw = φ(m + rx); all but the last are arbitrary.
    fn shares(&self, k: Scalar, nonce: &NoncePoint, digest: &[u8; 32]) -> Shares {
        let phi = scalar("phi");
        let (mut u, mut w) = (k * phi, phi * (digest_scalar(digest) + *nonce.r() * self.x));
        let mut shares = BTreeMap::new();
        let last = self.signers.nodes().last().unwrap();
        for node in self.signers.nodes() {
            let (u_i, w_i) = match node == last {
                true => (u, w),
                false => (scalar(&format!("u {node}")), scalar(&format!("w {node}"))),
            };
            shares.insert(node.to_owned(), share(&u_i, &w_i));
            u -= u_i;
            w -= w_i;
        }
        shares
    }
}

type Shares = BTreeMap<String, Vec<u8>>;

fn share(u: &Scalar, w: &Scalar) -> Vec<u8> {
    [u.to_bytes(), w.to_bytes()].concat()
}

fn blame(names: &[(u16, &str)], what: Offence) -> Fault {
    let party = |(index, node): &(u16, &str)| Party { index: *index, node: (*node).to_owned() };
    Fault::Blame { culprits: names.iter().map(party).collect(), what }
}

#[test]
fn opening_is_accepted_only_as_it_was_committed_to_in_this_run_for_this_item_by_this_signer() {
    let run = Run::of(&["a", "b", "c"], 1);
    let nonces = run.nonces();
    let (com, honest) = (&run.commitments["b"], &run.openings["b"]);
    let opened = nonces.opened("b", com, honest).unwrap();
    assert_eq!(*opened.nonce(), ProjectivePoint::GENERATOR * scalar("r b 1"));
    assert_eq!(*opened.key(), ProjectivePoint::GENERATOR * scalar("x b"));

    let mismatch = Some(Offence::OpeningMismatch);
    assert_eq!(nonces.opened("a", com, honest).err(), mismatch);
    let other_run = Nonces { run_sid: &[8; 32], ..nonces };
    assert_eq!(other_run.opened("b", com, honest).err(), mismatch);
    let other_item = Nonces { item: 1, ..nonces };
    assert_eq!(other_item.opened("b", com, honest).err(), mismatch);
    let other_nonce = [&point(&scalar("other"))[..], &honest[33..]].concat();
    assert_eq!(nonces.opened("b", com, &other_nonce).err(), mismatch);
    let mut other_salt = honest.clone();
    other_salt[97] ^= 1;
    assert_eq!(nonces.opened("b", com, &other_salt).err(), mismatch);

    let malformed = Some(Offence::MalformedNonceOpening);
    let longer = [&honest[..], &[0]].concat();
    for (what, bytes) in [("short", &honest[..97]), ("long", &longer), ("empty", &[])] {
        assert_eq!(nonces.opened("b", com, bytes).err(), malformed, "{what}");
    }
    for place in [0, 33] {
        for tag in [0, 4, 5] {
            let mut bytes = honest.clone();
            bytes[place] = tag;
            assert_eq!(nonces.opened("b", com, &bytes).err(), malformed, "{place}: {tag}");
        }
    }
}

#[test]
fn all_who_opened_wrongly_are_named_and_nobody_else() {
    let run = Run::of(&["a", "b", "c"], 1);
    let open = |openings: &Shares| run.nonces().open(&run.commitments, openings).err();
    assert_eq!(open(&run.openings), None);
    let mut openings = run.openings.clone();
    openings.get_mut("a").unwrap()[97] ^= 1;
    assert_eq!(open(&openings), Some(blame(&[(1, "a")], Offence::OpeningMismatch)));
    openings.get_mut("c").unwrap()[97] ^= 1;
    assert_eq!(open(&openings), Some(blame(&[(1, "a"), (3, "c")], Offence::OpeningMismatch)));
    openings.get_mut("b").unwrap().pop();
    assert_eq!(open(&openings), Some(blame(&[(2, "b")], Offence::MalformedNonceOpening)));
    openings.remove("b");
    let missing = Rule::MissingMessage(Party { index: 2, node: "b".into() });
    assert_eq!(open(&openings), Some(missing.into()));
    let mut stranger = run.openings.clone();
    stranger.insert("d".into(), vec![]);
    assert_eq!(open(&stranger), Some(Rule::UnexpectedMessage.into()));
}

/// The same opening with another key point, which its commitment does not cover.
fn with_key(opening: &[u8], key: &Scalar) -> Vec<u8> {
    [&opening[..33], &point(key), &opening[66..]].concat()
}

#[test]
fn foreign_key_point_names_the_other_of_two_signers_and_nobody_among_three_or_to_a_reader() {
    let mut pair = Run::of(&["a", "b"], 1);
    assert!(pair.nonces().sum(&pair.opened(), Some("a")).is_ok());
    let foreign = with_key(&pair.openings["b"], &scalar("foreign"));
    pair.openings.insert("b".into(), foreign);
    let sum = |me| pair.nonces().sum(&pair.opened(), me).err();
    assert_eq!(sum(Some("a")), Some(blame(&[(2, "b")], Offence::WrongKeyPoint)));
    assert_eq!(sum(None), Some(Unattributed::KeyPoints.into()));
    assert_eq!(sum(Some("c")), Some(Unattributed::KeyPoints.into()));

    let mut three = Run::of(&["a", "b", "c"], 1);
    assert!(three.nonces().sum(&three.opened(), Some("a")).is_ok());
    let foreign = with_key(&three.openings["b"], &scalar("foreign"));
    three.openings.insert("b".into(), foreign);
    let fault = three.nonces().sum(&three.opened(), Some("a")).err();
    assert_eq!(fault, Some(Unattributed::KeyPoints.into()));
}

#[test]
fn nonces_that_cancel_out_make_no_signature() {
    let run = Run::of(&["a", "b"], 1);
    let mut opened = run.opened();
    let node = "b";
    let nonce = point(&-scalar("r a 1"));
    let com = NonceCommitment { run_sid: &RUN, item: 0, node, nonce: &nonce, salt: &[0; 32] };
    let bytes = opening(&nonce, &point(&scalar("x b")), &[0; 32]);
    let against = run.nonces().opened(node, &com.hash(), &bytes).unwrap();
    opened.insert(node.into(), against);
    let fault = run.nonces().sum(&opened, None).err();
    assert_eq!(fault, Some(Unattributed::Degenerate.into()));
}

#[test]
fn nonce_point_below_the_order_is_taken_and_one_from_the_order_on_is_not() {
    // The field is larger than the order by 2^128 or so: some x of that gap are on the curve.
    let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
    let order: [u8; 32] = hex::decode(order).unwrap().try_into().unwrap();
    let compressed = |tag: u8, x: [u8; 32]| [&[tag], &x[..]].concat();
    let decoded = |x: [u8; 32]| {
        let bytes = compressed(2, x);
        (crate::ecdsa::point_from_bytes(&bytes).is_some(), NoncePoint::decode(&bytes).is_some())
    };
    let (mut on_curve_above, mut on_curve_below) = (0, 0);
    for step in 0..32u8 {
        let (mut above, mut below) = (order, order);
        above[31] += step;
        below[31] -= step + 1;
        let (on_curve, taken) = decoded(above);
        assert!(!taken, "q + {step}");
        on_curve_above += u8::from(on_curve);
        let (on_curve, taken) = decoded(below);
        assert_eq!(on_curve, taken, "q - {step} - 1");
        on_curve_below += u8::from(on_curve);
    }
    assert!(on_curve_above > 4 && on_curve_below > 4);
    assert!(NoncePoint::new(&ProjectivePoint::IDENTITY).is_none());
    for seed in 0..8 {
        let bytes = point(&scalar(&format!("nonce {seed}")));
        let nonce = NoncePoint::decode(&bytes).unwrap();
        assert_eq!(nonce.encode(), bytes);
        assert_eq!(nonce.y_is_odd(), bytes[0] == 3);
    }
}

#[test]
fn shares_combine_to_a_low_s_signature_that_libsecp256k1_verifies_and_recovers_the_key_from() {
    let secp = Secp256k1::verification_only();
    let mut parities = [0, 0];
    for seed in 0..40 {
        let names = [["a", "b", "c"].as_slice(), &["a", "b"]][usize::from(seed % 2 == 0)];
        let run = Run::of(names, seed);
        let (nonce, digest) = (run.nonce(), hash(&format!("digest {seed}")));
        let (signers, public_key) = (&run.signers, &run.public_key);
        let terms = SignatureTerms { signers, public_key, nonce: &nonce, digest: &digest };
        let signature = terms.combine(&run.shares(run.k, &nonce, &digest)).unwrap();

        let key = PublicKey::from_slice(&run.public_key).unwrap();
        let compact = Signature::from_compact(&signature[..64]).unwrap();
        let mut low = compact;
        low.normalize_s();
        assert_eq!(low, compact);
        let message = Message::from_digest(digest);
        assert!(secp.verify_ecdsa(message, &compact, &key).is_ok());
        let id = RecoveryId::try_from(i32::from(signature[64])).unwrap();
        let recoverable = RecoverableSignature::from_compact(&signature[..64], id).unwrap();
        assert_eq!(secp.recover_ecdsa(message, &recoverable), Ok(key));
        parities[usize::from(signature[64])] += 1;
    }
    assert!(parities[0] > 4 && parities[1] > 4, "{parities:?}");
}

#[test]
fn scaled_nonce_signs_with_scaled_shares_and_with_no_others() {
    let run = Run::of(&["a", "b"], 1);
    let (delta, digest) = (scalar("delta"), hash("digest"));
    let nonce = run.nonce().scaled(&delta).unwrap();
    assert_eq!(*nonce.point(), ProjectivePoint::GENERATOR * (run.k * delta));
    let (signers, public_key) = (&run.signers, &run.public_key);
    let terms = SignatureTerms { signers, public_key, nonce: &nonce, digest: &digest };
    let signature = terms.combine(&run.shares(run.k * delta, &nonce, &digest)).unwrap();
    let verdict = verify_signature(Suite::EcdsaSecp256k1, public_key, &digest, &signature);
    assert_eq!(verdict, Ok(()));
    let unscaled = terms.combine(&run.shares(run.k, &nonce, &digest));
    assert_eq!(unscaled, Err(Unattributed::FinalSignature.into()));
    assert!(run.nonce().scaled(&Scalar::ZERO).is_none());
}

#[test]
fn wrong_share_names_nobody_and_a_malformed_one_its_sender() {
    let run = Run::of(&["a", "b", "c"], 1);
    let (nonce, digest) = (run.nonce(), hash("digest"));
    let (signers, public_key) = (&run.signers, &run.public_key);
    let terms = SignatureTerms { signers, public_key, nonce: &nonce, digest: &digest };
    let honest = run.shares(run.k, &nonce, &digest);
    assert!(terms.combine(&honest).is_ok());
    let unattributed = Err(Unattributed::FinalSignature.into());
    for place in 0..64 {
        let mut shares = honest.clone();
        shares.get_mut("b").unwrap()[place] ^= 1;
        // A flipped top bit may make a scalar that is none; nobody but its sender is to blame for that.
        let refused = terms.combine(&shares);
        let named = Err(blame(&[(2, "b")], Offence::MalformedSignatureShare));
        assert!(refused == unattributed || refused == named, "byte {place}");
    }

    let combine = |node: &str, bytes: Vec<u8>| {
        let mut shares = honest.clone();
        shares.insert(node.to_owned(), bytes);
        terms.combine(&shares)
    };
    let order = hex::decode("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141");
    let order = order.unwrap();
    let malformed = [
        vec![],
        honest["b"][..63].to_vec(),
        [&honest["b"][..], &[0]].concat(),
        [&order[..], &honest["b"][32..]].concat(),
        [&honest["b"][..32], &order].concat(),
    ];
    for bytes in malformed {
        let named = Err(blame(&[(2, "b")], Offence::MalformedSignatureShare));
        assert_eq!(combine("b", bytes), named);
    }
    // The largest scalar there is decodes.
    let below = [&(-Scalar::ONE).to_bytes()[..], &honest["b"][32..]].concat();
    assert_eq!(combine("b", below), unattributed);

    let mut two = honest.clone();
    two.insert("a".into(), vec![]);
    two.insert("c".into(), vec![1]);
    let named = Err(blame(&[(1, "a"), (3, "c")], Offence::MalformedSignatureShare));
    assert_eq!(terms.combine(&two), named);
}

#[test]
fn shares_that_sum_to_zero_or_are_of_other_terms_make_no_signature() {
    let run = Run::of(&["a", "b"], 1);
    let (nonce, digest) = (run.nonce(), hash("digest"));
    let (signers, public_key) = (&run.signers, &run.public_key);
    let terms = SignatureTerms { signers, public_key, nonce: &nonce, digest: &digest };
    let honest = run.shares(run.k, &nonce, &digest);
    let unattributed = Err(Unattributed::FinalSignature.into());
    let (u, w) = (scalar("u"), scalar("w"));
    let zero_u = BTreeMap::from([("a".into(), share(&u, &w)), ("b".into(), share(&-u, &w))]);
    assert_eq!(terms.combine(&zero_u), unattributed);
    let zero_w = BTreeMap::from([("a".into(), share(&u, &w)), ("b".into(), share(&u, &-w))]);
    assert_eq!(terms.combine(&zero_w), unattributed, "s = 0 is no signature");

    let other_digest = hash("another");
    assert_eq!(SignatureTerms { digest: &other_digest, ..terms }.combine(&honest), unattributed);
    let other_key = point(&scalar("other"));
    assert_eq!(SignatureTerms { public_key: &other_key, ..terms }.combine(&honest), unattributed);
    let other_nonce = Run::of(&["a", "b"], 2).nonce();
    assert_eq!(SignatureTerms { nonce: &other_nonce, ..terms }.combine(&honest), unattributed);
    assert!(terms.combine(&honest).is_ok());

    let missing = BTreeMap::from([("a".to_owned(), share(&u, &w))]);
    let b = Party { index: 2, node: "b".into() };
    assert_eq!(terms.combine(&missing), Err(Rule::MissingMessage(b).into()));
}
