//! Names that people and configurations use. Short ASCII, checked at the decoder.

use std::fmt;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::ID_CHARS_MAX;

/// The text is empty, too long, or has a character outside `[A-Za-z0-9._:@-]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id has 1 to 64 characters of A-Z a-z 0-9 . _ : @ -")]
pub struct BadId;

fn check(text: &str) -> Result<(), BadId> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._:@-".contains(&b);
    let ok = (1..=ID_CHARS_MAX).contains(&text.len()) && text.bytes().all(allowed);
    if ok { Ok(()) } else { Err(BadId) }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text of the id.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                check(text)?;
                Ok(Self(text.to_owned()))
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(D::Error::custom)
            }
        }
    };
}

id!(
    /// A cluster member: a node that holds shares, or a witness that holds none.
    NodeId
);
id!(
    /// A threshold key's name, unique in its cluster for ever.
    KeyId
);
id!(
    /// A human or service: requester, approver, governor.
    PersonId
);
id!(
    /// Whose idempotency keys these are.
    Tenant
);
id!(
    /// The client's own name for one request; the same key never means two requests.
    IdempotencyKey
);
id!(
    /// A named set of approvers or governors.
    SetName
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_1_to_64_plain_characters() {
        assert!("n1".parse::<NodeId>().is_ok());
        assert!("a".repeat(64).parse::<NodeId>().is_ok());
        for bad in ["", "a b", "ä", "a/b", &"a".repeat(65)] {
            assert_eq!(bad.parse::<NodeId>(), Err(BadId), "{bad}");
        }
    }
}
