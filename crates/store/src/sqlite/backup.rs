//! Copies of the store for operators: taken while it is in use, and told apart once restored.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{self, Path},
};

use rusqlite::params;
use skein_core::id::BlobId;
use tokio::task;

use super::{
    Sqlite,
    column::count,
    fault::{Fault, failed},
    open_connection,
};
use crate::{StoreError, instance::InstanceId};

impl Sqlite {
    /// Writes the store, as it is at one moment, into a new file that only its owner may read.
    /// Returns once the copy is durable; one that failed leaves no file behind.
    ///
    /// Reads and writes go on meanwhile. The write-ahead log grows by what is written until the copy
    /// is done, because the moment that is copied has to stay readable.
    ///
    /// # Errors
    /// If there is a file at `to`, or it cannot be written.
    pub async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        let from = self.path.clone();
        let to = path::absolute(to).map_err(|error| failed("name its copy", error))?;
        task::spawn_blocking(move || back_up(&from, &to))
            .await
            .map_err(|error| failed("copy itself", error))?
    }

    /// The ids of complete blobs after this one, in their order, at most `limit`: to compare a copy
    /// with the files that belong to it.
    ///
    /// # Errors
    /// If the store cannot read.
    pub async fn complete_blobs(
        &self,
        after: Option<BlobId>,
        limit: usize,
    ) -> Result<Vec<BlobId>, StoreError> {
        self.read("list its blobs", move |db| {
            let mut statement =
                db.prepare_cached("SELECT id FROM blobs WHERE id > ?1 ORDER BY id LIMIT ?2")?;
            // No id sorts before the empty one.
            let after = after.map_or_else(Vec::new, |blob| blob.0.to_vec());
            let found =
                statement.query_map(params![after, count(limit)], |row| Ok(BlobId(row.get(0)?)))?;
            Ok(found.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Gives the store another [id](crate::instance::Instance::instance), so that clients notice
    /// that what they had of it is void. For a copy that takes the place of what it was copied from:
    /// it lacks what was acknowledged since.
    ///
    /// # Errors
    /// If the store cannot write.
    pub async fn renew_instance(&self) -> Result<InstanceId, StoreError> {
        self.write("renew its id", |db| {
            let sql = "UPDATE instance SET id = randomblob(16) RETURNING id";
            Ok(db.query_row(sql, [], |row| row.get(0))?)
        })
        .await
    }
}

fn back_up(from: &Path, to: &Path) -> Result<(), StoreError> {
    // Made here with its permissions, and only if it is new; SQLite takes an empty file.
    create_private_new(to).map_err(|error| failed("create its copy", error))?;
    let copied = copy(from, to);
    if copied.is_err()
        && let Err(error) = fs::remove_file(to)
    {
        tracing::warn!(error.cause = %error, "half a copy of the store was left behind");
    }
    copied
}

fn create_private_new(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    let doing = "copy itself";
    let name = to.to_str().ok_or_else(|| {
        failed(doing, io::Error::new(io::ErrorKind::InvalidInput, "the path is not Unicode"))
    })?;
    open_connection(from)
        // One transaction, and the copy is rewritten without the room that was freed.
        .and_then(|connection| connection.execute("VACUUM INTO ?1", [name]))
        .map_err(|error| Fault::from(error).while_doing(doing))?;
    // SQLite leaves this to its caller.
    sync(to).map_err(|error| failed("make its copy durable", error))
}

fn sync(file: &Path) -> io::Result<()> {
    File::open(file)?.sync_all()?;
    #[cfg(unix)]
    if let Some(folder) = file.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}
