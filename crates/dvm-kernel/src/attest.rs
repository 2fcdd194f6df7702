//! What this kernel can say of its own binary: the hash of what runs.
//!
//! Always true: the binary is read through `/proc/self/exe`, so it is the file that was executed and not the one that
//! now has its name.
//! Not here: the isolation layers (`sandbox::enter` returns them), and proof: an attestation is self-reported and
//! convinces only as far as whoever installed the binary does.

use dvm_core::B32;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read};

/// SHA-256 of the running binary. Called before the sandbox, which hides `/proc`.
pub fn own_binary_sha256() -> io::Result<B32> {
    sha256_of(File::open("/proc/self/exe")?)
}

fn sha256_of(mut source: impl Read) -> io::Result<B32> {
    let mut hash = Sha256::new();
    io::copy(&mut source, &mut hash)?;
    Ok(B32(hash.finalize().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_is_that_of_the_executed_file() {
        let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let expected = B32(Sha256::digest(&file).into());
        assert_eq!(own_binary_sha256().unwrap(), expected);
        assert_ne!(sha256_of(&file[1..]).unwrap(), expected);
    }
}
