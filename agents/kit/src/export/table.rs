//! Tables of a database as files: one for spreadsheets (CSV, RFC 4180) and one for programs (JSON, RFC 8259).

use async_trait::async_trait;
use serde_json::{Map, Value};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::{LeftOut, Part, Section};
use crate::participant::Fault;
use crate::seal;
use crate::store::{Store, time};

/// Rows read at a time.
const ROWS_MAX: i64 = 200;
/// What spreadsheets take for the beginning of a formula.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// Rows of one table that are an account's.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// The name of the files, and of the section.
    pub name: &'static str,
    /// The category of the inventory that counts these rows; empty for rows that only say more of what others are.
    pub category: &'static str,
    /// What each row tells, in the order of the query's columns after its key.
    pub columns: &'static [Column],
    /// `SELECT key, …columns FROM … WHERE account = $1 AND key > $2 ORDER BY key LIMIT $3`: the key is text, unique in the
    /// account, and never empty. A query without `$1` and `$2` in it can't be meant.
    pub query: &'static str,
    /// `$1` is the account's mark instead of its id.
    pub by_mark: bool,
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub enum Column {
    /// Text as it stands.
    Text(&'static str),
    /// A number as it stands.
    Number(&'static str),
    /// Hundredths of the currency, told in whole ones.
    Cents(&'static str),
    /// 0 or 1.
    Flag(&'static str),
    /// Microseconds since 1970, told as RFC 3339 in UTC; nothing for 0.
    Time(&'static str),
}

impl Table {
    /// A table whose rows name the account by its id, and that the inventory knows under its own name.
    pub const fn new(name: &'static str, columns: &'static [Column], query: &'static str) -> Self {
        Self {
            name,
            category: name,
            columns,
            query,
            by_mark: false,
        }
    }

    /// A table that the inventory counts under another name.
    #[must_use]
    pub const fn counted_as(self, category: &'static str) -> Self {
        Self { category, ..self }
    }

    /// A table whose rows only say more of what other tables count.
    #[must_use]
    pub const fn uncounted(self) -> Self {
        self.counted_as("")
    }

    /// A table whose rows name the account by its [`seal::mark`].
    #[must_use]
    pub const fn by_mark(self) -> Self {
        Self {
            by_mark: true,
            ..self
        }
    }

    async fn write(
        &self,
        connection: &mut AnyConnection,
        account: &str,
        after: &str,
        part: &mut Part,
    ) -> Result<Option<String>, Fault> {
        let owner = if self.by_mark {
            seal::mark(account)
        } else {
            account.to_owned()
        };
        let rows = sqlx::query(self.query)
            .bind(owner)
            .bind(after)
            .bind(ROWS_MAX)
            .fetch_all(connection)
            .await?;
        let (csv, json) = (format!("{}.csv", self.name), format!("{}.json", self.name));
        let mut last = after.to_owned();
        for row in &rows {
            if part.room_bytes() == 0 {
                return Ok(Some(last));
            }
            if last.is_empty() {
                let names: Vec<_> = self.columns.iter().map(|it| it.name().to_owned()).collect();
                part.write(&csv, &line(&names));
            }
            part.write(&json, if last.is_empty() { b"[\n" } else { b",\n" });
            last = row.try_get(0)?;
            let values = self.values(row)?;
            part.write(&csv, &line(&values.iter().map(cell).collect::<Vec<_>>()));
            let named = self.columns.iter().zip(values);
            let object: Map<_, _> = named
                .map(|(column, value)| (column.name().to_owned(), value))
                .collect();
            part.write(&json, Value::Object(object).to_string().as_bytes());
            if !self.category.is_empty() {
                part.tell(self.category);
            }
        }
        if rows.len() >= usize::try_from(ROWS_MAX).unwrap_or(usize::MAX) {
            return Ok(Some(last));
        }
        if !last.is_empty() {
            part.write(&json, b"\n]\n");
        }
        Ok(None)
    }

    fn values(&self, row: &AnyRow) -> Result<Vec<Value>, sqlx::Error> {
        let value = |(place, column): (usize, &Column)| column.value(row, place + 1);
        self.columns.iter().enumerate().map(value).collect()
    }
}

impl Column {
    const fn name(&self) -> &'static str {
        match self {
            Self::Text(name)
            | Self::Number(name)
            | Self::Cents(name)
            | Self::Flag(name)
            | Self::Time(name) => name,
        }
    }

    fn value(&self, row: &AnyRow, place: usize) -> Result<Value, sqlx::Error> {
        if let Self::Text(_) = self {
            let text: Option<String> = row.try_get(place)?;
            return Ok(text.map_or(Value::Null, Value::String));
        }
        let number: i64 = row.try_get(place)?;
        Ok(match self {
            Self::Text(_) | Self::Number(_) => number.into(),
            Self::Flag(_) => (number != 0).into(),
            Self::Time(_) if number <= 0 => Value::Null,
            Self::Time(_) => prost_types::Timestamp::from(time(number))
                .to_string()
                .into(),
            Self::Cents(_) => {
                let (sign, cents) = (if number < 0 { "-" } else { "" }, number.unsigned_abs());
                format!("{sign}{}.{:02}", cents / 100, cents % 100).into()
            }
        })
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// One line of RFC 4180. What a spreadsheet would take for a formula is quoted as text, as the words may be anybody's.
fn line(cells: &[String]) -> Vec<u8> {
    let quoted: Vec<_> = cells.iter().map(|cell| quoted(cell)).collect();
    format!("{}\r\n", quoted.join(",")).into_bytes()
}

fn quoted(cell: &str) -> String {
    let formula = cell.starts_with(FORMULA) && cell.parse::<f64>().is_err();
    let text = if formula {
        format!("'{cell}")
    } else {
        cell.to_owned()
    };
    if text.contains(['"', ',', '\r', '\n', '\'']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

/// Tables of one database.
pub struct Tables<'a> {
    store: &'a Store,
    tables: &'a [&'a Table],
    left_out: &'a [LeftOut],
}

impl<'a> Tables<'a> {
    /// In the order in which they are exported.
    pub const fn new(store: &'a Store, tables: &'a [&'a Table]) -> Self {
        Self {
            store,
            tables,
            left_out: &[],
        }
    }

    /// Says what of the inventory is in none of them, and why.
    #[must_use]
    pub const fn leaving_out(self, left_out: &'a [LeftOut]) -> Self {
        Self { left_out, ..self }
    }

    /// The part that begins at `after`, where tables are all that is exported.
    ///
    /// Errors: as [`super::part`].
    pub async fn part(&self, account: &str, after: &str) -> Result<Part, Fault> {
        let sections: Vec<_> = self
            .tables
            .iter()
            .map(|table| OfStore(self.store, table))
            .collect();
        let sections: Vec<_> = sections.iter().map(|it| it as &dyn Section).collect();
        let part = super::part(&sections, account, after).await?;
        Ok(part.leaving_out(after, self.left_out))
    }
}

/// A table of a database, where tables are not all that is exported.
pub struct OfStore<'a>(pub &'a Store, pub &'a Table);

#[async_trait]
impl Section for OfStore<'_> {
    fn name(&self) -> &str {
        self.1.name
    }

    async fn write(
        &self,
        account: &str,
        after: &str,
        part: &mut Part,
    ) -> Result<Option<String>, Fault> {
        let mut connection = self.0.pool().acquire().await?;
        self.1.write(&mut connection, account, after, part).await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::scratch;

    const WORDS: Table = Table::new(
        "words",
        &[
            Column::Text("word"),
            Column::Number("count"),
            Column::Cents("price"),
            Column::Flag("good"),
            Column::Time("at"),
        ],
        "SELECT id, word, n, cents, good, at FROM word WHERE account = $1 AND id > $2 ORDER BY id LIMIT $3",
    )
    .counted_as("vocabulary");
    const SCHEMA: &[&str] = &[
        "CREATE TABLE IF NOT EXISTS word (id TEXT PRIMARY KEY, account TEXT NOT NULL, word TEXT, n BIGINT NOT NULL, \
         cents BIGINT NOT NULL, good BIGINT NOT NULL, at BIGINT NOT NULL)",
    ];

    async fn add(store: &Store, id: &str, account: &str, word: &str, cents: i64, at: i64) {
        sqlx::query("INSERT INTO word VALUES ($1, $2, $3, 7, $4, 1, $5)")
            .bind(id)
            .bind(account)
            .bind(word)
            .bind(cents)
            .bind(at)
            .execute(store.pool())
            .await
            .unwrap();
    }

    async fn exported(store: &Store, account: &str) -> (BTreeMap<String, String>, usize, i64) {
        let tables = [&WORDS];
        let left_out = [("thoughts", super::super::why::OF_ANOTHER_ACCOUNT)];
        let tables = Tables::new(store, &tables).leaving_out(&left_out);
        let (mut after, mut parts, mut items) = (String::new(), 0, 0);
        let mut files = BTreeMap::<String, String>::new();
        loop {
            let part = tables.part(account, &after).await.unwrap();
            // Said once, however many parts there are.
            assert_eq!(part.left_out.contains_key("thoughts"), parts == 0);
            assert_eq!(
                part.categories.get("vocabulary"),
                Some(&part.items).filter(|it| **it > 0)
            );
            (parts, items) = (parts + 1, items + part.items);
            for piece in part.pieces {
                let file = files.entry(piece.path).or_default();
                file.push_str(&String::from_utf8(piece.content).unwrap());
            }
            if part.next.is_empty() {
                return (files, parts, items);
            }
            after = part.next;
        }
    }

    #[tokio::test]
    async fn a_table_is_a_file_for_people_and_one_for_programs_and_nobody_elses_rows_are_in_it() {
        for store in scratch::stores("kit_export", SCHEMA, "short").await {
            add(&store, "1", "a", "say \"no\", now", -1_205, 0).await;
            add(&store, "2", "a", "=1+1", 5, 1_700_000_000_000_000).await;
            add(&store, "3", "b", "another's", 0, 0).await;
            let (files, parts, items) = exported(&store, "a").await;
            assert_eq!((parts, items), (1, 2));
            assert_eq!(
                files["words.csv"],
                "word,count,price,good,at\r\n\"say \"\"no\"\", now\",7,-12.05,true,\r\n\
                 \"'=1+1\",7,0.05,true,2023-11-14T22:13:20Z\r\n"
            );
            let rows: Vec<BTreeMap<String, Value>> =
                serde_json::from_str(&files["words.json"]).unwrap();
            assert_eq!(rows[0]["word"], "say \"no\", now");
            assert_eq!(rows[1]["word"], "=1+1", "a program gets what was written");
            assert_eq!(rows[0]["at"], Value::Null);
            assert!(exported(&store, "nobody").await.0.is_empty());
        }
    }

    #[tokio::test]
    async fn a_long_table_comes_in_parts_and_is_one_file() {
        for store in scratch::stores("kit_export", SCHEMA, "long").await {
            let rows = usize::try_from(ROWS_MAX).unwrap() * 2;
            for row in 0..rows {
                add(
                    &store,
                    &format!("{row:05}"),
                    "a",
                    &"\u{4f60}".repeat(400),
                    0,
                    0,
                )
                .await;
            }
            let (files, parts, items) = exported(&store, "a").await;
            assert!(parts > 3, "{parts}");
            assert_eq!(items, i64::try_from(rows).unwrap());
            let read: Vec<Value> = serde_json::from_str(&files["words.json"]).unwrap();
            assert_eq!(read.len(), rows);
            assert_eq!(files["words.csv"].lines().count(), rows + 1);
        }
    }
}
