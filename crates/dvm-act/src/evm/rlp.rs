//! The wire: three lists of fields, in the order of their EIPs.
//!
//! Source: EIP-155, EIP-2930 and EIP-1559. The structs are the wire: their fields' order and types are
//! the encoding, which `alloy_rlp` derives.
//!
//! Always true: a decoded list had exactly these fields and nothing after them. Whether the numbers make
//! sense is the parse's business ([`super::Transaction::parse`]).

use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use alloy_rlp::{Decodable, Encodable, Header, RlpDecodable, RlpEncodable, decode_exact};

use super::EvmError;

const TYPE_ACCESS_LIST: u8 = 1;
const TYPE_DYNAMIC_FEE: u8 = 2;
/// The first byte of an RLP list: a legacy transaction has no type byte (EIP-2718).
const LIST_FIRST: u8 = 0xc0;

/// Legacy, as EIP-155 signs it. `chain_id`, `r` and `s` are also the places of v, r and s.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(super) struct Legacy {
    pub(super) nonce: u64,
    pub(super) gas_price: u128,
    pub(super) gas_limit: u64,
    pub(super) to: TxKind,
    pub(super) value: U256,
    pub(super) data: Bytes,
    pub(super) chain_id: u64,
    pub(super) r: U256,
    pub(super) s: U256,
}

/// Legacy of before EIP-155: decoded only to say what is wrong with it.
#[derive(RlpEncodable, RlpDecodable)]
struct Unprotected {
    nonce: u64,
    gas_price: u128,
    gas_limit: u64,
    to: TxKind,
    value: U256,
    data: Bytes,
}

/// Type 1, EIP-2930.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(super) struct AccessListed {
    pub(super) chain_id: u64,
    pub(super) nonce: u64,
    pub(super) gas_price: u128,
    pub(super) gas_limit: u64,
    pub(super) to: TxKind,
    pub(super) value: U256,
    pub(super) data: Bytes,
    pub(super) access_list: Vec<Access>,
}

/// Type 2, EIP-1559.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(super) struct DynamicFee {
    pub(super) chain_id: u64,
    pub(super) nonce: u64,
    pub(super) max_priority_fee: u128,
    pub(super) max_fee: u128,
    pub(super) gas_limit: u64,
    pub(super) to: TxKind,
    pub(super) value: U256,
    pub(super) data: Bytes,
    pub(super) access_list: Vec<Access>,
}

/// What an access list says of one address.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(super) struct Access {
    pub(super) address: Address,
    pub(super) storage_keys: Vec<B256>,
}

/// A transaction's fields, by type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Legacy(Legacy),
    AccessListed(AccessListed),
    DynamicFee(DynamicFee),
}

/// What all types say, under one name each.
pub(super) struct Terms<'a> {
    pub(super) type_name: &'static str,
    pub(super) chain_id: u64,
    pub(super) nonce: u64,
    pub(super) gas_limit: u64,
    /// The gas price, for types that have but one.
    pub(super) max_fee: u128,
    pub(super) priority_fee: Option<u128>,
    pub(super) to: TxKind,
    pub(super) value: U256,
    pub(super) data: &'a [u8],
    pub(super) access_list: Option<&'a [Access]>,
}

impl Wire {
    pub(super) fn decode(payload: &[u8]) -> Result<Self, EvmError> {
        match payload.split_first() {
            None => Err(EvmError::Rlp(alloy_rlp::Error::InputTooShort)),
            Some((&(LIST_FIRST..), _)) => legacy(payload).map(Self::Legacy),
            Some((&TYPE_ACCESS_LIST, list)) => exact(list).map(Self::AccessListed),
            Some((&TYPE_DYNAMIC_FEE, list)) => exact(list).map(Self::DynamicFee),
            Some((&byte, _)) => Err(EvmError::Type { byte }),
        }
    }

