//! `dvm sign message | digest | evm`, and what every submission shares.

use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use dvm_act::evm::{Fields, Transaction, eip55};
use dvm_core::limits;
use dvm_node::views::ExecutionView;
use rand_core::{OsRng, RngCore};
use serde_json::{Value, json};

use super::Global;
use super::exit::{Exit, Failure};
use crate::client::As;
use crate::show;

/// Bytes of a transaction's JSON: hex of the longest payload twice over, and room for white space.
const TX_JSON_BYTES_MAX: u64 = 1 << 20;

/// What every submission takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct SubmitArgs {
    /// Names this request for ever: repeated, it gives the same execution. Random if absent.
    #[arg(long, value_name = "NAME")]
    idempotency_key: Option<String>,
    /// Seconds to wait for a settled state, 30 if none are named; 0 returns at once.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_value_t = 30, default_missing_value = "30")]
    wait: u64,
}

/// Signing commands.
#[derive(Debug, Subcommand)]
pub(crate) enum SignCommand {
    /// Sign a file, or a text.
    #[command(after_help = "Examples:
  dvm sign message --key treasury --file release.tar --token-file tokens.json
  dvm sign message --key treasury --text hello --signature-file hello.sig --wait 60")]
    Message {
        /// The key.
        #[arg(long)]
        key: String,
        /// The file; `-` for standard input.
        #[arg(long, required_unless_present = "text", conflicts_with = "text")]
        file: Option<PathBuf>,
        /// The text itself.
        #[arg(long)]
        text: Option<String>,
        /// Where to write the signature's bytes once it is published.
        #[arg(long, value_name = "FILE")]
        signature_file: Option<PathBuf>,
        #[command(flatten)]
        submit: SubmitArgs,
    },
    /// Sign a 32-byte digest. Opaque to approvers, so shipped policies refuse it.
    #[command(after_help = "Example:
  dvm sign digest --key treasury --digest 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    Digest {
        /// The key.
        #[arg(long)]
        key: String,
        /// 64 hex digits.
        #[arg(long, value_name = "HEX")]
        digest: String,
        #[command(flatten)]
        submit: SubmitArgs,
    },
    /// Sign a transaction of an EVM chain: EIP-1559, EIP-2930, or legacy with a chain id.
    #[command(after_help = "Examples:
  dvm sign evm --key treasury --tx tx.json --wait
  dvm sign evm --key treasury --path m/0/7 --tx - --raw-file signed.hex

The file has the fields of Ethereum's JSON-RPC, and all of them: nothing is asked of a node or guessed.
  { \"chainId\": \"0x1\", \"nonce\": \"0x9\", \"to\": \"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed\",
    \"value\": \"0xde0b6b3a7640000\", \"gas\": \"0x5208\",
    \"maxFeePerGas\": \"0x6fc23ac00\", \"maxPriorityFeePerGas\": \"0x59682f00\" }
With `gasPrice` instead of the two fees it is a legacy transaction, with `gasPrice` and `accessList` one of
EIP-2930. `input` is a call's data. `\"to\": null` creates a contract. `from`, if given, must be the key's address:
`dvm key show treasury --path m/0/7` tells which that is, for whoever funds it.")]
    Evm {
        /// The key: one of backend `dkls23-secp256k1`.
        #[arg(long)]
        key: String,
        /// Derives the key that signs, by BIP-32 and without hardened indices.
        #[arg(long, value_name = "PATH", default_value = "m")]
        path: String,
        /// The transaction, as JSON; `-` for standard input.
        #[arg(long, value_name = "FILE")]
        tx: PathBuf,
        /// Where to write the signed transaction once it is published: `0x` and hex, for `eth_sendRawTransaction`.
        #[arg(long, value_name = "FILE")]
        raw_file: Option<PathBuf>,
        #[command(flatten)]
        submit: SubmitArgs,
    },
}

/// Runs one.
pub(crate) fn run(global: &Global, command: &SignCommand) -> Result<Exit, Failure> {
    match command {
        SignCommand::Message { key, file, text, signature_file, submit: args } => {
            let content = match (file, text) {
                (Some(file), _) => read_bounded(file, limits::CONTENT_BYTES_MAX as u64)?,
                (None, text) => text.clone().unwrap_or_default().into_bytes(),
            };
            let message = STANDARD.encode(content);
            let act = json!({ "type": "sign.message", "key_id": key, "message_base64": message });
            let view = submitted(global, As::Client, &act, args)?;
            if let (Some(path), Some(signature)) = (signature_file, &view.signature_hex) {
                let bytes = hex::decode(signature).map_err(|e| Failure::form(path, e))?;
                std::fs::write(path, bytes).map_err(Failure::file(path))?;
            }
            Ok(tell(global, &view))
        }
        SignCommand::Digest { key, digest, submit: args } => {
            let act = json!({ "type": "sign.digest", "key_id": key, "digest_hex": digest });
            submit(global, As::Client, &act, args)
        }
        SignCommand::Evm { key, path, tx, raw_file, submit: args } => {
            let (sender, transaction) = read_transaction(tx)?;
            let act = json!({
                "type": "sign.evm_transaction", "key_id": key, "path": path,
                "from": sender.map(|sender| eip55(&sender)),
                "transaction_hex": hex::encode(transaction.payload()),
            });
            let view = submitted(global, As::Client, &act, args)?;
            if let (Some(file), Some(raw)) = (raw_file, &view.raw_transaction_hex) {
                std::fs::write(file, format!("{raw}\n")).map_err(Failure::file(file))?;
            }
            Ok(tell(global, &view))
        }
    }
}

/// The sender, if the file names one, and the transaction.
fn read_transaction(path: &Path) -> Result<(Option<[u8; 20]>, Transaction), Failure> {
    let json = read_bounded(path, TX_JSON_BYTES_MAX)?;
    let fields: Fields = serde_json::from_slice(&json).map_err(|e| Failure::form(path, e))?;
    let sender = fields.sender().map_err(|e| Failure::form(path, e))?;
    let transaction = fields.transaction().map_err(|e| Failure::form(path, e))?;
    Ok((sender, transaction))
}

fn read_bounded(path: &Path, most: u64) -> Result<Vec<u8>, Failure> {
    let mut content = Vec::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().lock().take(most + 1).read_to_end(&mut content)
    } else {
        let file = std::fs::File::open(path).map_err(Failure::file(path))?;
        file.take(most + 1).read_to_end(&mut content)
    };
    read.map_err(Failure::file(path))?;
    if content.len() as u64 > most {
        return Err(Failure::form(path, format!("more than {most} bytes are not taken")));
    }
    Ok(content)
}

