//! The vault's master key: where it comes from, and the type that holds it.
//!
//! Sources: an identity file (64 hex digits), a passphrase file (argon2id over a salt kept beside the vault), a systemd
//! credential (the same form as an identity file). Never the command line or an environment variable: both can be read
//! by other processes.
//! Always true: a file that its group or others can touch, or that is not ours, is refused; the key is wiped on drop
//! and has no Debug, Clone or Serialize.
//! Not here: whether it is the right key. The vault's canary says that.

use argon2::{Algorithm, Argon2, Params, Version};
use rand_core::CryptoRngCore;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Bytes of the master key.
pub const MASTER_KEY_BYTES: usize = 32;

/// Argon2id memory: 64 MiB, the second recommendation of RFC 9106 section 4.
const ARGON2_MEMORY_KIB: u32 = 64 * 1024;
/// Argon2id passes, from the same recommendation.
const ARGON2_PASSES: u32 = 3;
/// One lane: the kernel is single-threaded.
const ARGON2_LANES: u32 = 1;
/// Salt length, RFC 9106 section 3.1.
const SALT_BYTES: usize = 16;
/// Shortest passphrase accepted; below this argon2id does not save it.
const MIN_PASSPHRASE_BYTES: usize = 12;
/// No key file is longer than this: bound before reading.
const MAX_KEY_FILE_BYTES: u64 = 4096;

const SALT_FILE: &str = "passphrase.salt";

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum UnsealError {
    /// The file can be touched by others than its owner, is not ours, or is not a regular file.
    #[error("{}: must be a regular file of ours with mode 0600 or 0400", .0.display())]
    Exposed(PathBuf),
    /// The file is not what its kind demands: 64 hex digits, or a passphrase of at least 12 bytes.
    #[error("{}: not a usable key or passphrase", .0.display())]
    Malformed(PathBuf),
    /// `CREDENTIALS_DIRECTORY` is unset, or the credential's name is not a plain file name.
    #[error("no such systemd credential")]
    NoCredential,
    /// A vault exists but the salt of its passphrase does not: a new salt could not open it.
    #[error("the vault's passphrase salt is missing")]
    SaltMissing,
    /// Argon2 refused its parameters or could not get its memory.
    #[error("argon2id: {0}")]
    Kdf(argon2::Error),
    /// The operating system refused.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened to it.
        error: io::Error,
    },
}

/// The key that seals the vault's records. Wiped on drop.
pub struct MasterKey {
    bytes: Zeroizing<[u8; MASTER_KEY_BYTES]>,
}

impl MasterKey {
    /// A key made of `bytes`. For the simulator and tests, which run the kernel in-process and draw keys from their seed.
    pub fn from_bytes(bytes: Zeroizing<[u8; MASTER_KEY_BYTES]>) -> Self {
        Self { bytes }
    }

    /// Lends the bytes to `reader`. Only the vault calls it.
    pub(crate) fn expose<T>(&self, reader: impl FnOnce(&[u8; MASTER_KEY_BYTES]) -> T) -> T {
        reader(&self.bytes)
    }
}

/// Where the master key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A file of 64 hex digits.
    Identity(PathBuf),
    /// A file with a passphrase; one trailing newline is not part of it.
    Passphrase(PathBuf),
    /// A systemd credential of this name, with 64 hex digits.
    Credential(String),
}

/// Reads or derives the master key. `vault_dir` keeps the passphrase's salt, drawn from `rng` at the first start.
pub fn unseal(
    source: &KeySource,
    vault_dir: &Path,
    rng: &mut impl CryptoRngCore,
) -> Result<MasterKey, UnsealError> {
    match source {
        KeySource::Identity(path) => identity(path),
        KeySource::Passphrase(path) => passphrase(path, vault_dir, rng),
        KeySource::Credential(name) => {
            let directory =
                std::env::var_os("CREDENTIALS_DIRECTORY").ok_or(UnsealError::NoCredential)?;
            identity(&credential_path(Path::new(&directory), name)?)
        }
    }
}

/// A credential is a direct child of the directory that systemd made for us; no name may lead out of it.
fn credential_path(directory: &Path, name: &str) -> Result<PathBuf, UnsealError> {
    let plain = !name.is_empty()
        && name != "."
        && name != ".."
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if plain && directory.is_absolute() {
        Ok(directory.join(name))
    } else {
        Err(UnsealError::NoCredential)
    }
}

fn identity(path: &Path) -> Result<MasterKey, UnsealError> {
    let text = read_private(path)?;
    let mut bytes = Zeroizing::new([0u8; MASTER_KEY_BYTES]);
    hex::decode_to_slice(text.trim_ascii(), bytes.as_mut_slice())
        .map_err(|_| UnsealError::Malformed(path.to_owned()))?;
    Ok(MasterKey { bytes })
}

fn passphrase(
    path: &Path,
    vault_dir: &Path,
    rng: &mut impl CryptoRngCore,
) -> Result<MasterKey, UnsealError> {
    let text = read_private(path)?;
    let phrase = text.strip_suffix(b"\n").unwrap_or(&text);
    if phrase.len() < MIN_PASSPHRASE_BYTES {
        return Err(UnsealError::Malformed(path.to_owned()));
    }
    derive(phrase, &salt(vault_dir, rng)?)
}

