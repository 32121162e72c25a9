//! Two people with the command line client: they meet, talk both ways, live and offline, and part.

use serde_json::{Value, json};
use skein_testkit::{
    cli::{Cli, Watcher},
    server::Server,
};

fn entry(watcher: &Watcher, kind: &str) -> Value {
    watcher.find(|object| object["event"] == "entry" && object["kind"] == kind)
}

fn texts(objects: &[Value]) -> Vec<(u64, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    objects
        .iter()
        .map(|object| {
            let seq = object["seq"].as_u64().expect("a number");
            (seq, text(&object["author_name"]), text(&object["text"]))
        })
        .collect()
}

#[test]
fn they_meet_talk_and_part() {
    let server = Server::start();
    let alice = Cli::registered(server.http(), "alice");
    let bob = Cli::registered(server.http(), "bob");
    assert_eq!(alice.json(&["whoami"])[0]["name"], "alice");
    assert_eq!(alice.json(&["find", "bo"])[0]["name"], "bob");

    // Bob is online and sees each step as it happens.
    let watch = bob.start(&["watch"]);
    watch.find(|object| object["caught_up"] == true);
    alice.json(&["add", "bob", "-m", "hello, it is me"]);
    let step = &entry(&watch, "contact")["contact"];
    assert_eq!((&step["step"], &step["name"]), (&json!("requested"), &json!("alice")));
    assert_eq!(step["note"], "hello, it is me");
    let requests = bob.json(&["requests"]);
    assert_eq!(requests[0]["name"], "alice");
    assert_eq!(requests[0]["greeting"], "hello, it is me");

    bob.json(&["accept", "alice", "--remark", "from work"]);
    assert_eq!(bob.json(&["contacts"])[0]["remark"], "from work");
    // Alice was offline; her contacts say so now, and that Bob is there.
    let contacts = alice.json(&["contacts"]);
    assert_eq!((&contacts[0]["name"], &contacts[0]["online"]), (&json!("bob"), &json!(true)));

    // Live, to one who watches.
    assert_eq!(alice.json(&["send", "bob", "good", "morning"])[0]["seq"], 1);
    assert_eq!(entry(&watch, "text")["text"], "good morning");
    drop(watch);

    // Offline, and back.
    alice.json(&["send", "bob", "are you there?"]);
    bob.json(&["send", "alice", "I am now"]);
    let expected = [(1, "alice", "good morning"), (2, "alice", "are you there?")]
        .into_iter()
        .chain([(3, "bob", "I am now")])
        .map(|(seq, who, text)| (seq, who.to_owned(), text.to_owned()))
        .collect::<Vec<_>>();
    assert_eq!(texts(&alice.json(&["log", "bob"])), expected);
    assert_eq!(texts(&bob.json(&["log", "alice"])), expected);
    assert_eq!(texts(&bob.json(&["log", "alice", "-n", "1", "--before", "3"])), expected[1..2]);

    // Parting: the log stays readable and takes no more.
    bob.json(&["remove", "alice"]);
    assert!(alice.json(&["contacts"]).is_empty());
    assert_eq!(texts(&alice.json(&["log", "bob"])), expected);
    let refused = alice.run(&["send", "bob", "hello?"]).failure(1);
    assert!(refused.stderr.contains("not contacts"), "{refused:?}");
}

#[test]
fn a_wiped_server_is_another_one() {
    let mut server = Server::start();
    let people = ["alice", "bob"].map(|name| Cli::registered(server.http(), name));
    let [alice, bob] = &people;
    let talk = |text| {
        alice.json(&["add", "bob"]);
        bob.json(&["accept", "alice"]);
        alice.json(&["send", "bob", text]);
        texts(&bob.json(&["log", "alice"]))
    };
    assert_eq!(talk("before"), [(1, "alice".to_owned(), "before".to_owned())]);
    server.kill();
    std::fs::remove_dir_all(server.data()).expect("the data is ours");
    server.restart();
    // The accounts, the conversation and its entries get the same numbers again.
    for (person, name) in people.iter().zip(["alice", "bob"]) {
        let email = format!("{name}@example.org");
        person.with_password(&["register", name, "--email", &email, "--password-stdin"]).success();
    }
    assert_eq!(talk("after"), [(1, "alice".to_owned(), "after".to_owned())]);
}

