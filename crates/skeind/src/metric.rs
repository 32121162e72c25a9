//! Describes the metrics of every part to the recorder, so that each is shown with its unit and
//! help.

/// Describes them all. After the recorder was installed; without one it does nothing.
pub(crate) fn describe() {
    skein_blob::metric::describe();
    skein_bus::metric::describe();
    skein_chat::metric::describe();
    skein_gate::metric::describe();
    skein_net::metric::describe();
    skein_resource::metric::describe();
    skein_rpc::metric::describe();
    skein_status::metric::describe();
    skein_store::metric::describe();
}
