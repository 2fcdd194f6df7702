//! Differential tests: `alloy-consensus`, which Ethereum nodes and wallets are built with, is the oracle.
//!
//! It decodes more than is signed here: a legacy transaction whose last two fields are anything, fields
//! beyond the end of their list. So the oracle's yes counts only if it encodes what it read to the same
//! bytes again; `sound` says what is refused for what it means.

use alloy_consensus::transaction::SignerRecoverable;
use alloy_consensus::{
    SignableTransaction, Transaction as _, TxEip1559, TxEip2930, TxLegacy, TypedTransaction,
};
use alloy_eips::eip2718::{Decodable2718, Encodable2718};
use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_primitives::Signature;
use proptest::prelude::*;

use super::*;

/// Numbers with their edges: most faults live there.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0..3_u64,
        120..140_u64,
        u64::MAX - 2..=u64::MAX,
        CHAIN_ID_MAX - 1..=CHAIN_ID_MAX + 1,
    ]
}

fn fee() -> impl Strategy<Value = u128> {
    prop_oneof![any::<u128>(), number().prop_map(u128::from)]
}

fn word() -> impl Strategy<Value = U256> {
    prop_oneof![
        number().prop_map(U256::from),
        fee().prop_map(U256::from),
        any::<[u8; 32]>().prop_map(U256::from_be_bytes::<32>),
    ]
}

fn address() -> impl Strategy<Value = Address> {
    any::<[u8; 20]>().prop_map(Address::from)
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    let call = |selector: [u8; 4]| {
        (address(), word()).prop_map(move |(party, amount)| {
            [&selector[..], &[0; 12], party.as_slice(), &amount.to_be_bytes::<32>()].concat()
        })
    };
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        call([0xa9, 0x05, 0x9c, 0xbb]),
        call([0x09, 0x5e, 0xa7, 0xb3]),
    ]
}

fn access_list() -> impl Strategy<Value = AccessList> {
    let keys = prop::collection::vec(any::<[u8; 32]>().prop_map(B256::from), 0..3);
    let item = (address(), keys)
        .prop_map(|(address, storage_keys)| AccessListItem { address, storage_keys });
    prop::collection::vec(item, 0..4).prop_map(AccessList)
}

prop_compose! {
    fn transaction()(
        kind in 0..3,
        (chain_id, nonce, gas_limit) in (number(), number(), number()),
        (price, priority) in (fee(), fee()),
        to in prop::option::of(address()),
        (value, input) in (word(), data()),
        access_list in access_list(),
    ) -> TypedTransaction {
        let (to, input) = (TxKind::from(to), Bytes::from(input));
        match kind {
            0 => TxLegacy {
                chain_id: Some(chain_id), nonce, gas_price: price, gas_limit, to, value, input,
            }.into(),
            1 => TxEip2930 {
                chain_id, nonce, gas_price: price, gas_limit, to, value, access_list, input,
            }.into(),
            _ => TxEip1559 {
                chain_id, nonce, gas_limit, max_fee_per_gas: price,
                // Mostly one that is taken.
                max_priority_fee_per_gas: if priority % 8 == 0 { priority } else { priority.min(price) },
                to, value, access_list, input,
            }.into(),
        }
    }
}

fn encoded(oracle: &TypedTransaction) -> Vec<u8> {
    let mut payload = Vec::new();
    oracle.encode_for_signing(&mut payload);
    payload
}

/// Whether what the oracle read may be signed here.
fn sound(oracle: &TypedTransaction) -> bool {
    let fees = U256::from(oracle.gas_limit()) * U256::from(oracle.max_fee_per_gas());
    oracle.chain_id().is_some_and(|id| (1..=1 << 53).contains(&id))
        && oracle.nonce() < u64::MAX
        && oracle.gas_limit() > 0
        && oracle.max_priority_fee_per_gas().is_none_or(|tip| tip <= oracle.max_fee_per_gas())
        && oracle.value().checked_add(fees).is_some()
        && !matches!(oracle, TypedTransaction::Eip4844(_) | TypedTransaction::Eip7702(_))
}

