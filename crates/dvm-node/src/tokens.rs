//! Bearer tokens of the API: who is calling and what that caller may do.
//!
//! Always true: the token itself exists only in the hands of its bearer; the node stores and compares
//! SHA-256 hashes, and looks at every entry for every lookup, so the time taken does not depend on the
//! token shown. A token has 256 bits of entropy, so an unsalted hash is enough.
//!
//! Not here: what a role may do (the API's routes say that), approvers' signing keys, persistence.

use std::collections::BTreeSet;
use std::hint::black_box;

use rand_core::{CryptoRng, RngCore};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What every token starts with, so that secret scanners can find a leaked one.
pub const TOKEN_PREFIX: &str = "dvm_";
/// Most tokens one node knows: a lookup reads all of them, and this keeps it under 0.1 ms.
pub const MAX_TOKENS: usize = 1024;
/// Longest tenant or person name, in bytes.
pub const MAX_NAME_LEN: usize = 128;
/// Random bytes in a token.
const TOKEN_BYTES: usize = 32;

/// What a bearer may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Posts intents and reads its tenant's executions.
    Client,
    /// Submits signed approvals and denials.
    Approver,
    /// Runs the node: policy, governance submissions, holds.
    Operator,
    /// Reads everything, changes nothing.
    Auditor,
}

/// Who a token speaks for. Stored as JSON under the token's hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    /// The tenant whose intents this caller may see.
    pub tenant: String,
    /// The person or service, as it appears in receipts.
    pub person: String,
    /// What it may do.
    pub roles: BTreeSet<Role>,
}

impl Principal {
    /// Whether this caller holds `role`.
    #[must_use]
    pub fn may(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// The stored form.
    ///
    /// # Errors
    /// [`TokenRefused::BadRecord`] if a name is empty or too long, or no role is given.
    pub fn to_json(&self) -> Result<Vec<u8>, TokenRefused> {
        self.check()?;
        serde_json::to_vec(self).map_err(|_| TokenRefused::BadRecord)
    }

    /// Reads a stored record.
    ///
    /// # Errors
    /// [`TokenRefused::BadRecord`] if the bytes are not a valid record.
    pub fn from_json(bytes: &[u8]) -> Result<Self, TokenRefused> {
        let record: Self = serde_json::from_slice(bytes).map_err(|_| TokenRefused::BadRecord)?;
        record.check()?;
        Ok(record)
    }

    fn check(&self) -> Result<(), TokenRefused> {
        let name_fits = |name: &str| !name.is_empty() && name.len() <= MAX_NAME_LEN;
        if name_fits(&self.tenant) && name_fits(&self.person) && !self.roles.is_empty() {
            Ok(())
        } else {
            Err(TokenRefused::BadRecord)
        }
    }
}

/// A token in the clear: no `Debug`, `Display` or `Clone`; shown once to whoever asked for it.
pub struct BearerToken(String);

impl BearerToken {
    /// Draws a new token.
    #[must_use]
    pub fn mint(rng: &mut (impl CryptoRng + RngCore)) -> Self {
        let mut bytes = [0_u8; TOKEN_BYTES];
        rng.fill_bytes(&mut bytes);
        Self(format!("{TOKEN_PREFIX}{}", hex::encode(bytes)))
    }

    /// The text to hand to the bearer.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What the node keeps of it.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.0.as_bytes()).into())
    }
}

/// SHA-256 of a token's text: the key of its record in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of a token that a caller showed.
    ///
    /// # Errors
    /// [`TokenRefused::Malformed`] unless the text is `dvm_` and 64 lower-case hex digits.
    pub fn of_presented(text: &str) -> Result<Self, TokenRefused> {
        let digits = text.strip_prefix(TOKEN_PREFIX).ok_or(TokenRefused::Malformed)?;
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() != TOKEN_BYTES * 2 || !digits.bytes().all(is_digit) {
            return Err(TokenRefused::Malformed);
        }
        Ok(Self(Sha256::digest(text.as_bytes()).into()))
    }

    /// The bytes used as the store's key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn same(&self, other: &Self) -> bool {
        let mut difference = 0_u8;
        for (mine, theirs) in self.0.iter().zip(&other.0) {
            difference |= mine ^ theirs;
        }
        // black_box keeps the loop from being turned into an early exit.
        black_box(difference) == 0
    }
}

/// Why a token or record was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// Not the text of a token.
    #[error("malformed bearer token")]
    Malformed,
    /// The stored record is not one.
    #[error("token record is not valid")]
    BadRecord,
    /// The store's key is not a SHA-256 hash.
    #[error("token record is stored under a key that is not a hash")]
    BadKey,
    /// There are [`MAX_TOKENS`] already.
    #[error("more than {MAX_TOKENS} tokens")]
    TooMany,
}

/// All tokens the node knows.
#[derive(Debug, Default)]
pub struct TokenBook {
    entries: Vec<(TokenHash, Principal)>,
}

