use dvm_microcode::{Ed25519, KeyShare};

fn log(key: &KeyShare<Ed25519>) -> String {
    format!("{key:?}")
}

fn main() {}
