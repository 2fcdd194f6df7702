//! The secret kernel's process: reads its key, enters the sandbox, opens its vault, serves descriptor 0.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use dvm_kernel::options::{Options, USAGE, parse};
use dvm_kernel::pipe::Pipe;
use dvm_kernel::sandbox::{self, SandboxPlan};
use dvm_kernel::serve::serve;
use dvm_kernel::unseal::unseal;
use dvm_kernel::vault::Vault;
use dvm_kernel::{About, Kernel, Surroundings, VERSION, attest};
use rand_core::OsRng;

fn run(
    Options { vault_dir, source, require_isolation }: Options,
) -> Result<(), Box<dyn std::error::Error>> {
    sandbox::log_to_vault(&vault_dir)?;
    let key = unseal(&source, &vault_dir, &mut OsRng)?;
    let binary = attest::own_binary_sha256()?;
    // Before the vault: no record is decrypted outside the sandbox.
    let layers = sandbox::enter(&SandboxPlan { vault_dir: vault_dir.clone(), require_isolation })?;
    let vault = Vault::open(&vault_dir, key, Box::new(OsRng))?;
    let wall_ms =
        || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_millis() as u64);
    let around = Surroundings { rng: Box::new(OsRng), wall_ms: Box::new(wall_ms) };
    let mut kernel = Kernel::start(vault, around, About { binary, layers })?;
    Ok(serve(&mut kernel, &mut Pipe::inherited())?)
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1).peekable();
    if args.peek().is_some_and(|a| a == "--version") {
        println!("dvm-kernel {VERSION}");
        return ExitCode::SUCCESS;
    }
    let Some(options) = parse(args) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dvm-kernel: {error}");
            ExitCode::FAILURE
        }
    }
}
