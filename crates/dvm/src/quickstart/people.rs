//! Demo governors and approvers: real keys in real key files, under a passphrase that everybody
//! knows, and labelled so.

use std::path::{Path, PathBuf};

use dvm_core::PersonId;
use dvm_core::authority::{ApproverSet, Governors, Person};
use dvm_node::setup::write_new;

use crate::cli::exit::Failure;
use crate::person::PersonKey;

/// In every key file of the demo.
const LABEL: &str =
    "DEMO KEY: its passphrase is public. Never give it authority over anything real.";
/// The passphrase of every demo key.
const PASSPHRASE: &str = "demo passphrase known to everybody";
/// The set that approves in the demo.
pub(crate) const APPROVER_SET: &str = "treasury";

const GOVERNORS: [&str; 3] = ["demo-gov-1", "demo-gov-2", "demo-gov-3"];
const APPROVERS: [&str; 3] = ["demo-alice", "demo-bob", "demo-carol"];

/// The people of the demo.
pub(crate) struct People {
    pub(crate) governors: Vec<PersonKey>,
    pub(crate) approvers: Vec<PersonKey>,
    dir: PathBuf,
}

impl People {
    pub(crate) fn create(dir: &Path) -> Result<Self, Failure> {
        std::fs::create_dir_all(dir).map_err(Failure::file(dir))?;
        let people = Self {
            governors: all(dir, &GOVERNORS)?,
            approvers: all(dir, &APPROVERS)?,
            dir: dir.to_owned(),
        };
        write_new(&people.passphrase_file(), format!("{PASSPHRASE}\n").as_bytes(), 0o600)?;
        Ok(people)
    }

    pub(crate) fn passphrase_file(&self) -> PathBuf {
        self.dir.join("DEMO-PASSPHRASE.txt")
    }

    /// The key file of a person.
    pub(crate) fn key_file(&self, person: &PersonId) -> PathBuf {
        self.dir.join(format!("{person}.json"))
    }

    /// Two of three decide; a proposer's own signature counts.
    pub(crate) fn as_governors(&self) -> Governors {
        Governors { threshold: 2, members: public(&self.governors), proposer_counts: true }
    }

    pub(crate) fn as_approvers(&self) -> Result<Vec<ApproverSet>, Failure> {
        let name = APPROVER_SET.parse().map_err(|_| Failure::usage("the approver set's name"))?;
        Ok(vec![ApproverSet { name, members: public(&self.approvers) }])
    }
}

fn all(dir: &Path, names: &[&str]) -> Result<Vec<PersonKey>, Failure> {
    let one = |name: &&str| {
        let person: PersonId = name.parse().map_err(|_| Failure::usage("a person's name"))?;
        let path = dir.join(format!("{person}.json"));
        PersonKey::create(&path, person, LABEL, PASSPHRASE.as_bytes())
    };
    names.iter().map(one).collect()
}

fn public(keys: &[PersonKey]) -> Vec<Person> {
    keys.iter().map(|k| Person { person: k.person.clone(), key: k.public_key() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demo_keys_open_with_the_written_passphrase_and_say_that_they_are_demo() {
        let dir = tempfile::tempdir().unwrap();
        let people = People::create(&dir.path().join("people")).unwrap();
        let alice = &people.approvers[0];
        let file = people.key_file(&alice.person);
        let passphrase = crate::person::read_passphrase(&people.passphrase_file()).unwrap();
        assert_eq!(PersonKey::open(&file, &passphrase).unwrap().public_key(), alice.public_key());
        assert!(std::fs::read_to_string(&file).unwrap().contains("DEMO"));
    }
}
