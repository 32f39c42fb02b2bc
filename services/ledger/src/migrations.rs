//! How the schema came to be: each step once, in the order of its number, in the words of each database.

use std::borrow::Cow;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// Number, name and SQL of a step. One that was ever released is never changed.
pub(crate) type Step = (i64, &'static str, &'static str);

pub(crate) fn migrator(steps: &[Step]) -> Migrator {
    let migration = |(number, name, sql): &Step| {
        let name = Cow::Borrowed(*name);
        Migration::new(
            *number,
            name,
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        )
    };
    Migrator::with_migrations(steps.iter().map(migration).collect())
}