/// Submits an act, waits, and tells how it ended.
pub(crate) fn submit(
    global: &Global,
    role: As,
    act: &Value,
    args: &SubmitArgs,
) -> Result<Exit, Failure> {
    let view = submitted(global, role, act, args)?;
    Ok(tell(global, &view))
}

fn submitted(
    global: &Global,
    role: As,
    act: &Value,
    args: &SubmitArgs,
) -> Result<ExecutionView, Failure> {
    let client = global.client()?;
    let idempotency_key = args.idempotency_key.clone().unwrap_or_else(random_name);
    let request = json!({ "idempotency_key": idempotency_key, "act": act });
    let first = client.submit(role, &request)?;
    if args.wait == 0 {
        return Ok(first);
    }
    let waiting = "waiting for the cluster";
    show::waiting(waiting, || client.settled(role, &first.intent, args.wait.saturating_mul(1000)))
}

/// A fresh idempotency key.
pub(crate) fn random_name() -> String {
    let mut bytes = [0; 12];
    OsRng.fill_bytes(&mut bytes);
    format!("cli-{}", hex::encode(bytes))
}

/// Prints an execution; its exit code.
pub(crate) fn tell(global: &Global, view: &ExecutionView) -> Exit {
    show::print(global.json, view, show::execution);
    show::exit_for(view)
}
