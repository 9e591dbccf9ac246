//! `cargo xtask graph`: packages use each other only in the directions that the layer table allows.

mod layers;
mod metadata;

use std::collections::BTreeMap;
use std::fs;

use layers::{LAYERS, Package};
use metadata::{Edge, Graph, Kind};

use crate::failure::Failure;
use crate::workspace::Workspace;

/// Prints the graph and fails at the first edges that must not be.
pub(crate) fn execute(workspace: &Workspace) -> Result<(), Failure> {
    let graph = Graph::of(workspace)?;
    print!("{}", drawn(&graph));
    let mut wrong = wrong_edges(&graph);
    wrong.extend(missing_no_std(workspace));
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Failure::check(format!("the crate graph is wrong:\n  {}", wrong.join("\n  "))))
}

/// Our packages by layer, lowest first, each with those of ours that it uses.
fn drawn(graph: &Graph) -> String {
    let mut rows: BTreeMap<(u8, &str), Vec<&str>> = BTreeMap::new();
    for package in LAYERS {
        let edges = graph.edges.iter().filter(|edge| edge.from == package.name && edge.kind == Kind::Normal);
        let mut uses: Vec<&str> = edges.map(|edge| edge.to.as_str()).collect();
        uses.sort_unstable();
        rows.insert((package.layer, package.name), uses);
    }
    rows.iter().fold(String::new(), |text, ((layer, name), uses)| {
        let uses = if uses.is_empty() { "-".to_owned() } else { uses.join(" ") };
        format!("{text}{layer}  {name:<14} {uses}\n")
    })
}

/// A line for each member that the table does not know, and for each edge that it does not allow.
fn wrong_edges(graph: &Graph) -> Vec<String> {
    let mut wrong = Vec::new();
    for member in &graph.members {
        if !LAYERS.iter().any(|package| package.name == member) {
            wrong.push(format!("{member} is not in the layer table (crates/xtask/src/graph/layers.rs)"));
        }
    }
    for package in LAYERS {
        if !graph.members.iter().any(|member| member == package.name) {
            wrong.push(format!("{} is in the layer table and not in the workspace", package.name));
        }
        wrong.extend(
            graph
                .edges
                .iter()
                .filter(|edge| edge.from == package.name)
                .filter_map(|edge| wrong_edge(package, edge)),
        );
        for never in package.never {
            if let Some(path) = graph.path(package.name, never) {
                wrong.push(format!("{} must never reach {never}: {}", package.name, path.join(" -> ")));
            }
        }
    }
    wrong
}

fn wrong_edge(package: &Package, edge: &Edge) -> Option<String> {
    let allowed = package.may_use.contains(&edge.to.as_str());
    // A package's tests may turn on features of its own.
    let in_tests =
        edge.kind == Kind::Dev && (edge.to == edge.from || package.tests_may_use.contains(&edge.to.as_str()));
    if allowed || in_tests {
        return None;
    }
    let may = if package.may_use.is_empty() { "none of ours".to_owned() } else { package.may_use.join(", ") };
    Some(format!("{} -> {} ({}): {} may use {may}", edge.from, edge.to, edge.kind.name(), edge.from))
}

/// Protocol crates that the compiler does not keep from doing I/O.
fn missing_no_std(workspace: &Workspace) -> Vec<String> {
    let protocol = LAYERS.iter().filter(|package| package.no_std);
    protocol
        .filter_map(|package| {
            let path = workspace.root().join("crates").join(package.name).join("src/lib.rs");
            let text = fs::read_to_string(&path).unwrap_or_default();
            let has = text.lines().any(|line| line.trim() == "#![no_std]");
            (!has).then(|| format!("{} is a protocol crate without #![no_std]", package.name))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &str, Kind)]) -> Graph {
        Graph {
            members: LAYERS.iter().map(|package| package.name.to_owned()).collect(),
            edges: edges
                .iter()
                .filter(|(_, to, _)| LAYERS.iter().any(|package| package.name == *to))
                .map(|&(from, to, kind)| Edge { from: from.into(), to: to.into(), kind })
                .collect(),
            normal: edges.iter().filter(|(_, _, kind)| *kind == Kind::Normal).fold(
                BTreeMap::new(),
                |mut all: BTreeMap<String, Vec<String>>, (from, to, _)| {
                    all.entry((*from).to_owned()).or_default().push((*to).to_owned());
                    all
                },
            ),
        }
    }

    #[test]
    fn edge_to_a_lower_layer_is_fine() {
        assert_eq!(wrong_edges(&graph(&[("vmbus", "hv-abi", Kind::Normal)])), Vec::<String>::new());
    }

    #[test]
    fn edge_upwards_is_named() {
        let wrong = wrong_edges(&graph(&[("synic", "device-model", Kind::Normal)]));
        assert_eq!(wrong, ["synic -> device-model (normal): synic may use hv-abi"]);
    }

    #[test]
    fn tests_may_use_more_than_the_code() {
        assert!(wrong_edges(&graph(&[("vmbus", "vmbus", Kind::Dev)])).is_empty());
        assert!(wrong_edges(&graph(&[("device-model", "guest-sim", Kind::Dev)])).is_empty());
        assert_eq!(wrong_edges(&graph(&[("device-model", "guest-sim", Kind::Normal)])).len(), 1);
    }

    #[test]
    fn forbidden_package_is_found_through_others() {
        let wrong = wrong_edges(&graph(&[
            ("device-model", "synic", Kind::Normal),
            ("synic", "vm-thing", Kind::Normal),
            ("vm-thing", "kvm-ioctls", Kind::Normal),
        ]));
        assert!(
            wrong.contains(
                &"device-model must never reach kvm-ioctls: device-model -> synic -> vm-thing -> kvm-ioctls"
                    .to_owned()
            ),
            "{wrong:?}"
        );
    }

    #[test]
    fn unknown_member_is_named() {
        let mut graph = graph(&[]);
        graph.members.push("newcomer".to_owned());
        assert!(wrong_edges(&graph)[0].starts_with("newcomer is not in the layer table"));
    }

    #[test]
    fn this_workspace_keeps_its_own_rules() {
        let workspace = Workspace::find();
        let mut wrong = wrong_edges(&Graph::of(&workspace).unwrap());
        wrong.extend(missing_no_std(&workspace));
        assert_eq!(wrong, Vec::<String>::new());
    }
}
