//! An example for each command, below its help. They stand together, so that one can read how everything is typed; a test parses
//! each of them, and each that README shows.

use clap::Command;

const EXAMPLES: &str = include_str!("examples.txt");

/// With its examples below the help of each command.
#[must_use]
pub fn shown(command: Command) -> Command {
    below(command, "")
}

fn below(mut command: Command, above: &str) -> Command {
    let path = format!("{above}{} ", command.get_name());
    let own: Vec<&str> = EXAMPLES
        .lines()
        .filter(|line| format!("{} ", typed(line)).starts_with(&path))
        .collect();
    // Of several commands each has its own.
    if !own.is_empty() && !command.has_subcommands() {
        let heading = if own.len() == 1 {
            "Example"
        } else {
            "Examples"
        };
        command = command.after_help(format!("{heading}:\n  {}", own.join("\n  ")));
    }
    command.mut_subcommands(|it| below(it, &path))
}

/// Without what another program says to it.
fn typed(line: &str) -> &str {
    line.split_once("| ").map_or(line, |(_, typed)| typed)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::CommandFactory as _;

    use super::*;
    use crate::Cli;

    /// How the program is run from its sources.
    const CARGO: &str = "cargo run --release -- ";

    /// As a shell reads it that knows no quotes: none of these needs any.
    fn parses(line: &str) {
        let line = line.split(" #").next().unwrap_or_default();
        let line = line.split(" > ").next().unwrap_or_default();
        if let Err(error) = Cli::command().try_get_matches_from(typed(line).split_whitespace()) {
            panic!("{line}: {error}");
        }
    }

    fn without(command: &Command, above: &str, found: &mut Vec<String>) {
        let path = format!("{above}{} ", command.get_name());
        let known = EXAMPLES
            .lines()
            .any(|line| format!("{} ", typed(line)).starts_with(&path));
        if !known && !command.is_hide_set() {
            found.push(path.clone());
        }
        for below in command.get_subcommands() {
            without(below, &path, found);
        }
    }

    #[test]
    fn every_command_has_an_example_and_every_example_can_be_typed() {
        for line in EXAMPLES.lines() {
            parses(line);
        }
        let mut found = Vec::new();
        without(&Cli::command(), "", &mut found);
        assert!(found.is_empty(), "without an example: {found:?}");
        let mut help = shown(Cli::command());
        let check = help
            .find_subcommand_mut("identifier")
            .and_then(|it| it.find_subcommand_mut("check"));
        let said = check.map(|it| it.render_help().to_string());
        assert!(said.is_some_and(|it| {
            it.contains("Example:\n  echo +8613800000000 | farewell identifier check phone")
        }),);
    }

    #[test]
    fn what_readme_shows_can_be_typed() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
        let readme = std::fs::read_to_string(root).unwrap();
        // Blocks stand between the odd fences and the even ones.
        let lines = readme.split("```").skip(1).step_by(2).flat_map(str::lines);
        let shown: Vec<&str> = lines
            .filter(|line| line.starts_with(CARGO) || typed(line).starts_with("farewell "))
            .collect();
        assert!(shown.len() > 20, "{shown:?}");
        for line in shown {
            parses(&line.replace(CARGO, "farewell "));
        }
    }
}
