//! The ERC-20 calls that move money or let others move it.
//!
//! Source: EIP-20, and `increaseAllowance` as most tokens have it beside; Solidity's ABI: a selector of four bytes, then
//! words of 32.
//!
//! Always true: what is decoded is exactly the call, with no bytes left over and no bits set in the
//! address's padding; anything else is not decoded at all. It is read *as* ERC-20: whether the contract
//! behind it is such a token cannot be seen here (ERC-721's `approve` has the same selector).

use alloy_primitives::{Address, U256};

/// `transfer(address,uint256)`
const TRANSFER: [u8; 4] = [0xa9, 0x05, 0x9c, 0xbb];
/// `approve(address,uint256)`
const APPROVE: [u8; 4] = [0x09, 0x5e, 0xa7, 0xb3];
/// `increaseAllowance(address,uint256)`
const INCREASE: [u8; 4] = [0x39, 0x50, 0x93, 0x51];

/// An approval of 2^128 base units or more counts as unlimited. No token has so many, and with the word
/// kept for 2^256 - 1 alone, one unit less would not be called by its name.
pub const UNLIMITED_BITS: usize = 128;

/// What a call of a token does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Erc20Kind {
    /// Gives tokens to somebody.
    Transfer,
    /// Lets somebody take up to an amount of tokens.
    Approve,
    /// Lets somebody take all there are, now or later.
    ApproveUnlimited,
    /// Lets somebody take an amount of tokens more than before.
    IncreaseAllowance,
}

impl Erc20Kind {
    /// The stable name, as policies say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Transfer => "transfer",
            Self::Approve => "approve",
            Self::ApproveUnlimited => "approve-unlimited",
            Self::IncreaseAllowance => "increase-allowance",
        }
    }
}

/// A decoded call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) kind: Erc20Kind,
    /// Who receives or may take.
    pub(super) party: Address,
    /// In the token's base units.
    pub(super) amount: U256,
}

impl Call {
    pub(super) fn decode(data: &[u8]) -> Option<Self> {
        let (selector, words) = data.split_first_chunk::<4>()?;
        let (padding, rest) = words.split_first_chunk::<12>()?;
        let (party, rest) = rest.split_first_chunk::<20>()?;
        let amount = U256::from_be_bytes::<32>(rest.try_into().ok()?);
        let kind = match *selector {
            TRANSFER => Erc20Kind::Transfer,
            APPROVE if is_unlimited(amount) => Erc20Kind::ApproveUnlimited,
            APPROVE => Erc20Kind::Approve,
            INCREASE => Erc20Kind::IncreaseAllowance,
            _ => return None,
        };
        (*padding == [0; 12]).then_some(Self { kind, party: Address::from(*party), amount })
    }
}

/// Whether an allowance of so much is one of all there are.
pub(super) fn is_unlimited(amount: U256) -> bool {
    amount.bit_len() > UNLIMITED_BITS
}

/// The selector, if there are bytes enough for one.
pub(super) fn selector(data: &[u8]) -> Option<[u8; 4]> {
    data.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(selector: [u8; 4], amount: U256) -> Vec<u8> {
        [&selector[..], &[0; 12], &[0x11; 20], &amount.to_be_bytes::<32>()].concat()
    }

    fn kind(data: &[u8]) -> Option<Erc20Kind> {
        Call::decode(data).map(|call| call.kind)
    }

    #[test]
    fn the_selectors_are_the_hashes_of_the_signatures() {
        let of = |text: &str| selector(alloy_primitives::keccak256(text).as_slice());
        assert_eq!(of("transfer(address,uint256)"), Some(TRANSFER));
        assert_eq!(of("approve(address,uint256)"), Some(APPROVE));
        assert_eq!(of("increaseAllowance(address,uint256)"), Some(INCREASE));
    }

    #[test]
    fn each_call_is_decoded_with_its_party_and_amount() {
        for (selector, kind) in [
            (TRANSFER, Erc20Kind::Transfer),
            (APPROVE, Erc20Kind::Approve),
            (INCREASE, Erc20Kind::IncreaseAllowance),
        ] {
            let amount = U256::from(1_000_000);
            let want = Call { kind, party: Address::from([0x11; 20]), amount };
            assert_eq!(Call::decode(&call(selector, amount)), Some(want));
        }
    }

    #[test]
    fn an_approval_is_unlimited_from_2_to_the_128_on_and_a_transfer_never_is() {
        let edge = U256::from(1) << UNLIMITED_BITS;
        let below = edge - U256::from(1);
        assert_eq!(kind(&call(APPROVE, below)), Some(Erc20Kind::Approve));
        for amount in [edge, U256::MAX - U256::from(1), U256::MAX] {
            assert_eq!(kind(&call(APPROVE, amount)), Some(Erc20Kind::ApproveUnlimited));
            assert_eq!(kind(&call(TRANSFER, amount)), Some(Erc20Kind::Transfer));
        }
    }

    #[test]
    fn only_exactly_68_bytes_are_a_call() {
        let mut data = call(TRANSFER, U256::from(1));
        assert_eq!(data.len(), 68);
        assert!(kind(&data).is_some());
        assert_eq!(kind(&data[..67]), None);
        data.push(0);
        assert_eq!(kind(&data), None);
        assert_eq!(kind(&[]), None);
    }

    #[test]
    fn bits_in_the_padding_of_the_address_make_it_no_call() {
        let good = call(APPROVE, U256::from(1));
        for at in 4..16 {
            let mut bad = good.clone();
            bad[at] = 1;
            assert_eq!(kind(&bad), None, "byte {at}");
        }
        let mut other_party = good;
        other_party[16] = 1;
        assert!(kind(&other_party).is_some());
    }

    #[test]
    fn another_selector_is_no_call() {
        // transferFrom(address,address,uint256)
        assert_eq!(kind(&call([0x23, 0xb8, 0x72, 0xdd], U256::from(1))), None);
    }
}
