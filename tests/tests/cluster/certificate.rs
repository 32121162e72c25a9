//! A resource process whose certificate has expired: its callers say so, its operator can see it,
//! and the other one does the work.

use std::{fs, path::Path};

use skein_client::{Text, Variant};
use skein_testkit::{binaries::binary, clock, eventually, process::Program};
use tokio::task::block_in_place;

use crate::scene::Scene;

/// The process that gets the certificate.
const EXPIRED: &str = "resource-2";
/// Two days: the certificate was made then, to be good for one.
const LONG_AGO_SECONDS: i64 = -2 * 24 * 60 * 60;
/// Files that are sent: each is given to one of the two processes by chance of its id.
const FILES: usize = 6;

pub(crate) async fn an_expired_certificate_is_named_and_the_rest_goes_on(scene: &mut Scene) {
    block_in_place(|| {
        let certs = scene.folder.path().join("expired");
        make_expired(&scene.cluster.folder().join("certs"), &certs);
        replace_certificate(&scene.cluster.config_file(EXPIRED), &certs);
        scene.cluster.kill(EXPIRED);
        scene.cluster.restart_without_waiting(EXPIRED);
        let doctor = scene.cluster.command(EXPIRED).arg("doctor").output().expect("it starts");
        let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
        assert!(!doctor.status.success(), "{said}");
        assert!(said.contains("expired"), "{said}");
    });
    let pair = scene.pair("eve", "frank").await;
    for number in 0..FILES {
        let path = scene.folder.path().join(format!("small-{number}"));
        fs::write(&path, format!("file {number}")).expect("the folder is ours");
        let delivery = pair.left.send_file(pair.conversation, &path, drop).await.expect("sent");
        let seq = delivery.acknowledged().await.expect("acknowledged");
        let log = skein_client::LogId::Conversation(pair.conversation);
        let entry = pair.right.entry(log, seq).await.expect("it is there");
        let attachment = entry.body.attachment().expect("a file");
        let to = path.with_extension("copy");
        pair.right
            .download(attachment, Variant::Original, &to, false, drop)
            .await
            .expect("fetched");
        assert_eq!(fs::read(&to).expect("there"), fs::read(&path).expect("there"));
    }
    let text = Text::parse("all the same").expect("a text");
    let delivery = pair.left.send_text(pair.conversation, text).await.expect("kept");
    delivery.acknowledged().await.expect("acknowledged");
    eventually("a caller says why it does not call it", || async {
        let names = scene.cluster.names_of("chat");
        names.iter().any(|name| scene.cluster.log(name).to_lowercase().contains("expired"))
    })
    .await;
}

/// Makes certificates by the cluster's authority that were good for a day, two days ago.
fn make_expired(from: &Path, to: &Path) {
    fs::create_dir(to).expect("the folder is ours");
    for name in ["ca.crt", "ca.key"] {
        fs::copy(from.join(name), to.join(name)).expect("the authority is there");
    }
    let program = Program::new(binary("skeind"), to.join("log"))
        .args(["certs".as_ref(), to.as_os_str()])
        .args(["--days", "1", "--force"]);
    clock::turned(program, LONG_AGO_SECONDS).run();
}

fn replace_certificate(config: &Path, certs: &Path) {
    let text = fs::read_to_string(config).expect("it was written");
    let line = |line: &str| {
        let file = |key: &str, name: &str| format!("{key} = {:?}", certs.join(name));
        match line.split(' ').next() {
            Some("cert") => file("cert", "resource.crt"),
            Some("key") => file("key", "resource.key"),
            _ => line.to_owned(),
        }
    };
    let lines: Vec<_> = text.lines().map(line).collect();
    fs::write(config, lines.join("\n") + "\n").expect("the folder is ours");
}
