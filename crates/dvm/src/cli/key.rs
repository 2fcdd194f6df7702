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
    #[command(after_help = "Examples:\n  dvm key show treasury\n  dvm key show treasury --pem")]
    Show {
        /// The key.
        key_id: String,
        /// Print only the public key as PEM.
        #[arg(long)]
        pem: bool,
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
        KeyCommand::Show { key_id, pem } => {
            let key = global.client()?.key(As::Client, key_id)?;
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
    format!(
        "key {} ({})\n  epoch          {}\n  backend        {}\n  threshold      {} of {}\n  public key     {}\n  key facts      {}\n",
        key.key_id,
        key.state,
        key.key_epoch,
        key.backend,
        key.threshold,
        key.roster.join(", "),
        key.public_key_hex,
        key.key_ready_cid
    )
}
