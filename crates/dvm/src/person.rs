//! A person's signing key on disk: Ed25519, sealed by a passphrase.
//!
//! Always true: the file holds the key only under argon2id and ChaCha20-Poly1305, with everything
//! else in the file bound to it; the passphrase comes from a file, never from the command line; the
//! key in memory wipes itself.

use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use dvm_core::{PersonId, PublicKey, Signer};
use ed25519_dalek::SigningKey;
use rand_core::{OsRng, RngCore};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::cli::exit::Failure;

const FORM: &str = "dvm/person-key/1";
/// Argon2id: the memory and passes that OWASP gives as its first choice, about 50 ms.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
/// Bounds on what a file may ask for, so that opening one cannot eat the machine.
const MEMORY_KIB_MAX: u32 = 1 << 20;
const PASSES_MAX: u32 = 16;
/// Shortest passphrase; below this argon2id does not save it.
const PASSPHRASE_BYTES_MIN: usize = 12;

/// What is readable in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    form: String,
    person: PersonId,
    label: String,
    public_key_hex: String,
    argon2id_memory_kib: u32,
    argon2id_passes: u32,
    salt_hex: String,
    nonce_hex: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    header: Header,
    sealed_hex: String,
}

impl KeyFile {
    fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(Failure::file(path))?;
        let bad =
            |problem: String| Failure::form(path, format!("not a person's key file: {problem}"));
        let file: Self = serde_json::from_str(&text).map_err(|e| bad(e.to_string()))?;
        if file.header.form == FORM {
            Ok(file)
        } else {
            Err(bad(format!("its form is `{}`, not `{FORM}`", file.header.form)))
        }
    }
}

/// An unlocked key and whose it is.
pub(crate) struct PersonKey {
    pub(crate) person: PersonId,
    pub(crate) key: SigningKey,
}

impl PersonKey {
    pub(crate) fn public_key(&self) -> PublicKey {
        self.key.public_key()
    }

    /// Draws a key and writes its file; an existing one is never replaced.
    pub(crate) fn create(
        path: &Path,
        person: PersonId,
        label: &str,
        passphrase: &[u8],
    ) -> Result<Self, Failure> {
        let key = SigningKey::generate(&mut OsRng);
        let (mut salt, mut nonce) = ([0; 16], [0; 12]);
        OsRng.fill_bytes(&mut salt);
        OsRng.fill_bytes(&mut nonce);
        let header = Header {
            form: FORM.to_owned(),
            person: person.clone(),
            label: label.to_owned(),
            public_key_hex: key.public_key().to_string(),
            argon2id_memory_kib: MEMORY_KIB,
            argon2id_passes: PASSES,
            salt_hex: hex::encode(salt),
            nonce_hex: hex::encode(nonce),
        };
        let bad = |problem| Failure::form(path, problem);
        let cipher = header.cipher(passphrase).ok_or_else(|| bad("argon2id failed"))?;
        let aad = header.bound();
        let sealed = cipher
            .encrypt(&Nonce::from(nonce), Payload { msg: key.as_bytes(), aad: &aad })
            .map_err(|_| bad("sealing failed"))?;
        let file = KeyFile { header, sealed_hex: hex::encode(sealed) };
        let text = serde_json::to_string_pretty(&file).map_err(|e| Failure::form(path, e))? + "\n";
        dvm_node::setup::write_new(path, text.as_bytes(), 0o600)?;
        Ok(Self { person, key })
    }

    /// Whose key a file says that it holds, and its public half; only opening it proves that.
    pub(crate) fn readable(path: &Path) -> Result<(PersonId, String), Failure> {
        let header = KeyFile::read(path)?.header;
        Ok((header.person, header.public_key_hex))
    }

    /// Unlocks a key file.
    pub(crate) fn open(path: &Path, passphrase: &[u8]) -> Result<Self, Failure> {
        let file = KeyFile::read(path)?;
        let bad = |problem| Failure::form(path, problem);
        let wrong = "wrong passphrase, or the file was changed";
        let mut nonce = [0; 12];
        hex::decode_to_slice(&file.header.nonce_hex, &mut nonce).map_err(|_| bad(wrong))?;
        let sealed = hex::decode(&file.sealed_hex).map_err(|_| bad(wrong))?;
        let cipher = file.header.cipher(passphrase).ok_or_else(|| bad(wrong))?;
        let aad = file.header.bound();
        let opened = cipher
            .decrypt(&Nonce::from(nonce), Payload { msg: &sealed, aad: &aad })
            .map_err(|_| bad(wrong))?;
        let seed = Zeroizing::new(opened);
        let seed: &[u8; 32] = seed.as_slice().try_into().map_err(|_| bad(wrong))?;
        let key = SigningKey::from_bytes(seed);
        if key.public_key().to_string() != file.header.public_key_hex {
            return Err(bad(wrong));
        }
        Ok(Self { person: file.header.person, key })
    }
}

