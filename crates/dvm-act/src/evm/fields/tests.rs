use super::*;

const TO: &str = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";

/// A payment of type 2, as people write it.
const PAYMENT: &str = r#"{
    "chainId": "0x1", "nonce": "0x9", "gas": "0x5208", "to": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "value": "0xde0b6b3a7640000", "maxFeePerGas": "0x6fc23ac00", "maxPriorityFeePerGas": "0x59682f00"
}"#;

fn payment() -> serde_json::Value {
    serde_json::from_str(PAYMENT).unwrap()
}

/// The payment, with some members set, or removed where null is not allowed.
fn with(changes: &[(&str, serde_json::Value)]) -> serde_json::Value {
    let mut json = payment();
    for (name, value) in changes {
        json[name] = value.clone();
    }
    json
}

fn without(json: serde_json::Value, name: &str) -> serde_json::Value {
    let mut json = json;
    json.as_object_mut().unwrap().remove(name);
    json
}

fn fields(json: serde_json::Value) -> Fields {
    serde_json::from_value(json).unwrap()
}

fn made(json: serde_json::Value) -> Result<Transaction, FieldError> {
    fields(json).transaction()
}

fn legacy() -> serde_json::Value {
    let json = without(without(payment(), "maxFeePerGas"), "maxPriorityFeePerGas");
    let mut json = json;
    json["gasPrice"] = "0x1".into();
    json
}

fn first_byte(json: serde_json::Value) -> u8 {
    made(json).unwrap().payload()[0]
}

#[test]
fn the_type_follows_from_the_fields_if_it_is_absent() {
    assert_eq!(first_byte(payment()), 2);
    assert!(first_byte(legacy()) >= 0xc0);
    let mut listed = legacy();
    listed["accessList"] = serde_json::json!([]);
    assert_eq!(first_byte(listed), 1);
}

#[test]
fn a_named_type_is_held_to_its_fields() {
    let mut typed = legacy();
    typed["type"] = "0x1".into();
    assert_eq!(first_byte(typed.clone()), 1);
    typed["type"] = "0x0".into();
    assert!(first_byte(typed.clone()) >= 0xc0);
    typed["type"] = "0x2".into();
    assert_eq!(made(typed), Err(contradiction("gasPrice", "type")));
    for (kind, field) in [("0x0", "maxFeePerGas"), ("0x1", "maxFeePerGas")] {
        assert_eq!(made(with(&[("type", kind.into())])), Err(contradiction(field, "type")));
    }
    assert!(made(with(&[("type", "0x2".into())])).is_ok());
    for other in ["0x3", "0x4", "2", "0x02", "eip1559", ""] {
        assert_eq!(made(with(&[("type", other.into())])), Err(FieldError::Type), "{other}");
    }
}

#[test]
fn fields_that_contradict_each_other_are_refused() {
    let both = with(&[("gasPrice", "0x1".into())]);
    assert_eq!(made(both), Err(contradiction("gasPrice", "maxFeePerGas")));
    let mut tip = legacy();
    tip["maxPriorityFeePerGas"] = "0x1".into();
    assert_eq!(made(tip), Err(contradiction("maxPriorityFeePerGas", "gasPrice")));
    let mut listed = legacy();
    (listed["type"], listed["accessList"]) = ("0x0".into(), serde_json::json!([]));
    assert_eq!(made(listed), Err(contradiction("accessList", "type")));
}

#[test]
fn input_and_data_are_one_field_with_two_names() {
    let input = made(with(&[("input", "0x01".into())])).unwrap();
    assert_eq!(made(with(&[("data", "0x01".into())])), Ok(input.clone()));
    let same = with(&[("input", "0x01".into()), ("data", "0x01".into())]);
    assert_eq!(made(same), Ok(input));
    let other = with(&[("input", "0x01".into()), ("data", "0x02".into())]);
    assert_eq!(made(other), Err(contradiction("data", "input")));
}

#[test]
fn an_unknown_a_repeated_or_an_absent_member_is_no_transaction() {
    let read = |json: &str| serde_json::from_str::<Fields>(json).map_err(|e| e.to_string());
    assert!(read(PAYMENT).is_ok());
    // As ethers names the gas limit: dropped in silence, it would leave the default.
    let unknown = PAYMENT.replace("\"gas\"", "\"gasLimit\"");
    assert!(read(&unknown).unwrap_err().contains("unknown field `gasLimit`"));
    let repeated = PAYMENT.replace("\"nonce\": \"0x9\"", "\"nonce\": \"0x9\", \"nonce\": \"0xa\"");
    assert!(read(&repeated).unwrap_err().contains("duplicate field"));
    for name in ["chainId", "nonce", "gas", "to"] {
        let absent = without(payment(), name).to_string();
        assert!(read(&absent).unwrap_err().contains(&format!("missing field `{name}`")));
    }
}

