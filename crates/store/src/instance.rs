//! Which store this is, so that whoever kept something of it notices that it is another one now; and
//! whether it can be used, for whoever asks if this process can do its work.

use async_trait::async_trait;

use crate::StoreError;

/// A store's id: random, drawn when the store was made.
pub type InstanceId = [u8; 16];

/// Tells this store from every other one.
#[async_trait]
pub trait Instance: Send + Sync {
    /// The store's id. It stays for as long as the data does; a store that starts anew has another.
    async fn instance(&self) -> Result<InstanceId, StoreError>;

    /// Whether the store can be read and, as far as can be told without writing, written.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] says why not.
    async fn usable(&self) -> Result<(), StoreError>;
}