fn derive(phrase: &[u8], salt: &[u8; SALT_BYTES]) -> Result<MasterKey, UnsealError> {
    let params =
        Params::new(ARGON2_MEMORY_KIB, ARGON2_PASSES, ARGON2_LANES, Some(MASTER_KEY_BYTES))
            .map_err(UnsealError::Kdf)?;
    let mut bytes = Zeroizing::new([0u8; MASTER_KEY_BYTES]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(phrase, salt, bytes.as_mut_slice())
        .map_err(UnsealError::Kdf)?;
    Ok(MasterKey { bytes })
}

/// The vault's salt; drawn and made durable at the first start, before any record is sealed under it.
fn salt(vault_dir: &Path, rng: &mut impl CryptoRngCore) -> Result<[u8; SALT_BYTES], UnsealError> {
    let path = vault_dir.join(SALT_FILE);
    let fault = |error| UnsealError::Io { path: path.clone(), error };
    if !path.try_exists().map_err(fault)? {
        if vault_dir.join(crate::vault::VAULT_FILE).try_exists().map_err(fault)? {
            return Err(UnsealError::SaltMissing);
        }
        let mut salt = [0u8; SALT_BYTES];
        rng.fill_bytes(&mut salt);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(fault)?;
        file.write_all(hex::encode(salt).as_bytes()).map_err(fault)?;
        file.sync_all().map_err(fault)?;
        File::open(vault_dir).and_then(|directory| directory.sync_all()).map_err(fault)?;
        return Ok(salt);
    }
    let mut salt = [0u8; SALT_BYTES];
    hex::decode_to_slice(read_private(&path)?.trim_ascii(), &mut salt)
        .map_err(|_| UnsealError::Malformed(path.clone()))?;
    Ok(salt)
}

/// Reads a file that only we can touch. The checks are made on the opened file, so it cannot be swapped in between.
fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, UnsealError> {
    let fault = |error| UnsealError::Io { path: path.to_owned(), error };
    let file = File::open(path).map_err(fault)?;
    let metadata = file.metadata().map_err(fault)?;
    let ours = metadata.uid() == nix::unistd::geteuid().as_raw();
    if !metadata.is_file() || !ours || metadata.mode() & 0o077 != 0 {
        return Err(UnsealError::Exposed(path.to_owned()));
    }
    if metadata.len() > MAX_KEY_FILE_BYTES {
        return Err(UnsealError::Malformed(path.to_owned()));
    }
    // Allocated once at the bound: growing would leave unwiped copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_KEY_FILE_BYTES as usize));
    file.take(MAX_KEY_FILE_BYTES).read_to_end(&mut text).map_err(fault)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    static_assertions::assert_not_impl_any!(MasterKey: Clone, Copy, std::fmt::Debug, std::fmt::Display, serde::Serialize, PartialEq);

    fn file(directory: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    fn bytes_of(source: KeySource, directory: &Path) -> Result<[u8; 32], UnsealError> {
        unseal(&source, directory, &mut ChaCha20Rng::seed_from_u64(1))
            .map(|key| key.expose(|bytes| *bytes))
    }

    #[test]
    fn identity_file_is_read_and_refused_when_others_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path(), "id", &format!("{}\n", "ab".repeat(32)), 0o600);
        assert_eq!(bytes_of(KeySource::Identity(path.clone()), dir.path()).unwrap(), [0xab; 32]);
        for mode in [0o640, 0o604, 0o660, 0o700 | 0o001] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let refused = bytes_of(KeySource::Identity(path.clone()), dir.path());
            assert!(matches!(refused, Err(UnsealError::Exposed(_))), "mode {mode:o}");
        }
    }

    #[test]
    fn identity_of_the_wrong_length_or_alphabet_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for (at, text) in
            ["ab".repeat(31), "ab".repeat(33), "zz".repeat(32), String::new()].iter().enumerate()
        {
            let path = file(dir.path(), &format!("id{at}"), text, 0o600);
            assert!(matches!(
                bytes_of(KeySource::Identity(path), dir.path()),
                Err(UnsealError::Malformed(_))
            ));
        }
    }

    #[test]
    fn passphrase_gives_the_same_key_with_the_salt_and_another_without() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = file(one.path(), "phrase", "correct horse\n", 0o400);
        let first = bytes_of(KeySource::Passphrase(path.clone()), one.path()).unwrap();
        assert_eq!(bytes_of(KeySource::Passphrase(path.clone()), one.path()).unwrap(), first);
        let other =
            unseal(&KeySource::Passphrase(path), two.path(), &mut ChaCha20Rng::seed_from_u64(2))
                .unwrap();
        assert_ne!(other.expose(|bytes| *bytes), first);
    }

    #[test]
    fn passphrase_below_twelve_bytes_is_refused_and_at_twelve_accepted() {
        let dir = tempfile::tempdir().unwrap();
        let short = file(dir.path(), "short", "elevenbytes\n", 0o600);
        assert!(matches!(
            bytes_of(KeySource::Passphrase(short), dir.path()),
            Err(UnsealError::Malformed(_))
        ));
        let enough = file(dir.path(), "enough", "twelve bytes\n", 0o600);
        assert!(bytes_of(KeySource::Passphrase(enough), dir.path()).is_ok());
    }

    #[test]
    fn no_new_salt_is_drawn_beside_an_existing_vault() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path(), "phrase", "correct horse", 0o600);
        file(dir.path(), crate::vault::VAULT_FILE, "", 0o600);
        assert!(matches!(
            bytes_of(KeySource::Passphrase(path), dir.path()),
            Err(UnsealError::SaltMissing)
        ));
    }

    #[test]
    fn credential_name_cannot_leave_its_directory() {
        let directory = Path::new("/run/credentials/x");
        assert_eq!(credential_path(directory, "dvm.key").unwrap(), directory.join("dvm.key"));
        for name in ["", ".", "..", "../key", "a/b", "a\0b"] {
            assert!(credential_path(directory, name).is_err(), "{name:?}");
        }
        assert!(credential_path(Path::new("relative"), "dvm.key").is_err());
    }
}
