//! Where the quickstart lives: its directory, its cluster, its people, the file to be signed.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dvm_core::authority::{Floor, ReleaseRule};
use dvm_core::intent::ActClass;
use dvm_core::{NodeId, limits};
use dvm_node::setup::{ClusterPlan, MadeCluster, MadeMember, write_new};

use super::people::People;
use crate::cli::exit::Failure;
use crate::client::{Client, Tokens};
use crate::show;

const NOTE: &str =
    "DEMO cluster made by `dvm quickstart`: governors and approvers have public passphrases.";
/// What a node's configuration is extended by when it is to keep what it sends.
const RECORD_WIRE: &str = "\n[diagnostics]\nrecord_wire = \"wire.capture\"\n";
const OWN_TEXT: &str =
    "This text was signed by two of three nodes. No machine ever held the key.\n";

/// Everything on disk.
pub(crate) struct Site {
    pub(crate) dir: PathBuf,
    pub(crate) cluster: Arc<MadeCluster>,
    pub(crate) people: Arc<People>,
    pub(crate) file: PathBuf,
    pub(crate) temporary: bool,
}

/// What the story needs of it.
pub(crate) struct StorySite {
    pub(crate) dir: PathBuf,
    pub(crate) cluster: Arc<MadeCluster>,
    pub(crate) people: Arc<People>,
    pub(crate) file: PathBuf,
    pub(crate) content: Vec<u8>,
    pub(crate) clients: Vec<(NodeId, Client)>,
}

impl Site {
    pub(crate) fn create(
        dir: Option<&Path>,
        file: Option<&Path>,
        once: bool,
    ) -> Result<Self, Failure> {
        // The file is looked at first: a typing error leaves no cluster behind.
        let given =
            file.map(|path| std::path::absolute(path).map_err(Failure::file(path))).transpose()?;
        if let Some(path) = &given {
            read(path)?;
        }
        let temporary = dir.is_none();
        let dir = match dir {
            Some(dir) => new_dir(dir)?,
            None => tempfile::Builder::new()
                .prefix("dvm-quickstart-")
                .tempdir()
                .map_err(Failure::file(&std::env::temp_dir()))?
                .keep(),
        };
        let mut guard = RemoveOnFailure { dir: dir.clone(), armed: temporary && once };
        let people = People::create(&dir.join("people"))?;
        let plan = plan(&dir, &people)?;
        let words = "making keys; each kernel makes its own";
        let cluster = show::waiting(words, || dvm_node::setup::create(&plan))?;
        let file = match given {
            Some(path) => path,
            None => {
                let path = dir.join("message.txt");
                write_new(&path, OWN_TEXT.as_bytes(), 0o644)?;
                path
            }
        };
        guard.armed = false;
        let (cluster, people) = (Arc::new(cluster), Arc::new(people));
        Ok(Self { dir, cluster, people, file, temporary })
    }

    /// Has every node keep what it sends. Before the nodes start.
    pub(crate) fn record_wire(&self) -> Result<(), Failure> {
        for node in &self.cluster.nodes {
            let file = std::fs::File::options().append(true).open(&node.config);
            let mut file = file.map_err(Failure::file(&node.config))?;
            file.write_all(RECORD_WIRE.as_bytes()).map_err(Failure::file(&node.config))?;
        }
        Ok(())
    }

    /// For the story's own thread.
    pub(crate) fn for_story(&self) -> Result<StorySite, Failure> {
        let tokens = Tokens::read(&self.cluster.tokens_file)?;
        let client = |member: &MadeMember| {
            (member.id.clone(), Client::new(&api_url(member), tokens.clone()))
        };
        Ok(StorySite {
            dir: self.dir.clone(),
            cluster: Arc::clone(&self.cluster),
            people: Arc::clone(&self.people),
            file: self.file.clone(),
            content: read(&self.file)?,
            clients: self.cluster.nodes.iter().map(client).collect(),
        })
    }

    /// Removes a temporary directory.
    pub(crate) fn clean_up(&mut self) {
        if self.temporary {
            // What cannot be removed is left to the system's own cleaning of temporary files.
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

/// Takes a temporary directory away when what is built in it fails.
struct RemoveOnFailure {
    dir: PathBuf,
    armed: bool,
}

impl Drop for RemoveOnFailure {
    fn drop(&mut self) {
        if self.armed {
            // What cannot be removed is left to the system's own cleaning of temporary files.
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

/// Where a node's API is.
pub(crate) fn api_url(member: &MadeMember) -> String {
    member.api.map(|addr| format!("http://{addr}")).unwrap_or_default()
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let facts = std::fs::metadata(path).map_err(Failure::file(path))?;
    if facts.len() > limits::CONTENT_BYTES_MAX as u64 {
        let most = limits::CONTENT_BYTES_MAX;
        return Err(Failure::form(
            path,
            format!("more than {most} bytes cannot be signed at once"),
        ));
    }
    std::fs::read(path).map_err(Failure::file(path))
}

fn new_dir(dir: &Path) -> Result<PathBuf, Failure> {
    let dir = std::path::absolute(dir).map_err(Failure::file(dir))?;
    std::fs::create_dir_all(&dir).map_err(Failure::file(&dir))?;
    let mut entries = std::fs::read_dir(&dir).map_err(Failure::file(&dir))?;
    if entries.next().is_some() {
        return Err(Failure::form(&dir, "not empty; name a new directory"));
    }
    Ok(dir)
}

fn plan(dir: &Path, people: &People) -> Result<ClusterPlan, Failure> {
    let id = |name: &str| name.parse().map_err(|_| Failure::usage("a member's name"));
    Ok(ClusterPlan {
        dir: dir.to_owned(),
        name: "demo".parse().map_err(|_| Failure::usage("the cluster's name"))?,
        nodes: vec![id("n1")?, id("n2")?, id("n3")?],
        witnesses: vec![id("w1")?],
        faults: 1,
        governors: people.as_governors(),
        approvers: people.as_approvers()?,
        keygen_floor: Floor {
            admit: None,
            release: ReleaseRule::Auto,
            acts: vec![ActClass::KeyGenerate],
            executions_per_hour: 60,
            failures_to_freeze: 5,
        },
        note: NOTE.to_owned(),
        kernel_binary: None,
    })
}
