//! The JSON form of an unsigned transaction, with the names and notation of Ethereum's JSON-RPC.
//!
//! Source: the `GenericTransaction` of ethereum/execution-apis. Quantities are `0x` and hex digits
//! without leading zeros; byte strings are `0x` and an even number of them.
//!
//! Always true: nothing is guessed and nothing is dropped. A name that is not known, a field that another
//! one contradicts, or one that a node would fill in by itself (nonce, gas, fees, chain) is refused; a
//! contract is created only by an explicit `"to": null`.
//!
//! Not here: JSON itself. The structs are filled by whoever has read some.

use alloy_primitives::{Address, B256, Bytes, TxKind, U256, hex};
use serde::{Deserialize, Deserializer, Serialize};

use super::rlp::{Access, AccessListed, DynamicFee, Legacy, Wire};
use super::{EvmError, Transaction, eip55};

/// A transaction's fields, as text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fields {
    /// `0x0`, `0x1` or `0x2`; told by the other fields if absent.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub transaction_type: Option<String>,
    /// The chain.
    pub chain_id: String,
    /// The sender, if it is to be compared with the key's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Who is paid or called. Never absent: null creates a contract.
    #[serde(deserialize_with = "nullable")]
    pub to: Option<String>,
    /// In wei; nothing if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The sender's next number.
    pub nonce: String,
    /// The gas limit.
    pub gas: String,
    /// Wei per gas, of types 0 and 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gas_price: Option<String>,
    /// The most wei per gas, of type 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_fee_per_gas: Option<String>,
    /// The tip in wei per gas, of type 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_priority_fee_per_gas: Option<String>,
    /// The call's data, or the new contract's code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// The older name of `input`. With both, both must say the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Of types 1 and 2; empty if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_list: Option<Vec<AccessFields>>,
}

/// One entry of an access list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessFields {
    /// Whose storage.
    pub address: String,
    /// Its keys, of 32 bytes each.
    pub storage_keys: Vec<String>,
}

/// A `deserialize_with` has no default: so serde tells an absent field from a null.
fn nullable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)
}

/// Why fields make no transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The type needs it.
    #[error("`{field}` is missing")]
    Missing {
        /// Its JSON name.
        field: &'static str,
    },
    /// Not a quantity, or beyond the field's width.
    #[error(
        "`{field}` is no quantity of at most {bits} bits: write \"0x\" and hex digits without \
         leading zeros, such as \"0x0\" or \"0x5208\""
    )]
    Quantity {
        /// Its JSON name.
        field: &'static str,
        /// Its width.
        bits: usize,
    },
    /// Not bytes.
    #[error("`{field}` is no byte string: write \"0x\" and two hex digits for each byte")]
    Bytes {
        /// Its JSON name.
        field: &'static str,
    },
    /// Not an address.
    #[error("`{field}` is no address: write \"0x\" and 40 hex digits")]
    Address {
        /// Its JSON name.
        field: &'static str,
    },
    /// An address in mixed case whose EIP-55 checksum is wrong.
    #[error("`{field}` has a wrong checksum (EIP-55): a digit of the address is likely wrong")]
    Checksum {
        /// Its JSON name.
        field: &'static str,
    },
    /// A type that is not signed here.
    #[error(
        "`type` is \"0x0\", \"0x1\" or \"0x2\"; blobs (3) and delegations (4) are not signed here"
    )]
    Type,
    /// Two fields that cannot both hold.
    #[error("`{field}` does not go with `{with}`")]
    Contradiction {
        /// A JSON name.
        field: &'static str,
        /// Another.
        with: &'static str,
    },
    /// The fields are sound, their transaction is not.
    #[error(transparent)]
    Refused(EvmError),
}

impl Fields {
    /// The transaction that these fields describe.
    ///
    /// # Errors
    /// [`FieldError`]: the first field that is missing, unreadable or contradicted.
    pub fn transaction(&self) -> Result<Transaction, FieldError> {
        let wire = match self.kind()? {
            Kind::Legacy => self.legacy().map(Wire::Legacy),
            Kind::AccessListed => self.access_listed().map(Wire::AccessListed),
            Kind::DynamicFee => self.dynamic_fee().map(Wire::DynamicFee),
        }?;
        Transaction::parse(&wire.encode()).map_err(FieldError::Refused)
    }

