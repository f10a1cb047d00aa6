//! NATS operations as servers and clients write them: what is taken, and what is refused with which
//! answer.

use std::num::NonZeroU32;

use wire::nats::{
    ClientOperation, Connect, DecodeError, EncodeError, Headers, Info, InvalidOperation, Limits,
    Message, MessageLine, NO_RESPONDERS, Publish, Sender, ServerError, ServerOperation, Subscribe,
    Unsubscribe, Verb, operation_bytes,
};

const CLIENT: &Limits = &Limits::FROM_CLIENT;
const SERVER: &Limits = &Limits::FROM_SERVER;

/// Decodes the one operation that `bytes` are.
fn of_client(bytes: &[u8]) -> ClientOperation<'_> {
    let needed = operation_bytes(bytes, Sender::Client, CLIENT);
    assert_eq!(needed, Ok(Some(bytes.len())), "{}", bytes.escape_ascii());
    match ClientOperation::decode(bytes, CLIENT) {
        Ok(Some((operation, length))) if length == bytes.len() => operation,
        other => panic!("{}: {other:?}", bytes.escape_ascii()),
    }
}

fn of_server(bytes: &[u8]) -> ServerOperation<'_> {
    let needed = operation_bytes(bytes, Sender::Server, SERVER);
    assert_eq!(needed, Ok(Some(bytes.len())), "{}", bytes.escape_ascii());
    match ServerOperation::decode(bytes, SERVER) {
        Ok(Some((operation, length))) if length == bytes.len() => operation,
        other => panic!("{}: {other:?}", bytes.escape_ascii()),
    }
}

fn encoded(operation: &ClientOperation<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let length = operation.encode(&mut bytes).expect("a valid operation");
    assert_eq!(length, bytes.len());
    bytes
}

const fn publish<'a>(
    subject: &'a str,
    reply_to: Option<&'a str>,
    headers: &'a [u8],
    payload: &'a [u8],
) -> ClientOperation<'a> {
    ClientOperation::Publish(Publish {
        subject,
        reply_to,
        headers,
        payload,
    })
}

/// The table of the NATS server's own test, `TestParsePubArg`.
#[test]
fn arguments_of_pub_stand_between_any_white_space() {
    let table = [
        ("a 2", "a", None, 2),
        ("a 222", "a", None, 222),
        ("foo 22", "foo", None, 22),
        (" foo 22", "foo", None, 22),
        ("foo 22 ", "foo", None, 22),
        ("foo   22", "foo", None, 22),
        (" foo   22 ", "foo", None, 22),
        ("foo bar 22", "foo", Some("bar"), 22),
        (" foo bar 22", "foo", Some("bar"), 22),
        ("foo bar 22 ", "foo", Some("bar"), 22),
        ("foo  bar  22", "foo", Some("bar"), 22),
        ("  foo   bar  22  ", "foo", Some("bar"), 22),
        ("  foo   bar  2222  ", "foo", Some("bar"), 2222),
        ("  foo     2222  ", "foo", None, 2222),
        ("a\t2", "a", None, 2),
        ("\tfoo\t22", "foo", None, 22),
        ("foo\t\t\t22", "foo", None, 22),
        ("\tfoo\t\t\t22\t", "foo", None, 22),
        ("\tfoo\tbar\t22", "foo", Some("bar"), 22),
        ("foo\t\tbar\t\t22", "foo", Some("bar"), 22),
        ("\t \tfoo\t \t \tbar\t \t22\t \t", "foo", Some("bar"), 22),
        ("\t\tfoo\t\t\tbar\t\t2222\t\t", "foo", Some("bar"), 2222),
        ("\t \tfoo\t \t \t\t\t2222\t \t", "foo", None, 2222),
        // Not in that table.
        ("foo 0", "foo", None, 0),
        ("foo 000000022", "foo", None, 22),
        ("foo 7 7", "foo", Some("7"), 7),
    ];
    for (arguments, subject, reply_to, length) in table {
        let payload = vec![b'\n'; length];
        let line = format!("PUB {arguments}\r\n");
        let bytes = [line.as_bytes(), &payload, b"\r\n"].concat();
        assert_eq!(
            of_client(&bytes),
            publish(subject, reply_to, b"", &payload),
            "{arguments:?}"
        );
    }
}

