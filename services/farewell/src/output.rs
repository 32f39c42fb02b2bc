//! Results for people and for programs: a table on a terminal, tabs below a line of headings in a pipe, JSON when asked.

use std::io::{IsTerminal as _, Write as _, stdout};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    Table,
    Json,
}

/// Where results go. Standard output holds results and nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    format: Format,
    terminal: bool,
}

/// Rows under a heading. A title stands above it on a terminal, where several tables may follow each other.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    pub title: &'static str,
    pub heading: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
}

impl Rows {
    /// No rows yet.
    pub fn new(title: &'static str, heading: &[&'static str]) -> Self {
        Self {
            title,
            heading: heading.to_vec(),
            rows: Vec::new(),
        }
    }

    /// One more.
    pub fn push<const N: usize>(&mut self, row: [String; N]) {
        self.rows.push(row.to_vec());
    }
}

impl Output {
    /// On standard output.
    pub fn new(format: Format) -> Self {
        Self {
            format,
            terminal: stdout().is_terminal(),
        }
    }

    /// Writes `value` as JSON, or else the tables, whichever was asked for.
    ///
    /// Errors: standard output is closed.
    pub fn write(self, value: &Value, tables: &[Rows]) -> anyhow::Result<()> {
        let mut out = stdout().lock();
        match self.format {
            Format::Json if self.terminal => writeln!(out, "{value:#}")?,
            Format::Json => writeln!(out, "{value}")?,
            Format::Table => {
                for table in tables {
                    write!(out, "{}", self.draw(table))?;
                }
            }
        }
        Ok(out.flush()?)
    }

    /// Writes `value` as JSON, or else `text` as it is.
    ///
    /// Errors: standard output is closed.
    pub fn text(self, value: &Value, text: &str) -> anyhow::Result<()> {
        match self.format {
            Format::Json => self.write(value, &[]),
            Format::Table => Ok(write!(stdout().lock(), "{text}")?),
        }
    }

    /// Writes tables, whatever was asked for: they are part of a story.
    ///
    /// Errors: standard output is closed.
    pub fn print(self, tables: &[Rows]) -> anyhow::Result<()> {
        let mut out = stdout().lock();
        for table in tables {
            write!(out, "{}", self.draw(table))?;
        }
        Ok(out.flush()?)
    }

    fn draw(self, rows: &Rows) -> String {
        if self.terminal {
            table(rows)
        } else {
            tabs(rows)
        }
    }
}

/// A table with its title, for terminals; empty without rows.
pub fn table(rows: &Rows) -> String {
    if rows.rows.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_BORDERS_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .add_rows(rows.rows.clone());
    // A terminal that doesn't say how wide it is would get one letter a line.
    if table.width() == Some(0) {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    if rows.heading.iter().any(|name| !name.is_empty()) {
        table.set_header(rows.heading.clone());
    }
    match rows.title {
        "" => format!("{table}\n"),
        title => format!("{title}\n{table}\n"),
    }
}

/// One line for each row, below one of headings where there are columns to tell from each other; what would break a line is a space.
/// Nothing without rows.
fn tabs(rows: &Rows) -> String {
    let flat = |cell: &str| cell.replace(['\t', '\n', '\r'], " ");
    let line = |cells: Vec<String>| cells.join("\t") + "\n";
    let columns = rows.heading.len() > 1 && rows.heading.iter().any(|name| !name.is_empty());
    let named = columns && !rows.rows.is_empty();
    let heading = named.then(|| rows.heading.iter().map(|name| flat(name)).collect());
    let cells = rows.rows.iter();
    let cells = cells.map(|row| row.iter().map(|cell| flat(cell)).collect());
    heading.into_iter().chain(cells).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_never_breaks_a_line_of_a_pipe() {
        let mut rows = Rows::new("", &["a", "b"]);
        rows.push(["one\ttwo".to_owned(), "three\nfour".to_owned()]);
        assert_eq!(tabs(&rows), "a\tb\none two\tthree four\n");
    }

    #[test]
    fn a_table_without_rows_is_nothing() {
        assert_eq!(table(&Rows::new("legs", &["a"])), "");
        assert_eq!(tabs(&Rows::new("legs", &["a"])), "");
    }

    #[test]
    fn what_has_no_headings_has_no_line_of_them() {
        let mut rows = Rows::new("", &["", ""]);
        rows.push(["state".to_owned(), "PURGED".to_owned()]);
        assert_eq!(tabs(&rows), "state\tPURGED\n");
        // What somebody takes on as it is.
        let mut rows = Rows::new("", &["the device signs"]);
        rows.push(["00ff".to_owned()]);
        assert_eq!(tabs(&rows), "00ff\n");
    }
}
