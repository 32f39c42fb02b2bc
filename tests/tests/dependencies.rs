//! Holds the dependency rules of the workspace over `cargo metadata`: who may know whom. Dev- and build-dependencies
//! count like any other; a test that needs more than its crate may know belongs into `tests/`.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// What one crate may depend on among ours. A crate without a rule fails the test: decide before you add one.
const RULES: [(&str, Ours); 17] = [
    ("farewell-proto", Ours::Only(&[])),
    ("farewell-core", Ours::Only(&[])),
    ("farewell-runtime", Ours::Only(&[])),
    ("farewell-interpreter", Ours::Only(&[])),
    ("farewell-ledger", Ours::Only(&["farewell-core"])),
    (
        "farewell-coordinator",
        Ours::Only(&[
            "farewell-core",
            "farewell-interpreter",
            "farewell-ledger",
            "farewell-proto",
            "farewell-runtime",
        ]),
    ),
    (
        "farewell-kit",
        Ours::Only(&["farewell-interpreter", "farewell-proto", "farewell-runtime"]),
    ),
    // The wire is all that participants share with the coordinator.
    ("farewell-identity", PARTICIPANT),
    ("farewell-cloud", PARTICIPANT),
    ("farewell-store", PARTICIPANT),
    ("farewell-community", PARTICIPANT),
    ("farewell-support", PARTICIPANT),
    ("farewell-phones", PARTICIPANT),
    ("farewell-wearables", PARTICIPANT),
    ("farewell-smarthome", PARTICIPANT),
    ("farewell", Ours::All),
    ("farewell-tests", Ours::All),
];

const PARTICIPANT: Ours = Ours::Only(&[
    "farewell-interpreter",
    "farewell-kit",
    "farewell-proto",
    "farewell-runtime",
]);

/// Nothing may depend on the stories, not even a crate that may know all others.
const STORIES: &str = "farewell-tests";

/// Others' crates, with their families (`tokio` is also `tokio-util`), that a crate never learns of.
const BANS: [(&str, &[&str]); 2] = [
    // Decisions only: no I/O, no async, no wire, no database, no log.
    (
        "farewell-core",
        &["tokio", "tonic", "prost", "sqlx", "tracing"],
    ),
    // The ledger speaks SQL and the words of core.
    ("farewell-ledger", &["tonic", "prost"]),
];

#[derive(Clone, Copy)]
enum Ours {
    Only(&'static [&'static str]),
    All,
}

#[derive(Deserialize)]
struct Graph {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// Set if the dependency lies in this repository.
    path: Option<String>,
}

#[test]
fn every_crate_knows_only_what_the_design_allows() -> Result<()> {
    let broken = violations(&workspace()?);
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    Ok(())
}

#[test]
fn every_rule_speaks_of_a_crate_that_exists() -> Result<()> {
    let graph = workspace()?;
    let crates: BTreeSet<&str> = graph
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let ruled: BTreeSet<&str> = RULES.iter().map(|(name, _)| *name).collect();
    assert_eq!(ruled, crates);
    Ok(())
}

#[test]
fn each_kind_of_forbidden_dependency_is_found_and_named() -> Result<()> {
    let bad = r#"{"packages": [
        {"name": "farewell-core", "dependencies": [{"name": "tokio-util", "path": null}, {"name": "serde", "path": null}]},
        {"name": "farewell-ledger", "dependencies": [{"name": "farewell-proto", "path": "proto"}]},
        {"name": "farewell-identity", "dependencies": [{"name": "farewell-core", "path": "core", "kind": "dev"}]},
        {"name": "farewell-kit", "dependencies": [{"name": "farewell-proto", "path": "proto"}]},
        {"name": "farewell", "dependencies": [{"name": "farewell-tests", "path": "tests"}]},
        {"name": "farewell-shiny", "dependencies": []}
    ]}"#;
    let found = violations(&serde_json::from_str(bad)?);
    assert_eq!(
        found,
        [
            "farewell-core must never depend on tokio-util",
            "farewell-ledger must not depend on farewell-proto",
            "farewell-identity must not depend on farewell-core",
            "farewell must not depend on farewell-tests",
            "farewell-shiny has no rule: add one to RULES",
        ]
    );
    Ok(())
}

fn violations(graph: &Graph) -> Vec<String> {
    let mut found = Vec::new();
    for package in &graph.packages {
        let name = package.name.as_str();
        let Some((_, allowed)) = RULES.iter().find(|(ruled, _)| *ruled == name) else {
            found.push(format!("{name} has no rule: add one to RULES"));
            continue;
        };
        let banned = BANS
            .iter()
            .find(|(ruled, _)| *ruled == name)
            .map_or(&[][..], |(_, bans)| bans);
        for dependency in &package.dependencies {
            let other = dependency.name.as_str();
            if dependency.path.is_some() && !allowed.allow(other) {
                found.push(format!("{name} must not depend on {other}"));
            }
            if banned.iter().any(|family| is_of_family(other, family)) {
                found.push(format!("{name} must never depend on {other}"));
            }
        }
    }
    found
}

impl Ours {
    fn allow(self, other: &str) -> bool {
        match self {
            Self::Only(names) => names.contains(&other),
            Self::All => other != STORIES,
        }
    }
}

fn is_of_family(name: &str, family: &str) -> bool {
    name.strip_prefix(family)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// The workspace as it is declared; needs no network.
fn workspace() -> Result<Graph> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .context("starting cargo metadata")?;
    if !output.status.success() {
        bail!(
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    serde_json::from_slice(&output.stdout).context("reading cargo metadata")
}
