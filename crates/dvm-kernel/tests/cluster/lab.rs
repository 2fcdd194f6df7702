//! What the hostile runtime's tests share: the secrets of a vault, to look for where they must not be.

use crate::harness::Cluster;

/// Every secret of 32 bytes that a kernel's vault holds: its own two keys, key shares, held result shares. Read with the
/// master key from a copy, so the kernel does not notice.
pub(crate) fn secrets(cluster: &Cluster, node: &str) -> Vec<[u8; 32]> {
    let mut secrets = Vec::new();
    for kind in ["own-keys", "key-share", "held-share"] {
        for record in cluster.records(node, kind) {
            let bytes = &record.plaintext;
            // Own keys are two of 32 bytes; a key share ends with the scalar; a held one is the scalar or a key share.
            let last: [u8; 32] = *bytes.last_chunk().unwrap();
            secrets.push(last);
            if kind == "own-keys" {
                secrets.push(*bytes.first_chunk().unwrap());
            }
        }
    }
    assert!(secrets.iter().all(|s| *s != [0; 32]));
    secrets
}

/// Whether any of the secrets is in these bytes, as it is or in hexadecimal.
pub(crate) fn shows(secrets: &[[u8; 32]], bytes: &[u8]) -> bool {
    secrets.iter().any(|secret| {
        let hexed = hex::encode(secret);
        contains(bytes, secret) || contains(bytes, hexed.as_bytes())
    })
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    let Some((first, _)) = needle.split_first() else { return false };
    let starts = bytes.iter().enumerate().filter(|(_, b)| *b == first);
    starts.into_iter().any(|(at, _)| bytes[at..].starts_with(needle))
}