/// From the table of the NATS server's own test, `TestParseHeaderPubArg`.
#[test]
fn arguments_of_hpub_stand_between_any_white_space() {
    let table = [
        ("a 2 4", "a", None, 2, 4),
        ("a 22 222", "a", None, 22, 222),
        (" foo   1 22", "foo", None, 1, 22),
        ("foo 0   22 ", "foo", None, 0, 22),
        (" foo   3 22 ", "foo", None, 3, 22),
        ("foo bar 1 22", "foo", Some("bar"), 1, 22),
        (" foo bar 11 22", "foo", Some("bar"), 11, 22),
        ("foo  bar  11  22", "foo", Some("bar"), 11, 22),
        ("  foo   bar  22   2222  ", "foo", Some("bar"), 22, 2222),
        ("a\t2\t\t222", "a", None, 2, 222),
        ("\tfoo\t11\t \t 22\t", "foo", None, 11, 22),
        ("foo\t\tbar\t\t11\t\t\t22", "foo", Some("bar"), 11, 22),
        (
            "\t \tfoo\t \t \t\t\t11\t\t 2222\t \t",
            "foo",
            None,
            11,
            2222,
        ),
        ("foo 22 22", "foo", None, 22, 22),
    ];
    for (arguments, subject, reply_to, headers_bytes, length) in table {
        let message = vec![b'x'; length];
        let line = format!("HPUB {arguments}\r\n");
        let bytes = [line.as_bytes(), &message, b"\r\n"].concat();
        let (headers, payload) = message.split_at(headers_bytes);
        let expected = publish(subject, reply_to, headers, payload);
        assert_eq!(of_client(&bytes), expected, "{arguments:?}");
    }
}

#[test]
fn operations_of_clients_are_taken_as_clients_write_them() {
    let subscribe = |subject, queue_group, sid| {
        ClientOperation::Subscribe(Subscribe {
            subject,
            queue_group,
            sid,
        })
    };
    let unsubscribe = |sid, maximum| {
        ClientOperation::Unsubscribe(Unsubscribe {
            sid,
            max_messages: NonZeroU32::new(maximum),
        })
    };
    let table = [
        (&b"PING\r\n"[..], ClientOperation::Ping),
        (b"PONG\r\n", ClientOperation::Pong),
        (b"ping\n", ClientOperation::Ping),
        (b"PiNg\t \r\n", ClientOperation::Ping),
        (b"PONG \n", ClientOperation::Pong),
        (b"SUB a.> 9\r\n", subscribe("a.>", None, "9")),
        (b"SUB a g 9\r\n", subscribe("a", Some("g"), "9")),
        (b"sub\ta\tg\t9\n", subscribe("a", Some("g"), "9")),
        // nats-py writes an empty queue group, and an empty maximum.
        (b"SUB a  1\r\n", subscribe("a", None, "1")),
        (b"UNSUB 2 \r\n", unsubscribe("2", 0)),
        (b"UNSUB 2\r\n", unsubscribe("2", 0)),
        (b"UNSUB 2 0\r\n", unsubscribe("2", 0)),
        (b"UNSUB 2 15\r\n", unsubscribe("2", 15)),
        (
            b"UNSUB a-b.c 999999999\r\n",
            unsubscribe("a-b.c", 999_999_999),
        ),
        // A bad subject ends no connection.
        (b"SUB a..b 1\r\n", subscribe("a..b", None, "1")),
        (b"PUB a.* 1\r\nx\r\n", publish("a.*", None, b"", b"x")),
        (b"pub a 2\nok\r\n", publish("a", None, b"", b"ok")),
        (b"PUB a 0\r\n\r\n", publish("a", None, b"", b"")),
        (b"PUB \xC3\xA9 0\r\n\r\n", publish("\u{e9}", None, b"", b"")),
        // No headers are none, whatever the verb.
        (
            b"HPUB foo r 0 5\r\nHELLO\r\n",
            publish("foo", Some("r"), b"", b"HELLO"),
        ),
        // What the header block holds is not looked at.
        (
            b"HPUB foo 12 17\r\nname:derek\r\nHELLO\r\n",
            publish("foo", None, b"name:derek\r\n", b"HELLO"),
        ),
    ];
    for (bytes, expected) in table {
        assert_eq!(of_client(bytes), expected, "{}", bytes.escape_ascii());
    }
}

