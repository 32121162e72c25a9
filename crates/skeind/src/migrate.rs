//! `skeind migrate`: brings the schema of the store up to date. On PostgreSQL under a lock, so that
//! it may be run by every node at once; on SQLite the server does it by itself at the start.

use skein_ops::lifecycle::Shutdown;
use skein_store::postgres::{self, ConnectError};

use crate::{
    Config,
    folder::DataFolder,
    parts::{PartError, Truth},
    patience::Patience,
    server::StartError,
};

/// Migrates the configured store and says what was done. Waits for a database that is not there
/// yet.
///
/// # Errors
/// [`StartError`]; the store is as it was.
pub async fn migrate(config: &Config, shutdown: &Shutdown) -> Result<String, StartError> {
    let Some(store) = &config.store else {
        let folder = DataFolder::take(&config.data)?;
        let truth = Truth::open(&folder.store())?;
        truth.close().await;
        return Ok(format!(
            "the store {} has the schema of this version",
            folder.store().display()
        ));
    };
    let patience = Patience::new(config.start_patience(), shutdown);
    let passes = |error: &ConnectError| matches!(error, ConnectError::Unreachable(_));
    let migrated = patience.until("the store", passes, async || postgres::migrate(store).await);
    let migrated = migrated.await.map_err(PartError::from)?;
    Ok(if migrated.from == migrated.to {
        format!("the database has schema {}, as it should", migrated.to)
    } else {
        format!("the database had schema {} and has schema {} now", migrated.from, migrated.to)
    })
}
