//! The quickstart as a whole: real daemons, real kernels, one run. Needs `dvm-kernel` beside `dvm`,
//! as a build of the workspace puts it.

#![expect(clippy::unwrap_used, reason = "a test says what it needs")]

use std::path::Path;
use std::process::{Command, Output};

use dvm_act::evm::{Fields, address_of, eip55};
use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::Value;

fn dvm(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dvm")).args(args).output().unwrap()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap()
}

fn gone(pid: &Value) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists()
}

/// The second key's transaction, judged by what is in the object and the files it names.
fn the_transaction_holds(told: &Value) {
    let sent = &told["evm"];
    let fields = std::fs::read(text(sent, "transaction_path")).unwrap();
    let fields: Fields = serde_json::from_slice(&fields).unwrap();
    let key = hex::decode(text(sent, "public_key_hex")).unwrap();
    let address = address_of(key.as_slice().try_into().unwrap()).unwrap();
    assert_eq!(eip55(&address), text(sent, "address"));
    let signature: [u8; 65] = hex::decode(text(sent, "signature_hex")).unwrap().try_into().unwrap();
    let signed = fields.transaction().unwrap().signed(&address, &signature).unwrap();
    assert_eq!(format!("0x{}", hex::encode(signed.raw())), text(sent, "raw_transaction_hex"));
    assert_eq!(format!("0x{}", hex::encode(signed.hash())), text(sent, "transaction_hash"));
    let bundle = ["evidence", "verify", text(sent, "bundle_path"), "--trust"];
    let verified = dvm(&[&bundle[..], &[text(told, "trust_path")]].concat());
    assert_eq!(verified.status.code(), Some(0));
}

#[test]
fn one_run_leaves_a_signature_and_evidence_that_hold_and_no_process() {
    let home = tempfile::tempdir().unwrap();
    let (dir, file) = (home.path().join("demo"), home.path().join("file"));
    std::fs::write(&file, "a file of the checker's choosing").unwrap();
    let args = ["quickstart", "--once", "--json", "--dir", dir.to_str().unwrap(), "--file"];
    let run = dvm(&[&args[..], &[file.to_str().unwrap()]].concat());
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let told: Value = serde_json::from_slice(&run.stdout).unwrap();

    let key: [u8; 32] = hex::decode(text(&told, "public_key_hex")).unwrap().try_into().unwrap();
    let signature = hex::decode(text(&told, "signature_hex")).unwrap();
    let signature = Signature::from_slice(&signature).unwrap();
    let key = VerifyingKey::from_bytes(&key).unwrap();
    let signed = std::fs::read(text(&told, "signed_file")).unwrap();
    assert!(key.verify_strict(&signed, &signature).is_ok());
    assert!(key.verify_strict(b"another file", &signature).is_err());

    let (bundle, trust) = (text(&told, "bundle_path"), text(&told, "trust_path"));
    assert_eq!(dvm(&["evidence", "verify", bundle, "--trust", trust]).status.code(), Some(0));
    assert_eq!(dvm(&["replay", bundle]).status.code(), Some(0));
    let mut bytes = std::fs::read(bundle).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let changed = home.path().join("changed.car");
    std::fs::write(&changed, bytes).unwrap();
    let refused = dvm(&["evidence", "verify", changed.to_str().unwrap(), "--trust", trust]);
    assert_eq!(refused.status.code(), Some(6));

    the_transaction_holds(&told);

    assert_eq!(told["nodes"].as_array().unwrap().len(), 3);
    for node in told["nodes"].as_array().unwrap() {
        assert!(gone(&node["pid"]) && gone(&node["kernel_pid"]), "{node}");
    }
    assert!(gone(&told["witness"]["pid"]));
    assert_eq!(told["trace_roots"].as_object().unwrap().len(), 2);
    assert!(Path::new(text(&told, "tokens_path")).is_absolute());
}

#[test]
fn a_directory_with_something_in_it_and_a_missing_file_are_refused_and_left_alone() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("mine"), "x").unwrap();
    let full = dvm(&["quickstart", "--once", "--dir", home.path().to_str().unwrap()]);
    assert_eq!(full.status.code(), Some(2));
    let absent = home.path().join("absent");
    let args = ["quickstart", "--once", "--file", absent.to_str().unwrap()];
    assert_eq!(dvm(&args).status.code(), Some(8));
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);
}
