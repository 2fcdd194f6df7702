//! Key generation, honest and attacked; every body runs for every suite whose keys it concerns.

mod bodies;

use crate::testing::{for_every_suite, for_schnorr_suites};

for_every_suite!(
    every_party_ends_with_the_same_key_and_its_own_share,
    another_session_gives_another_key,
    opening_that_differs_from_its_commitment_is_blamed,
    longer_or_shorter_commitment_vectors_are_blamed,
    opening_replayed_from_another_session_is_blamed,
    opening_copied_from_another_party_is_blamed,
    second_encoding_of_an_opening_is_blamed,
    nobody_opens_before_every_commitment_is_there_and_its_own_unchanged,
    no_share_is_made_before_every_opening_of_this_session_is_verified,
    wrong_or_malformed_secret_share_blames_its_sender_at_its_victim_only,
    missing_secret_share_is_named,
    differing_transcripts_make_no_key,
    spoiled_probe_blames_and_makes_no_key,
    sealed_share_comes_back,
    sealed_share_with_any_changed_byte_is_refused,
);

for_schnorr_suites!(sealed_share_that_came_back_signs);

mod ecdsa {
    use k256::elliptic_curve::sec1::ToEncodedPoint;
    use secp256k1::PublicKey;

    use crate::testing::generate;
    use crate::{Ed25519, KeyShare, Rule, Secp256k1, Secp256k1Tr};

    #[test]
    fn public_key_is_the_untweaked_sum_of_the_contributions_as_libsecp256k1_reads_it() {
        for seed in 0..4 {
            let keys = generate::<Secp256k1>(2, 3, seed);
            let group = keys[0].group();
            assert_eq!(group.internal_key().unwrap(), group.public_key());
            let key = PublicKey::from_slice(group.public_key()).unwrap();
            let point = group.package().verifying_key().to_element().to_affine();
            assert_eq!(key.serialize_uncompressed(), point.to_encoded_point(false).as_bytes());
        }
    }

    #[test]
    fn share_of_one_suite_is_no_share_of_another_on_the_same_curve() {
        let ecdsa = generate::<Secp256k1>(2, 3, 1).remove(0).seal_bytes().unwrap();
        let bip340 = generate::<Secp256k1Tr>(2, 3, 1).remove(0).seal_bytes().unwrap();
        assert!(ecdsa.expose(|bytes| KeyShare::<Secp256k1>::unseal(bytes)).is_ok());
        let malformed = Some(Rule::MalformedSealedKey);
        assert_eq!(ecdsa.expose(|bytes| KeyShare::<Secp256k1Tr>::unseal(bytes)).err(), malformed);
        assert_eq!(ecdsa.expose(|bytes| KeyShare::<Ed25519>::unseal(bytes)).err(), malformed);
        assert_eq!(bip340.expose(|bytes| KeyShare::<Secp256k1>::unseal(bytes)).err(), malformed);
    }
}

mod taproot {
    use secp256k1::{Scalar, Secp256k1, XOnlyPublicKey};
    use sha2::{Digest, Sha256};

    use crate::Secp256k1Tr;
    use crate::testing::generate;

    /// BIP-341: Q = P + int(hash_TapTweak(bytes(P)))G, computed by libsecp256k1.
    #[test]
    fn output_key_is_the_bip341_tweak_of_the_recorded_internal_key() {
        let secp = Secp256k1::verification_only();
        for seed in 0..4 {
            let keys = generate::<Secp256k1Tr>(2, 3, seed);
            let group = keys[0].group();
            let internal: [u8; 32] = group.internal_key().unwrap()[1..].try_into().unwrap();
            let tag = Sha256::digest(b"TapTweak");
            let tweak =
                Sha256::new().chain_update(tag).chain_update(tag).chain_update(internal).finalize();
            let (output, _) = XOnlyPublicKey::from_byte_array(internal)
                .unwrap()
                .add_tweak(&secp, &Scalar::from_be_bytes(tweak.into()).unwrap())
                .unwrap();
            assert_eq!(output.serialize(), *group.public_key());
            assert_ne!(internal, *group.public_key());
        }
    }
}
