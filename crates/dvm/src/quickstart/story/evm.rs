//! The second key: ECDSA on secp256k1, whose address pays on Ethereum's chains, and one transaction of it.
//!
//! Source: EIP-1559; the fields are those of Ethereum's JSON-RPC.
//! Always true: the raw transaction that is told is the approved payload with a signature that recovers to the key's
//! address, joined here again from the signature alone.
//! Not here: a chain. Nothing is broadcast, and the demo's address has no money on any.

use std::path::PathBuf;

use dvm_act::evm::{Fields, Transaction, address_of, eip55};
use dvm_core::intent::{ActClass, Backend};
use dvm_core::reason::ReasonCode;
use dvm_node::setup::write_new;
use dvm_node::views::{ExecutionView, KeyView};
use serde_json::json;

use super::{Scene, unexpected};
use crate::cli::exit::Failure;
use crate::client::As;
use crate::quickstart::facts::SentFacts;

/// The demo's key for Ethereum.
const KEY: &str = "demo-eth";

/// A hundredth of an ether to somebody, on the chain id that local test chains use.
fn fields() -> Fields {
    let text = |text: &str| text.to_owned();
    Fields {
        chain_id: text("0x7a69"),
        nonce: text("0x0"),
        to: Some(text("0x3535353535353535353535353535353535353535")),
        value: Some(text("0x2386f26fc10000")),
        gas: text("0x5208"),
        max_fee_per_gas: Some(text("0x77359400")),
        max_priority_fee_per_gas: Some(text("0x3b9aca00")),
        ..Fields::default()
    }
}

fn broken(what: &'static str) -> Failure {
    Failure::refused(ReasonCode::Internal, what)
}

impl Scene<'_> {
    /// From the second key to its transaction's verified bundle.
    pub(super) fn transaction(&self) -> Result<SentFacts, Failure> {
        self.teller.chapter("7. A second key, for Ethereum");
        let key = self.key_is_made(KEY, Backend::Dkls23Secp256k1)?;
        let address = address_in(&key)?;
        self.teller
            .say(format!("  Its address, which would have to be funded: {}", eip55(&address)));
        self.governors_decide(&key, ActClass::SignEvmTransaction)?;

        self.teller.chapter("8. A transaction is signed");
        let fields = fields();
        let transaction = fields.transaction().map_err(|_| broken("the demo's transaction"))?;
        let transaction_file = self.transaction_file(&fields)?;
        let act = json!({
            "type": "sign.evm_transaction", "key_id": KEY, "from": eip55(&address),
            "transaction_hex": hex::encode(transaction.payload()),
        });
        let asked = self.submit(As::Client, &act)?;
        if asked.state != "AwaitingApproval" {
            return Err(unexpected("the transaction was to wait for an approval", &asked));
        }
        self.teller.artifact("Intent: 0.01 ether on chain 31337", &asked.intent);
        let published = self.release(&self.held(&asked)?)?;
        let raw = raw(&transaction, &address, &published)?;
        let hash = published.transaction_hash.clone().unwrap_or_default();
        self.teller.say(format!("  {raw}"));
        self.teller.say(format!("  is what a node of that chain takes; its hash will be {hash}"));

        self.teller.chapter("9. Its evidence, verified offline");
        let bundle_path = self.site.dir.join("bundle-eth.car");
        self.evidence(&published, &bundle_path)?;
        Ok(SentFacts {
            key_id: key.key_id,
            public_key_hex: key.public_key_hex,
            address: eip55(&address),
            transaction_file,
            signature_hex: published.signature_hex.unwrap_or_default(),
            raw_transaction_hex: raw,
            transaction_hash: hash,
            execution_id: published.execution_id.unwrap_or_default(),
            intent: published.intent,
            bundle_path,
        })
    }

    fn transaction_file(&self, fields: &Fields) -> Result<PathBuf, Failure> {
        let path = self.site.dir.join("transaction.json");
        let json = serde_json::to_vec_pretty(fields).map_err(|e| Failure::form(&path, e))?;
        write_new(&path, &json, 0o644)?;
        Ok(path)
    }
}

/// The key's account, told by the node and computed here.
fn address_in(key: &KeyView) -> Result<[u8; 20], Failure> {
    let public_key = hex::decode(&key.public_key_hex).unwrap_or_default();
    let address = public_key.as_slice().try_into().ok().and_then(address_of);
    let address = address.ok_or_else(|| broken("the key has no address"))?;
    if key.evm_address.as_deref() != Some(eip55(&address).as_str()) {
        return Err(broken("the node tells another address than the key's"));
    }
    Ok(address)
}

/// The signed transaction, joined here from the published signature; it must be the one that the node tells.
fn raw(
    transaction: &Transaction,
    from: &[u8; 20],
    published: &ExecutionView,
) -> Result<String, Failure> {
    let signature = published.signature_hex.as_deref().and_then(|hex| hex::decode(hex).ok());
    let signature = signature.and_then(|bytes| <[u8; 65]>::try_from(bytes).ok());
    let signature = signature.ok_or_else(|| broken("no signature of 65 bytes"))?;
    let signed = transaction
        .signed(from, &signature)
        .map_err(|_| broken("the published signature does not recover to the key's address"))?;
    let raw = format!("0x{}", hex::encode(signed.raw()));
    if published.raw_transaction_hex.as_ref() != Some(&raw) {
        return Err(broken("the node tells another transaction than the one that was signed"));
    }
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demos_transaction_is_one_of_eip_1559_for_a_test_chain() {
        let transaction = fields().transaction().unwrap();
        assert_eq!(transaction.chain_id(), 31_337);
        assert_eq!(transaction.payload().first(), Some(&2));
    }
}
