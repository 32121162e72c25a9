//! What transfers cost the server: at most 8 MiB, whatever the size of the file.

use skein_testkit::{
    gate::Gate,
    raw::RawSession,
    server::Server,
    transfer::{Synthetic, download, upload},
};

const MIB: u64 = 1024 * 1024;
/// Bytes that one transfer may cost the server.
const COST_BYTES_MAX: u64 = 8 * MIB;

#[tokio::test]
async fn two_gib_up_and_down_cost_at_most_8_mib() {
    let mut server = Server::start();
    let gate = Gate::new(server.http());
    let login = gate.newcomer("alice").await;
    // A fresh process: hashing the password has left memory that would hide what a transfer takes.
    server.kill();
    server.restart();
    let session = RawSession::open(&login).await.expect("welcome");
    let before = server.peak_memory_bytes();

    let file = Synthetic::new(2 * 1024 * MIB, 1);
    let blob = upload(&session, &file).await;
    let after_upload = server.peak_memory_bytes();
    let (header, length, hash) = download(&session, blob, 0).await.expect("it is ours");
    let after_download = server.peak_memory_bytes();

    assert_eq!((header.size, length, hash), (file.size, file.size, file.hash));
    println!(
        "peak memory: {} KiB before, {} KiB after 2 GiB up, {} KiB after 2 GiB down",
        before / 1024,
        after_upload / 1024,
        after_download / 1024
    );
    let upload = after_upload.saturating_sub(before);
    let download = after_download.saturating_sub(after_upload);
    assert!(upload <= COST_BYTES_MAX, "an upload cost {upload} bytes");
    assert!(download <= COST_BYTES_MAX, "a download cost {download} bytes");
}