#[test]
fn the_fees_of_the_type_are_needed() {
    for field in ["maxFeePerGas", "maxPriorityFeePerGas"] {
        assert_eq!(made(without(payment(), field)), Err(FieldError::Missing { field }));
    }
    let mut free = without(legacy(), "gasPrice");
    free["type"] = "0x0".into();
    assert_eq!(made(free), Err(FieldError::Missing { field: "gasPrice" }));
}

#[test]
fn a_contract_is_created_only_by_a_null() {
    let code = ("input", serde_json::Value::from("0x6000"));
    let creates = |json| made(json).unwrap().facts().creates_contract();
    assert!(creates(with(&[("to", serde_json::Value::Null), code.clone()])));
    assert!(!creates(with(std::slice::from_ref(&code))));
    let empty = with(&[("to", "".into()), code]);
    assert_eq!(made(empty), Err(FieldError::Address { field: "to" }));
}

#[test]
fn quantities_are_written_in_one_way() {
    for good in ["0x0", "0x1", "0xff", "0xFF", "0xffffffffffffffe"] {
        assert!(made(with(&[("nonce", good.into())])).is_ok(), "{good}");
    }
    for bad in
        ["", "0x", "0", "9", "0x00", "0x09", "0X9", "x9", "0x 9", "0x_9", "0x9_", "-0x9", "0xg"]
    {
        let refused = FieldError::Quantity { field: "nonce", bits: 64 };
        assert_eq!(made(with(&[("nonce", bad.into())])), Err(refused), "{bad}");
    }
}

#[test]
fn a_quantity_beyond_its_width_is_refused() {
    let ones = |digits| format!("0x{}", "f".repeat(digits));
    for (field, bits) in [("gas", 64), ("maxFeePerGas", 128), ("value", 256)] {
        let wide = with(&[(field, ones(bits / 4 + 1).into())]);
        assert_eq!(made(wide), Err(FieldError::Quantity { field, bits }));
        let widest = with(&[(field, ones(bits / 4).into())]);
        assert!(!matches!(made(widest), Err(FieldError::Quantity { .. })), "{field}");
    }
}

#[test]
fn an_address_in_mixed_case_must_have_its_checksum() {
    let to = |text: &str| made(with(&[("to", text.into())]));
    let want = to(TO).unwrap();
    assert_eq!(to(&TO.to_lowercase()), Ok(want.clone()));
    assert_eq!(to(&format!("0x{}", TO[2..].to_uppercase())), Ok(want));
    let wrong = TO.replace("aAeb", "aaeb");
    assert_eq!(to(&wrong), Err(FieldError::Checksum { field: "to" }));
    for bad in
        ["0x", &TO[..41], &TO[2..], "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed00", "vitalik.eth"]
    {
        assert_eq!(to(bad), Err(FieldError::Address { field: "to" }), "{bad}");
    }
}

#[test]
fn a_byte_string_has_a_prefix_and_whole_bytes() {
    let input = |text: &str| made(with(&[("input", text.into())]));
    for good in ["0x", "0x00", "0xAbCd"] {
        assert!(input(good).is_ok(), "{good}");
    }
    for bad in ["", "00", "0x0", "0x0g", "0x0x00", "0X00"] {
        assert_eq!(input(bad), Err(FieldError::Bytes { field: "input" }), "{bad}");
    }
}

#[test]
fn an_access_list_has_addresses_and_keys_of_32_bytes() {
    let list = |key: String| {
        let entry = serde_json::json!([{ "address": TO, "storageKeys": [key] }]);
        made(with(&[("accessList", entry)]))
    };
    assert!(list(format!("0x{}", "00".repeat(32))).is_ok());
    let refused = FieldError::Bytes { field: "accessList.storageKeys" };
    for bytes in [0, 31, 33] {
        assert_eq!(list(format!("0x{}", "00".repeat(bytes))), Err(refused), "{bytes} bytes");
    }
}

#[test]
fn a_transaction_that_no_kernel_would_take_is_refused_with_its_reason() {
    let chain = with(&[("chainId", "0x0".into())]);
    let refused = FieldError::Refused(EvmError::ChainId { chain_id: 0 });
    assert_eq!(made(chain), Err(refused));
}

#[test]
fn the_sender_is_read_and_not_signed() {
    let from = "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb";
    let named = fields(with(&[("from", from.into())]));
    assert_eq!(named.sender().unwrap().map(|from| eip55(&from)).as_deref(), Some(from));
    assert_eq!(named.transaction(), made(payment()));
    assert_eq!(fields(payment()).sender(), Ok(None));
    let wrong = fields(with(&[("from", from.replace('D', "d").into())]));
    assert_eq!(wrong.sender(), Err(FieldError::Checksum { field: "from" }));
}