/// The oracle's verdict on any bytes.
fn judged(payload: &[u8]) -> Option<TypedTransaction> {
    let mut rest = payload;
    let oracle = TypedTransaction::decode_unsigned(&mut rest).ok()?;
    (rest.is_empty() && encoded(&oracle) == payload).then_some(oracle)
}

fn assert_same(ours: &Transaction, oracle: &TypedTransaction) {
    let terms = ours.terms();
    assert_eq!(Some(terms.chain_id), oracle.chain_id());
    assert_eq!((terms.nonce, terms.gas_limit), (oracle.nonce(), oracle.gas_limit()));
    assert_eq!(terms.max_fee, oracle.max_fee_per_gas());
    assert_eq!(terms.priority_fee, oracle.max_priority_fee_per_gas());
    assert_eq!((terms.to, terms.value), (oracle.kind(), oracle.value()));
    assert_eq!(terms.data, oracle.input().as_ref());
    let pairs = |list: &[Access]| {
        list.iter().map(|one| (one.address, one.storage_keys.clone())).collect::<Vec<_>>()
    };
    let theirs = oracle.access_list().map(|list| {
        list.iter().map(|one| (one.address, one.storage_keys.clone())).collect::<Vec<_>>()
    });
    assert_eq!(terms.access_list.map(pairs), theirs);
    assert_eq!(ours.signing_hash(), oracle.signature_hash().0);
    assert_eq!(ours.payload(), encoded(oracle));
}

fn agree(payload: &[u8]) {
    let oracle = judged(payload).filter(sound);
    match (Transaction::parse(payload), oracle) {
        (Ok(ours), Some(oracle)) => assert_same(&ours, &oracle),
        (Err(_), None) => {}
        (ours, oracle) => panic!("we say {ours:?}, the oracle {oracle:?} of {payload:02x?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn we_take_what_the_oracle_makes_exactly_if_it_is_sound(oracle in transaction()) {
        let payload = encoded(&oracle);
        prop_assert_eq!(Transaction::parse(&payload).is_ok(), sound(&oracle));
        agree(&payload);
    }

    #[test]
    fn a_damaged_payload_is_taken_by_both_or_by_neither(
        oracle in transaction(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3), 1..4),
    ) {
        let mut payload = encoded(&oracle);
        for (at, byte, edit) in edits {
            let at = at.index(payload.len());
            match edit {
                0 => payload[at] = byte,
                1 => payload.insert(at, byte),
                _ if payload.len() > 1 => { payload.remove(at); }
                _ => {}
            }
        }
        agree(&payload);
    }

    #[test]
    fn the_json_form_is_the_payload_again(oracle in transaction().prop_filter("sound", sound)) {
        let ours = Transaction::parse(&encoded(&oracle)).unwrap();
        let json = serde_json::to_string(&Fields::from(&ours)).unwrap();
        let fields: Fields = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(fields.transaction(), Ok(ours));
    }

    #[test]
    fn a_signed_transaction_is_the_oracles_and_recovers_to_the_same_sender(
        oracle in transaction().prop_filter("sound", sound),
        secret in any::<[u8; 32]>(),
    ) {
        let Ok(secret) = k256::ecdsa::SigningKey::from_slice(&secret) else { return Ok(()) };
        let key: [u8; 33] = secret.verifying_key().to_sec1_bytes().as_ref().try_into().unwrap();
        let ours = Transaction::parse(&encoded(&oracle)).unwrap();
        let (signature, recovery) = secret.sign_prehash_recoverable(&ours.signing_hash()).unwrap();
        let bytes: [u8; 65] =
            [&signature.to_bytes()[..], &[recovery.to_byte()]].concat().try_into().unwrap();
        let from = address_of(&key).unwrap();
        let signed = ours.signed(&from, &bytes).unwrap();
        let theirs = oracle.into_envelope(Signature::from((signature, recovery)));
        prop_assert_eq!(signed.raw(), theirs.encoded_2718());
        prop_assert_eq!(signed.hash(), theirs.tx_hash().0);
        let raw = alloy_consensus::TxEnvelope::decode_2718_exact(signed.raw()).unwrap();
        prop_assert_eq!(raw.recover_signer().unwrap().into_array(), from);
    }
}
