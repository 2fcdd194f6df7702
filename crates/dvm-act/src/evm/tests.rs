//! Claims about transactions. The oracles stand in their own files.

mod differential;
mod vectors;

use alloy_primitives::{Address, B256, Bytes, TxKind};

use super::rlp::{Access, AccessListed, DynamicFee, Legacy};
use super::*;

const TO: Address = Address::new([0x35; 20]);

fn legacy() -> Legacy {
    Legacy {
        nonce: 9,
        gas_price: 20_000_000_000,
        gas_limit: 21_000,
        to: TO.into(),
        value: U256::from(1_000_000_000_000_000_000_u64),
        data: Bytes::new(),
        chain_id: 1,
        r: U256::ZERO,
        s: U256::ZERO,
    }
}

fn listed() -> AccessListed {
    AccessListed {
        chain_id: 1,
        nonce: 9,
        gas_price: 20_000_000_000,
        gas_limit: 21_000,
        to: TO.into(),
        value: U256::from(1),
        data: Bytes::new(),
        access_list: vec![Access { address: TO, storage_keys: vec![B256::with_last_byte(3)] }],
    }
}

fn dynamic() -> DynamicFee {
    DynamicFee {
        chain_id: 1,
        nonce: 9,
        max_priority_fee: 1_500_000_000,
        max_fee: 30_000_000_000,
        gas_limit: 21_000,
        to: TO.into(),
        value: U256::from(1_500_000_000_000_000_000_u64),
        data: Bytes::new(),
        access_list: Vec::new(),
    }
}

/// Through the wire, as everything comes.
fn parsed(wire: Wire) -> Result<Transaction, EvmError> {
    Transaction::parse(&wire.encode())
}

fn parse_dynamic(change: impl FnOnce(&mut DynamicFee)) -> Result<Transaction, EvmError> {
    let mut fields = dynamic();
    change(&mut fields);
    parsed(Wire::DynamicFee(fields))
}

/// One transaction of each type, with a change of what all have.
fn of_each_type(chain_id: u64, nonce: u64, gas_limit: u64) -> [Wire; 3] {
    [
        Wire::Legacy(Legacy { chain_id, nonce, gas_limit, ..legacy() }),
        Wire::AccessListed(AccessListed { chain_id, nonce, gas_limit, ..listed() }),
        Wire::DynamicFee(DynamicFee { chain_id, nonce, gas_limit, ..dynamic() }),
    ]
}

#[test]
fn a_payload_has_128_kib_at_most() {
    let with = |len| {
        let mut fields = dynamic();
        fields.data = vec![0xee; len].into();
        Wire::DynamicFee(fields).encode()
    };
    let rest = with(100_000).len() - 100_000;
    let most = with(PAYLOAD_BYTES_MAX - rest);
    assert_eq!(most.len(), PAYLOAD_BYTES_MAX);
    assert!(Transaction::parse(&most).is_ok());
    let refused = Transaction::parse(&with(PAYLOAD_BYTES_MAX - rest + 1)).unwrap_err();
    assert_eq!(refused, EvmError::TooLong { len: PAYLOAD_BYTES_MAX as u64 + 1 });
    assert_eq!(refused.code(), ReasonCode::ResourceLimit);
}

#[test]
fn only_legacy_and_types_1_and_2_are_taken() {
    for wire in of_each_type(1, 0, 1) {
        assert!(parsed(wire).is_ok());
    }
    let mut payload = Wire::DynamicFee(dynamic()).encode();
    for byte in (0..0xc0).filter(|byte| ![1, 2].contains(byte)) {
        payload[0] = byte;
        let refused = Transaction::parse(&payload).unwrap_err();
        assert_eq!(refused, EvmError::Type { byte });
        assert_eq!(refused.code(), ReasonCode::PayloadRejected);
    }
    assert!(matches!(Transaction::parse(&[]), Err(EvmError::Rlp(_))));
}