#[test]
fn operations_of_servers_are_taken_as_servers_write_them() {
    let message = |reply_to, headers, payload| {
        ServerOperation::Message(Message {
            subject: "a.b",
            sid: "9",
            reply_to,
            headers,
            payload,
        })
    };
    let error = ServerOperation::Err;
    let table = [
        (&b"PING\r\n"[..], ServerOperation::Ping),
        (b"PONG\r\n", ServerOperation::Pong),
        (b"+OK\r\n", ServerOperation::Ok),
        (b"+ok \r\n", ServerOperation::Ok),
        (b"MSG a.b 9 2\r\nhi\r\n", message(None, b"", b"hi")),
        (b"MSG a.b 9 r 2\r\nhi\r\n", message(Some("r"), b"", b"hi")),
        (b"msg\ta.b 9  0\n\r\n", message(None, b"", b"")),
        (
            b"HMSG a.b 9 16 16\r\nNATS/1.0 503\r\n\r\n\r\n",
            message(None, NO_RESPONDERS, b""),
        ),
        (
            b"HMSG a.b 9 r 23 30\r\nNATS/1.0\r\nHeader: X\r\n\r\nPAYLOAD\r\n",
            message(Some("r"), b"NATS/1.0\r\nHeader: X\r\n\r\n", b"PAYLOAD"),
        ),
        (
            b"-ERR 'Stale Connection'\r\n",
            error(ServerError::StaleConnection),
        ),
        (
            b"-ERR 'Slow Consumer' \r\n",
            error(ServerError::SlowConsumer),
        ),
        (
            b"-ERR 'Permissions Violation for Publish to \"a.b\"'\r\n",
            error(ServerError::PublishPermission { subject: "a.b" }),
        ),
        (
            b"-ERR 'unrecognized mq9 subject: $mq9.AI.x'\r\n",
            error(ServerError::Other("unrecognized mq9 subject: $mq9.AI.x")),
        ),
        // Without the marks, with one, with nothing.
        (
            b"-ERR invalid subject\r\n",
            error(ServerError::InvalidSubject),
        ),
        (b"-ERR '\r\n", error(ServerError::Other("'"))),
        (b"-ERR ''\r\n", error(ServerError::Other(""))),
        (b"-ERR\r\n", error(ServerError::Other(""))),
    ];
    for (bytes, expected) in table {
        assert_eq!(of_server(bytes), expected, "{}", bytes.escape_ascii());
    }
}

/// The examples of the description of headers, ADR-4.
#[test]
fn headers_are_told_from_the_payload() {
    let table: [(&[u8], usize, &[u8]); 4] = [
        (
            b"HPUB S R 23 30\r\nNATS/1.0\r\nHeader: X\r\n\r\nPAYLOAD\r\n",
            1,
            b"PAYLOAD",
        ),
        (
            b"HPUB S R 23 23\r\nNATS/1.0\r\nHeader: X\r\n\r\n\r\n",
            1,
            b"",
        ),
        (
            b"HPUB S R 48 55\r\nNATS/1.0\r\nHeader1: X\r\nHeader1: Y\r\nHeader2: Z\r\n\r\nPAYLOAD\r\n",
            3,
            b"PAYLOAD",
        ),
        (
            b"HPUB S R 48 48\r\nNATS/1.0\r\nHeader1: X\r\nHeader1: Y\r\nHeader2: Z\r\n\r\n\r\n",
            3,
            b"",
        ),
    ];
    for (bytes, fields, payload) in table {
        let ClientOperation::Publish(publish) = of_client(bytes) else {
            panic!("{}", bytes.escape_ascii());
        };
        assert_eq!(publish.payload, payload);
        let headers = Headers::parse(publish.headers).expect("a header block");
        assert_eq!(headers.fields().count(), fields);
        assert_eq!(encoded(&ClientOperation::Publish(publish)), bytes);
    }
}

/// What a client sent, why it is refused, and what it is told.
type Refusal = (&'static [u8], DecodeError, ServerError<'static>);

