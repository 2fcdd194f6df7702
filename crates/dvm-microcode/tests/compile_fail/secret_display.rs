use dvm_microcode::Secret;

fn main() {
    let secret = Secret::new(vec![1u8]);
    let _text = format!("{}", secret);
}