#[test]
fn a_legacy_transaction_without_a_chain_id_is_refused() {
    let with_chain = Wire::Legacy(legacy()).encode();
    assert!(Transaction::parse(&with_chain).is_ok());
    // The same list without its last three fields of one byte each.
    let mut without = with_chain[..with_chain.len() - 3].to_vec();
    without[0] -= 3;
    let refused = Transaction::parse(&without).unwrap_err();
    assert_eq!(refused, EvmError::NoChainId);
    assert_eq!(refused.code(), ReasonCode::PayloadRejected);
    // Neither 7 nor 8 fields are either form.
    for fields in [7, 8] {
        let mut between = with_chain[..with_chain.len() - (9 - fields)].to_vec();
        between[0] -= (9 - fields) as u8;
        assert!(matches!(Transaction::parse(&between), Err(EvmError::Rlp(_))), "{fields} fields");
    }
}

#[test]
fn a_signed_transaction_is_not_taken_for_an_unsigned_one() {
    let (one, none) = (U256::from(1), U256::ZERO);
    for (r, s) in [(one, one), (one, none), (none, one)] {
        let signed = parsed(Wire::Legacy(Legacy { r, s, ..legacy() }));
        assert_eq!(signed, Err(EvmError::AlreadySigned));
    }
    for wire in of_each_type(1, 0, 1) {
        let raw = wire.with_signature(0, one, one).unwrap();
        assert!(Transaction::parse(&raw).is_err());
        assert!(parsed(wire).is_ok());
    }
}

#[test]
fn a_chain_id_is_1_to_2_to_the_53() {
    for chain_id in [1, CHAIN_ID_MAX] {
        for wire in of_each_type(chain_id, 0, 1) {
            assert_eq!(parsed(wire).unwrap().chain_id(), chain_id);
        }
    }
    for chain_id in [0, CHAIN_ID_MAX + 1, u64::MAX] {
        for wire in of_each_type(chain_id, 0, 1) {
            assert_eq!(parsed(wire), Err(EvmError::ChainId { chain_id }));
        }
    }
}

#[test]
fn a_nonce_is_below_2_to_the_64_less_1() {
    for (inside, outside) in
        of_each_type(1, u64::MAX - 1, 1).into_iter().zip(of_each_type(1, u64::MAX, 1))
    {
        assert!(parsed(inside).is_ok());
        assert_eq!(parsed(outside), Err(EvmError::Nonce));
    }
}

#[test]
fn a_gas_limit_is_not_0() {
    for (inside, outside) in of_each_type(1, 0, 1).into_iter().zip(of_each_type(1, 0, 0)) {
        assert!(parsed(inside).is_ok());
        assert_eq!(parsed(outside), Err(EvmError::GasLimit));
    }
}

#[test]
fn a_priority_fee_is_not_above_the_max_fee() {
    assert!(parse_dynamic(|fields| fields.max_priority_fee = fields.max_fee).is_ok());
    let above = parse_dynamic(|fields| fields.max_priority_fee = fields.max_fee + 1);
    assert_eq!(above, Err(EvmError::PriorityFee));
}

#[test]
fn an_access_list_has_1024_addresses_at_most() {
    let list = |len| vec![Access { address: TO, storage_keys: Vec::new() }; len];
    assert!(parse_dynamic(|fields| fields.access_list = list(ACCESS_LIST_MAX)).is_ok());
    let len = ACCESS_LIST_MAX + 1;
    let refused = parse_dynamic(|fields| fields.access_list = list(len)).unwrap_err();
    assert_eq!(refused, EvmError::AccessList { len });
    assert_eq!(refused.code(), ReasonCode::ResourceLimit);
    let listed = AccessListed { access_list: list(len), ..listed() };
    assert_eq!(parsed(Wire::AccessListed(listed)), Err(EvmError::AccessList { len }));
}

