//! Stories about which store it is.

use std::sync::Arc;

use super::scene::person;
use crate::Store;

pub(crate) async fn has_an_id_that_stays(store: Arc<dyn Store>) {
    let id = store.instance().await.unwrap();
    assert_ne!(id, [0; 16]);
    person(&store, "alice").await;
    assert_eq!(store.instance().await.unwrap(), id);
    store.usable().await.unwrap();
}
