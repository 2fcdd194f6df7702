use dvm_microcode::Secret;

struct Plain;

fn main() {
    let _secret = Secret::new(Plain);
}