#[test]
fn value_and_fees_together_stay_within_256_bits() {
    let fees = U256::from(u64::MAX) * U256::from(u128::MAX);
    let most = |value| {
        parse_dynamic(|fields| {
            (fields.gas_limit, fields.max_fee, fields.value) = (u64::MAX, u128::MAX, value);
        })
    };
    assert!(most(U256::MAX - fees).is_ok());
    assert_eq!(most(U256::MAX - fees + U256::from(1)), Err(EvmError::Cost));
    assert_eq!(most(U256::MAX), Err(EvmError::Cost));
}

#[test]
fn a_fee_beyond_128_bits_is_refused() {
    let good = Wire::DynamicFee(DynamicFee { max_fee: u128::MAX, ..dynamic() }).encode();
    assert!(Transaction::parse(&good).is_ok());
    // 16 bytes of ones become 17: the lengths of the string and of the list (type, 0xf8, length) grow by one.
    let at =
        good.windows(17).position(|bytes| bytes == [&[0x90][..], &[0xff; 16]].concat()).unwrap();
    let mut bad = good;
    bad.insert(at + 1, 0x01);
    (bad[at], bad[2]) = (0x91, bad[2] + 1);
    assert_eq!(Transaction::parse(&bad), Err(EvmError::Rlp(alloy_rlp::Error::Overflow)));
}

#[test]
fn only_the_one_encoding_of_its_fields_is_taken() {
    let good = Wire::Legacy(legacy()).encode();
    assert!(Transaction::parse(&good).is_ok());
    let body = &good[1..];
    let long_length = [&[0xf8, body.len() as u8][..], body].concat();
    let zero_first = [&[good[0] + 2, 0x82, 0x00][..], body].concat();
    let single_wrapped = [&[good[0] + 1, 0x81][..], body].concat();
    let more_after = [&good[..], &[0x80]].concat();
    let less = good[..good.len() - 1].to_vec();
    for bad in [long_length, zero_first, single_wrapped, more_after, less] {
        assert!(matches!(Transaction::parse(&bad), Err(EvmError::Rlp(_))), "{bad:02x?}");
    }
    // What the RLP library refuses by itself today is refused here in any case.
    let wire = Wire::decode(&good).unwrap();
    assert!(wire.is_encoded_as(&good));
    assert!(!wire.is_encoded_as(&[&good[..], &[0x80]].concat()));
}

#[test]
fn fields_cannot_be_moved_across_the_end_of_their_list() {
    let payload = Wire::DynamicFee(dynamic()).encode();
    let mut shorter = payload.clone();
    shorter[1] -= 1;
    let mut longer = payload.clone();
    longer[1] += 1;
    for bad in [shorter, longer] {
        assert!(matches!(Transaction::parse(&bad), Err(EvmError::Rlp(_))));
    }
    let mut as_string = payload;
    as_string[1] -= 0x40;
    assert!(matches!(Transaction::parse(&as_string), Err(EvmError::Rlp(_))));
}

#[test]
fn what_is_signed_is_the_keccak_hash_of_the_payload() {
    for wire in of_each_type(5, 6, 7) {
        let payload = wire.encode();
        let transaction = parsed(wire).unwrap();
        assert_eq!(transaction.payload(), payload);
        assert_eq!(transaction.signing_hash(), keccak256(&payload).0);
    }
}

fn text(wire: Wire) -> String {
    let lines = parsed(wire).unwrap().lines(&[0x9d; 20]);
    let lines = lines.iter().map(|(name, value)| format!("{name}: {value}\n"));
    lines.collect()
}

#[test]
fn the_text_of_a_payment_is_pinned() {
    let want = "chain id: 1\n\
        transaction type: 2 (EIP-1559)\n\
        from: 0x9D9d9d9d9D9D9D9D9D9d9D9D9d9D9D9d9D9D9D9d\n\
        to: 0x3535353535353535353535353535353535353535\n\
        value: 1.5 ether\n\
        nonce: 9\n\
        gas limit: 21000\n\
        max fee: 30 gwei per gas\n\
        priority fee: 1.5 gwei per gas\n\
        most it can cost: 1.50063 ether, and fees of the chain's own (rollups have some)\n\
        data: none\n\
        access list: 0 addresses, 0 storage keys\n";
    let hash = keccak256(Wire::DynamicFee(dynamic()).encode());
    let want = format!("{want}hash to sign: {}\n", alloy_primitives::hex::encode(hash));
    assert_eq!(text(Wire::DynamicFee(dynamic())), want);
}

