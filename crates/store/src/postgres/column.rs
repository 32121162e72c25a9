//! Columns as domain values. What does not fit is an error and never a silent conversion.

use skein_core::{
    account::Profile,
    id::AccountId,
    name::{BadText, Username},
};
use tokio_postgres::{Row, types::FromSql};

use super::fault::Fault;

/// A number of the domain as one of the database, whose integers have a sign: the upper half does
/// not fit.
pub(super) fn int(value: u64) -> Result<i64, Fault> {
    i64::try_from(value).map_err(|error| Fault::unreadable(format!("{value}: {error}")))
}

/// The number of an account or a conversation, which a client may have made up. What lies beyond
/// the range of the database becomes its last number, which no row will ever have: such a client
/// hears that there is no such thing, and not that the server failed.
pub(super) fn id(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A collection's limit as a number of the database; one beyond its range is no limit.
pub(super) fn count(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Column `index` as the driver knows it.
pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, index: usize) -> Result<T, Fault> {
    Ok(row.try_get(index)?)
}

/// The number in column `index`.
pub(super) fn number(row: &Row, index: usize) -> Result<u64, Fault> {
    let value: i64 = get(row, index)?;
    u64::try_from(value).map_err(|_| Fault::unreadable(format!("{value} in column {index}")))
}

/// The `N` bytes in column `index`.
pub(super) fn bytes<const N: usize>(row: &Row, index: usize) -> Result<[u8; N], Fault> {
    let value: &[u8] = get(row, index)?;
    let length = value.len();
    value.try_into().map_err(|_| Fault::unreadable(format!("{length} bytes in column {index}")))
}

/// The text in column `index`, parsed again: whoever holds it may rely on its rules.
pub(super) fn text<T>(
    row: &Row,
    index: usize,
    parse: impl FnOnce(String) -> Result<T, BadText>,
) -> Result<T, Fault> {
    parse(get(row, index)?).map_err(|error| Fault::unreadable(format!("column {index}: {error}")))
}

/// A profile from the columns `id` and `name`, of which `index` is the first.
pub(super) fn profile(row: &Row, index: usize) -> Result<Profile, Fault> {
    Ok(Profile { id: AccountId(number(row, index)?), name: text(row, index + 1, Username::parse)? })
}
