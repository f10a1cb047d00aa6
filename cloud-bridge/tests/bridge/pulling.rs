//! Mailboxes of the cloud on their way down.

use std::time::Duration;

use cloud_bridge::{Command, Event, MailConfig, Pull, PulledMessage};
use sync::Token;
use wire::mq9::Priority;

use crate::mq9::{MAIL, Peer, Request, start};
use crate::rig::Rig;

fn pulls(mail: &mut MailConfig, addresses: &[(&str, Option<Vec<u8>>)]) {
    let pull = |(address, position): &(&str, Option<Vec<u8>>)| Pull {
        address: (*address).to_owned(),
        position: position.clone(),
    };
    mail.pull = addresses.iter().map(pull).collect();
    mail.pull_interval = Duration::from_millis(10);
    mail.pull_interval_most = Duration::from_millis(20);
}

fn inbox(mail: &mut MailConfig) {
    pulls(mail, &[("plant7.commands", None)]);
}

/// An item as RobustMQ writes it.
fn item(id: u64, payload: &str, priority: &str, headers: &str) -> String {
    let header = match headers {
        "" => "null".to_owned(),
        block => format!("{:?}", block.as_bytes()),
    };
    format!(r#"{{"msg_id":{id},"payload":"{payload}","priority":"{priority}","header":{header},"#)
        + r#""create_time":1767225600}"#
}

fn answer(peer: &mut Peer, request: &Request, items: &[String]) {
    let items = items.join(",");
    peer.answer(request, &format!(r#"{{"error":"","messages":[{items}]}}"#));
}

fn expect_pulled(rig: &Rig) -> (Token, PulledMessage) {
    match rig.event() {
        Event::Pulled {
            connection,
            token,
            message,
        } => {
            assert_eq!(connection, MAIL);
            (token, *message)
        }
        other => panic!("{other:?} instead of Pulled"),
    }
}

fn confirm(rig: &Rig, token: Token) {
    let connection = MAIL;
    rig.tell(Command::Confirm { connection, token });
}

fn from_id(request: &Request) -> &str {
    let text = request.text();
    let from = text.split_once(r#""from_id":"#).expect("a position").1;
    from.split([',', '}']).next().expect("a number")
}

#[test]
fn messages_of_one_answer_come_together_and_the_position_moves_when_they_are_stored() {
    let (server, rig, mut peer) = start(inbox);
    let request = peer.request();
    assert_eq!(request.subject, "$mq9.AI.MSG.FETCH.plant7.commands");
    let text = request.text();
    for part in [
        r#""deliver":"from_id""#,
        r#""from_id":0"#,
        r#""num_msgs":64"#,
        r#""max_wait_ms":0"#,
    ] {
        assert!(text.contains(part), "{text}");
    }
    let block = "NATS/1.0\r\nmq9-edge-enc: b64\r\nmq9-tags: a\r\n\r\n";
    let items = [
        item(1, "/wBiaW4=", "critical", block),
        item(0, "two", "normal", ""),
    ];
    answer(&mut peer, &request, &items);
    let (token, message) = expect_pulled(&rig);
    assert_eq!(message.send.address, "plant7.commands");
    assert_eq!(message.send.payload, b"two");
    let [behind] = &message.more[..] else {
        panic!("{message:?}");
    };
    assert_eq!(behind.payload, [0xff, 0, b'b', b'i', b'n']);
    assert_eq!(behind.attributes.priority, Priority::Critical);
    assert_eq!(behind.attributes.tags, ["a"]);
    assert!(!String::from_utf8_lossy(&behind.headers).contains("b64"));
    assert!(rig.is_silent());
    confirm(&rig, token);
    let request = peer.request();
    assert_eq!(from_id(&request), "2");
    drop((server, peer));
    rig.stop();

    // A gateway that starts anew goes on behind what is stored.
    let position = Some(message.position);
    let (_server, rig, mut peer) = start(|mail| pulls(mail, &[("plant7.commands", position)]));
    assert_eq!(from_id(&peer.request()), "2");
    rig.stop();
}

/// A message that is being stored while the connection falls would be stored twice.
#[test]
fn a_message_that_is_being_stored_outlives_its_connection() {
    let (server, rig, mut peer) = start(inbox);
    let request = peer.request();
    answer(&mut peer, &request, &[item(0, "one", "normal", "")]);
    let (token, _) = expect_pulled(&rig);
    drop(peer);
    assert!(matches!(rig.event(), Event::Down { .. }));
    rig.connect_to(MAIL);
    let mut peer = Peer::greeted(server.accept_stream());
    rig.expect_up();
    assert!(rig.is_silent());
    confirm(&rig, token);
    let request = peer.request();
    assert_eq!(from_id(&request), "1");
    // The server gives its last message once more, and once more after a new connection.
    answer(&mut peer, &request, &[item(0, "one", "normal", "")]);
    let request = peer.request();
    answer(&mut peer, &request, &[item(0, "one", "normal", "")]);
    drop(peer);
    assert!(matches!(rig.event(), Event::Down { .. }));
    rig.stop();
}

#[test]
fn a_message_that_is_confirmed_while_nothing_is_connected_is_not_asked_for_again() {
    let (server, rig, mut peer) = start(inbox);
    let request = peer.request();
    answer(&mut peer, &request, &[item(0, "one", "normal", "")]);
    let (token, _) = expect_pulled(&rig);
    drop(peer);
    assert!(matches!(rig.event(), Event::Down { .. }));
    confirm(&rig, token);
    rig.connect_to(MAIL);
    let mut peer = Peer::greeted(server.accept_stream());
    rig.expect_up();
    assert_eq!(from_id(&peer.request()), "1");
    rig.stop();
}

#[test]
fn a_message_that_could_not_be_stored_comes_again() {
    let (_server, rig, mut peer) = start(inbox);
    let request = peer.request();
    answer(&mut peer, &request, &[item(0, "one", "normal", "")]);
    let (token, message) = expect_pulled(&rig);
    let connection = MAIL;
    rig.tell(Command::Decline { connection, token });
    let (again, same) = expect_pulled(&rig);
    assert_ne!(again, token);
    assert_eq!(same, message);
    confirm(&rig, token);
    assert!(rig.is_silent());
    confirm(&rig, again);
    assert_eq!(from_id(&peer.request()), "1");
    rig.stop();
}

#[test]
fn a_missing_mailbox_is_made_and_asked_again() {
    let (_server, rig, mut peer) = start(inbox);
    let missing = "Tenant default topic 'plant7.commands' not found in broker cache";
    let request = peer.request();
    peer.answer(&request, &format!(r#"{{"error":"{missing}"}}"#));
    let create = peer.request();
    assert_eq!(create.text(), r#"{"name":"plant7.commands","ttl":0}"#);
    peer.answer(&create, r#"{"error":"","mail_address":"plant7.commands"}"#);
    for _ in 0..2 {
        let request = peer.request();
        assert!(request.subject.contains("FETCH"));
        peer.answer(&request, &format!(r#"{{"error":"{missing}"}}"#));
    }
    let request = peer.request();
    answer(&mut peer, &request, &[item(0, "one", "normal", "")]);
    expect_pulled(&rig);
    rig.stop();
}

#[test]
fn an_answer_over_the_limit_is_passed_over_and_fewer_messages_are_asked_for() {
    let (_server, rig, mut peer) = start(|mail| {
        inbox(mail);
        mail.reply_bytes = 65_536;
    });
    let request = peer.request();
    answer(
        &mut peer,
        &request,
        &[item(0, &"x".repeat(200_000), "normal", "")],
    );
    let request = peer.request();
    assert!(request.text().contains(r#""num_msgs":16"#));
    answer(&mut peer, &request, &[item(0, "one", "normal", "")]);
    let (_, message) = expect_pulled(&rig);
    assert_eq!(message.send.payload, b"one");
    rig.stop();
}

/// Such a message stopped its mailbox for good, and all that came after it.
#[test]
fn a_message_that_no_answer_has_room_for_is_told_of_and_those_beside_it_come() {
    let (_server, rig, mut peer) = start(|mail| {
        inbox(mail);
        mail.reply_bytes = 65_536;
    });
    let large = "x".repeat(200_000);
    // More important messages stand first, whatever their ids are.
    let all = || {
        [
            item(1, &large, "critical", ""),
            item(0, "zero", "normal", ""),
            item(2, "two", "normal", ""),
        ]
    };
    for count in [64, 16, 4] {
        let request = peer.request();
        let asked = format!("\"num_msgs\":{count}");
        assert!(request.text().contains(&asked), "{}", request.text());
        answer(&mut peer, &request, &all());
    }
    let request = peer.request();
    assert!(request.text().contains(r#""num_msgs":1,"#));
    answer(&mut peer, &request, &all()[..1]);
    // Which it is is known, but not what stands before it.
    let request = peer.request();
    assert_eq!(from_id(&request), "0");
    answer(&mut peer, &request, &all());
    let mut last = Vec::new();
    for (payload, is_lost) in [("zero", false), ("", true), ("two", false)] {
        let (token, message) = expect_pulled(&rig);
        assert_eq!(message.send.payload, payload.as_bytes());
        assert_eq!(message.too_large.is_some(), is_lost, "{message:?}");
        if let Some(bytes) = message.too_large {
            assert!(bytes >= 199_000, "{bytes}");
            assert_eq!(message.send.attributes.priority, Priority::Critical);
        }
        last = message.position;
        confirm(&rig, token);
    }
    assert_eq!(from_id(&peer.request()), "3");
    assert!(!last.is_empty());
    rig.stop();
}

/// One commit a message kept a disk busy for every message; what another gateway may have sent
/// before is looked at alone.
#[test]
fn a_bundle_ends_where_a_message_has_to_be_dealt_with_alone() {
    let (_server, rig, mut peer) = start(inbox);
    let request = peer.request();
    let block = "NATS/1.0\r\nedge-id: plant-8\r\n\r\n";
    let large = "x".repeat(40_000);
    answer(
        &mut peer,
        &request,
        &[
            item(0, "a", "normal", ""),
            item(1, "b", "normal", ""),
            item(2, "c", "normal", block),
            item(3, &large, "normal", ""),
            item(4, &large, "normal", ""),
            item(5, "d", "normal", ""),
        ],
    );
    for count in [2, 1, 1, 2] {
        let (token, message) = expect_pulled(&rig);
        assert_eq!(1 + message.more.len(), count);
        confirm(&rig, token);
    }
    assert_eq!(from_id(&peer.request()), "6");
    rig.stop();
}

/// Of several messages some may have room, and a position must not pass the others.
#[test]
fn a_bundle_that_could_not_be_stored_comes_again_message_by_message() {
    let (_server, rig, mut peer) = start(inbox);
    let request = peer.request();
    let items = ["a", "b", "c", "d"];
    let items = items.iter().zip(0..);
    let items: Vec<String> = items.map(|(it, id)| item(id, it, "normal", "")).collect();
    answer(&mut peer, &request, &items);
    let connection = MAIL;
    let (token, message) = expect_pulled(&rig);
    assert_eq!(message.more.len(), 3);
    let whole = message.position;
    rig.tell(Command::Decline { connection, token });
    let (token, message) = expect_pulled(&rig);
    assert!(message.more.is_empty());
    assert_eq!(message.send.payload, b"a");
    assert_ne!(message.position, whole);
    confirm(&rig, token);
    let (token, message) = expect_pulled(&rig);
    assert_eq!(message.more.len(), 2);
    assert_eq!(message.position, whole);
    confirm(&rig, token);
    assert_eq!(from_id(&peer.request()), "4");
    rig.stop();
}