    /// The payload that is hashed.
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Legacy(fields) => alloy_rlp::encode(fields),
            Self::AccessListed(fields) => typed(TYPE_ACCESS_LIST, fields),
            Self::DynamicFee(fields) => typed(TYPE_DYNAMIC_FEE, fields),
        }
    }

    pub(super) fn is_encoded_as(&self, payload: &[u8]) -> bool {
        self.encode() == payload
    }

    /// The transaction as it is broadcast.
    pub(super) fn with_signature(
        &self,
        y_parity: u8,
        r: U256,
        s: U256,
    ) -> Result<Vec<u8>, EvmError> {
        match self {
            Self::Legacy(fields) => {
                // EIP-155: v = y_parity + 2 * chain id + 35. A chain id has 54 bits at most.
                let v = fields.chain_id * 2 + 35 + u64::from(y_parity);
                Ok(alloy_rlp::encode(Legacy { chain_id: v, r, s, ..fields.clone() }))
            }
            Self::AccessListed(fields) => {
                typed_and_signed(TYPE_ACCESS_LIST, fields, (y_parity, r, s))
            }
            Self::DynamicFee(fields) => {
                typed_and_signed(TYPE_DYNAMIC_FEE, fields, (y_parity, r, s))
            }
        }
    }

    pub(super) fn terms(&self) -> Terms<'_> {
        match self {
            Self::Legacy(Legacy {
                nonce, gas_price, gas_limit, to, value, data, chain_id, ..
            }) => Terms {
                type_name: "legacy (EIP-155)",
                chain_id: *chain_id,
                nonce: *nonce,
                gas_limit: *gas_limit,
                max_fee: *gas_price,
                priority_fee: None,
                to: *to,
                value: *value,
                data,
                access_list: None,
            },
            Self::AccessListed(fields) => Terms {
                type_name: "1 (EIP-2930)",
                chain_id: fields.chain_id,
                nonce: fields.nonce,
                gas_limit: fields.gas_limit,
                max_fee: fields.gas_price,
                priority_fee: None,
                to: fields.to,
                value: fields.value,
                data: &fields.data,
                access_list: Some(&fields.access_list),
            },
            Self::DynamicFee(fields) => Terms {
                type_name: "2 (EIP-1559)",
                chain_id: fields.chain_id,
                nonce: fields.nonce,
                gas_limit: fields.gas_limit,
                max_fee: fields.max_fee,
                priority_fee: Some(fields.max_priority_fee),
                to: fields.to,
                value: fields.value,
                data: &fields.data,
                access_list: Some(&fields.access_list),
            },
        }
    }
}

fn exact<T: Decodable>(list: &[u8]) -> Result<T, EvmError> {
    decode_exact(list).map_err(EvmError::Rlp)
}

fn legacy(payload: &[u8]) -> Result<Legacy, EvmError> {
    match decode_exact::<Legacy>(payload) {
        Ok(fields) if fields.r.is_zero() && fields.s.is_zero() => Ok(fields),
        Ok(_) => Err(EvmError::AlreadySigned),
        Err(_) if decode_exact::<Unprotected>(payload).is_ok() => Err(EvmError::NoChainId),
        Err(error) => Err(EvmError::Rlp(error)),
    }
}

fn typed(byte: u8, list: &impl Encodable) -> Vec<u8> {
    let mut out = vec![byte];
    list.encode(&mut out);
    out
}

/// A typed transaction with y parity, r and s at the end of its list.
fn typed_and_signed(
    byte: u8,
    fields: &impl Encodable,
    (y_parity, r, s): (u8, U256, U256),
) -> Result<Vec<u8>, EvmError> {
    let list = alloy_rlp::encode(fields);
    // The fields without the header of their list, which is now longer.
    let fields = Header::decode_bytes(&mut list.as_slice(), true).map_err(EvmError::Rlp)?;
    let payload_length = fields.len() + y_parity.length() + r.length() + s.length();
    let mut out = vec![byte];
    Header { list: true, payload_length }.encode(&mut out);
    out.extend_from_slice(fields);
    y_parity.encode(&mut out);
    r.encode(&mut out);
    s.encode(&mut out);
    Ok(out)
}
