use dvm_microcode::Secret;

fn main() {
    let secret = Secret::new([1u8; 32]);
    let _first = secret;
    let _second = secret;
}
