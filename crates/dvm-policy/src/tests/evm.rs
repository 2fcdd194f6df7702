//! Claims about transactions: what policies can tell apart, and whose money it is.

use dvm_act::evm::{Fields, address_of};
use dvm_blame::bip32;
use dvm_core::Address20;

use super::*;

/// The generator of secp256k1: the key of the secret 1.
const KEY: [u8; 33] = [
    0x02, 0x79, 0xbe, 0x66, 0x7e, 0xf9, 0xdc, 0xbb, 0xac, 0x55, 0xa0, 0x62, 0x95, 0xce, 0x87, 0x0b,
    0x07, 0x02, 0x9b, 0xfc, 0xdb, 0x2d, 0xce, 0x28, 0xd9, 0x59, 0xf2, 0x81, 0x5b, 0x16, 0xf8, 0x17,
    0x98,
];
/// Its address, known to every wallet.
const FROM: &str = "7e5f4552091a69125d5dfcb7b8c2659029395bdf";
const CHAIN_CODE: [u8; 32] = [4; 32];
const TO: &str = "0x3535353535353535353535353535353535353535";

fn fields() -> Fields {
    let quantity = |number: u64| format!("{number:#x}");
    Fields {
        chain_id: quantity(1),
        to: Some(TO.to_owned()),
        value: Some(quantity(1_000_000_001)),
        nonce: quantity(9),
        gas: quantity(21_000),
        max_fee_per_gas: Some(quantity(2_000_000_000)),
        max_priority_fee_per_gas: Some(quantity(1)),
        ..Fields::default()
    }
}

fn erc20(selector: &str, amount: &str) -> Option<String> {
    let (zeros, party) = ("00".repeat(12), "11".repeat(20));
    Some(format!("0x{selector}{zeros}{party}{amount:0>64}"))
}

fn own() -> Address20 {
    Address20::from_hex(FROM).unwrap()
}

/// An approved request for this transaction, under the shipped policies and one more.
fn case(policy: Option<&str>, fields: &Fields, path: &[u32], from: Address20) -> Case {
    let extra: Vec<(&str, &str)> = policy.iter().map(|text| ("90-test", *text)).collect();
    let policies = PolicySet::load(files(&extra)).unwrap();
    let key = Key {
        backend: Backend::Dkls23Secp256k1,
        public_key: KEY.to_vec(),
        chain_code: Some(B32(CHAIN_CODE)),
    };
    let state = cluster_with(&policies, &[ActClass::SignEvmTransaction], true, key);
    let payload = fields.transaction().unwrap().payload();
    let act = Act::SignEvmTransaction {
        key_id: id("k"),
        key_epoch: 1,
        path: path.to_vec(),
        from,
        transaction: Link::of_raw(&payload),
        len: payload.len() as u64,
    };
    let (intent, act) = intent_about(&state, act, Some(&payload));
    let (approvals, ledger, roles) = (Vec::new(), Ledger::default(), [Role::Client].into());
    let case = Case { policies, state, intent, act, approvals, roles, ledger };
    case.approve("a1", &Purpose::Admit)
}

fn admitted(policy: Option<&str>, fields: &Fields) -> Judgement {
    case(policy, fields, &[], own()).admit()
}

/// Whether a policy that forbids unless this holds lets the transaction through.
fn holds(condition: &str, fields: &Fields) -> bool {
    let text = format!(
        "@id(\"t\") forbid (principal, action == Dvm::Action::\"sign.evm_transaction\", resource)
         unless {{ {condition} }};"
    );
    let judgement = admitted(Some(&text), fields);
    assert!(judgement.policy_receipt.errors.is_empty(), "{condition}: {judgement:?}");
    judgement.verdict == Verdict::Allow
}

