//! Statements about many rows at once. A statement costs more than the row that it is about: a way to the database and back.
//!
//! Both databases name the columns of a list of `VALUES` `column1`, `column2` and so on, and know no common array.

use std::collections::BTreeSet;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};

use super::outbox;
use crate::participant::Fault;

/// Sizes of a statement. Few, because every form of it is prepared; the largest has, with a dozen columns, far fewer
/// parameters than a database takes.
const SIZES: [usize; 6] = [1, 4, 16, 64, 256, 512];
const ROWS_MAX: usize = 512;

/// The rows in handfuls for one statement each. Each is filled up to one of a few sizes by its last row: a row that stands
/// twice must change nothing.
pub(super) fn handfuls<T: Clone>(rows: &[T]) -> impl Iterator<Item = Vec<T>> {
    rows.chunks(ROWS_MAX).map(|rows| {
        let size = SIZES.into_iter().find(|size| *size >= rows.len());
        let mut rows = rows.to_vec();
        if let Some((size, last)) = size.zip(rows.last().cloned()) {
            rows.resize(size, last);
        }
        rows
    })
}

/// As [`handfuls`], for statements in which no row may stand twice: more of them, of the same sizes.
pub(super) fn exact_handfuls<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = SIZES.into_iter().rev().find(|size| *size <= rows.len())?;
        let (handful, rest) = rows.split_at(size);
        rows = rest;
        Some(handful)
    })
}

/// The rows that a statement has for these keys, its only parameters. `sql` gets their places.
pub(super) async fn fetch(
    tx: &mut AnyConnection,
    keys: impl IntoIterator<Item = impl AsRef<str>>,
    sql: impl Fn(String) -> String,
) -> Result<Vec<AnyRow>, Fault> {
    let keys: Vec<_> = keys.into_iter().collect();
    let keys: Vec<&str> = keys.iter().map(AsRef::as_ref).collect();
    let mut found = Vec::new();
    for keys in handfuls(&keys) {
        let mut query = sqlx::query(AssertSqlSafe(sql(places(1, keys.len()))));
        for key in keys {
            query = query.bind(key);
        }
        found.append(&mut query.fetch_all(&mut *tx).await?);
    }
    Ok(found)
}

/// Those of the devices that have a row in a table.
pub(super) async fn devices_in(
    tx: &mut AnyConnection,
    table: &'static str,
    devices: impl IntoIterator<Item = impl AsRef<str>>,
) -> Result<BTreeSet<String>, Fault> {
    let sql = |places| format!("SELECT device FROM {table} WHERE device IN ({places})");
    let rows = fetch(tx, devices, sql).await?;
    let devices = rows.iter().map(|row| row.try_get("device"));
    Ok(devices.collect::<Result<_, _>>()?)
}

/// Runs a statement on bindings, by device and epoch. `sql` gets the places of a list of `VALUES`. Returns the devices whose
/// rows it names as touched.
pub(super) async fn touch(
    tx: &mut AnyConnection,
    bindings: &[(&str, u64)],
    sql: impl Fn(String) -> String,
) -> Result<BTreeSet<String>, Fault> {
    let mut touched = BTreeSet::new();
    for bindings in handfuls(bindings) {
        let sql = sql(rows(1, bindings.len(), 2));
        let mut query = sqlx::query_as::<_, (String,)>(AssertSqlSafe(sql));
        for (device, epoch) in bindings {
            query = query.bind(device).bind(outbox::stored(epoch)?);
        }
        let rows = query.fetch_all(&mut *tx).await?;
        touched.extend(rows.into_iter().map(|(device,)| device));
    }
    Ok(touched)
}

/// `$2, $3, $4`: places for so many parameters, from `first` on.
pub(super) fn places(first: usize, count: usize) -> String {
    let places: Vec<_> = (first..first + count)
        .map(|place| format!("${place}"))
        .collect();
    places.join(", ")
}

/// `($1, $2), ($3, $4)`: places for so many rows, from `first` on.
pub(super) fn rows(first: usize, count: usize, columns: usize) -> String {
    let rows: Vec<_> = (0..count)
        .map(|row| format!("({})", places(first + row * columns, columns)))
        .collect();
    rows.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_forms_of_a_statement_are_ever_prepared() {
        let sizes = |count: usize| -> Vec<usize> {
            let rows: Vec<_> = (0..count).collect();
            handfuls(&rows).map(|rows| rows.len()).collect()
        };
        assert!(sizes(0).is_empty());
        assert_eq!(sizes(1), [1]);
        assert_eq!(sizes(5), [16]);
        assert_eq!(sizes(513), [512, 1]);
        assert_eq!(handfuls(&[1, 2, 3]).next().unwrap(), [1, 2, 3, 3]);
    }

    #[test]
    fn an_exact_handful_has_no_row_twice() {
        let rows: Vec<_> = (0..1037).collect();
        let sizes: Vec<_> = exact_handfuls(&rows).map(<[_]>::len).collect();
        assert_eq!(sizes, [512, 512, 4, 4, 4, 1]);
        assert_eq!(exact_handfuls(&rows).flatten().count(), rows.len());
        assert!(exact_handfuls::<u8>(&[]).next().is_none());
    }

    #[test]
    fn every_parameter_has_its_place() {
        assert_eq!(places(2, 3), "$2, $3, $4");
        assert_eq!(rows(1, 2, 2), "($1, $2), ($3, $4)");
    }
}
