//! `dvm person new | show`: the key file of a governor or approver.
//!
//! Always true: making one needs no node and tells nobody; a key counts for nothing before the
//! governors' log or a genesis manifest names its public half.

use std::path::PathBuf;

use clap::Subcommand;
use dvm_core::PersonId;
use serde_json::json;

use super::Global;
use super::exit::{Exit, Failure};
use crate::person::{KeyArgs, PersonKey};
use crate::show;

/// Commands for people's own keys.
#[derive(Debug, Subcommand)]
pub(crate) enum PersonCommand {
    /// Draw an Ed25519 key and seal it in a file under a passphrase.
    #[command(
        after_help = "Example (write 12 characters or more into alice.pass first; nobody else may read it):
  dvm person new alice --key-file alice.json --passphrase-file alice.pass"
    )]
    New {
        /// Whose key: a name of 1 to 64 plain characters, as approver sets and governors list it.
        person: PersonId,
        #[command(flatten)]
        key: KeyArgs,
        /// A remark, readable in the file.
        #[arg(long, default_value = "")]
        label: String,
    },
    /// Print whose key a file holds and its public half. Asks for no passphrase.
    #[command(after_help = "Example:\n  dvm person show alice.json")]
    Show {
        /// The key file.
        file: PathBuf,
    },
}

/// Runs one.
pub(crate) fn run(global: &Global, command: &PersonCommand) -> Result<Exit, Failure> {
    let (person, public_key, file) = match command {
        PersonCommand::New { person, key, label } => {
            let made = key.create(person.clone(), label)?;
            (made.person.to_string(), made.public_key().to_string(), key.key_file().to_owned())
        }
        PersonCommand::Show { file } => {
            let (person, public_key) = PersonKey::readable(file)?;
            (person.to_string(), public_key, file.clone())
        }
    };
    let member = format!("{person}={public_key}");
    let value = json!({
        "person": person, "public_key_hex": public_key, "member": member, "key_file": file,
    });
    show::print(global.json, &value, |_| {
        format!(
            "{member}\nkey file: {}\nNext: give the first line to the governors. It counts once a \
             decision of `dvm gov propose approver-set` or `governors` with it is in force",
            file.display()
        )
    });
    Ok(Exit::Done)
}