impl Header {
    /// What the seal binds: every readable field.
    fn bound(&self) -> Vec<u8> {
        // Plain strings and numbers in declaration order: always the same bytes.
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn cipher(&self, passphrase: &[u8]) -> Option<ChaCha20Poly1305> {
        let (memory, passes) = (self.argon2id_memory_kib, self.argon2id_passes);
        if memory > MEMORY_KIB_MAX || passes > PASSES_MAX {
            return None;
        }
        let mut salt = [0; 16];
        hex::decode_to_slice(&self.salt_hex, &mut salt).ok()?;
        let params = Params::new(memory, passes, 1, Some(32)).ok()?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut key = Zeroizing::new([0; 32]);
        argon2.hash_password_into(passphrase, &salt, key.as_mut_slice()).ok()?;
        Some(ChaCha20Poly1305::new(Key::from_slice(key.as_slice())))
    }
}

/// The key of whoever runs the command.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct KeyArgs {
    /// The signer's key file.
    #[arg(long, value_name = "FILE", env = "DVM_KEY_FILE")]
    key_file: PathBuf,
    /// A file with its passphrase; one trailing newline is not part of it.
    #[arg(long, value_name = "FILE", env = "DVM_PASSPHRASE_FILE")]
    passphrase_file: PathBuf,
}

impl KeyArgs {
    pub(crate) fn open(&self) -> Result<PersonKey, Failure> {
        PersonKey::open(&self.key_file, &read_passphrase(&self.passphrase_file)?)
    }

    pub(crate) fn create(&self, person: PersonId, label: &str) -> Result<PersonKey, Failure> {
        let passphrase = read_passphrase(&self.passphrase_file)?;
        PersonKey::create(&self.key_file, person, label, &passphrase)
    }

    pub(crate) fn key_file(&self) -> &Path {
        &self.key_file
    }
}

/// Reads a passphrase file.
pub(crate) fn read_passphrase(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut bytes = Zeroizing::new(std::fs::read(path).map_err(Failure::file(path))?);
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    if bytes.len() < PASSPHRASE_BYTES_MIN {
        let problem = format!("a passphrase has at least {PASSPHRASE_BYTES_MIN} bytes");
        return Err(Failure::form(path, problem));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASS: &[u8] = b"correct horse battery";

    fn made(dir: &Path) -> (PathBuf, PersonKey) {
        let path = dir.join("alice.json");
        let key = PersonKey::create(&path, "alice".parse().unwrap(), "test", PASS).unwrap();
        (path, key)
    }

    #[test]
    fn a_key_opens_with_its_passphrase_and_with_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let (path, key) = made(dir.path());
        let opened = PersonKey::open(&path, PASS).unwrap();
        assert_eq!((opened.public_key(), opened.person), (key.public_key(), key.person));
        assert!(PersonKey::open(&path, b"correct horse batterz").is_err());
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&hex::encode(key.key.as_bytes())));
    }

    #[test]
    fn every_changed_field_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (path, key) = made(dir.path());
        let text = std::fs::read_to_string(&path).unwrap();
        let public = key.public_key().to_string();
        let changes = [
            ("\"alice\"", "\"mallory\""),
            ("\"test\"", "\"TEST\""),
            (public.as_str(), &"00".repeat(32)),
            ("\"argon2id_passes\": 2", "\"argon2id_passes\": 3"),
            ("\"argon2id_passes\": 2", "\"argon2id_passes\": 99"),
            ("dvm/person-key/1", "dvm/person-key/2"),
        ];
        for (from, to) in changes {
            assert!(text.contains(from), "{from}");
            std::fs::write(&path, text.replace(from, to)).unwrap();
            assert!(PersonKey::open(&path, PASS).is_err(), "{from} -> {to}");
        }
        std::fs::write(&path, text).unwrap();
        assert!(PersonKey::open(&path, PASS).is_ok());
    }

    #[test]
    fn a_passphrase_of_twelve_bytes_is_long_enough_and_eleven_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p");
        std::fs::write(&path, "123456789012\n").unwrap();
        assert_eq!(read_passphrase(&path).unwrap().as_slice(), b"123456789012");
        std::fs::write(&path, "12345678901\n").unwrap();
        assert!(read_passphrase(&path).is_err());
    }

    #[test]
    fn an_existing_key_file_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (path, _) = made(dir.path());
        assert!(PersonKey::create(&path, "bob".parse().unwrap(), "test", PASS).is_err());
        assert!(PersonKey::open(&path, PASS).is_ok());
    }
}
