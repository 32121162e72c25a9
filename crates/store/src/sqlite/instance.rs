//! Which store this is, in SQLite.

use std::path::Path;

use async_trait::async_trait;

use super::{
    Sqlite,
    fault::{Obstacle, unavailable},
};
use crate::{
    StoreError,
    instance::{Instance, InstanceId},
};

/// Free bytes of a full disk from which on it is worth a try to write again: more than the largest
/// batch takes, so that the next one does not fail where the try has not.
const ROOM_BYTES_MIN: u64 = 16 * 1024 * 1024;

#[async_trait]
impl Instance for Sqlite {
    async fn instance(&self) -> Result<InstanceId, StoreError> {
        self.read("read its id", |db| {
            Ok(db.prepare_cached("SELECT id FROM instance")?.query_row([], |row| row.get(0))?)
        })
        .await
    }

    async fn usable(&self) -> Result<(), StoreError> {
        self.instance().await?;
        match self.writer.obstacle() {
            None => Ok(()),
            Some(full @ Obstacle::DiskFull) if !has_room(&self.path) => {
                Err(unavailable("write", full))
            }
            // It may be gone since, and if nobody wrote because of it, nobody would ever know.
            Some(_) => {
                let touch = "UPDATE instance SET id = id";
                self.write("write", |db| Ok(db.prepare_cached(touch)?.execute([]).map(drop)?)).await
            }
        }
    }
}

/// Where the system does not say, a try will.
fn has_room(path: &Path) -> bool {
    let stat = rustix::fs::statvfs(path);
    stat.map_or(true, |stat| stat.f_bavail.saturating_mul(stat.f_frsize) >= ROOM_BYTES_MIN)
}
