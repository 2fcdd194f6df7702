use dvm_microcode::dkls23::Triple;

fn unscaled(triple: Triple, digest: &[u8; 32]) {
    let _share = triple.affine(digest);
}

fn main() {}
