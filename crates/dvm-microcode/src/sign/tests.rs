//! Signing, honest and attacked, for every suite whose keys sign by FROST; the RFC's vectors; BIP-340 by libsecp256k1.

mod bodies;
mod rfc9591;

use crate::testing::{for_every_suite, for_schnorr_suites};

for_schnorr_suites!(
    every_subset_of_t_signs,
    empty_and_long_messages_sign,
    wrong_shares_are_blamed_all_at_once,
    malformed_share_is_blamed,
    share_of_another_message_is_blamed,
    exactly_t_members_sign,
    malformed_commitments_are_blamed,
    signer_refuses_when_its_own_commitments_were_changed,
    signer_refuses_a_binding_of_another_key,
    offline_verifier_reaches_the_same_verdicts_from_bytes,
);

for_every_suite!(
    group_key_encoding_is_one_and_consistent,
    group_key_refuses_an_internal_key_that_is_not_its_own,
    public_key_has_the_length_that_its_suite_says,
);

mod ecdsa {
    use std::collections::BTreeMap;

    use dvm_blame::{Binding, SuiteGroupKey};

    use crate::testing::{generate, rng};
    use crate::{Fault, Rule, Secp256k1, Suite, sign};

    #[test]
    fn frost_shares_of_an_ecdsa_key_pass_its_probe_and_are_no_signature_to_a_verifier() {
        let keys = generate::<Secp256k1>(2, 3, 1);
        let group = keys[0].group();
        let (mut nonces, mut commitments) = (Vec::new(), BTreeMap::new());
        for key in &keys[..2] {
            let (own, bytes) = sign::draw(key, &mut rng(2)).unwrap();
            nonces.push(own);
            commitments.insert(key.node().to_owned(), bytes);
        }
        let binding = Binding::new(group, &commitments, &[1; 32]).unwrap();
        let mut shares = BTreeMap::new();
        for (key, own) in keys.iter().zip(nonces) {
            let share = sign::respond(key, own, &binding).unwrap();
            shares.insert(key.node().to_owned(), share.expose(Vec::clone));
        }
        assert_eq!(binding.probe(&shares), Ok(()));

        let known = SuiteGroupKey::decode(Suite::EcdsaSecp256k1, &group.encode().unwrap()).unwrap();
        let other: Option<Fault> = Some(Rule::OtherScheme.into());
        let message = [1; 32];
        let share = &shares["node-1"];
        let verdict = dvm_blame::verify_share(&known, &commitments, &message, "node-1", share);
        assert_eq!(verdict.err(), other);
        let aggregate = dvm_blame::aggregate(&known, &commitments, &message, &shares);
        assert_eq!(aggregate.err(), other);
        let nonce = dvm_blame::group_commitment(&known, &commitments, &message);
        assert_eq!(nonce.err(), other);
    }
}

mod bip340 {
    use std::collections::BTreeSet;

    use secp256k1::{Secp256k1, XOnlyPublicKey, schnorr};

    use crate::testing::{generate, run_signing};
    use crate::{Secp256k1Tr, sign};

    /// Signs with odd and even internal keys, output keys and R, until all eight combinations were seen.
    #[test]
    fn all_eight_parities_verify_under_libsecp256k1() {
        let secp = Secp256k1::verification_only();
        let mut seen = BTreeSet::new();
        for seed in 0..64 {
            let keys = generate::<Secp256k1Tr>(2, 3, seed);
            let group = keys[0].group();
            let output = group.package().verifying_key().serialize().unwrap();
            for nonce_seed in 0..4 {
                let (binding, shares) = run_signing(&[&keys[0], &keys[2]], b"parity", nonce_seed);
                let signature: [u8; 64] = sign::aggregate(&binding, &shares)
                    .unwrap()
                    .expose(|signature| signature.as_slice().try_into().unwrap());
                let key = XOnlyPublicKey::from_byte_array(*group.public_key()).unwrap();
                let verify = |message: &[u8]| {
                    let signature = schnorr::Signature::from_byte_array(signature);
                    secp.verify_schnorr(&signature, message, &key)
                };
                assert!(verify(b"parity").is_ok());
                assert!(verify(b"paritz").is_err());
                assert_eq!(signature[..32], binding.r()[..]);
                seen.insert((
                    group.internal_key().unwrap()[0],
                    output[0],
                    binding.group_commitment()[0],
                ));
            }
            if seen.len() == 8 {
                return;
            }
        }
        panic!("only {seen:?}");
    }
}
