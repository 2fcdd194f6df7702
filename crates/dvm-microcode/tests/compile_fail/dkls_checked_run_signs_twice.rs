use dvm_microcode::dkls23::{Checked, affine};

fn twice(checked: Checked, one: &[u8; 32], other: &[u8; 32]) {
    let _first = affine(checked, one);
    let _second = affine(checked, other);
}

fn main() {}
