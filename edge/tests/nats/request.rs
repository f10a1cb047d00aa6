//! Request and reply, and who is told that nobody hears.

use edge::{broker, nats};

use super::world::World;

const NOBODY: &str = "HMSG _INBOX.a.1 9 16 16\r\nNATS/1.0 503\r\n\r\n\r\n";

#[test]
fn a_reply_finds_its_way_to_the_inbox() {
    let mut world = World::new();
    let (client, service) = (world.join(), world.join());
    world.say(client, "SUB _INBOX.a.* 9");
    world.say(service, "SUB time.* 1");
    world.say(client, "PUB time.now _INBOX.a.1 0\n");
    world.expect(service, "MSG time.now 1 _INBOX.a.1 0\r\n\r\n");
    world.expect_nothing(client);
    world.publish(service, "_INBOX.a.1", "noon");
    world.expect(client, "MSG _INBOX.a.1 9 4\r\nnoon\r\n");
}

#[test]
fn whoever_asks_nobody_is_told_at_once_where_he_wants_the_reply() {
    let mut world = World::new();
    let client = world.join();
    world.say(client, "SUB _INBOX.a.* 9\nPUB time _INBOX.a.1 0\n");
    world.expect(client, NOBODY);
    // Each of several, and none that somebody hears.
    let other = world.join();
    world.say(other, "SUB time 1");
    let ask = |subject: &str| format!("PUB {subject} _INBOX.a.1 0\r\n\r\n");
    let asked = [
        ask("none"),
        ask("time"),
        ask("none"),
        "PUB none 0\r\n\r\n".to_owned(),
    ];
    world.send(client, asked.concat().as_bytes());
    world.expect(client, &NOBODY.repeat(2));
}

#[test]
fn an_old_style_request_ends_with_its_one_answer() {
    let mut world = World::new();
    let client = world.join();
    world.say(
        client,
        "SUB _INBOX.a.1 9\nUNSUB 9 1\nPUB time _INBOX.a.1 0\n",
    );
    world.expect(client, NOBODY);
    world.publish(client, "_INBOX.a.1", "late");
    world.expect_nothing(client);
}

#[test]
fn who_did_not_ask_or_does_not_listen_is_not_told() {
    let mut world = World::new();
    let client = world.join();
    world.say(client, "PUB time _INBOX.a.1 0\n\nPUB time 0\n");
    world.expect_nothing(client);
    let client = world.join_saying("CONNECT {\"verbose\":false,\"headers\":true}");
    world.say(client, "SUB _INBOX.a.1 9\nPUB time _INBOX.a.1 0\n");
    world.expect_nothing(client);
}

#[test]
fn nobody_hears_where_only_those_would_who_are_not_there() {
    let mut world = World::new();
    // It would hear itself, but does not want to.
    let hello =
        "CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true,\"echo\":false}";
    let client = world.join_saying(hello);
    let sensor = world.join_mqtt("sensor");
    world.subscribe_mqtt(sensor, "time", 1);
    world.say(
        client,
        "SUB _INBOX.a.* 9\nSUB time 1\nPUB time _INBOX.a.1 0\n",
    );
    world.expect_nothing(client);
    world.cut(sensor);
    world.say(client, "PUB time _INBOX.a.1 0\n");
    world.expect(client, NOBODY);
}

#[test]
fn what_goes_up_to_the_cloud_is_heard() {
    let settings = broker::Settings {
        routes: vec!["up/#".to_owned()],
        ..broker::Settings::default()
    };
    let mut world = World::with(settings, nats::Settings::default());
    let client = world.join();
    world.say(client, "SUB _INBOX.a.* 9\nPUB up.x _INBOX.a.1 2\nhi");
    world.expect_nothing(client);
    assert_eq!(world.changes.len(), 1, "the record is kept for the cloud");
}

#[test]
fn a_service_of_the_server_that_is_not_there_is_refused_and_does_not_answer() {
    let mut world = World::new();
    let client = world.join();
    world.say(client, "SUB _INBOX.a.* 9\nPUB $JS.API.INFO _INBOX.a.1 0\n");
    let refused = "-ERR 'Permissions Violation for Publish to \"$JS.API.INFO\"'\r\n";
    world.expect(client, &format!("{refused}{NOBODY}"));
}
