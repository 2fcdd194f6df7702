use dvm_microcode::Secret;

fn main() {
    let _json = serde_json::to_vec(&Secret::new(vec![1u8]));
}
