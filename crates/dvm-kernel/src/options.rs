//! The command line of the kernel's process.
//!
//! Always true: it names where a key is read, never the key; what is not known is refused, not ignored.

use std::path::PathBuf;

use crate::unseal::KeySource;

/// What is shown for a command line that is not understood.
pub const USAGE: &str = "\
dvm-kernel --vault DIR (--identity FILE | --passphrase FILE | --credential NAME) [--require-isolation]
Started by a node, with a socket as descriptor 0. Keys never come from the command line or the environment.";

/// What the process was asked to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// The vault's directory.
    pub vault_dir: PathBuf,
    /// Where the master key is read.
    pub source: KeySource,
    /// Do not unseal unless every isolation layer holds.
    pub require_isolation: bool,
}

/// Reads the arguments after the program's name; `None` for anything else than [`USAGE`].
pub fn parse(mut args: impl Iterator<Item = String>) -> Option<Options> {
    let (mut vault_dir, mut source, mut require_isolation) = (None, None, false);
    while let Some(name) = args.next() {
        let taken = match name.as_str() {
            "--vault" => vault_dir.replace(PathBuf::from(args.next()?)).is_some(),
            "--identity" => source.replace(KeySource::Identity(args.next()?.into())).is_some(),
            "--passphrase" => source.replace(KeySource::Passphrase(args.next()?.into())).is_some(),
            "--credential" => source.replace(KeySource::Credential(args.next()?)).is_some(),
            "--require-isolation" => std::mem::replace(&mut require_isolation, true),
            _ => return None,
        };
        if taken {
            return None;
        }
    }
    Some(Options { vault_dir: vault_dir?, source: source?, require_isolation })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Option<Options> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn command_line_names_a_vault_and_one_source_of_its_key() {
        let options = of("--vault /v --identity /k --require-isolation").unwrap();
        assert_eq!(options.source, KeySource::Identity("/k".into()));
        assert!(options.require_isolation);
        for line in [
            "",
            "--vault /v",
            "--identity /k",
            "--vault /v --identity",
            "--vault /v --identity /k --passphrase /p",
            "--vault /v --vault /w --identity /k",
            "--vault /v --identity /k --verbose",
        ] {
            assert_eq!(of(line), None, "{line}");
        }
    }
}
