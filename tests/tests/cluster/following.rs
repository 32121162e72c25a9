//! A file that is taken while it is sent, by a client of one node from the client of another, over an
//! object store in which nobody can read it yet.

use std::{fs, sync::Arc};

use skein_client::{Event, Progress, Variant};
use skein_core::id::BlobId;
use skein_testkit::{
    raw::{RawSession, random_id},
    transfer::{Synthetic, open_upload, send_until, status},
};
use skein_wire::pb::{self, upload_status::Kind};
use tokio::sync::watch;

use crate::scene::{LIVE_MAX, Scene};

const MIB: u64 = 1 << 20;

pub(crate) async fn a_file_is_followed_over_all_roles(scene: &Scene) {
    let pair = scene.pair("faye", "gus").await;
    let gus = Arc::clone(&pair.right);
    pair.left.close().await;
    let mut events = gus.events().await.expect("the home can be read");
    let faye = RawSession::open(&scene.gate.login("faye").await).await.expect("welcome");

    // More than one part of the object, and the end stays with the sender.
    let file = Synthetic::new(20 * MIB, 3);
    let conversation = pair.conversation.0;
    let destination = pb::Destination { conversation, name: "film.mp4".into() };
    let open = pb::UploadOpen { destination: Some(destination), ..file.open(random_id()) };
    let (mut sender, mut receiver, first) = open_upload(&faye, open).await;
    let Kind::Ready(ready) = first else { panic!("{first:?}") };
    sender.frame(&pb::UploadBegin { offset: 0 }).await.expect("the stream goes on");
    send_until(&mut sender, &mut receiver, &file, 0, 10 * MIB).await;

    let coming = tokio::time::timeout(LIVE_MAX, async {
        loop {
            if let Event::Coming(coming) = events.next().await.expect("the client is there") {
                return coming;
            }
        }
    });
    let coming = coming.await.expect("told in time");
    assert_eq!(Ok(coming.attachment.blob), BlobId::try_from(&ready.blob[..]));
    assert_eq!((coming.attachment.size, coming.attachment.hash), (file.size, file.hash));
    let listed = gus.coming(pair.conversation).await.expect("answered");
    assert_eq!(listed, std::slice::from_ref(&coming));

    let to = scene.folder.path().join("film.mp4");
    let (done_in, mut done) = watch::channel(0);
    let (client, target) = (Arc::clone(&gus), to.clone());
    let following = tokio::spawn(async move {
        let attachment = &coming.attachment;
        let progress = move |now: Progress| {
            done_in.send_replace(now.done);
        };
        client.download(attachment, Variant::Original, &target, false, progress).await
    });
    let came = done.wait_for(|done| *done == 10 * MIB);
    tokio::time::timeout(LIVE_MAX, came).await.expect("in time").expect("it goes on");
    assert!(!to.exists(), "it is no file yet");

    send_until(&mut sender, &mut receiver, &file, 10 * MIB, file.size).await;
    sender.finish();
    while !matches!(status(&mut receiver).await, Kind::Complete(_)) {}
    following.await.expect("no panic").expect("complete and verified");
    let bytes = fs::read(&to).expect("there");
    assert_eq!(*blake3::hash(&bytes).as_bytes(), file.hash);
    assert_eq!(gus.coming(pair.conversation).await.expect("answered"), []);
    gus.close().await;
}
