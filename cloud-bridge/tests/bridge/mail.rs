//! Mail and agents on their way up: the greeting, each trap of RobustMQ, and what answers mean.

use std::time::Duration;

use cloud_bridge::{Command, Config, Credentials, Event, Rejection};
use embedded_io::ErrorKind;
use sync::{Offset, Record, RecordParts, WallTime};

use crate::mq9::{INFO, MAIL, Peer, Word, config, start};
use crate::rig::{Rig, parts, record};
use crate::server::{Server, string};

const SENT: &str = r#"{"error":"","msg_id":7}"#;

fn mail(payload: &[u8]) -> Record {
    record("$mq9/AI/MSG/SEND/cloud/alarm", payload)
}

fn mail_with(pairs: &[(&str, &str)], change: impl FnOnce(&mut RecordParts<'_>)) -> Record {
    let pair = |(name, value): &(&str, &str)| [&[0x26][..], &string(name), &string(value)].concat();
    let properties = pairs.iter().map(pair).collect::<Vec<_>>().concat();
    let mut parts = RecordParts {
        properties: &properties,
        ..parts("$mq9/AI/MSG/SEND/cloud/alarm")
    };
    change(&mut parts);
    Record::new(&parts)
}

fn expect_rejected(rig: &Rig, expected: u64) -> Rejection {
    match rig.event() {
        Event::Rejected { offset, reason, .. } => {
            assert_eq!(offset, Offset(expected));
            reason
        }
        other => panic!("{other:?} instead of Rejected"),
    }
}

fn expect_refused(rig: &Rig, expected: u64) -> String {
    match rig.event() {
        Event::Refused { offset, text, .. } => {
            assert_eq!(offset, Offset(expected));
            text.expect("the server's words")
        }
        other => panic!("{other:?} instead of Refused"),
    }
}

#[test]
fn a_record_becomes_a_request_with_headers_and_its_answer_settles_it() {
    let (_server, rig, mut peer) = start(|_| {});
    let pairs = [
        ("mq9-priority", "urgent"),
        ("unit", "K"),
        ("edge-id", "somebody else"),
    ];
    rig.send(MAIL, 42, &mail_with(&pairs, |_| {}));
    let request = peer.request();
    assert_eq!(request.subject, "$mq9.AI.MSG.SEND.cloud.alarm");
    assert_eq!(request.payload, b"21.5");
    for (name, value) in [
        ("mq9-priority", "urgent"),
        ("unit", "K"),
        ("edge-id", "plant-7"),
        ("edge-epoch", "3"),
        ("edge-lane", "normal"),
        ("edge-offset", "42"),
        ("edge-time", "1700000000000"),
    ] {
        assert_eq!(request.header(name), Some(value), "{name}");
    }
    peer.answer(&request, SENT);
    match rig.event() {
        Event::Accepted {
            connection,
            offset,
            server_offset,
            ..
        } => assert_eq!(
            (connection, offset, server_offset),
            (MAIL, Offset(42), Some(7))
        ),
        other => panic!("{other:?}"),
    }
    rig.stop();
}

#[test]
fn answers_find_their_requests_by_their_subject_in_any_order() {
    let (_server, rig, mut peer) = start(|_| {});
    for offset in 0..3 {
        let topic = format!("$mq9/AI/MSG/SEND/cloud/{offset}");
        rig.send(MAIL, offset, &record(&topic, b""));
    }
    let requests = [peer.request(), peer.request(), peer.request()];
    for at in [2, 0, 1] {
        peer.send("MSG _INBOX.nobody.1 0 2\r\n{}\r\n");
        peer.answer(&requests[at], SENT);
        peer.answer(&requests[at], SENT);
        rig.expect_accepted(at as u64);
    }
    assert!(rig.is_silent());
    rig.stop();
}

#[test]
fn bytes_that_are_no_text_travel_as_base64_and_say_so() {
    let (_server, rig, mut peer) = start(|_| {});
    rig.send(MAIL, 0, &mail(&[0xff, 0, b'b', b'i', b'n']));
    let request = peer.request();
    assert_eq!(request.text(), "/wBiaW4=");
    assert_eq!(request.header("mq9-edge-enc"), Some("b64"));
    rig.stop();
}

#[test]
fn a_missing_mailbox_is_made_once_and_its_mail_comes_again() {
    let (_server, rig, mut peer) = start(|_| {});
    let missing = r#"{"error":"mailbox cloud.alarm does not exist"}"#;
    for offset in 0..2 {
        rig.send(MAIL, offset, &mail(b""));
    }
    let requests = [peer.request(), peer.request()];
    for request in &requests {
        peer.answer(request, missing);
    }
    let create = peer.request();
    assert_eq!(create.subject, "$mq9.AI.MAILBOX.CREATE");
    assert_eq!(create.text(), r#"{"name":"cloud.alarm","ttl":0}"#);
    // Another node of the cluster was first.
    peer.answer(&create, r#"{"error":"mailbox cloud.alarm already exists"}"#);
    assert!(expect_refused(&rig, 0).contains("was made"));
    assert!(expect_refused(&rig, 1).contains("does not exist"));
    // For some seconds this node does not know of it.
    for offset in [0, 0] {
        rig.send(MAIL, offset, &mail(b""));
        let request = peer.request();
        assert_eq!(request.subject, "$mq9.AI.MSG.SEND.cloud.alarm");
        peer.answer(&request, missing);
        expect_refused(&rig, 0);
    }
    rig.send(MAIL, 0, &mail(b""));
    let request = peer.request();
    peer.answer(&request, SENT);
    rig.expect_accepted(0);
    rig.stop();
}

#[test]
fn a_mailbox_that_may_not_be_made_lets_its_mail_wait() {
    let (_server, rig, mut peer) = start(|mail| mail.create = false);
    rig.send(MAIL, 0, &mail(b""));
    let request = peer.request();
    peer.answer(
        &request,
        r#"{"error":"mailbox cloud.alarm does not exist"}"#,
    );
    assert!(expect_refused(&rig, 0).contains("does not exist"));
    assert!(rig.is_silent());
    rig.stop();
}

#[test]
fn a_mailbox_that_can_never_be_made_gives_its_mail_up_in_the_servers_words() {
    let (_server, rig, mut peer) = start(|_| {});
    rig.send(MAIL, 0, &mail(b""));
    let request = peer.request();
    peer.answer(
        &request,
        r#"{"error":"mailbox cloud.alarm does not exist"}"#,
    );
    let create = peer.request();
    let text = "name may only contain lowercase letters, digits, and dots";
    peer.answer(&create, &format!(r#"{{"error":"{text}"}}"#));
    let text = text.to_owned();
    assert_eq!(expect_rejected(&rig, 0), Rejection::Mail { text });
    rig.stop();
}

#[test]
fn what_the_server_says_outside_of_answers_is_heard() {
    let (_server, rig, mut peer) = start(|_| {});
    rig.send(MAIL, 0, &mail(b""));
    rig.send(MAIL, 1, &mail(b""));
    let requests = [peer.request(), peer.request()];
    peer.send("-ERR 'Timeout waiting for topic'\r\n");
    let subject = &requests[0].subject;
    peer.send(&format!("-ERR 'unrecognized mq9 subject: {subject}'\r\n"));
    for offset in 0..2 {
        expect_rejected(&rig, offset);
    }
    rig.send(MAIL, 2, &mail(b""));
    peer.request();
    peer.send(&format!(
        "-ERR 'Permissions Violation for Publish to \"{subject}\"'\r\n"
    ));
    assert!(expect_refused(&rig, 2).contains("Permissions Violation"));
    peer.send("-ERR 'Stale Connection'\r\n");
    assert!(
        rig.expect_down(ErrorKind::ConnectionReset)
            .contains("Stale Connection")
    );
    rig.stop();
}

#[test]
fn a_server_without_mq9_refuses_and_keeps_the_connection() {
    let (_server, rig, mut peer) = start(|_| {});
    rig.send(MAIL, 0, &mail(b""));
    let request = peer.request();
    peer.send(&format!(
        "HMSG {} 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n",
        request.reply_to
    ));
    assert_eq!(expect_refused(&rig, 0), "nobody serves mq9 there");
    rig.stop();
}

#[test]
fn an_answer_that_never_comes_ends_the_connection() {
    let server = Server::bind();
    let mut config = config(&server, |_| {});
    config.patience = Duration::from_secs(1);
    let rig = Rig::start(config);
    rig.connect_to(MAIL);
    let mut peer = Peer::greeted(server.accept_stream());
    rig.expect_up();
    rig.send(MAIL, 0, &mail(b""));
    rig.send(MAIL, 1, &mail(b""));
    rig.send(MAIL, 2, &record("$mq9/AI/MSG/SEND/cloud/other", b""));
    let _lost = peer.request();
    for _ in 0..2 {
        let request = peer.request();
        peer.answer(&request, SENT);
    }
    // What stands behind a lost answer in its topic is in doubt as well, or it would be overtaken.
    rig.expect_accepted(2);
    assert!(
        rig.expect_down(ErrorKind::TimedOut)
            .contains("no answer to a request within 1 s")
    );
    rig.stop();
}

#[test]
fn a_connection_that_closes_in_the_middle_leaves_its_records_in_doubt() {
    let (server, rig, mut peer) = start(|_| {});
    for offset in 0..2 {
        rig.send(MAIL, offset, &mail(b""));
    }
    let request = peer.request();
    peer.answer(&request, SENT);
    rig.expect_accepted(0);
    peer.send("MSG _INBOX.half 0 100\r\n{\"error");
    drop(peer);
    let text = match rig.event() {
        Event::Down { text, .. } => text,
        other => panic!("{other:?} instead of Down"),
    };
    assert!(text.starts_with("nats://127.0.0.1:"), "{text}");
    rig.connect_to(MAIL);
    let mut peer = Peer::greeted(server.accept_stream());
    rig.expect_up();
    rig.send(MAIL, 1, &mail(b""));
    let request = peer.request();
    assert_eq!(request.header("edge-offset"), Some("1"));
    peer.answer(&request, SENT);
    rig.expect_accepted(1);
    rig.stop();
}

#[expect(
    clippy::disallowed_methods,
    reason = "the bridge reads the clock of the day itself"
)]
fn unix_millis() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("after 1970").as_millis() as u64
}

#[test]
fn times_count_from_the_record_and_not_from_when_it_is_sent() {
    let (_server, rig, mut peer) = start(|_| {});
    let now = unix_millis();
    let ago = |seconds: u64| {
        move |parts: &mut RecordParts<'_>| {
            parts.time = WallTime(now - 1000 * seconds);
        }
    };
    let pairs = [("mq9-ttl", "1000"), ("mq9-delay", "700")];
    rig.send(MAIL, 0, &mail_with(&pairs, ago(300)));
    let request = peer.request();
    let number = |name: &str| {
        request
            .header(name)
            .expect(name)
            .parse::<u64>()
            .expect(name)
    };
    assert!((690..=700).contains(&number("mq9-ttl")), "{request:?}");
    assert!((390..=400).contains(&number("mq9-delay")), "{request:?}");
    rig.send(MAIL, 1, &mail_with(&pairs, ago(800)));
    let request = peer.request();
    assert_eq!(request.header("mq9-delay"), None);
    rig.send(MAIL, 2, &mail_with(&pairs, ago(1001)));
    assert_eq!(expect_rejected(&rig, 2), Rejection::Expired);
    rig.send(
        MAIL,
        3,
        &mail_with(&[], |parts| parts.expiry_seconds = Some(1)),
    );
    assert_eq!(expect_rejected(&rig, 3), Rejection::Expired);
    rig.stop();
}

#[test]
fn records_that_are_no_requests_are_rejected() {
    let (_server, rig, _peer) = start(|_| {});
    rig.send(MAIL, 0, &record("$mq9/AI/MSG/FETCH/a", b"{}"));
    assert_eq!(expect_rejected(&rig, 0), Rejection::Topic);
    rig.send(MAIL, 1, &record("$mq9/AI/NOTHING", b""));
    assert!(matches!(expect_rejected(&rig, 1), Rejection::Mail { .. }));
    rig.send(MAIL, 2, &mail(&vec![b'x'; 1_048_576]));
    assert!(matches!(
        expect_rejected(&rig, 2),
        Rejection::TooLarge { .. }
    ));
    rig.stop();
}

#[test]
fn one_record_beyond_the_window_is_refused() {
    let server = Server::bind();
    let mut config = config(&server, |_| {});
    config.window = 1;
    let rig = Rig::start(config);
    rig.connect_to(MAIL);
    let _peer = Peer::greeted(server.accept_stream());
    rig.expect_up();
    rig.send(MAIL, 0, &mail(b""));
    rig.send(MAIL, 1, &mail(b""));
    rig.expect_refused(1, 0x93);
    rig.stop();
}

#[test]
fn an_agent_takes_the_place_of_what_it_registered_before() {
    let (_server, rig, mut peer) = start(|_| {});
    let card = r#"{"name":"alpha","mailbox":"a.in","skills":["weld"]}"#;
    let done = r#"{"error":""}"#;
    let register = record("$mq9/AI/AGENT/REGISTER", card.as_bytes());
    rig.send(MAIL, 0, &register);
    let requests = [peer.request(), peer.request()];
    assert_eq!(requests[0].subject, "$mq9.AI.AGENT.UNREGISTER");
    assert_eq!(requests[0].text(), r#"{"name":"alpha"}"#);
    assert_eq!(requests[1].subject, "$mq9.AI.AGENT.REGISTER");
    // RobustMQ keeps the name and one text, so all that the agent says is in it.
    let text = requests[1].text();
    assert!(text.contains(r#""name":"alpha""#), "{text}");
    assert!(text.contains(r#"\"mailbox\":\"a.in\""#), "{text}");
    for request in &requests {
        peer.answer(request, done);
    }
    rig.expect_accepted(0);
    // The first registration wins there, so a second counts for nothing while it stands.
    rig.send(MAIL, 1, &register);
    let requests = [peer.request(), peer.request()];
    peer.answer(&requests[0], r#"{"error":"Grpc call of the node failed"}"#);
    peer.answer(&requests[1], done);
    assert_eq!(expect_refused(&rig, 1), "Grpc call of the node failed");
    rig.send(
        MAIL,
        2,
        &record("$mq9/AI/AGENT/UNREGISTER", br#"{"mailbox":"a.in"}"#),
    );
    let request = peer.request();
    assert!(request.text().contains(r#""name":"a.in""#));
    peer.answer(&request, done);
    rig.expect_accepted(2);
    rig.stop();
}

/// Its registration counts for nothing where the former one still stands, and that is not known yet.
#[test]
fn an_agent_is_registered_when_both_answers_are_there_in_any_order() {
    let (_server, rig, mut peer) = start(|_| {});
    let done = r#"{"error":""}"#;
    let register = record("$mq9/AI/AGENT/REGISTER", br#"{"name":"alpha"}"#);
    for (offset, removed) in [(0, r#"{"error":"no leader"}"#), (1, done)] {
        rig.send(MAIL, offset, &register);
        let requests = [peer.request(), peer.request()];
        peer.answer(&requests[1], done);
        // What is behind it is answered, so it was read.
        let topic = "$mq9/AI/MSG/SEND/cloud/alarm";
        rig.send(MAIL, offset + 10, &record(topic, b""));
        let request = peer.request();
        peer.answer(&request, SENT);
        rig.expect_accepted(offset + 10);
        peer.answer(&requests[0], removed);
        match removed == done {
            true => rig.expect_accepted(offset),
            false => assert_eq!(expect_refused(&rig, offset), "no leader"),
        }
    }
    rig.stop();
}

#[test]
fn the_clouds_agents_are_told_from_time_to_time() {
    let (_server, rig, mut peer) =
        start(|mail| mail.agents_interval = Some(Duration::from_secs(1)));
    for count in 1..=2 {
        let request = peer.request();
        assert_eq!(request.subject, "$mq9.AI.AGENT.DISCOVER");
        assert_eq!(request.text(), "{}");
        let card = r#"{\"name\":\"beta\",\"mailbox\":\"b.in\"}"#;
        let item = format!(r#"{{"name":"beta","agent_info":"{card}"}}"#);
        let items = vec![item; count].join(",");
        peer.answer(&request, &format!(r#"{{"error":"","agents":[{items}]}}"#));
        match rig.event() {
            Event::Agents { connection, agents } => {
                assert_eq!((connection, agents.len()), (MAIL, count));
                assert_eq!(agents[0].name, "beta");
                assert_eq!(agents[0].mailbox.as_deref(), Some("b.in"));
            }
            other => panic!("{other:?}"),
        }
    }
    // A list that is not given is not told.
    let request = peer.request();
    peer.answer(&request, r#"{"error":"agent search is not enabled"}"#);
    assert!(rig.is_silent());
    rig.stop();
}

#[test]
fn credentials_are_said_and_who_is_not_let_in_is_told_why() {
    let server = Server::bind();
    let mut config = config(&server, |mail| {
        mail.credentials = Some(Credentials {
            user_name: "admin".to_owned(),
            password: "robustmq".to_owned(),
        });
    });
    config.connect_timeout = Duration::from_secs(5);
    let rig = Rig::start(config);
    rig.connect_to(MAIL);
    let mut peer = Peer::new(server.accept_stream());
    peer.send(INFO);
    loop {
        match peer.hear() {
            Err(Word::Connect { user, password }) => {
                assert_eq!(user.as_deref(), Some("admin"));
                assert_eq!(password.as_deref(), Some("robustmq"));
                break;
            }
            Err(_) => {}
            Ok(request) => panic!("{request:?} before the greeting"),
        }
    }
    peer.send("-ERR 'Authorization Violation'\r\n");
    let text = rig.expect_down(ErrorKind::PermissionDenied);
    assert!(text.contains("Authorization Violation"), "{text}");
    rig.stop();
}

#[test]
fn a_server_that_is_none_is_left() {
    for (said, expected) in [
        ("HTTP/1.1 400 Bad Request\r\n", ErrorKind::InvalidData),
        ("PONG\r\n", ErrorKind::InvalidData),
        ("INFO {\"tls_required\":true}\r\n", ErrorKind::Unsupported),
        ("", ErrorKind::TimedOut),
    ] {
        let server = Server::bind();
        let mut config = config(&server, |_| {});
        if said.is_empty() {
            config.connect_timeout = Duration::from_secs(1);
        }
        let rig = Rig::start(config);
        rig.connect_to(MAIL);
        let mut peer = Peer::new(server.accept_stream());
        peer.try_send(said);
        rig.expect_down(expected);
        rig.stop();
    }
}

#[test]
fn what_arrives_byte_by_byte_is_understood() {
    let server = Server::bind();
    let rig = Rig::start(config(&server, |_| {}));
    rig.connect_to(MAIL);
    let mut peer = Peer::new(server.accept_stream());
    let drip = |peer: &mut Peer, text: &str| {
        text.chars().for_each(|byte| peer.send(&byte.to_string()));
    };
    drip(&mut peer, INFO);
    while peer.hear().expect_err("a greeting") != Word::Ping {}
    drip(&mut peer, "PONG\r\n");
    rig.expect_up();
    rig.send(MAIL, 0, &mail(b""));
    let request = peer.request();
    let answer = format!("MSG {} 0 {}\r\n{SENT}\r\n", request.reply_to, SENT.len());
    drip(&mut peer, &answer);
    rig.expect_accepted(0);
    rig.stop();
}

#[test]
fn an_endpoint_that_is_of_no_use_gives_way_to_the_next() {
    let (deaf, server) = (Server::bind(), Server::bind());
    let mut config: Config = config(&deaf, |_| {});
    if let Some(mail) = &mut config.mail {
        let mut next = mail.endpoints[0].clone();
        next.port = server.endpoint().port;
        mail.endpoints.push(next);
    }
    let rig = Rig::start(config);
    rig.connect_to(MAIL);
    drop(deaf.accept_stream());
    assert!(matches!(rig.event(), Event::Down { .. }));
    rig.connect_to(MAIL);
    let mut peer = Peer::greeted(server.accept_stream());
    rig.expect_up();
    // A ping of the server is answered at any time.
    peer.send("PING\r\n");
    assert_eq!(peer.hear().expect_err("no request"), Word::Pong);
    rig.tell(Command::Disconnect { connection: MAIL });
    rig.expect_down(ErrorKind::NotConnected);
    rig.stop();
}
