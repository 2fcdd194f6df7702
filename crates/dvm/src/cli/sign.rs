//! `dvm sign message | digest`, and what every submission shares.

use std::io::Read;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use dvm_core::limits;
use dvm_node::views::ExecutionView;
use rand_core::{OsRng, RngCore};
use serde_json::{Value, json};

use super::Global;
use super::exit::{Exit, Failure};
use crate::client::As;
use crate::show;

/// What every submission takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct SubmitArgs {
    /// Names this request for ever: repeated, it gives the same execution. Random if absent.
    #[arg(long, value_name = "NAME")]
    idempotency_key: Option<String>,
    /// Seconds to wait for a settled state; 0 returns at once.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
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
}

/// Runs one.
pub(crate) fn run(global: &Global, command: &SignCommand) -> Result<Exit, Failure> {
    match command {
        SignCommand::Message { key, file, text, signature_file, submit: args } => {
            let content = match (file, text) {
                (Some(file), _) => read_content(file)?,
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
    }
}

fn read_content(path: &PathBuf) -> Result<Vec<u8>, Failure> {
    let most = limits::CONTENT_BYTES_MAX as u64;
    let mut content = Vec::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().lock().take(most + 1).read_to_end(&mut content)
    } else {
        let file = std::fs::File::open(path).map_err(Failure::file(path))?;
        file.take(most + 1).read_to_end(&mut content)
    };
    read.map_err(Failure::file(path))?;
    if content.len() as u64 > most {
        return Err(Failure::form(
            path,
            format!("more than {most} bytes cannot be signed at once"),
        ));
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