#[test]
fn a_transaction_is_admitted_by_the_shipped_policy_once_its_floor_is_met() {
    let judgement = admitted(None, &fields());
    assert_eq!(verdict(&judgement), (Verdict::Allow, &[][..]));
    assert_eq!(judgement.rules, ["25-sign-evm-transaction/active-key"]);
    let mut unapproved = case(None, &fields(), &[], own());
    unapproved.approvals.clear();
    assert_eq!(unapproved.admit().verdict, Verdict::Awaiting);
    let mut nobody = case(None, &fields(), &[], own());
    nobody.roles = [Role::Auditor].into();
    assert_eq!(nobody.admit().verdict, Verdict::Deny);
}

#[test]
fn a_sender_that_is_not_the_keys_address_at_the_path_is_refused() {
    let derived = bip32::derive(&KEY, &CHAIN_CODE, &[0, 7]).unwrap();
    let derived = Address20(address_of(derived.public_key()).unwrap());
    let judge = |path: &[u32], from| case(None, &fields(), path, from).admit();
    assert_eq!(judge(&[], own()).verdict, Verdict::Allow);
    assert_eq!(judge(&[0, 7], derived).verdict, Verdict::Allow);
    for (path, from) in [(&[][..], derived), (&[0, 7], own()), (&[7, 0], derived)] {
        let refused = judge(path, from);
        assert_eq!(verdict(&refused), (Verdict::Deny, &[ReasonCode::BindingMismatch][..]));
        assert_eq!(refused.rules, ["sender"]);
    }
}

#[test]
fn a_key_that_derives_no_address_pays_for_nothing() {
    let mut schnorr = case(None, &fields(), &[], own());
    let acts = [ActClass::SignEvmTransaction];
    schnorr.state = cluster(&schnorr.policies, &acts, true);
    let intent = &mut schnorr.intent;
    intent.cluster = schnorr.state.cluster();
    assert_eq!(schnorr.admit().codes, [ReasonCode::BindingMismatch]);
}

#[test]
fn policies_see_every_fact_of_a_payment() {
    for fact in [
        "context.chain_id == 1",
        "context.value_gwei_up == 2",
        // 1.000000001 gwei, and 21,000 gas at 2 gwei.
        "context.cost_gwei_up == 42002",
        "context.data_bytes == 0 && context.data_selector == \"\"",
        "context.erc20_kind == \"\" && context.erc20_party == \"\"",
        "!context.creates_contract",
        "context.path == \"m\"",
        &format!("context.from == \"0x{FROM}\" && context.to == \"{TO}\""),
    ] {
        assert!(holds(fact, &fields()), "{fact}");
        assert!(!holds(&format!("!({fact})"), &fields()), "not {fact}");
    }
}

#[test]
fn policies_see_what_a_token_call_does_and_for_whom() {
    let transfer = Fields { input: erc20("a9059cbb", "5"), ..fields() };
    let party = format!("context.erc20_party == \"0x{}\"", "11".repeat(20));
    assert!(holds("context.erc20_kind == \"transfer\"", &transfer) && holds(&party, &transfer));
    assert!(holds(
        "context.data_selector == \"0xa9059cbb\" && context.data_bytes == 68",
        &transfer
    ));
    let approve = Fields { input: erc20("095ea7b3", "5"), ..fields() };
    assert!(holds("context.erc20_kind == \"approve\"", &approve));
    assert!(!holds("context.erc20_kind == \"transfer\"", &approve));
}

#[test]
fn an_unlimited_approval_of_tokens_is_forbidden_by_the_shipped_policy() {
    let approve =
        |amount: &str| admitted(None, &Fields { input: erc20("095ea7b3", amount), ..fields() });
    let increase =
        |amount: &str| admitted(None, &Fields { input: erc20("39509351", amount), ..fields() });
    // 2^95 - 1 base units, and then 2^95, what tokens of 96 bits call all, 2^128 - 1, 2^128, 2^256 - 1.
    let most = format!("7{}", "f".repeat(23));
    let beyond = [
        format!("8{}", "0".repeat(23)),
        "f".repeat(24),
        "f".repeat(32),
        format!("1{}", "0".repeat(32)),
        "f".repeat(64),
    ];
    for judge in [&approve as &dyn Fn(&str) -> Judgement, &increase] {
        assert_eq!(judge(&most).verdict, Verdict::Allow);
        for amount in &beyond {
            let refused = judge(amount);
            assert_eq!(verdict(&refused), (Verdict::Deny, &[ReasonCode::PolicyDenied][..]));
            assert_eq!(refused.rules, ["25-sign-evm-transaction/no-unlimited-approvals"]);
        }
    }
    let transfer = Fields { input: erc20("a9059cbb", &"f".repeat(64)), ..fields() };
    assert_eq!(admitted(None, &transfer).verdict, Verdict::Allow, "it lets nobody take anything");
}