impl TokenBook {
    /// Reads the stored records: `(hash, JSON)` pairs of the token table.
    ///
    /// # Errors
    /// The first record that is not valid: a node does not start with a token store it cannot read.
    pub fn load(rows: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Result<Self, TokenRefused> {
        let mut book = Self::default();
        for (key, value) in rows {
            let hash = TokenHash(key.try_into().map_err(|_| TokenRefused::BadKey)?);
            book.insert(hash, Principal::from_json(&value)?)?;
        }
        Ok(book)
    }

    /// Adds a token, or replaces whom it speaks for.
    ///
    /// # Errors
    /// [`TokenRefused::TooMany`] at the bound.
    pub fn insert(&mut self, hash: TokenHash, principal: Principal) -> Result<(), TokenRefused> {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.0.same(&hash)) {
            entry.1 = principal;
            return Ok(());
        }
        if self.entries.len() >= MAX_TOKENS {
            return Err(TokenRefused::TooMany);
        }
        self.entries.push((hash, principal));
        Ok(())
    }

    /// Forgets a token; says whether it was known.
    pub fn revoke(&mut self, hash: &TokenHash) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| !entry.0.same(hash));
        self.entries.len() < before
    }

    /// Whom the shown token speaks for. Reads every entry whatever is shown.
    #[must_use]
    pub fn principal(&self, presented: &str) -> Option<&Principal> {
        let hash = TokenHash::of_presented(presented).ok()?;
        let mut found = None;
        for (known, principal) in &self.entries {
            if known.same(&hash) {
                found = Some(principal);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::OsRng;

    fn alice() -> Principal {
        Principal {
            tenant: "acme".into(),
            person: "alice".into(),
            roles: BTreeSet::from([Role::Client, Role::Auditor]),
        }
    }

    #[test]
    fn book_finds_whom_a_token_speaks_for_after_a_reload_and_nobody_after_revocation() {
        let (token, other) = (BearerToken::mint(&mut OsRng), BearerToken::mint(&mut OsRng));
        let stored = (token.hash().as_bytes().to_vec(), alice().to_json().unwrap());
        let mut book = TokenBook::load([stored]).unwrap();
        let found = book.principal(token.expose()).unwrap();
        assert_eq!(found, &alice());
        assert!(found.may(Role::Client) && !found.may(Role::Operator));
        assert_eq!(book.principal(other.expose()), None);
        assert!(!book.revoke(&other.hash()));
        assert!(book.revoke(&token.hash()));
        assert_eq!(book.principal(token.expose()), None);
    }

    #[test]
    fn token_text_is_accepted_in_exactly_one_form() {
        let token = BearerToken::mint(&mut OsRng);
        let text = token.expose();
        assert_eq!(text.len(), TOKEN_PREFIX.len() + 64);
        assert_eq!(TokenHash::of_presented(text), Ok(token.hash()));
        let upper = format!("{TOKEN_PREFIX}{}", "A".repeat(64));
        let short = &text[..text.len() - 1];
        for bad in [upper.as_str(), short, &format!("{text}0"), &text[4..], ""] {
            assert_eq!(TokenHash::of_presented(bad), Err(TokenRefused::Malformed), "{bad}");
        }
    }

    #[test]
    fn store_keeps_no_token_in_the_clear() {
        let token = BearerToken::mint(&mut OsRng);
        let secret = token.expose().strip_prefix(TOKEN_PREFIX).unwrap();
        assert_ne!(hex::encode(token.hash().as_bytes()), secret);
        assert!(!String::from_utf8(alice().to_json().unwrap()).unwrap().contains(secret));
    }

    #[test]
    fn record_with_an_unknown_field_role_or_no_role_is_refused() {
        let good = br#"{"tenant":"a","person":"b","roles":["client"]}"#;
        assert!(Principal::from_json(good).is_ok());
        let bad: [&[u8]; 4] = [
            br#"{"tenant":"a","person":"b","roles":["client"],"root":true}"#,
            br#"{"tenant":"a","person":"b","roles":["root"]}"#,
            br#"{"tenant":"a","person":"b","roles":[]}"#,
            br#"{"tenant":"","person":"b","roles":["client"]}"#,
        ];
        for record in bad {
            assert_eq!(Principal::from_json(record), Err(TokenRefused::BadRecord));
        }
        let bad_key = TokenBook::load([(vec![1; 31], good.to_vec())]).unwrap_err();
        assert_eq!(bad_key, TokenRefused::BadKey);
        assert!(TokenBook::load([(vec![1; 32], good.to_vec())]).is_ok());
    }

    #[test]
    fn book_refuses_one_token_over_its_bound() {
        let mut book = TokenBook::default();
        for _ in 0..MAX_TOKENS {
            book.insert(BearerToken::mint(&mut OsRng).hash(), alice()).unwrap();
        }
        let one_more = BearerToken::mint(&mut OsRng).hash();
        assert_eq!(book.insert(one_more, alice()), Err(TokenRefused::TooMany));
    }
}
