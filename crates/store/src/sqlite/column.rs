//! Columns as domain values. What does not fit is an error and never a silent conversion.

use rusqlite::{
    Row,
    types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, Type, ValueRef},
};
use skein_core::{
    account::Profile,
    id::AccountId,
    name::{BadText, Username},
};

/// A number of the domain. SQLite's integers have a sign, so the upper half does not fit.
#[derive(Clone, Copy)]
pub(super) struct Int(pub(super) u64);

impl ToSql for Int {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        i64::try_from(self.0)
            .map(ToSqlOutput::from)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
    }
}

impl FromSql for Int {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let value = value.as_i64()?;
        u64::try_from(value).map(Self).map_err(|_| FromSqlError::OutOfRange(value))
    }
}

/// The number of an account or a conversation, which a client may have made up. What lies beyond
/// the range of the database becomes its last number, which no row will ever have: such a client
/// hears that there is no such thing, and not that the server failed.
#[derive(Clone, Copy)]
pub(super) struct Id(pub(super) u64);

impl ToSql for Id {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(i64::try_from(self.0).unwrap_or(i64::MAX)))
    }
}

/// The number in column `index`.
pub(super) fn number(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, Int>(index)?.0)
}

/// The text in column `index`, parsed again: whoever holds it may rely on its rules.
pub(super) fn text<T>(
    row: &Row<'_>,
    index: usize,
    parse: impl FnOnce(String) -> Result<T, BadText>,
) -> rusqlite::Result<T> {
    parse(row.get(index)?).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(index, Type::Text, Box::new(error))
    })
}

/// A profile from the columns `id` and `name`, of which `index` is the first.
pub(super) fn profile(row: &Row<'_>, index: usize) -> rusqlite::Result<Profile> {
    Ok(Profile { id: AccountId(number(row, index)?), name: text(row, index + 1, Username::parse)? })
}

/// A collection's limit as a number of the database; one beyond its range is no limit.
pub(super) fn count(value: usize) -> Int {
    Int(u64::try_from(value).unwrap_or(u64::MAX).min(i64::MAX.unsigned_abs()))
}
