use dvm_microcode::{Ed25519, KeyShare};

fn peek(key: &KeyShare<Ed25519>) {
    let _package = key.package();
}

fn main() {}