    /// The sender that they name.
    ///
    /// # Errors
    /// [`FieldError`] for what is no address.
    pub fn sender(&self) -> Result<Option<[u8; 20]>, FieldError> {
        let from = self.from.as_deref().map(|from| address("from", from)).transpose()?;
        Ok(from.map(Address::into_array))
    }

    fn kind(&self) -> Result<Kind, FieldError> {
        let told = match (&self.max_fee_per_gas, &self.gas_price, &self.access_list) {
            (None, Some(_), None) => Kind::Legacy,
            (None, Some(_), Some(_)) => Kind::AccessListed,
            (_, None, _) => Kind::DynamicFee,
            (Some(_), Some(_), _) => {
                return Err(contradiction("gasPrice", "maxFeePerGas"));
            }
        };
        let kind = match self.transaction_type.as_deref() {
            None => told,
            Some("0x0") => Kind::Legacy,
            Some("0x1") => Kind::AccessListed,
            Some("0x2") => Kind::DynamicFee,
            Some(_) => return Err(FieldError::Type),
        };
        let has_priority = self.max_priority_fee_per_gas.is_some();
        match kind {
            Kind::DynamicFee if self.gas_price.is_some() => Err(contradiction("gasPrice", "type")),
            Kind::Legacy if self.access_list.is_some() => Err(contradiction("accessList", "type")),
            Kind::Legacy | Kind::AccessListed if self.max_fee_per_gas.is_some() => {
                Err(contradiction("maxFeePerGas", "type"))
            }
            Kind::Legacy | Kind::AccessListed if has_priority => {
                Err(contradiction("maxPriorityFeePerGas", "gasPrice"))
            }
            kind => Ok(kind),
        }
    }

    fn legacy(&self) -> Result<Legacy, FieldError> {
        Ok(Legacy {
            nonce: quantity("nonce", &self.nonce)?,
            gas_price: needed("gasPrice", &self.gas_price)?,
            gas_limit: quantity("gas", &self.gas)?,
            to: self.to()?,
            value: self.value()?,
            data: self.data()?,
            chain_id: quantity("chainId", &self.chain_id)?,
            r: U256::ZERO,
            s: U256::ZERO,
        })
    }

    fn access_listed(&self) -> Result<AccessListed, FieldError> {
        Ok(AccessListed {
            chain_id: quantity("chainId", &self.chain_id)?,
            nonce: quantity("nonce", &self.nonce)?,
            gas_price: needed("gasPrice", &self.gas_price)?,
            gas_limit: quantity("gas", &self.gas)?,
            to: self.to()?,
            value: self.value()?,
            data: self.data()?,
            access_list: self.access_list()?,
        })
    }

    fn dynamic_fee(&self) -> Result<DynamicFee, FieldError> {
        Ok(DynamicFee {
            chain_id: quantity("chainId", &self.chain_id)?,
            nonce: quantity("nonce", &self.nonce)?,
            max_priority_fee: needed("maxPriorityFeePerGas", &self.max_priority_fee_per_gas)?,
            max_fee: needed("maxFeePerGas", &self.max_fee_per_gas)?,
            gas_limit: quantity("gas", &self.gas)?,
            to: self.to()?,
            value: self.value()?,
            data: self.data()?,
            access_list: self.access_list()?,
        })
    }

    fn to(&self) -> Result<TxKind, FieldError> {
        let to = self.to.as_deref().map(|to| address("to", to)).transpose()?;
        Ok(TxKind::from(to))
    }

    fn value(&self) -> Result<U256, FieldError> {
        self.value.as_deref().map_or(Ok(U256::ZERO), |value| quantity("value", value))
    }

    fn data(&self) -> Result<Bytes, FieldError> {
        let (input, data) = (self.input.as_deref(), self.data.as_deref());
        let input = input.map(|text| bytes("input", text)).transpose()?;
        let data = data.map(|text| bytes("data", text)).transpose()?;
        match (input, data) {
            (Some(input), Some(data)) if input != data => Err(contradiction("data", "input")),
            (input, data) => Ok(input.or(data).unwrap_or_default().into()),
        }
    }

