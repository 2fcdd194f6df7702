//! Signing, honest and attacked, for both suites; the RFC's vectors; BIP-340 by libsecp256k1.

mod bodies;
mod rfc9591;

use crate::testing::for_both_suites;

for_both_suites!(
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
    group_key_encoding_is_one_and_consistent,
    group_key_refuses_an_internal_key_that_is_not_its_own,
);

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
