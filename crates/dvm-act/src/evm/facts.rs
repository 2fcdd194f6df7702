//! What policies are told of a transaction.
//!
//! Source: the design's "Policy and evidence": an engine with 64-bit numbers and strings.
//!
//! Always true: amounts of ether are rounded up, so a limit is never passed by less than a gwei; a number that
//! does not fit is absent, which policy takes as an error, hence as a denial. Amounts of tokens are exact or absent, and
//! most do not fit: a policy that compares one has to ask first if it is there.

use alloy_primitives::U256;

use super::erc20::{Call, Erc20Kind, selector};
use super::{Terms, Transaction};

const WEI_PER_GWEI: u64 = 1_000_000_000;

/// Facts, one per name in the policy schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The one chain.
    pub chain_id: u64,
    /// Who is paid or called; none if a contract is created.
    pub to: Option<[u8; 20]>,
    /// What is sent along, in gwei, rounded up.
    pub value_gwei_up: Option<u64>,
    /// Value and all fees at their most, in gwei, rounded up.
    pub cost_gwei_up: Option<u64>,
    /// Bytes of data, or of a new contract's code.
    pub data_bytes: u64,
    /// The first four bytes of a call's data.
    pub selector: Option<[u8; 4]>,
    /// The call, if it reads as one of ERC-20's.
    pub erc20_kind: Option<Erc20Kind>,
    /// Who receives or may take the tokens.
    pub erc20_party: Option<[u8; 20]>,
    /// How many, in the token's base units; absent, too, beyond 64 bits.
    pub erc20_amount: Option<u64>,
    /// How many bits that amount has: what is known of one that does not fit. 0 if there is none.
    pub erc20_bits: u16,
}

impl Facts {
    /// Whether it creates a contract.
    pub fn creates_contract(&self) -> bool {
        self.to.is_none()
    }
}

impl Transaction {
    /// What policies are told.
    pub fn facts(&self) -> Facts {
        let terms = self.terms();
        let call = terms.call();
        Facts {
            chain_id: terms.chain_id,
            to: terms.to().map(|to| to.into_array()),
            value_gwei_up: gwei_up(terms.value),
            cost_gwei_up: terms.cost().and_then(gwei_up),
            data_bytes: terms.data.len() as u64,
            selector: terms.to().and_then(|_| selector(terms.data)),
            erc20_kind: call.map(|call| call.kind),
            erc20_party: call.map(|call| call.party.into_array()),
            erc20_amount: call.and_then(|call| call.amount.try_into().ok()),
            // 256 at most.
            erc20_bits: call
                .map_or(0, |call| u16::try_from(call.amount.bit_len()).unwrap_or(u16::MAX)),
        }
    }
}

impl Terms<'_> {
    /// The ERC-20 call, if it is one. The code of a new contract never is.
    pub(super) fn call(&self) -> Option<Call> {
        self.to().and_then(|_| Call::decode(self.data))
    }
}

fn gwei_up(wei: U256) -> Option<u64> {
    wei.div_ceil(U256::from(WEI_PER_GWEI)).try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gwei_are_rounded_up_and_absent_beyond_64_bits() {
        let gwei = U256::from(WEI_PER_GWEI);
        let one = U256::from(1);
        for (wei, up) in [
            (U256::ZERO, Some(0)),
            (one, Some(1)),
            (gwei, Some(1)),
            (gwei + one, Some(2)),
            (gwei * U256::from(u64::MAX), Some(u64::MAX)),
            (gwei * U256::from(u64::MAX) + one, None),
            (U256::MAX, None),
        ] {
            assert_eq!(gwei_up(wei), up, "{wei}");
        }
    }
}
