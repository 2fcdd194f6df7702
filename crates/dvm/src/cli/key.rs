//! `dvm key create | list | show`.

use clap::Subcommand;
use clap::builder::PossibleValuesParser;
use dvm_core::intent::Backend;
use dvm_node::views::KeyView;
use serde_json::json;

use super::Global;
use super::exit::{Exit, Failure};
use super::sign::{SubmitArgs, submit};
use crate::client::As;
use crate::show;

/// Key commands.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key by distributed key generation. It has no authority before governors activate it.
    #[command(after_help = "Examples:
  dvm key create treasury --threshold 2 --token-file tokens.json
  dvm key create btc --backend frost-secp256k1-tr --threshold 2 --holders n1,n2,n3
  dvm key create eth --backend dkls23-secp256k1 --threshold 2 --wait 60")]
    Create {
        /// Its new name, unique for ever.
        key_id: String,
        /// What its signatures are, and how they are made: Ed25519, BIP-340 (Taproot), or ECDSA (Ethereum).
        #[arg(long, default_value = Backend::FrostEd25519.name(), value_parser = backends())]
        backend: String,
        /// Shares needed to sign.
        #[arg(long)]
        threshold: u16,
        /// The nodes that hold a share; every node if absent.
        #[arg(long, value_delimiter = ',')]
        holders: Option<Vec<String>>,
        #[command(flatten)]
        submit: SubmitArgs,
    },
    /// All keys.
    #[command(after_help = "Example:\n  dvm key list --token-file tokens.json")]
    List,
    /// One key: state, holders, public key.
    #[command(after_help = "Examples:
  dvm key show treasury
  dvm key show treasury --pem
  dvm key show eth --path m/0/7

With `--path` also the key at that path below it, by BIP-32 and without hardened indices. The EVM address is what
has to be funded before the key can send a transaction.")]
    Show {
        /// The key.
        key_id: String,
        /// Print only the public key as PEM.
        #[arg(long)]
        pem: bool,
        /// Show also the key at this path below it, and its EVM address.
        #[arg(long, value_name = "PATH", conflicts_with = "pem")]
        path: Option<String>,
    },
}

/// Their names, so that a wrong one is answered with the right ones.
pub(crate) fn backends() -> PossibleValuesParser {
    PossibleValuesParser::new(Backend::ALL.map(Backend::name))
}

/// Runs one.
pub(crate) fn run(global: &Global, command: &KeyCommand) -> Result<Exit, Failure> {
    match command {
        KeyCommand::Create { key_id, backend, threshold, holders, submit: args } => {
            let act = json!({
                "type": "key.generate", "key_id": key_id, "backend": backend,
                "threshold": threshold, "roster": holders,
            });
            submit(global, As::Operator, &act, args)
        }
        KeyCommand::List => {
            let keys = global.client()?.keys(As::Client)?;
            show::print(global.json, &keys, |keys| keys.iter().map(row).collect());
            Ok(Exit::Done)
        }
        KeyCommand::Show { key_id, pem, path } => {
            let key = global.client()?.key(As::Client, key_id, path.as_deref())?;
            if *pem {
                let none = format!("`{}` keys have no PEM form; use --json", key.backend);
                let pem = key.public_key_pem.ok_or(Failure::Usage(none))?;
                show::print(global.json, &json!({ "public_key_pem": pem }), |_| pem.clone());
                return Ok(Exit::Done);
            }
            show::print(global.json, &key, whole);
            Ok(Exit::Done)
        }
    }
}

fn row(key: &KeyView) -> String {
    let KeyView { key_id, state, backend, threshold, roster, .. } = key;
    format!("{key_id:<20} {state:<16} {threshold}-of-{} {backend}\n", roster.len())
}

fn whole(key: &KeyView) -> String {
    let mut out = format!("key {} ({})\n", key.key_id, key.state);
    let mut row = |name: &str, value: &str| {
        if !value.is_empty() {
            out.push_str(&format!("  {name:<14} {value}\n"));
        }
    };
    row("epoch", &key.key_epoch.to_string());
    row("backend", &key.backend);
    row("threshold", &format!("{} of {}", key.threshold, key.roster.join(", ")));
    row("public key", &key.public_key_hex);
    row("chain code", key.chain_code_hex.as_deref().unwrap_or_default());
    row("EVM address", key.evm_address.as_deref().unwrap_or_default());
    row("key facts", &key.key_ready_cid);
    if let Some(below) = &key.below {
        row("at", &below.path);
        row("  public key", &below.public_key_hex);
        row("  EVM address", &below.evm_address);
    }
    out
}
