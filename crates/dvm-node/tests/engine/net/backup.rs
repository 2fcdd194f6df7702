//! Backups of a whole node: its kernel's vault and its own tables; and what it says of itself and the others.

use super::*;

/// A node as it was.
pub struct Backup {
    vault: TempDir,
    tables: Tables,
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    for file in std::fs::read_dir(to).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

impl Net {
    /// Between two inputs, so it is what a power cut would leave.
    pub fn backup(&mut self, name: &str) -> Backup {
        let host = &self.hosts[&id::<NodeId>(name)];
        let vault = tempfile::tempdir().unwrap();
        copy(host.dir.path(), vault.path());
        Backup { vault, tables: host.tables.clone() }
    }

    /// Puts the backup in the place of what the node has become, and starts it.
    pub fn restore(&mut self, name: &str, backup: &Backup) {
        let host = self.hosts.get_mut(&id::<NodeId>(name)).unwrap();
        (host.kernel, host.engine) = (None, None);
        copy(backup.vault.path(), host.dir.path());
        host.tables = backup.tables.clone();
        self.crash_and_restart(name);
    }

    /// Why `at` says that it does no work with this member's kernel.
    pub fn refused(&mut self, at: &str, member: &str) -> Value {
        let status = self.json(at, ApiCall::Status);
        let members = status["members"].as_array().unwrap();
        members.iter().find(|m| m["node"] == member).unwrap()["refused"].clone()
    }

    /// The fencing records that a node keeps.
    pub fn fences(&mut self, at: &str) -> Vec<dvm_core::sighting::FencingRecord> {
        let status = self.json(at, ApiCall::Status);
        let record = |fence: &Value| {
            let bytes = hex::decode(fence["record_hex"].as_str().unwrap()).unwrap();
            codec::decode(&bytes).unwrap()
        };
        status["fences"].as_array().unwrap().iter().map(record).collect()
    }
}
