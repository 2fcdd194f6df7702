//! `dvm score show`: how an act is performed, from the same compiler that nodes and kernels run.

use clap::{Args, Subcommand, ValueEnum};
use dvm_core::intent::{Act, Backend, Scope};
use dvm_core::run::Material;
use dvm_core::{Address20, B32, KeyId, Link, NodeId};
use dvm_score::text::{self, PlanView, ScoreView};
use dvm_score::{Compiled, Run, compile};
use serde_json::json;

use super::Global;
use super::exit::{Exit, Failure};
use crate::show;

/// Score commands.
#[derive(Debug, Subcommand)]
pub(crate) enum ScoreCommand {
    /// Print the score (l1), its micro-ops (l0) or the levelled plan of an act.
    #[command(after_help = "Examples:
  dvm score show --act sign.message --backend frost-ed25519 --level l1
  dvm score show --act key.generate --backend frost-secp256k1-tr --level plan --participants n1,n2,n3
  dvm score show --act sign.evm_transaction --backend dkls23-secp256k1 --level plan
  dvm score show --act presign.batch --backend dkls23-secp256k1 --count 32 --level l1")]
    Show(ShowArgs),
}

/// What to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Level {
    /// The score: what is to be computed, one site per line.
    L1,
    /// The micro-ops that a backend performs for each site.
    L0,
    /// The micro-ops in levels, as they travel.
    Plan,
}

/// `dvm score show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// key.generate, sign.message, sign.digest, sign.evm_transaction, presign.batch, publish_pubkey or publish_sig.
    #[arg(long)]
    act: String,
    /// frost-ed25519, frost-secp256k1-tr or dkls23-secp256k1.
    #[arg(long, default_value = Backend::FrostEd25519.name())]
    backend: String,
    /// What to print.
    #[arg(long, value_enum, default_value = "l1")]
    level: Level,
    /// Who takes part.
    #[arg(long, value_delimiter = ',', default_value = "n1,n2")]
    participants: Vec<NodeId>,
    /// Shares needed to sign with a new key.
    #[arg(long, default_value_t = 2)]
    threshold: u16,
    /// Presignatures of a batch.
    #[arg(long, default_value_t = 1)]
    count: u16,
    /// With material made before: what is left to do for a message or a transaction.
    #[arg(long)]
    presigned: bool,
}

/// Runs it.
pub(crate) fn run(global: &Global, command: &ScoreCommand) -> Result<Exit, Failure> {
    let ScoreCommand::Show(args) = command;
    let compiled = compiled(args)?;
    let (score, plan) = (compiled.score().score(), compiled.plan());
    match args.level {
        Level::L1 => show::print(global.json, &ScoreView::from(score), |_| text::l1(score)),
        Level::L0 => show::print(global.json, &l0_json(&compiled), |_| text::l0(score, plan)),
        Level::Plan => show::print(global.json, &PlanView::from(plan), |_| text::plan(plan)),
    }
    Ok(Exit::Done)
}

fn compiled(args: &ShowArgs) -> Result<Compiled, Failure> {
    let unknown = || Failure::usage(format!("no backend is called `{}`", args.backend));
    let backend = Backend::from_name(&args.backend).ok_or_else(unknown)?;
    // The score is a function of the act's class and sizes; names and contents play no part.
    let key_id: KeyId = "key".parse().map_err(|_| Failure::usage("a key id"))?;
    let (key_epoch, nothing) = (1, Link::of_raw(&[]));
    let (threshold, roster) = (args.threshold, args.participants.clone());
    let material = Material { batch: B32::default(), index: 0 };
    let perform = Run::Act(args.presigned.then_some(material));
    let (act, run) = match args.act.as_str() {
        "key.generate" => (Act::KeyGenerate { key_id, backend, threshold, roster }, perform),
        "publish_pubkey" => {
            (Act::KeyGenerate { key_id, backend, threshold, roster }, Run::Publish(Scope::Public))
        }
        "sign.message" => {
            (Act::SignMessage { key_id, key_epoch, message: nothing, len: 0 }, perform)
        }
        "sign.evm_transaction" => {
            let (path, from) = (Vec::new(), Address20::default());
            let (transaction, len) = (nothing, 0);
            (Act::SignEvmTransaction { key_id, key_epoch, path, from, transaction, len }, perform)
        }
        "presign.batch" => {
            let (path, count) = (Vec::new(), args.count);
            (Act::PresignBatch { key_id, key_epoch, path, signers: roster, count }, perform)
        }
        "sign.digest" => (Act::SignDigest { key_id, key_epoch, digest: B32::default() }, perform),
        "publish_sig" => (
            Act::SignDigest { key_id, key_epoch, digest: B32::default() },
            Run::Publish(Scope::Public),
        ),
        other => return Err(Failure::usage(format!("no act is called `{other}`"))),
    };
    compile(&act, run, backend, &args.participants)
        .map_err(|error| Failure::refused(error.code(), error.to_string()))
}

fn l0_json(compiled: &Compiled) -> serde_json::Value {
    let sites = ScoreView::from(compiled.score().score()).sites;
    let steps = &compiled.plan().steps;
    let rows = sites.iter().map(|site| {
        let ops = steps.iter().filter(|s| s.site == site.site).map(|s| s.op.name());
        json!({ "site": site.site, "kind": site.kind, "ops": ops.collect::<Vec<_>>() })
    });
    json!({ "backend": compiled.plan().backend, "sites": rows.collect::<Vec<_>>() })
}
