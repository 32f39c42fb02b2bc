//! Holds README's table of what people can count on: each row names the stories that show it through the public API, and each of
//! them exists and runs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

/// The heading that the table stands under.
const HEADING: &str = "## What people can count on";

#[test]
fn every_promise_is_shown_by_a_story_that_runs() -> Result<()> {
    let readme = fs::read_to_string(root().join("README.md"))?;
    let promises = promises(&readme)?;
    let mut missing = Vec::new();
    for promise in &promises {
        ensure!(
            !promise.shown_by.is_empty(),
            "nothing shows: {}",
            promise.what
        );
        for name in &promise.shown_by {
            let (story, test) = name
                .rsplit_once("::")
                .with_context(|| format!("{name} is no `story::test`"))?;
            let file = format!("{}.rs", story.replace("::", "/"));
            let source = fs::read_to_string(stories().join(&file))
                .with_context(|| format!("there is no story {file}"))?;
            if !tests_of(&source).contains(test) {
                missing.push(format!("{name} (for: {})", promise.what));
            }
        }
    }
    ensure!(
        missing.is_empty(),
        "no test that runs is called:\n{}",
        missing.join("\n")
    );
    Ok(())
}

/// Where the paths of README begin.
const BASES: [&str; 3] = ["", "services", "agents"];

#[test]
fn every_file_that_readme_names_is_there() -> Result<()> {
    let readme = fs::read_to_string(root().join("README.md"))?;
    let words = readme.split('`').skip(1).step_by(2);
    let links = readme
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    // A name alone stands beside another one, and STORY or DIR for any.
    let is_file = |word: &&str| {
        word.contains('/')
            && [".rs", ".md", ".py"].iter().any(|it| word.ends_with(it))
            && !word.contains(|it: char| it.is_ascii_uppercase() || it == ' ')
    };
    let named: BTreeSet<&str> = words.filter(is_file).chain(links).collect();
    ensure!(named.len() > 50, "{named:?}");
    let missing: Vec<_> = named
        .iter()
        .filter(|path| !BASES.iter().any(|it| root().join(it).join(path).exists()))
        .collect();
    ensure!(
        missing.is_empty(),
        "README names what is not there: {missing:?}"
    );
    Ok(())
}

#[test]
fn a_row_without_a_story_and_a_story_that_does_not_run_are_found() -> Result<()> {
    let table = format!(
        "{HEADING}\n\n| | a person | shown by |\n|---|---|---|\n| 1 | may ask | `api::it_is_taken`, `crash::it_is_kept` |\n| 2 | may leave | |\n\n## Next\n"
    );
    let promises = promises(&table)?;
    assert_eq!(promises.len(), 2);
    assert_eq!(
        promises[0].shown_by,
        ["api::it_is_taken", "crash::it_is_kept"]
    );
    assert!(promises[1].shown_by.is_empty());

    let source = "#[test]\nfn one() {}\n\n#[tokio::test(flavor = \"multi_thread\")]\nasync fn two() -> Result<()> {}\n\n\
                  #[test]\n#[ignore = \"slow\"]\nfn three() {}\n\nfn four() {}\n";
    assert_eq!(tests_of(source), BTreeSet::from(["one", "two"]));
    Ok(())
}

/// One row.
struct Promise {
    what: String,
    /// `story::test`, or `story::part::test`.
    shown_by: Vec<String>,
}

/// The rows of the table. Errors: there is none, or they are not numbered one after the other.
fn promises(readme: &str) -> Result<Vec<Promise>> {
    let (_, section) = readme.split_once(HEADING).context("no such heading")?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut promises = Vec::new();
    for line in section.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [number, what, shown_by] = cells[..] else {
            bail!("three columns are expected in: {line}");
        };
        if number.is_empty() {
            continue; // the heading of the table
        }
        ensure!(
            number == (promises.len() + 1).to_string(),
            "row {number} is out of order"
        );
        promises.push(Promise {
            what: what.to_owned(),
            shown_by: shown_by
                .split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect(),
        });
    }
    ensure!(!promises.is_empty(), "the table has no rows");
    Ok(promises)
}

/// The tests of a source file that `cargo test` runs.
fn tests_of(source: &str) -> BTreeSet<&str> {
    let (mut tests, mut is_test, mut ignored) = (BTreeSet::new(), false, false);
    for line in source.lines().map(str::trim_start) {
        if line.starts_with("#[") {
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            ignored |= line.starts_with("#[ignore");
        } else if let Some((_, rest)) = line.split_once("fn ") {
            if is_test && !ignored {
                tests.extend(rest.split('(').next());
            }
            (is_test, ignored) = (false, false);
        }
    }
    tests
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn stories() -> std::path::PathBuf {
    root().join("tests/tests")
}