#[test]
fn a_request_can_be_declined_and_made_again() {
    let server = Server::start();
    let alice = Cli::registered(server.http(), "alice");
    let bob = Cli::registered(server.http(), "bob");
    alice.json(&["add", "bob"]);
    bob.json(&["decline", "alice"]);
    assert!(bob.json(&["requests"]).is_empty());
    assert!(alice.json(&["contacts"]).is_empty());
    alice.json(&["add", "bob", "-m", "please"]);
    assert_eq!(bob.json(&["requests"])[0]["greeting"], "please");
    // Asking back is an answer.
    bob.json(&["add", "alice"]);
    assert_eq!(alice.json(&["contacts"])[0]["name"], "bob");
}

#[test]
fn a_kicked_client_says_why_and_stays_away() {
    let server = Server::with_config("[gate]\nsession_policy = \"exclusive\"\n");
    let first = Cli::registered(server.http(), "alice");
    let mut watch = first.start(&["watch"]);
    watch.find(|object| object["caught_up"] == true);
    let second = Cli::logged_in(server.http(), "alice");
    let (status, said) = watch.wait();
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("logged in"), "{said}");
    // It does not fight back: its login has ended, and says so each time.
    let refused = first.run(&["whoami"]).failure(1);
    assert!(refused.stderr.contains("log in"), "{refused:?}");
    let mut watch = second.start(&["watch"]);
    watch.find(|object| object["caught_up"] == true);
    watch.kill();
}

#[test]
fn several_devices_receive_the_same() {
    let server = Server::start();
    let alice = Cli::registered(server.http(), "alice");
    let bob = Cli::registered(server.http(), "bob");
    let tablet = Cli::logged_in(server.http(), "bob");
    alice.json(&["add", "bob"]);
    bob.json(&["accept", "alice"]);
    let watches = [bob.start(&["watch"]), tablet.start(&["watch"])];
    for watch in &watches {
        watch.find(|object| object["caught_up"] == true);
    }
    alice.json(&["send", "bob", "to all of you"]);
    for watch in &watches {
        assert_eq!(entry(watch, "text")["text"], "to all of you");
    }
}

#[test]
fn wrong_use_is_told_apart_from_failure() {
    let server = Server::start();
    let alice = Cli::registered(server.http(), "alice");
    alice.run(&["send"]).failure(2);
    alice.run(&["add", "nobody"]).failure(1);
    alice.run(&["send", "nobody", "hello"]).failure(1);
    let taken = Cli::new(server.http());
    let arguments = ["register", "Alice", "--email", "a@example.org", "--password-stdin"];
    let refused = taken.with_password(&arguments).failure(1);
    assert!(!refused.stderr.is_empty());
}

#[test]
fn a_message_that_will_never_be_sent_is_told_once_and_by_any_command() {
    let mut server = Server::start();
    let (alice, bob) = Cli::contacts(server.http());
    alice.json(&["contacts"]);
    let write_offline = |server: &mut Server, text| {
        server.kill();
        alice.run(&["send", "bob", "--timeout", "0", text]).failure(1);
        server.restart();
    };
    write_offline(&mut server, "for bob");
    bob.json(&["remove", "alice"]);
    // What it is asked for it does all the same.
    let answer = alice.run_until_told(&["contacts"], "for bob");
    assert!(answer.stderr.contains("not contacts"), "{answer:?}");
    let answer = alice.run(&["contacts"]).success();
    assert!(!answer.stderr.contains("for bob"), "{answer:?}");

    write_offline(&mut server, "for bob too");
    let watch = alice.start(&["watch"]);
    let told = watch.find(|object| object["event"] == "rejected");
    assert_eq!((&told["code"], &told["with"]), (&json!("not_contacts"), &json!("bob")));
    assert_eq!(told["text"], "for bob too");
}

#[test]
fn a_message_that_cannot_be_sent_goes_out_with_the_next_command() {
    let mut server = Server::start();
    let (alice, bob) = Cli::contacts(server.http());
    alice.json(&["contacts"]);
    server.kill();
    let kept = alice.run(&["send", "bob", "--timeout", "1", "written offline"]).failure(1);
    assert!(kept.stderr.contains("kept"), "{kept:?}");
    server.restart();
    alice.json(&["send", "bob", "written online"]);
    let said = texts(&bob.json(&["log", "alice"]));
    let said: Vec<_> = said.iter().map(|(seq, _, text)| (*seq, text.as_str())).collect();
    assert_eq!(said, [(1, "written offline"), (2, "written online")]);
}
