//! `vectors/evm`: known transactions, through every door of the crate.

use alloy_primitives::hex;
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    #[serde(rename = "source")]
    _source: String,
    fields: Fields,
    payload: String,
    signing_hash: String,
    signature: String,
    raw: String,
    hash: String,
    sender: String,
}

impl Row {
    fn transaction(&self) -> Transaction {
        Transaction::parse(&hex::decode(&self.payload).unwrap()).unwrap()
    }

    fn signature(&self) -> [u8; 65] {
        hex::decode_to_array(&self.signature).unwrap()
    }

    fn sender(&self) -> [u8; 20] {
        hex::decode_to_array(&self.sender).unwrap()
    }
}

fn rows() -> Vec<Row> {
    let rows = include_str!("../../../../../vectors/evm/transactions.json");
    let rows: Vec<Row> = serde_json::from_str(rows).unwrap();
    assert!(rows.len() >= 7);
    rows
}

#[test]
fn known_transactions_have_their_signing_hash() {
    for row in rows() {
        assert_eq!(hex::encode(row.transaction().signing_hash()), row.signing_hash, "{}", row.name);
    }
}

#[test]
fn known_signatures_give_the_known_raw_transactions_and_hashes() {
    for row in rows() {
        let signed = row.transaction().signed(&row.sender(), &row.signature()).unwrap();
        assert_eq!(hex::encode(signed.raw()), row.raw, "{}", row.name);
        assert_eq!(hex::encode(signed.hash()), row.hash, "{}", row.name);
        assert_eq!(eip55(&row.sender()), row.sender, "{}", row.name);
    }
}

#[test]
fn known_json_forms_are_their_payloads_and_back() {
    for row in rows() {
        let transaction = row.fields.transaction().unwrap();
        assert_eq!(hex::encode(transaction.payload()), row.payload, "{}", row.name);
        assert_eq!(Fields::from(&transaction), row.fields, "{}", row.name);
    }
}

#[test]
fn a_signature_of_another_transaction_or_sender_is_refused() {
    let rows = rows();
    for (row, other) in rows.iter().zip(rows.iter().cycle().skip(1)) {
        let (transaction, sender) = (row.transaction(), row.sender());
        assert!(transaction.signed(&sender, &row.signature()).is_ok());
        let foreign = transaction.signed(&sender, &other.signature());
        assert_eq!(foreign, Err(EvmError::Sender), "{}", row.name);
        let mut neighbour = sender;
        neighbour[19] ^= 1;
        let refused = transaction.signed(&neighbour, &row.signature()).unwrap_err();
        assert_eq!(refused, EvmError::Sender);
        assert_eq!(refused.code(), ReasonCode::BindingMismatch);
    }
}

#[test]
fn a_signature_with_the_other_parity_is_somebody_elses() {
    for row in rows() {
        let mut signature = row.signature();
        signature[64] ^= 1;
        assert_eq!(row.transaction().signed(&row.sender(), &signature), Err(EvmError::Sender));
    }
}

#[test]
fn a_recovery_id_beyond_1_is_refused() {
    let row = &rows()[0];
    for recovery in [2, 3, 4, 27, 28, 37, 255] {
        let mut signature = row.signature();
        signature[64] = recovery;
        let refused = row.transaction().signed(&row.sender(), &signature);
        assert_eq!(refused, Err(EvmError::Signature), "{recovery}");
    }
}

#[test]
fn a_high_s_is_refused_although_it_recovers_to_the_sender() {
    let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
    let order = U256::from_str_radix(order, 16).unwrap();
    for row in rows() {
        let mut signature = row.signature();
        let s = U256::from_be_slice(&signature[32..64]);
        signature[32..64].copy_from_slice(&(order - s).to_be_bytes::<32>());
        signature[64] ^= 1;
        let refused = row.transaction().signed(&row.sender(), &signature);
        assert_eq!(refused, Err(EvmError::Signature));
        // The control: to the oracle it is the sender's.
        let theirs = alloy_primitives::Signature::from_raw_array(&signature).unwrap();
        let hash = row.transaction().signing_hash().into();
        assert_eq!(
            theirs.recover_address_from_prehash(&hash).unwrap(),
            Address::from(row.sender())
        );
    }
}

#[test]
fn a_scalar_of_zero_or_beyond_the_order_is_refused() {
    let row = &rows()[0];
    for half in [0..32, 32..64] {
        for byte in [0x00, 0xff] {
            let mut signature = row.signature();
            signature[half.clone()].fill(byte);
            let refused = row.transaction().signed(&row.sender(), &signature);
            assert_eq!(refused, Err(EvmError::Signature), "{half:?} of {byte:02x}");
        }
    }
}

#[test]
fn the_checksums_of_eip_55_are_met() {
    for text in [
        "0x52908400098527886E0F7030069857D2E4169EE7",
        "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
        "0xde709f2102306220921060314715629080e2fb77",
        "0x27b1fdb04752bbc536007a920d24acb045561c26",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ] {
        assert_eq!(eip55(&hex::decode_to_array(text).unwrap()), text);
    }
}

#[test]
fn the_address_of_a_known_key_is_its_known_address() {
    // The key of EIP-155's example.
    let secret = k256::ecdsa::SigningKey::from_slice(&[0x46; 32]).unwrap();
    let mut key: [u8; 33] = secret.verifying_key().to_sec1_bytes().as_ref().try_into().unwrap();
    let address = address_of(&key).unwrap();
    assert_eq!(eip55(&address), "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F");
    // The other point of the same x is another key.
    key[0] ^= 1;
    assert_ne!(address_of(&key), Some(address));
    for no_prefix in [0, 1, 4, 5, 0xff] {
        key[0] = no_prefix;
        assert_eq!(address_of(&key), None);
    }
    assert_eq!(address_of(&[[2].as_slice(), &[0xff; 32]].concat().try_into().unwrap()), None);
}
