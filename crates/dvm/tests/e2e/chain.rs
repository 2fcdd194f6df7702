//! Claims about transactions: a chain that is not ours takes what three nodes signed, from whom it is said to be.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::anvil::{CHAIN_ID, Chain};
use crate::site::Site;

/// Who is paid.
const RECEIVER: &str = "0x3535353535353535353535353535353535353535";
const TOKEN: &str = "0x00000000000000000000000000000000000070ce";
/// A token of its `transfer` alone, written by hand. An account's balance is in the slot of its address:
/// `transfer(to, amount)` refuses what the caller has not, takes it from there and adds it here, and returns 1.
const TOKEN_CODE: &str = "0x5f3560e01c63a9059cbb14601157\
    5f5ffd\
    5b602435\
    3354\
    818110603457\
    8190033355\
    60043580549091019055\
    60015f5260205ff3\
    5b5f5ffd";

/// An address or a number as a word of 32 bytes.
fn word(hex: &str) -> String {
    format!("0x{:0>64}", hex.trim_start_matches("0x").to_lowercase())
}

struct Account<'a> {
    site: &'a Site,
    chain: &'a Chain,
    path: &'a str,
    address: String,
    sent: u64,
}

impl<'a> Account<'a> {
    /// The account of the key `eth` at this path, with money.
    fn funded(site: &'a Site, chain: &'a Chain, path: &'a str) -> Self {
        let shown = site.cli(0, &["key", "show", "eth", "--path", path]).ok();
        let address = shown["below"]["evm_address"].as_str().unwrap().to_owned();
        assert_eq!(path == "m", shown["evm_address"] == address, "{shown:#}");
        chain.fund(&address);
        Self { site, chain, path, address, sent: 0 }
    }

    fn file(&self, fields: &Value) -> PathBuf {
        let file = self.site.dir.join("tx.json");
        std::fs::write(&file, fields.to_string()).unwrap();
        file
    }

    /// Signs these fields through a node, broadcasts them, and reads how the chain took them.
    fn sends(&mut self, at: usize, mut fields: Value) -> Value {
        let nonce = format!("{:#x}", self.sent);
        assert_eq!(self.chain.nonce(&self.address), nonce);
        fields["chainId"] = json!(CHAIN_ID);
        fields["nonce"] = json!(nonce);
        let file = self.file(&fields);
        let sign = ["sign", "evm", "--key", "eth", "--path", self.path, "--tx"];
        let sign = [&sign[..], &[file.to_str().unwrap()]].concat();
        let view = self.site.asked(at, &sign, "Published");
        assert_eq!(view["sender"], self.address);

        let (hash, receipt) = self.chain.broadcast(view["raw_transaction_hex"].as_str().unwrap());
        assert_eq!(view["transaction_hash"], hash);
        assert_eq!(receipt["status"], "0x1", "{receipt:#}");
        assert_eq!(receipt["from"], self.address.to_lowercase());
        self.sent += 1;
        assert_eq!(self.chain.nonce(&self.address), format!("{:#x}", self.sent));
        view
    }
}

fn dynamic_fee(to: &str, more: Value) -> Value {
    let mut fields = json!({
        "to": to, "gas": "0x186a0", "maxFeePerGas": "0x77359400", "maxPriorityFeePerGas": "0x1",
    });
    fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    fields
}

fn with_gas_price(more: Value) -> Value {
    let mut fields = json!({ "to": RECEIVER, "gas": "0x186a0", "gasPrice": "0x77359400" });
    fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    fields
}

#[test]
fn a_chain_takes_every_kind_of_transaction_from_the_accounts_of_a_threshold_key() {
    let site = Site::start();
    let chain = Chain::start();
    let key = ["--backend", "dkls23-secp256k1"];
    site.key_with("eth", &key, &["--release", "auto", "--acts", "sign.evm_transaction"]);
    let mut own = Account::funded(&site, &chain, "m");

    own.sends(0, dynamic_fee(RECEIVER, json!({ "value": "0x64" })));
    own.sends(1, with_gas_price(json!({ "value": "0x64" })));
    assert_eq!(chain.balance(RECEIVER), "0xc8");

    let (own_slot, receiver_slot) = (word(&own.address), word(RECEIVER));
    chain.plant(TOKEN, TOKEN_CODE, (&own_slot, &word("0x3e8")));
    let call = format!("0xa9059cbb{}{}", &receiver_slot[2..], &word("0x7b")[2..]);
    let view = own.sends(2, dynamic_fee(TOKEN, json!({ "input": call })));
    let shown = view["display"].as_str().unwrap();
    assert!(shown.contains(RECEIVER) && shown.contains("123"), "{shown}");
    assert_eq!(chain.storage(TOKEN, &receiver_slot), word("0x7b"));
    assert_eq!(chain.storage(TOKEN, &own_slot), word("0x36d"));

    // What the token refuses, the chain takes all the same, and says that it failed.
    let over = format!("0xa9059cbb{}{}", &receiver_slot[2..], &word("0x36e")[2..]);
    let simulated = json!([{ "from": own.address, "to": TOKEN, "data": over }, "latest"]);
    assert!(chain.call("eth_call", simulated).is_err());

    let mut below = Account::funded(&site, &chain, "m/0/7");
    assert_ne!(below.address, own.address);
    let list = json!([{ "address": TOKEN, "storageKeys": [receiver_slot] }]);
    below.sends(0, with_gas_price(json!({ "value": "0x1", "accessList": list })));
    assert_eq!(chain.balance(RECEIVER), "0xc9");
    the_other_accounts_name_is_refused(&own, &below);
}

/// A sender in the file that is not the account at the path is a mistake to be told, not to be signed.
fn the_other_accounts_name_is_refused(own: &Account<'_>, below: &Account<'_>) {
    let mut fields = dynamic_fee(RECEIVER, json!({ "from": below.address, "nonce": "0x9" }));
    fields["chainId"] = json!(CHAIN_ID);
    let file = own.file(&fields);
    let sign = |path| {
        own.site.cli(
            0,
            &["sign", "evm", "--key", "eth", "--path", path, "--tx", file.to_str().unwrap()],
        )
    };
    let refused = sign("m");
    assert_eq!(refused.code().as_deref(), Some("BINDING_MISMATCH"), "{}", refused.err);
    assert!(refused.err.contains("`from` is not the address"), "{}", refused.err);
    let inside = sign("m/0/7");
    assert_eq!(inside.code(), None, "{}", inside.err);
}
