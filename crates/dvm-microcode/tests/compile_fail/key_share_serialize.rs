use dvm_microcode::{Ed25519, KeyShare};

fn store(key: &KeyShare<Ed25519>) {
    let _json = serde_json::to_vec(key);
}

fn main() {}
