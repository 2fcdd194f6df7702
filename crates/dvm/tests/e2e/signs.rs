//! Claims about what a newcomer sees: one command, real files, signatures that OpenSSL takes.

use std::path::Path;

use crate::site::{Site, Turn, alive, bin_dir, openssl_verifies, ran};

/// Runs the quickstart once over a file of this content and checks all that its object names.
fn quickstart_once_signs(content: &[u8]) {
    let _turn = Turn::take();
    let scratch = tempfile::tempdir().unwrap();
    let (dir, file) = (scratch.path().join("site"), scratch.path().join("file to sign.bin"));
    std::fs::write(&file, content).unwrap();
    let mut command = std::process::Command::new(bin_dir().join("dvm"));
    command.args(["quickstart", "--once", "--json", "--dir"]).arg(&dir).arg("--file").arg(&file);
    let facts = ran(&mut command).ok();

    let signed = Path::new(facts["signed_file"].as_str().unwrap());
    assert_eq!(std::fs::read(signed).unwrap(), content);
    let (pem, signature) = (scratch.path().join("pub.pem"), scratch.path().join("sig"));
    std::fs::write(&pem, facts["public_key_pem"].as_str().unwrap()).unwrap();
    let bytes = hex::decode(facts["signature_hex"].as_str().unwrap()).unwrap();
    std::fs::write(&signature, &bytes).unwrap();
    assert!(openssl_verifies(&pem, signed, &signature));
    let mut other = content.to_vec();
    other[0] ^= 1;
    std::fs::write(&file, other).unwrap();
    assert!(!openssl_verifies(&pem, &file, &signature), "another file must not verify");

    for field in ["tokens_path", "bundle_path", "trust_path"] {
        let path = Path::new(facts[field].as_str().unwrap());
        assert!(path.is_absolute() && path.is_file(), "{field}");
    }
    let (nodes, roots) = (facts["nodes"].as_array().unwrap(), &facts["trace_roots"]);
    assert_eq!((nodes.len(), roots.as_object().unwrap().len()), (3, 2));
    assert!(facts["receipts"].as_array().unwrap().len() >= 6);
    let mut pids = vec![facts["witness"]["pid"].as_u64().unwrap()];
    pids.extend(
        nodes.iter().flat_map(|n| [&n["pid"], &n["kernel_pid"]]).map(|p| p.as_u64().unwrap()),
    );
    assert!(!pids.iter().any(|pid| alive(*pid)), "a process outlived the command");
}

#[test]
fn quickstart_signs_a_file_of_one_byte() {
    quickstart_once_signs(&[0]);
}

#[test]
fn quickstart_signs_a_binary_file_of_one_mebibyte() {
    let content: Vec<u8> =
        (0..1_u32 << 18).flat_map(|n| n.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
    quickstart_once_signs(&content);
}

#[test]
fn quickstart_stays_until_sigterm_and_then_leaves_no_process() {
    let mut site = Site::start();
    let pids: Vec<u64> = (0..3).flat_map(|at| [site.pid(at), site.kernel_pid(at)]).collect();
    assert!(pids.iter().all(|pid| alive(*pid)));
    assert_eq!(site.stop(), Some(0));
    assert!(!pids.iter().any(|pid| alive(*pid)));
}

#[test]
fn quickstart_over_a_file_that_is_not_there_fails_and_makes_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("site");
    let mut command = std::process::Command::new(bin_dir().join("dvm"));
    command.args(["quickstart", "--once", "--json", "--file", "/nowhere/at/all", "--dir"]);
    let failed = ran(command.arg(&dir));
    assert_eq!((failed.exit, failed.out.len()), (8, 0), "{}", failed.err);
    assert!(!dir.exists());
}