#[test]
fn a_legacy_text_has_one_price_and_no_access_list() {
    let text = text(Wire::Legacy(legacy()));
    assert!(text.contains("transaction type: legacy (EIP-155)\n"));
    assert!(
        text.contains("gas price: 20 gwei per gas\nmost it can cost: 1.00042 ether, and fees ")
    );
    assert!(!text.contains("max fee") && !text.contains("access list"));
}

#[test]
fn an_access_list_is_counted() {
    let text = text(Wire::AccessListed(listed()));
    assert!(text.contains("transaction type: 1 (EIP-2930)\n"));
    assert!(text.contains("access list: 1 addresses, 1 storage keys\n"));
}

fn erc20(selector: &str, amount: U256) -> Bytes {
    let selector = alloy_primitives::hex::decode(selector).unwrap();
    [&selector[..], &[0; 12], &[0x11; 20], &amount.to_be_bytes::<32>()].concat().into()
}

fn text_of_data(to: TxKind, data: Bytes) -> String {
    text(Wire::DynamicFee(DynamicFee { to, data, ..dynamic() }))
}

#[test]
fn a_token_transfer_is_shown_with_its_receiver_and_amount() {
    let text = text_of_data(TO.into(), erc20("a9059cbb", U256::from(1_000_000)));
    let want = "data: transfer, read as a call of an ERC-20 token\n\
        token receiver: 0x1111111111111111111111111111111111111111\n\
        token amount: 1000000 base units (decimals unknown)\n";
    assert!(text.contains(want), "{text}");
    assert!(text.contains("data length: 68 bytes\ndata sha256: "));
}

#[test]
fn an_unlimited_approval_says_so_and_a_limited_one_does_not() {
    let text = |amount| text_of_data(TO.into(), erc20("095ea7b3", amount));
    let limited = text(U256::from(5));
    assert!(limited.contains("data: approve, read as a call of an ERC-20 token\n"));
    assert!(limited.contains("token spender: 0x1111111111111111111111111111111111111111\n"));
    assert!(limited.contains("token amount: 5 base units (decimals unknown)\n"));
    assert!(!limited.contains("UNLIMITED"));
    for amount in [U256::MAX, U256::MAX - U256::from(1)] {
        let want = format!("token amount: UNLIMITED: all tokens, now and later ({amount})\n");
        assert!(text(amount).contains(&want));
    }
}

#[test]
fn a_larger_allowance_says_that_it_adds_and_when_it_is_unlimited() {
    let text = |amount| text_of_data(TO.into(), erc20("39509351", amount));
    let limited = text(U256::from(5));
    assert!(limited.contains("data: increaseAllowance, read as a call of an ERC-20 token\n"));
    assert!(limited.contains("token spender: 0x1111111111111111111111111111111111111111\n"));
    let more = "token amount: 5 base units (decimals unknown) more than before\n";
    assert!(limited.contains(more), "{limited}");
    let unlimited = text(U256::MAX);
    assert!(unlimited.contains("token amount: UNLIMITED: all tokens, now and later ("));
}

#[test]
fn a_tokens_amount_is_a_fact_if_it_fits_and_its_bits_always() {
    let facts = |input: Bytes| parse_dynamic(|fields| fields.data = input).unwrap().facts();
    let of = |amount| facts(erc20("095ea7b3", amount));
    let edge = U256::from(1) << 64;
    for (amount, fits, bits) in [
        (U256::ZERO, Some(0), 0),
        (edge - U256::from(1), Some(u64::MAX), 64),
        (edge, None, 65),
        (U256::MAX, None, 256),
    ] {
        assert_eq!((of(amount).erc20_amount, of(amount).erc20_bits), (fits, bits));
    }
    let none = facts(Bytes::new());
    assert_eq!((none.erc20_amount, none.erc20_bits), (None, 0));
}