    fn access_list(&self) -> Result<Vec<Access>, FieldError> {
        let entries = self.access_list.iter().flatten();
        entries.map(AccessFields::access).collect()
    }
}

impl AccessFields {
    fn access(&self) -> Result<Access, FieldError> {
        let field = "accessList.storageKeys";
        let key = |text: &String| {
            let bytes = bytes(field, text)?;
            B256::try_from(bytes.as_slice()).map_err(|_| FieldError::Bytes { field })
        };
        Ok(Access {
            address: address("accessList.address", &self.address)?,
            storage_keys: self.storage_keys.iter().map(key).collect::<Result<_, _>>()?,
        })
    }
}

impl From<&Transaction> for Fields {
    /// The fields that make this transaction again.
    fn from(transaction: &Transaction) -> Self {
        let terms = transaction.terms();
        let hex = |number: u128| format!("{number:#x}");
        let mut fields = Self {
            chain_id: hex(terms.chain_id.into()),
            to: terms.to().map(|to| eip55(to.as_ref())),
            value: Some(format!("{:#x}", terms.value)),
            nonce: hex(terms.nonce.into()),
            gas: hex(terms.gas_limit.into()),
            input: Some(hex::encode_prefixed(terms.data)),
            access_list: terms.access_list.map(|list| list.iter().map(shown).collect()),
            ..Self::default()
        };
        let price = Some(hex(terms.max_fee));
        match &transaction.wire {
            Wire::Legacy(_) => (fields.transaction_type, fields.gas_price) = (Some(hex(0)), price),
            Wire::AccessListed(_) => {
                (fields.transaction_type, fields.gas_price) = (Some(hex(1)), price);
            }
            Wire::DynamicFee(_) => {
                (fields.transaction_type, fields.max_fee_per_gas) = (Some(hex(2)), price);
                fields.max_priority_fee_per_gas = terms.priority_fee.map(hex);
            }
        }
        fields
    }
}

fn shown(access: &Access) -> AccessFields {
    AccessFields {
        address: eip55(access.address.as_ref()),
        storage_keys: access.storage_keys.iter().map(hex::encode_prefixed).collect(),
    }
}

/// The types, as the fields tell them.
#[derive(Clone, Copy)]
enum Kind {
    Legacy,
    AccessListed,
    DynamicFee,
}

fn contradiction(field: &'static str, with: &'static str) -> FieldError {
    FieldError::Contradiction { field, with }
}

fn needed(field: &'static str, text: &Option<String>) -> Result<u128, FieldError> {
    quantity(field, text.as_deref().ok_or(FieldError::Missing { field })?)
}

/// A quantity of as many bits as its type has.
fn quantity<T: TryFrom<U256>>(field: &'static str, text: &str) -> Result<T, FieldError> {
    let refused = FieldError::Quantity { field, bits: size_of::<T>() * 8 };
    let digits = text.strip_prefix("0x").ok_or(refused)?;
    let canonical = digits == "0" || (!digits.is_empty() && !digits.starts_with('0'));
    // `from_str_radix` skips underscores.
    if !canonical || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(refused);
    }
    let number = U256::from_str_radix(digits, 16).map_err(|_| refused)?;
    T::try_from(number).map_err(|_| refused)
}

fn bytes(field: &'static str, text: &str) -> Result<Vec<u8>, FieldError> {
    let refused = FieldError::Bytes { field };
    let digits = text.strip_prefix("0x").ok_or(refused)?;
    // The decoder would take a second prefix.
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(refused);
    }
    hex::decode(digits).map_err(|_| refused)
}

/// An address; one in mixed case must have the right checksum, as EIP-55 asks.
fn address(field: &'static str, text: &str) -> Result<Address, FieldError> {
    let refused = FieldError::Address { field };
    let bytes = bytes(field, text).map_err(|_| refused)?;
    let address = Address::try_from(bytes.as_slice()).map_err(|_| refused)?;
    let has = |kind: fn(&u8) -> bool| text.as_bytes().iter().skip(2).any(kind);
    let mixed = has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase);
    if mixed && address.to_checksum(None) != text {
        return Err(FieldError::Checksum { field });
    }
    Ok(address)
}

#[cfg(test)]
mod tests;