#[test]
fn a_call_that_cannot_be_read_is_forbidden_by_the_shipped_policy() {
    let transfer = erc20("a9059cbb", "5").unwrap();
    let longer = format!("{transfer}00");
    // setApprovalForAll(address,bool), Permit2's approve, a fallback's byte, a transfer with a byte too many.
    for input in [&erc20("a22cb465", "1").unwrap(), "0x87517c45", "0x00", &longer] {
        let called = Fields { input: Some(input.to_owned()), ..fields() };
        let refused = admitted(None, &called);
        assert_eq!(verdict(&refused), (Verdict::Deny, &[ReasonCode::PolicyDenied][..]), "{input}");
        assert_eq!(refused.rules, ["25-sign-evm-transaction/no-unread-calls"]);
        let creation = Fields { to: None, ..called };
        assert_eq!(admitted(None, &creation).verdict, Verdict::Allow, "{input}");
    }
    for input in [None, Some(transfer)] {
        assert_eq!(admitted(None, &Fields { input, ..fields() }).verdict, Verdict::Allow);
    }
}

#[test]
fn policies_see_a_tokens_amount_if_it_fits_and_that_it_is_absent_if_not() {
    let most = "context has erc20_amount && context.erc20_amount <= 5";
    let (i64_max, one_more) = (format!("7{}", "f".repeat(15)), format!("8{}", "0".repeat(15)));
    for selector in ["a9059cbb", "095ea7b3", "39509351"] {
        let of = |amount: &str| Fields { input: erc20(selector, amount), ..fields() };
        assert!(holds(most, &of("5")) && !holds(most, &of("6")) && !holds(most, &of(&one_more)));
        let fits = "context has erc20_amount && context.erc20_amount == 9223372036854775807";
        assert!(holds(fits, &of(&i64_max)) && holds("context.erc20_bits == 63", &of(&i64_max)));
        let absent = "!(context has erc20_amount) && context.erc20_bits == 64";
        assert!(holds(absent, &of(&one_more)));
    }
    assert!(holds("!(context has erc20_amount) && context.erc20_bits == 0", &fields()));
}

#[test]
fn a_contracts_creation_is_told_apart_from_every_call() {
    let input = erc20("a9059cbb", "5");
    let creation = Fields { to: None, input, ..fields() };
    assert!(holds("context.creates_contract && context.to == \"\"", &creation));
    assert!(holds("context.erc20_kind == \"\" && context.data_selector == \"\"", &creation));
    assert!(!holds("!context.creates_contract", &creation));
}

#[test]
fn a_value_beyond_the_engines_numbers_is_a_denial() {
    // In wei: 2^63 - 1 gwei less the fees of 42,000 gwei fits, a gwei more does not.
    let most = (i64::MAX as u128 - 42_000) * 1_000_000_000;
    let value = |wei: u128| Fields { value: Some(format!("{wei:#x}")), ..fields() };
    assert_eq!(admitted(None, &value(most)).verdict, Verdict::Allow);
    let refused = admitted(None, &value(most + 1));
    assert_eq!(verdict(&refused), (Verdict::Deny, &[ReasonCode::PolicyDenied][..]));
    assert_eq!(refused.policy_receipt.errors, ["a number is beyond the engine's range"]);
    let beyond_64_bits = admitted(None, &value(u128::MAX));
    assert_eq!(beyond_64_bits.verdict, Verdict::Deny);
}