#[test]
fn what_cannot_be_decoded_is_called_so() {
    let call = text_of_data(TO.into(), vec![0xde, 0xad, 0xbe, 0xef, 0].into());
    assert!(call.contains("data: a call with selector 0xdeadbeef, not decoded\n"));
    let short = text_of_data(TO.into(), vec![0xde, 0xad, 0xbe].into());
    assert!(short.contains("data: too short for a call, not decoded\n"));
    // The bytes of a token transfer, as the code of a contract, are no transfer.
    let code = text_of_data(TxKind::Create, erc20("a9059cbb", U256::from(1)));
    assert!(code.contains("to: nobody: it creates a contract\n"));
    assert!(code.contains("data: the new contract's code, not decoded\n"));
    assert!(!code.contains("token"));
}

#[test]
fn every_field_changes_the_text() {
    let base = text(Wire::DynamicFee(dynamic()));
    let changes: [fn(&mut DynamicFee); 9] = [
        |fields| fields.chain_id = 2,
        |fields| fields.nonce = 10,
        |fields| fields.max_priority_fee += 1,
        |fields| fields.max_fee += 1,
        |fields| fields.gas_limit += 1,
        |fields| fields.to = TxKind::Create,
        |fields| fields.value += U256::from(1),
        |fields| fields.data = vec![0].into(),
        |fields| fields.access_list = listed().access_list,
    ];
    for change in changes {
        let mut fields = dynamic();
        change(&mut fields);
        assert_ne!(text(Wire::DynamicFee(fields)), base);
    }
    // Counts stay, one storage key differs: the hash tells.
    let with = |byte| {
        let mut fields = listed();
        fields.access_list[0].storage_keys = vec![B256::with_last_byte(byte)];
        text(Wire::AccessListed(fields))
    };
    assert_ne!(with(3), with(4));
}

#[test]
fn policies_are_told_what_people_read() {
    let transfer = erc20("a9059cbb", U256::MAX);
    let facts = parse_dynamic(|fields| fields.data = transfer).unwrap().facts();
    let want = Facts {
        chain_id: 1,
        to: Some(TO.into_array()),
        value_gwei_up: Some(1_500_000_000),
        cost_gwei_up: Some(1_500_630_000),
        data_bytes: 68,
        selector: Some([0xa9, 0x05, 0x9c, 0xbb]),
        erc20_kind: Some(Erc20Kind::Transfer),
        erc20_party: Some([0x11; 20]),
        // 64 bits do not hold it, so a policy that compares it with a bound denies.
        erc20_amount: None,
        erc20_bits: 256,
    };
    assert_eq!(facts, want);
    let small = erc20("a9059cbb", U256::from(7));
    let facts = parse_dynamic(|fields| fields.data = small).unwrap().facts();
    assert_eq!((facts.erc20_amount, facts.erc20_bits), (Some(7), 3));
    assert!(!facts.creates_contract());
    let creates = |fields: &mut DynamicFee| {
        (fields.to, fields.data) = (TxKind::Create, erc20("a9059cbb", U256::from(1)));
    };
    let facts = parse_dynamic(creates).unwrap().facts();
    assert!(facts.creates_contract());
    assert_eq!((facts.selector, facts.erc20_kind, facts.erc20_party), (None, None, None));
    // A value that 64 bits of gwei cannot hold is absent: no policy can take it for a small one.
    let facts = parse_dynamic(|fields| fields.value = U256::from(u128::MAX)).unwrap().facts();
    assert_eq!((facts.value_gwei_up, facts.cost_gwei_up), (None, None));
}