const REFUSALS: &[Refusal] = &[
    // Wrong from the first byte, or from the byte that makes it no verb; nothing is waited for.
    (
        b"x",
        DecodeError::Verb,
        ServerError::UnknownProtocolOperation,
    ),
    (
        b"\r\n",
        DecodeError::Verb,
        ServerError::UnknownProtocolOperation,
    ),
    (
        b" PING",
        DecodeError::Verb,
        ServerError::UnknownProtocolOperation,
    ),
    (
        b"GET / HTTP/1.1\r\n",
        DecodeError::Verb,
        ServerError::UnknownProtocolOperation,
    ),
    (
        b"\x16\x03\x01",
        DecodeError::Verb,
        ServerError::UnknownProtocolOperation,
    ),
    (
        b"PINx",
        DecodeError::Verb,
        ServerError::UnknownProtocolOperation,
    ),
    (
        b"PINGPING",
        DecodeError::Verb,
        ServerError::UnknownProtocolOperation,
    ),
    (
        b"UNSUB_2\r\n",
        DecodeError::Verb,
        ServerError::UnknownProtocolOperation,
    ),
    (
        b"CONNECT{}\r\n",
        DecodeError::Verb,
        ServerError::UnknownProtocolOperation,
    ),
    // What only a server sends.
    (
        b"M",
        DecodeError::Verb,
        ServerError::UnknownProtocolOperation,
    ),
    (
        b"HM",
        DecodeError::Verb,
        ServerError::UnknownProtocolOperation,
    ),
    (
        b"I",
        DecodeError::Verb,
        ServerError::UnknownProtocolOperation,
    ),
    (
        b"+",
        DecodeError::Verb,
        ServerError::UnknownProtocolOperation,
    ),
    (
        b"-",
        DecodeError::Verb,
        ServerError::UnknownProtocolOperation,
    ),
    (
        b"PUB \xFF 1\r\n",
        DecodeError::Utf8,
        ServerError::ParserError,
    ),
    (
        b"PUB a\rb 1\r\n",
        DecodeError::CarriageReturn,
        ServerError::ParserError,
    ),
    (
        b"PUB a 1\r\r\n",
        DecodeError::CarriageReturn,
        ServerError::ParserError,
    ),
    (
        b"PING \r \n",
        DecodeError::CarriageReturn,
        ServerError::ParserError,
    ),
    (
        b"PING x\r\n",
        DecodeError::Arguments { verb: Verb::Ping },
        ServerError::ParserError,
    ),
    (
        b"PUB\r\n",
        DecodeError::Arguments { verb: Verb::Pub },
        ServerError::ParserError,
    ),
    (
        b"PUB  \r\n",
        DecodeError::Arguments { verb: Verb::Pub },
        ServerError::ParserError,
    ),
    (
        b"PUB foo\r\n",
        DecodeError::Arguments { verb: Verb::Pub },
        ServerError::ParserError,
    ),
    (
        b"PUB a b c 1\r\n",
        DecodeError::Arguments { verb: Verb::Pub },
        ServerError::ParserError,
    ),
    (
        b"HPUB a 1\r\n",
        DecodeError::Arguments { verb: Verb::Hpub },
        ServerError::ParserError,
    ),
    (
        b"HPUB a b c d 1 1\r\n",
        DecodeError::Arguments { verb: Verb::Hpub },
        ServerError::ParserError,
    ),
    (
        b"SUB\r\n",
        DecodeError::Arguments { verb: Verb::Sub },
        ServerError::ParserError,
    ),
    (
        b"SUB foo\r\n",
        DecodeError::Arguments { verb: Verb::Sub },
        ServerError::ParserError,
    ),
    (
        b"SUB foo bar baz 22\r\n",
        DecodeError::Arguments { verb: Verb::Sub },
        ServerError::ParserError,
    ),
    (
        b"UNSUB \t \r\n",
        DecodeError::Arguments { verb: Verb::Unsub },
        ServerError::ParserError,
    ),
    (
        b"UNSUB 1 1 1\r\n",
        DecodeError::Arguments { verb: Verb::Unsub },
        ServerError::ParserError,
    ),
    // Lengths are 1 to 9 decimal digits.
    (
        b"PUB foo bar       \r\n",
        DecodeError::Number { verb: Verb::Pub },
        ServerError::ParserError,
    ),
    (
        b"PUB a -1\r\n",
        DecodeError::Number { verb: Verb::Pub },
        ServerError::ParserError,
    ),
    (
        b"PUB a +1\r\n",
        DecodeError::Number { verb: Verb::Pub },
        ServerError::ParserError,
    ),
    (
        b"PUB a 1.0\r\n",
        DecodeError::Number { verb: Verb::Pub },
        ServerError::ParserError,
    ),
    (
        b"PUB a 0x1\r\n",
        DecodeError::Number { verb: Verb::Pub },
        ServerError::ParserError,
    ),
    (
        b"PUB a 0000000001\r\n",
        DecodeError::Number { verb: Verb::Pub },
        ServerError::ParserError,
    ),
    (
        b"PUB a 4294967297\r\n",
        DecodeError::Number { verb: Verb::Pub },
        ServerError::ParserError,
    ),
    (
        b"PUB a \xD9\xA1\r\n",
        DecodeError::Number { verb: Verb::Pub },
        ServerError::ParserError,
    ),
    (
        b"HPUB a x 5\r\n",
        DecodeError::Number { verb: Verb::Hpub },
        ServerError::ParserError,
    ),
    (
        b"UNSUB 1 abc\r\n",
        DecodeError::Number { verb: Verb::Unsub },
        ServerError::ParserError,
    ),
    // Refused before the message is there.
    (
        b"HPUB a 4 3\r\n",
        DecodeError::HeadersBeyondMessage {
            headers_bytes: 4,
            message_bytes: 3,
        },
        ServerError::ParserError,
    ),
    (
        b"HPUB a 65537 100000\r\n",
        DecodeError::HeadersTooLarge {
            bytes: 65_537,
            limit: 65_536,
        },
        ServerError::MaximumPayloadViolation,
    ),
    (
        b"PUB a 1048577\r\n",
        DecodeError::MessageTooLarge {
            bytes: 1_048_577,
            limit: 1_048_576,
        },
        ServerError::MaximumPayloadViolation,
    ),
    (
        b"PUB a 999999999\r\n",
        DecodeError::MessageTooLarge {
            bytes: 999_999_999,
            limit: 1_048_576,
        },
        ServerError::MaximumPayloadViolation,
    ),
    // The message is longer or shorter than announced.
    (
        b"PUB a 2\r\nokx",
        DecodeError::MessageEnd,
        ServerError::UnknownProtocolOperation,
    ),
    (
        b"PUB a 2\r\nok \r\n",
        DecodeError::MessageEnd,
        ServerError::UnknownProtocolOperation,
    ),
    (
        b"PUB a 2\r\nok\r ",
        DecodeError::MessageEnd,
        ServerError::UnknownProtocolOperation,
    ),
    (
        b"PUB a 2\r\nok\n",
        DecodeError::MessageEnd,
        ServerError::UnknownProtocolOperation,
    ),
    (
        b"PUB a 0\r\nPING\r\n",
        DecodeError::MessageEnd,
        ServerError::UnknownProtocolOperation,
    ),
    (
        b"CONNECT \r\n",
        DecodeError::Json {
            verb: Verb::Connect,
        },
        ServerError::ParserError,
    ),
    (
        b"CONNECT {\r\n",
        DecodeError::Json {
            verb: Verb::Connect,
        },
        ServerError::ParserError,
    ),
    (
        b"CONNECT []\r\n",
        DecodeError::Json {
            verb: Verb::Connect,
        },
        ServerError::ParserError,
    ),
    (
        b"CONNECT null\r\n",
        DecodeError::Json {
            verb: Verb::Connect,
        },
        ServerError::ParserError,
    ),
    (
        b"CONNECT {} {}\r\n",
        DecodeError::Json {
            verb: Verb::Connect,
        },
        ServerError::ParserError,
    ),
    (
        b"CONNECT {\"a\":[}\r\n",
        DecodeError::Json {
            verb: Verb::Connect,
        },
        ServerError::ParserError,
    ),
];

