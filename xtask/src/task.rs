//! What all tasks share: where the workspace is, how a command is run, and why a task stops.
//!
//! Always true: a command that did not exit with 0 stops its task; nothing here retries or warns
//! instead.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

use crate::tidy::Finding;

/// Why a task did not succeed.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The command line names no task.
    Usage { given: String },
    /// A command ran and said no.
    Failed { command: String, status: ExitStatus },
    /// A command or a file could not be used at all.
    Unusable { what: String, cause: io::Error },
    /// `cargo metadata` could not read the workspace.
    Metadata(cargo_metadata::Error),
    /// A tool is not on this machine.
    Missing { tool: &'static str, how: &'static str },
    /// House rules are broken.
    Findings(Vec<Finding>),
    /// Several checks of one task failed, by name.
    Checks(Vec<(&'static str, Stop)>),
}

impl Stop {
    /// 2 for a command line that was not understood, 1 for everything else.
    pub(crate) fn exit_code(&self) -> u8 {
        if matches!(self, Self::Usage { .. }) { 2 } else { 1 }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage { given } => write!(f, "no such task: `{given}`; see `cargo xtask --help`"),
            Self::Failed { command, status } => write!(f, "`{command}` failed: {status}"),
            Self::Unusable { what, cause } => write!(f, "cannot use `{what}`: {cause}"),
            Self::Metadata(cause) => write!(f, "cannot read the workspace: {cause}"),
            Self::Missing { tool, how } => write!(f, "`{tool}` is missing: {how}"),
            Self::Findings(findings) => {
                for finding in findings {
                    writeln!(f, "{finding}")?;
                }
                write!(f, "{} house rule(s) broken", findings.len())
            }
            Self::Checks(failed) => {
                for (check, stop) in failed {
                    writeln!(f, "== {check}\n{stop}")?;
                }
                let names: Vec<&str> = failed.iter().map(|(check, _)| *check).collect();
                write!(f, "failed: {}", names.join(", "))
            }
        }
    }
}

/// The repository this task works on.
pub(crate) struct Workspace {
    /// Its top directory.
    pub(crate) root: PathBuf,
    /// Where cargo builds, which `CARGO_TARGET_DIR` may have moved.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Asks cargo, so that the task works from any directory inside the repository.
    pub(crate) fn find() -> Result<Self, Stop> {
        let metadata =
            cargo_metadata::MetadataCommand::new().no_deps().exec().map_err(Stop::Metadata)?;
        Ok(Self {
            root: metadata.workspace_root.into_std_path_buf(),
            target: metadata.target_directory.into_std_path_buf(),
        })
    }

    /// The cargo that runs this task, in the workspace's top directory.
    pub(crate) fn cargo(&self, args: &[&str]) -> Command {
        let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = self.command(program, args);
        // What `cargo run` told this task about itself makes build scripts that read it run again, and what stands on
        // them be built again, each time a task and a plain `cargo build` take turns.
        for (name, _) in std::env::vars_os().filter(|(name, _)| tells_of_task(name)) {
            command.env_remove(name);
        }
        command
    }

    /// Any program, in the workspace's top directory.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(&self.root);
        command
    }
}

/// Whether cargo sets this variable for the package that it runs.
fn tells_of_task(name: &std::ffi::OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
}

/// Runs a command to its end, its output shown as it comes.
pub(crate) fn run(command: &mut Command) -> Result<(), Stop> {
    eprintln!("-- {}", shown(command));
    let status =
        command.status().map_err(|cause| Stop::Unusable { what: shown(command), cause })?;
    if status.success() { Ok(()) } else { Err(Stop::Failed { command: shown(command), status }) }
}

/// Whether a command can be started here and exits with 0; its output is not shown.
pub(crate) fn works(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// Reads a text file of the repository.
pub(crate) fn read(path: &Path) -> Result<String, Stop> {
    std::fs::read_to_string(path)
        .map_err(|cause| Stop::Unusable { what: path.display().to_string(), cause })
}

/// The command as one would type it.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    std::iter::once(name)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cargo_says_of_this_task_is_kept_from_the_cargo_that_it_starts() {
        let told = |name: &str| tells_of_task(std::ffi::OsStr::new(name));
        assert!(told("CARGO_PKG_NAME") && told("CARGO_MANIFEST_DIR"));
        assert!(!told("CARGO_HOME") && !told("CARGO_TARGET_DIR") && !told("RUSTFLAGS"));
    }

    #[test]
    fn run_is_ok_only_when_the_command_exits_with_zero() {
        assert!(run(&mut Command::new("true")).is_ok());
        assert!(matches!(run(&mut Command::new("false")), Err(Stop::Failed { .. })));
        assert!(matches!(
            run(&mut Command::new("no-such-program-here")),
            Err(Stop::Unusable { .. })
        ));
    }

    #[test]
    fn only_a_misunderstood_command_line_exits_with_two() {
        assert_eq!(Stop::Usage { given: "tset".into() }.exit_code(), 2);
        assert_eq!(Stop::Missing { tool: "openssl", how: "install it" }.exit_code(), 1);
    }

    #[test]
    fn a_failed_task_names_every_failed_check() {
        let stop = Stop::Checks(vec![
            ("tidy", Stop::Findings(Vec::new())),
            ("deny", Stop::Missing { tool: "cargo-deny", how: "install it" }),
        ]);
        assert!(stop.to_string().ends_with("failed: tidy, deny"));
    }
}
