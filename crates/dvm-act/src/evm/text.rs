//! What an approver reads of a transaction: one fact a line, exact.
//!
//! Source: the design's "Typed acts". Amounts are exact decimals, never rounded: 18 places for ether, 9
//! for gwei. Addresses have their EIP-55 checksum, so that they can be compared with what a wallet shows.
//!
//! Always true: the last line is the hash that is signed, so two transactions never have one text.

use alloy_primitives::{U256, hex};
use dvm_core::digest::sha256;

use super::erc20::{Call, Erc20Kind, is_unlimited, selector};
use super::rlp::Access;
use super::{Terms, Transaction, eip55};

const ETHER_PLACES: usize = 18;
const GWEI_PLACES: usize = 9;

/// A name and a value, both printable ASCII.
type Line = (&'static str, String);

impl Transaction {
    /// The lines that approvers are shown, name and value, in order. `from` is the sender that the act names.
    pub fn lines(&self, from: &[u8; 20]) -> Vec<Line> {
        let terms = self.terms();
        let mut lines = vec![
            ("chain id", terms.chain_id.to_string()),
            ("transaction type", terms.type_name.to_owned()),
            ("from", eip55(from)),
            (
                "to",
                terms
                    .to()
                    .map_or("nobody: it creates a contract".to_owned(), |to| eip55(to.as_ref())),
            ),
            ("value", ether(terms.value)),
            ("nonce", terms.nonce.to_string()),
            ("gas limit", terms.gas_limit.to_string()),
        ];
        match terms.priority_fee {
            Some(priority) => lines.extend([
                ("max fee", gwei_per_gas(terms.max_fee)),
                ("priority fee", gwei_per_gas(priority)),
            ]),
            None => lines.push(("gas price", gwei_per_gas(terms.max_fee))),
        }
        // The parse refused a cost that overflows.
        lines.extend(terms.cost().map(|cost| ("most it can cost", most(cost))));
        lines.extend(data(&terms));
        lines.extend(terms.access_list.map(|list| ("access list", access(list))));
        lines.push(("hash to sign", hex::encode(self.signing_hash())));
        lines
    }
}

fn data(terms: &Terms<'_>) -> Vec<Line> {
    if terms.data.is_empty() {
        return vec![("data", "none".to_owned())];
    }
    let mut lines = vec![
        ("data length", format!("{} bytes", terms.data.len())),
        ("data sha256", sha256(terms.data).hex()),
    ];
    match (terms.to(), terms.call(), selector(terms.data)) {
        (None, ..) => lines.push(("data", "the new contract's code, not decoded".to_owned())),
        (_, Some(call), _) => lines.extend(erc20(&call)),
        (_, None, Some(selector)) => {
            let selector = hex::encode(selector);
            lines.push(("data", format!("a call with selector 0x{selector}, not decoded")));
        }
        (_, None, None) => lines.push(("data", "too short for a call, not decoded".to_owned())),
    }
    lines
}

fn erc20(call: &Call) -> [Line; 3] {
    let units = call.amount;
    let amount = format!("{units} base units (decimals unknown)");
    let unlimited = || format!("UNLIMITED: all tokens, now and later ({units})");
    let (says, party, amount) = match call.kind {
        Erc20Kind::Transfer => ("transfer", "token receiver", amount),
        Erc20Kind::Approve => ("approve", "token spender", amount),
        Erc20Kind::ApproveUnlimited => ("approve", "token spender", unlimited()),
        Erc20Kind::IncreaseAllowance if is_unlimited(units) => {
            ("increaseAllowance", "token spender", unlimited())
        }
        Erc20Kind::IncreaseAllowance => {
            ("increaseAllowance", "token spender", format!("{amount} more than before"))
        }
    };
    [
        ("data", format!("{says}, read as a call of an ERC-20 token")),
        (party, eip55(call.party.as_ref())),
        ("token amount", amount),
    ]
}

fn access(list: &[Access]) -> String {
    let keys: usize = list.iter().map(|access| access.storage_keys.len()).sum();
    format!("{} addresses, {keys} storage keys", list.len())
}

/// No field of a transaction bounds what some chains take beside value and gas: rollups, for their data.
fn most(cost: U256) -> String {
    format!("{}, and fees of the chain's own (rollups have some)", ether(cost))
}

fn ether(wei: U256) -> String {
    format!("{} ether", decimal(wei, ETHER_PLACES))
}

fn gwei_per_gas(wei: u128) -> String {
    format!("{} gwei per gas", decimal(U256::from(wei), GWEI_PLACES))
}

/// `units / 10^places`, exactly, without zeros at the end.
fn decimal(units: U256, places: usize) -> String {
    let digits = format!("{:0>width$}", units.to_string(), width = places + 1);
    let (whole, part) = digits.split_at(digits.len() - places);
    match part.trim_end_matches('0') {
        "" => whole.to_owned(),
        part => format!("{whole}.{part}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact_and_have_no_zeros_at_the_end() {
        for (units, text) in [
            (0_u64, "0"),
            (1, "0.000000000000000001"),
            (999_999_999_999_999_999, "0.999999999999999999"),
            (1_000_000_000_000_000_000, "1"),
            (1_500_000_000_000_000_000, "1.5"),
            (12_345_678_901_234_567_890, "12.34567890123456789"),
        ] {
            assert_eq!(decimal(U256::from(units), ETHER_PLACES), text);
        }
        let most =
            "115792089237316195423570985008687907853269984665640564039457.584007913129639935";
        assert_eq!(decimal(U256::MAX, ETHER_PLACES), most);
        assert_eq!(decimal(U256::from(20_000_000_001_u64), GWEI_PLACES), "20.000000001");
    }
}