#[test]
fn what_is_wrong_is_refused_with_its_answer() {
    for &(bytes, error, answer) in REFUSALS {
        let text = bytes.escape_ascii();
        assert_eq!(ClientOperation::decode(bytes, CLIENT), Err(error), "{text}");
        assert_eq!(error.answer(), answer, "{text}");
        assert!(answer.closes_connection());
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn fields_of_another_type_are_named() {
    let table = [
        ("\"verbose\":\"yes\"", "verbose"),
        ("\"pedantic\":1", "pedantic"),
        ("\"tls_required\":{}", "tls_required"),
        ("\"echo\":\"\"", "echo"),
        ("\"headers\":[true]", "headers"),
        ("\"no_responders\":0", "no_responders"),
        ("\"protocol\":1.0", "protocol"),
        ("\"protocol\":-1", "protocol"),
        ("\"protocol\":4294967296", "protocol"),
        ("\"name\":7", "name"),
        ("\"lang\":false", "lang"),
        ("\"version\":2", "version"),
        ("\"user\":1", "user"),
        ("\"pass\":[]", "pass"),
        ("\"auth_token\":{}", "auth_token"),
        ("\"nkey\":0", "nkey"),
        ("\"jwt\":true", "jwt"),
        ("\"sig\":1e3", "sig"),
        // The last one counts, and a name may be written in another way.
        ("\"user\":\"a\",\"user\":1", "user"),
        ("\"us\\u0065r\":1", "user"),
    ];
    for (field, name) in table {
        let bytes = format!("CONNECT {{\"unknown\":{{\"a\":[1,null]}},{field}}}\r\n");
        let error = DecodeError::Field {
            verb: Verb::Connect,
            name,
        };
        let refused = ClientOperation::decode(bytes.as_bytes(), CLIENT);
        assert_eq!(refused, Err(error), "{field}");
        assert_eq!(error.answer(), ServerError::ParserError);
        assert!(error.to_string().contains(name));
    }
    let error = DecodeError::Field {
        verb: Verb::Info,
        name: "max_payload",
    };
    let refused = ServerOperation::decode(b"INFO {\"max_payload\":-1}\r\n", SERVER);
    assert_eq!(refused, Err(error));
    let refused = ServerOperation::decode(b"INFO x\r\n", SERVER);
    assert_eq!(refused, Err(DecodeError::Json { verb: Verb::Info }));
}

#[test]
fn connect_is_taken_from_every_library() {
    let nats_py = r#"{"echo": true, "lang": "python3", "pedantic": false, "protocol": 1, "verbose": false, "version": "2.16.0", "headers": true, "no_responders": true}"#;
    let nats_js = r#"{"protocol":1,"version":"2.28.2","lang":"nats.js","verbose":false,"pedantic":false,"headers":true,"no_responders":true,"name":"agent"}"#;
    let async_nats = r#"{"verbose":false,"pedantic":false,"jwt":null,"nkey":null,"sig":null,"name":null,"echo":true,"lang":"rust","version":"0.38.0","protocol":1,"tls_required":false,"user":"u","pass":"p","auth_token":null,"headers":true,"no_responders":true}"#;
    let nats_go = r#"{"verbose":false,"pedantic":false,"user":"u","pass":"p","tls_required":false,"name":"NATS CLI","lang":"go","version":"1.37.0","protocol":1,"echo":true,"headers":true,"no_responders":true}"#;
    let quiet = || Connect {
        verbose: false,
        pedantic: false,
        headers: true,
        no_responders: true,
        protocol: 1,
        ..Connect::default()
    };
    let table = [
        (
            nats_py,
            Connect {
                lang: "python3".into(),
                version: "2.16.0".into(),
                ..quiet()
            },
        ),
        (
            nats_js,
            Connect {
                lang: "nats.js".into(),
                version: "2.28.2".into(),
                name: Some("agent".into()),
                ..quiet()
            },
        ),
        (
            async_nats,
            Connect {
                lang: "rust".into(),
                version: "0.38.0".into(),
                user: Some("u".into()),
                password: Some("p".into()),
                ..quiet()
            },
        ),
        (
            nats_go,
            Connect {
                lang: "go".into(),
                version: "1.37.0".into(),
                name: Some("NATS CLI".into()),
                user: Some("u".into()),
                password: Some("p".into()),
                ..quiet()
            },
        ),
        // A NATS server answers an empty one with +OK.
        ("{}", Connect::default()),
        (
            "{\"verbose\":null,\"echo\":false}",
            Connect {
                echo: false,
                ..Connect::default()
            },
        ),
        (
            " {\"auth_token\" : \"\\u00e9\\r\\n\"} ",
            Connect {
                auth_token: Some("\u{e9}\r\n".into()),
                ..Connect::default()
            },
        ),
    ];
    for (json, expected) in table {
        let bytes = format!("CONNECT {json}\r\n");
        let expected = ClientOperation::Connect(Box::new(expected));
        assert_eq!(of_client(bytes.as_bytes()), expected, "{json}");
        let again = encoded(&expected);
        assert_eq!(again.iter().filter(|&&byte| byte == b'\n').count(), 1);
        assert_eq!(of_client(&again), expected);
    }
    assert!(Connect::default().verbose);
}

#[test]
fn secrets_are_not_shown() {
    let connect = Connect {
        user: Some("user".into()),
        password: Some("secret".into()),
        auth_token: Some("secret".into()),
        jwt: Some("secret".into()),
        signature: Some("secret".into()),
        ..Connect::default()
    };
    let shown = format!("{connect:?}");
    assert!(shown.contains("user") && !shown.contains("\"secret\""));
}

#[test]
fn info_is_written_as_clients_need_it() {
    let info = Info {
        server_id: "EDGE1".into(),
        server_name: "edge".into(),
        version: "2.10.0".into(),
        proto: 1,
        host: "127.0.0.1".into(),
        port: 4222,
        headers: true,
        client_id: Some(7),
        client_ip: Some("127.0.0.1".into()),
        ..Info::default()
    };
    let operation = ServerOperation::Info(Box::new(info));
    let mut bytes = Vec::new();
    operation.encode(&mut bytes).expect("a valid operation");
    let expected = concat!(
        r#"INFO {"server_id":"EDGE1","server_name":"edge","version":"2.10.0","proto":1,"#,
        r#""host":"127.0.0.1","port":4222,"headers":true,"max_payload":1048576,"client_id":7,"#,
        r#""client_ip":"127.0.0.1","auth_required":false,"tls_required":false,"jetstream":false}"#,
        "\r\n"
    );
    assert_eq!(String::from_utf8_lossy(&bytes), expected);
    assert_eq!(of_server(&bytes), operation);
}

#[test]
fn info_is_taken_from_other_servers() {
    // nats-server 2.9.10, with TLS and a cluster.
    let nats_server = concat!(
        r#"INFO {"server_id":"NB7G","server_name":"NB7G","version":"2.9.10","proto":1,"#,
        r#""git_commit":"not set","go":"go1.19.8","host":"0.0.0.0","port":4222,"headers":true,"#,
        r#""auth_required":true,"tls_required":true,"tls_verify":true,"tls_available":true,"#,
        r#""max_payload":65536,"client_id":5,"client_ip":"127.0.0.1","nonce":"2OJxyz","#,
        r#""cluster":"c","connect_urls":["10.0.0.1:4222","10.0.0.2:4222"],"ldm":true} "#,
        "\r\n"
    );
    let ServerOperation::Info(info) = of_server(nats_server.as_bytes()) else {
        panic!("not INFO");
    };
    let expected = Info {
        server_id: "NB7G".into(),
        server_name: "NB7G".into(),
        version: "2.9.10".into(),
        proto: 1,
        host: "0.0.0.0".into(),
        port: 4222,
        headers: true,
        message_bytes_maximum: 65_536,
        client_id: Some(5),
        client_ip: Some("127.0.0.1".into()),
        auth_required: true,
        tls_required: true,
        tls_verify: true,
        tls_available: true,
        jetstream: false,
        nonce: Some("2OJxyz".into()),
        connect_urls: vec!["10.0.0.1:4222".into(), "10.0.0.2:4222".into()],
        lame_duck_mode: true,
    };
    assert_eq!(*info, expected);

    let ServerOperation::Info(empty) = of_server(b"info\t{ }\n") else {
        panic!("not INFO");
    };
    assert_eq!(*empty, Info::default());
    assert_eq!(empty.message_bytes_maximum, 1_048_576);
}

#[test]
fn the_control_line_is_limited_in_its_arguments() {
    let line = |subject_bytes: usize| format!("PUB {} 1\r\nx\r\n", "a".repeat(subject_bytes));
    // Subject, space, digit: 4096, as the NATS server counts.
    let longest = line(4094);
    assert!(matches!(
        of_client(longest.as_bytes()),
        ClientOperation::Publish(_)
    ));
    let too_long = line(4095);
    let refused = ClientOperation::decode(too_long.as_bytes(), CLIENT);
    let error = DecodeError::ControlLineTooLong { limit: 4096 };
    assert_eq!(refused, Err(error));
    assert_eq!(error.answer(), ServerError::MaximumControlLineExceeded);

    // Without an end nothing is waited for beyond it, white space or not.
    for filler in ["a", " "] {
        let endless = format!("PUB {}", filler.repeat(5000));
        let refused = ClientOperation::decode(endless.as_bytes(), CLIENT);
        assert_eq!(refused, Err(error));
        // PUB, a separator, 4096 bytes, CR, and what should be LF.
        for (there, expected) in [(4101, Ok(None)), (4102, Err(error))] {
            let decoded = ClientOperation::decode(&endless.as_bytes()[..there], CLIENT);
            assert_eq!(decoded, expected, "{there}");
        }
    }
    // With an end of line of one byte there is no more room either.
    let bare = too_long.replace("\r\n", "\n");
    assert_eq!(ClientOperation::decode(bare.as_bytes(), CLIENT), Err(error));
    // No limit overflows.
    let none = Limits {
        control_line_bytes: usize::MAX,
        headers_bytes: usize::MAX,
        message_bytes: usize::MAX,
    };
    let announced = operation_bytes(b"PUB a 999999999\r\n", Sender::Client, &none);
    assert_eq!(announced, Ok(Some(17 + 999_999_999 + 2)));
}

#[test]
fn the_length_of_a_message_is_known_before_it_arrives() {
    let payload = vec![b'\r'; 1_048_576];
    let bytes = [b"PUB a 1048576\r\n", &payload[..], b"\r\n"].concat();
    let line_bytes = 15;
    for end in 0..line_bytes {
        let needed = operation_bytes(&bytes[..end], Sender::Client, CLIENT);
        assert_eq!(needed, Ok(None));
    }
    for end in [line_bytes, line_bytes + 1, 500_000, bytes.len() - 1] {
        let needed = operation_bytes(&bytes[..end], Sender::Client, CLIENT);
        assert_eq!(needed, Ok(Some(bytes.len())));
        assert_eq!(ClientOperation::decode(&bytes[..end], CLIENT), Ok(None));
    }
    let ClientOperation::Publish(publish) = of_client(&bytes) else {
        panic!("not PUB");
    };
    // Not copied.
    assert_eq!(publish.payload.as_ptr(), bytes[line_bytes..].as_ptr());
}

#[test]
fn the_line_of_a_delivery_is_written_alone() {
    let mut line = MessageLine {
        subject: "a.b",
        sid: "7",
        reply_to: Some("_INBOX.x"),
        headers_bytes: 16,
        payload_bytes: 4,
    };
    let mut bytes = Vec::new();
    assert_eq!(line.encode(&mut bytes), Ok(27));
    assert_eq!(bytes, b"HMSG a.b 7 _INBOX.x 16 20\r\n");
    line.headers_bytes = 0;
    line.reply_to = None;
    bytes.clear();
    assert_eq!(line.encode(&mut bytes), Ok(13));
    assert_eq!(bytes, b"MSG a.b 7 4\r\n");
    line.payload_bytes = 999_999_999;
    assert_eq!(line.encode(&mut Vec::new()), Ok(21));
    line.headers_bytes = 1;
    let refused = InvalidOperation::MessageTooLong {
        bytes: 1_000_000_000,
    };
    assert_eq!(line.encode(&mut bytes), Err(EncodeError::Invalid(refused)));
    line.payload_bytes = usize::MAX;
    let refused = InvalidOperation::MessageTooLong { bytes: usize::MAX };
    assert_eq!(line.encode(&mut bytes), Err(EncodeError::Invalid(refused)));
    assert_eq!(bytes.len(), 13);
}

#[test]
fn what_would_be_no_operation_is_not_written() {
    let refused = Err(EncodeError::Invalid(InvalidOperation::Argument));
    let mut bytes = Vec::new();
    for bad in ["", "a b", "a\tb", "a\r", "\n"] {
        let operations = [
            publish(bad, None, b"", b""),
            publish("a", Some(bad), b"", b""),
            ClientOperation::Subscribe(Subscribe {
                subject: bad,
                queue_group: None,
                sid: "1",
            }),
            ClientOperation::Subscribe(Subscribe {
                subject: "a",
                queue_group: Some(bad),
                sid: "1",
            }),
            ClientOperation::Unsubscribe(Unsubscribe {
                sid: bad,
                max_messages: None,
            }),
        ];
        for operation in operations {
            assert_eq!(operation.encode(&mut bytes), refused, "{operation:?}");
        }
        let message = ServerOperation::Message(Message {
            subject: "a",
            sid: bad,
            reply_to: None,
            headers: b"",
            payload: b"",
        });
        assert_eq!(message.encode(&mut bytes), refused);
    }
    let refused = Err(EncodeError::Invalid(InvalidOperation::ErrorText));
    for error in [
        ServerError::Other("a\r\nPING"),
        ServerError::PublishPermission { subject: "\n" },
        ServerError::SubscriptionPermission {
            subject: "a",
            queue_group: Some("\r"),
        },
    ] {
        assert_eq!(ServerOperation::Err(error).encode(&mut bytes), refused);
    }
    assert!(bytes.is_empty());
    // More messages than digits can count are as many as they can.
    let unsubscribe = ClientOperation::Unsubscribe(Unsubscribe {
        sid: "1",
        max_messages: NonZeroU32::new(u32::MAX),
    });
    assert_eq!(encoded(&unsubscribe), b"UNSUB 1 999999999\r\n");
}

#[test]
fn errors_are_written_between_quotation_marks() {
    let mut bytes = Vec::new();
    let error = ServerOperation::Err(ServerError::MaximumPayloadViolation);
    error.encode(&mut bytes).expect("a valid operation");
    assert_eq!(bytes, b"-ERR 'Maximum Payload Violation'\r\n");
}
