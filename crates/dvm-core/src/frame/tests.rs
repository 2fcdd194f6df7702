//! Claims about frames.

use super::*;
use crate::codec;
use ed25519_dalek::SigningKey;

fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

fn envelopes(key: &SigningKey) -> Vec<Envelope> {
    let recipients = [node("n2"), node("n3")];
    let mut out = Outgoing { broadcast: vec![(0, vec![1, 2, 3].into())], ..Outgoing::default() };
    out.private.insert(node("n2"), vec![(1, vec![9].into())]);
    let tree = OutTree::lay_out(out, &recipients, || B32([5; 32]));
    let header = FrameHeader {
        execution_id: B32([1; 32]),
        boot: Boot { generation: 1, id: B32([2; 32]) },
        vault_seq: 3,
        level: 1,
        from: node("n1"),
        prev_view: B32([4; 32]),
        out_root: tree.out_root,
    };
    tree.envelopes(&Signed::new(header, key))
}

#[test]
fn an_envelope_is_authentic_for_its_sender_and_carries_each_recipients_own_parts() {
    let key = SigningKey::from_bytes(&[1; 32]);
    let [to_n2, to_n3]: [Envelope; 2] = envelopes(&key).try_into().unwrap();
    let public = crate::sign::Signer::public_key(&key);
    let frame = to_n2.authenticate(public).unwrap();
    assert_eq!(frame.payload(0).unwrap().0, [1, 2, 3]);
    assert_eq!(frame.payload(1).unwrap().0, [9]);
    let frame = to_n3.clone().authenticate(public).unwrap();
    assert_eq!(frame.payload(1), None);
    let other = crate::sign::Signer::public_key(&SigningKey::from_bytes(&[2; 32]));
    assert_eq!(to_n3.authenticate(other).unwrap_err(), ReasonCode::BindingMismatch);
}

#[test]
fn every_single_byte_change_of_an_envelope_is_refused() {
    let key = SigningKey::from_bytes(&[1; 32]);
    let public = crate::sign::Signer::public_key(&key);
    let bytes = codec::encode(&envelopes(&key).remove(0));
    for at in 0..bytes.len() {
        let mut other = bytes.clone();
        other[at] ^= 1;
        let accepted =
            codec::decode::<Envelope>(&other).is_ok_and(|e| e.authenticate(public).is_ok());
        assert!(!accepted, "byte {at}");
    }
}

#[test]
fn a_leaf_for_one_recipient_does_not_pass_as_anothers() {
    let key = SigningKey::from_bytes(&[1; 32]);
    let public = crate::sign::Signer::public_key(&key);
    let mut all = envelopes(&key);
    let stolen = all.remove(0);
    let redirected = Envelope::seal(node("n3"), stolen.header, stolen.broadcast, stolen.private);
    assert_eq!(redirected.authenticate(public).unwrap_err(), ReasonCode::BindingMismatch);
}

#[test]
fn views_name_the_level_the_run_and_every_root() {
    let mut roots = BTreeMap::from([(node("n1"), B32([1; 32]))]);
    let first = view(&B32([0; 32]), 1, &roots);
    assert_ne!(first, view(&B32([0; 32]), 2, &roots));
    assert_ne!(first, view(&B32([9; 32]), 1, &roots));
    roots.insert(node("n2"), B32([1; 32]));
    assert_ne!(first, view(&B32([0; 32]), 1, &roots));
}

#[test]
fn a_second_broadcast_leaf_under_one_root_is_refused() {
    let key = SigningKey::from_bytes(&[1; 32]);
    let public = crate::sign::Signer::public_key(&key);
    let leaf = |to: Option<NodeId>, said: &[u8]| {
        let payload = PayloadRef::of(said);
        Leaf { to, salt: B32([5; 32]), parts: vec![PartRef { step: 0, payload }] }
    };
    let leaves = [
        leaf(None, b"one"),
        leaf(None, b"two"),
        Leaf { parts: vec![], ..leaf(Some(node("n2")), b"") },
    ];
    let digests: Vec<[u8; 32]> = leaves.iter().map(|l| l.digest().0).collect();
    let carried = |at: usize, payloads: Vec<Bytes>| Carried {
        leaf: leaves[at].clone(),
        path: merkle::path(&digests, at).unwrap(),
        payloads,
    };
    let header = Signed::new(
        FrameHeader { out_root: merkle::root(&digests), ..envelopes(&key).remove(0).header.body },
        &key,
    );
    let telling = |at: usize, said: &[u8]| {
        let broadcast = carried(at, vec![said.into()]);
        Envelope::seal(node("n2"), header.clone(), broadcast, carried(2, vec![]))
    };
    assert!(telling(0, b"one").authenticate(public).is_ok());
    let refused = telling(1, b"two").authenticate(public).unwrap_err();
    assert_eq!(refused, ReasonCode::BindingMismatch);
}
