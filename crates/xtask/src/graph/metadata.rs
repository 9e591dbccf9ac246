//! The crate graph as cargo resolved it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::process::Command;

use serde::Deserialize;

use crate::failure::Failure;
use crate::process;
use crate::workspace::Workspace;

/// What a dependency is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// The code.
    Normal,
    /// Tests, examples and benches.
    Dev,
    /// The build script.
    Build,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Dev => "dev",
            Self::Build => "build",
        }
    }
}

/// One package of ours uses another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edge {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) kind: Kind,
}

/// Our packages and everything that is built with them.
#[derive(Debug)]
pub(super) struct Graph {
    /// Names of our packages.
    pub(super) members: Vec<String>,
    /// Uses between them.
    pub(super) edges: Vec<Edge>,
    /// Uses of all packages, others' too, for code and build scripts (not tests), by name.
    pub(super) normal: BTreeMap<String, Vec<String>>,
}

impl Graph {
    /// Asks cargo.
    pub(super) fn of(workspace: &Workspace) -> Result<Self, Failure> {
        let mut cargo = Command::new(workspace.cargo());
        cargo
            .args(["metadata", "--format-version", "1", "--locked"])
            .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
            .current_dir(workspace.root());
        let output = process::output(&mut cargo)?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            return Err(Failure::check(format!("`{}` failed: {}", process::shown(&cargo), why.trim())));
        }
        let metadata: Metadata = serde_json::from_slice(&output.stdout)
            .map_err(|error| Failure::check(format!("cargo metadata is not what was expected: {error}")))?;
        Ok(Self::from_metadata(&metadata))
    }

    fn from_metadata(metadata: &Metadata) -> Self {
        let names: BTreeMap<&str, &str> =
            metadata.packages.iter().map(|package| (package.id.as_str(), package.name.as_str())).collect();
        let name = |id: &str| names.get(id).map_or_else(|| id.to_owned(), |name| (*name).to_owned());
        let ours: BTreeSet<&str> = metadata.workspace_members.iter().map(String::as_str).collect();
        let mut edges = BTreeSet::new();
        let mut normal: BTreeMap<String, Vec<String>> = BTreeMap::new();
        // What a manifest declares counts, even if no feature turns it on today.
        for package in metadata.packages.iter().filter(|package| ours.contains(package.id.as_str())) {
            for dependency in package.dependencies.iter().filter(|dependency| dependency.path.is_some()) {
                let (from, to) = (package.name.clone(), dependency.name.clone());
                edges.insert(Edge { from, to, kind: kind(dependency.kind.as_deref()) });
            }
        }
        for node in &metadata.resolve.nodes {
            for used in &node.deps {
                if used.dep_kinds.iter().any(|used| kind(used.kind.as_deref()) != Kind::Dev) {
                    normal.entry(name(&node.id)).or_default().push(name(&used.pkg));
                }
            }
        }
        let members = metadata.workspace_members.iter().map(|id| name(id)).collect();
        Self { members, edges: edges.into_iter().collect(), normal }
    }

    /// The shortest way from one package to another, both included, if code gets there at all.
    pub(super) fn path(&self, from: &str, to: &str) -> Option<Vec<String>> {
        let mut before: BTreeMap<&str, &str> = BTreeMap::new();
        let mut queue = VecDeque::from([from]);
        while let Some(at) = queue.pop_front() {
            if at == to && at != from {
                let mut path = vec![at];
                while let Some(&previous) = path.last().and_then(|last| before.get(last)) {
                    path.push(previous);
                }
                return Some(path.into_iter().rev().map(str::to_owned).collect());
            }
            for next in self.normal.get(at).into_iter().flatten() {
                if next != from && !before.contains_key(next.as_str()) {
                    before.insert(next, at);
                    queue.push_back(next);
                }
            }
        }
        None
    }
}

fn kind(word: Option<&str>) -> Kind {
    match word {
        Some("dev") => Kind::Dev,
        Some("build") => Kind::Build,
        _ => Kind::Normal,
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<MetadataPackage>,
    workspace_members: Vec<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct MetadataPackage {
    id: String,
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
    path: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<NodeDep>,
}

#[derive(Deserialize)]
struct NodeDep {
    pkg: String,
    dep_kinds: Vec<DepKind>,
}

#[derive(Deserialize)]
struct DepKind {
    kind: Option<String>,
}
