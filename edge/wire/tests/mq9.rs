//! What the wire decides of the interoperability cases of mq9: exact requests, exact answers.

use wire::mq9::{
    Acknowledge, Agent, Attributes, BODY_DEPTH, Create, Delete, Deliver, Discover, Failure, Fetch,
    Home, Identity, InvalidReply, Kind, Message, PayloadEncoding, Priority, Query, Register, Reply,
    Request, Send, TAGS,
};

const TIME: u64 = 1_767_225_600;

fn decode(command: &str, body: &str) -> Result<Request, Failure> {
    Request::decode(&format!("$mq9.AI.{command}"), b"", body.as_bytes())
}

fn written(reply: &Reply) -> String {
    let mut into = Vec::new();
    reply.encode(&mut into);
    String::from_utf8(into).expect("JSON is text")
}

/// Gives the whole answer to a request that fails.
fn refusal(command: &str, body: &str) -> String {
    written(&Reply::Failed(
        decode(command, body).expect_err("it is refused"),
    ))
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn fetch(body: &str) -> Fetch {
    match decode("MSG.FETCH.t.inbox", body) {
        Ok(Request::Fetch(fetch)) => fetch,
        other => panic!("{body}: {other:?}"),
    }
}

fn query(body: &str) -> Query {
    match decode("MSG.QUERY.t.inbox", body) {
        Ok(Request::Query(query)) => query,
        other => panic!("{body}: {other:?}"),
    }
}

fn send(headers: &[u8]) -> Send {
    match Request::decode("$mq9.AI.MSG.SEND.t.inbox", headers, b"hello") {
        Ok(Request::Send(send)) => send,
        other => panic!("{}: {other:?}", headers.escape_ascii()),
    }
}

#[test]
fn a_subject_that_names_no_request_is_repeated() {
    for subject in [
        "$mq9.AI",
        "$mq9.AI.",
        "$mq9.AIX.y",
        "$mq9.AI.MAILBOX.CREATE.x",
        "$mq9.AI.mailbox.create",
        "$mq9.AI.MSG.SEND",
        "$mq9.AI.MSG.SEND.",
        "$mq9.AI.MSG.SENDER.a",
        "$mq9.AI.MSG.SUB.a",
        "$mq9.AI.MSG.DELETE.7",
        "$mq9.AI.MSG.DELETE..7",
        "$mq9.AI.AGENT.REGISTER.x",
        "$mq9.AI.AGENT.LIST",
        "$mq9.AI.MAILBOX.LIST.m",
        "$mq9.AI.MAILBOX.MSG.m.high",
        "plant.temp",
        "",
    ] {
        let failure = Request::decode(subject, b"", b"").unwrap_err();
        let expected = format!("{{\"error\":\"unrecognized mq9 subject: {subject}\"}}");
        assert_eq!(written(&Reply::Failed(failure)), expected);
    }
}

// 6.1
#[test]
fn a_mailbox_is_created_with_what_is_given() {
    let create = |name: Option<&str>, ttl_seconds, description: &str| {
        let name = name.map(str::to_owned);
        let description = description.to_owned();
        Ok(Request::Create(Create {
            name,
            ttl_seconds,
            description,
        }))
    };
    let table = [
        (
            r#"{"name":"t.inbox","ttl":3600}"#,
            create(Some("t.inbox"), Some(3600), ""),
        ),
        ("", create(None, None, "")),
        ("{}", create(None, None, "")),
        (" \r\n", create(None, None, "")),
        (
            r#"{"name":null,"ttl":null,"desc":null}"#,
            create(None, None, ""),
        ),
        (
            r#"{"ttl":0,"name":"t.forever"}"#,
            create(Some("t.forever"), Some(0), ""),
        ),
        (
            r#"{"name":"t.y","desc":"d","foo":1}"#,
            create(Some("t.y"), None, "d"),
        ),
    ];
    for (body, expected) in table {
        assert_eq!(decode("MAILBOX.CREATE", body), expected, "{body}");
    }
}

#[test]
fn a_mailbox_is_refused_in_the_words_of_the_protocol() {
    let long = format!(r#"{{"name":"{}"}}"#, "a".repeat(129));
    let characters = "name may only contain lowercase letters, digits, and dots";
    let edge = "prefix must start and end with a lowercase letter or digit";
    let table = [
        (r#"{"name":""}"#, "prefix must not be empty"),
        (r#"{"name":"Task.001"}"#, characters),
        (r#"{"name":"task-001"}"#, characters),
        (r#"{"name":"task_001"}"#, characters),
        (r#"{"name":".a"}"#, edge),
        (r#"{"name":"a."}"#, edge),
        (
            r#"{"name":"a..b"}"#,
            "invalid mail_address: consecutive dots",
        ),
        (&long, "invalid mail_address: longer than 128 characters"),
        (
            r#"{"name":"t.x","ttl":-1}"#,
            "invalid MAILBOX.CREATE payload: \
             invalid value: integer `-1`, expected u64 at line 1 column 22",
        ),
        (
            r#"{"name":"t.x","ttl":1.0}"#,
            "invalid MAILBOX.CREATE payload: \
             invalid type: floating point `1.0`, expected u64 at line 1 column 23",
        ),
        (
            "not json",
            "invalid MAILBOX.CREATE payload: expected ident at line 1 column 2",
        ),
        (
            "[]",
            "invalid MAILBOX.CREATE payload: invalid type: sequence, expected an object",
        ),
    ];
    for (body, expected) in table {
        let expected = format!("{{\"error\":\"{expected}\"}}");
        assert_eq!(refusal("MAILBOX.CREATE", body), expected, "{body}");
    }
}

// 6.2
#[test]
fn headers_say_how_a_message_is_kept() {
    let usual = Attributes::default();
    let priority = |priority| Attributes {
        priority,
        ..Attributes::default()
    };
    let tags = |tags: &[&str]| Attributes {
        tags: tags.iter().copied().map(str::to_owned).collect(),
        ..Attributes::default()
    };
    let all = Attributes {
        priority: Priority::Critical,
        key: text("status"),
        delay_seconds: Some(2),
        ttl_seconds: Some(60),
        tags: vec!["a".to_owned(), "b".to_owned()],
    };
    let table = [
        ("", usual.clone()),
        ("NATS/1.0\r\n\r\n", usual.clone()),
        (
            "NATS/1.0\r\nmq9-priority: urgent\r\n\r\n",
            priority(Priority::Urgent),
        ),
        ("NATS/1.0\r\nmq9-priority: normal\r\n\r\n", usual.clone()),
        ("NATS/1.0\r\nmq9-priority: high\r\n\r\n", usual.clone()),
        ("NATS/1.0\r\nmq9-priority: URGENT\r\n\r\n", usual.clone()),
        (
            "NATS/1.0\r\nMQ9-Priority:critical\r\n\r\n",
            priority(Priority::Critical),
        ),
        (
            "NATS/1.0\r\nmq9-priority: critical\r\nmq9-priority: urgent\r\n\r\n",
            priority(Priority::Urgent),
        ),
        (
            "NATS/1.0\r\n\r\nmq9-priority: urgent\r\n\r\n",
            usual.clone(),
        ),
        ("NATS/1.0\r\nmq9-delay: abc\r\n\r\n", usual.clone()),
        (
            "NATS/1.0\r\nmq9-delay: 0\r\nmq9-ttl: 0\r\n\r\n",
            usual.clone(),
        ),
        ("NATS/1.0\r\nmq9-ttl: -1\r\nmq9-key:\r\n\r\n", usual.clone()),
        (
            "NATS/1.0\r\nmq9-ttl: 5\r\nmq9-ttl: x\r\n\r\n",
            usual.clone(),
        ),
        (
            "NATS/1.0\r\nmq9-tags: billing, vip ,\r\n\r\n",
            tags(&["billing", "vip"]),
        ),
        (
            "NATS/1.0\r\nmq9-tags: a,a\r\nmq9-tags: c,c,d\r\n\r\n",
            tags(&["c", "d"]),
        ),
        (
            "NATS/1.0 503 x\r\nmq9-priority:critical\r\nmq9-key: status\r\nother: 1\r\n\
             mq9-delay:2\r\nmq9-ttl: 60\r\nmq9-tags: a,b\r\n\r\n",
            all,
        ),
    ];
    for (headers, expected) in table {
        let send = send(headers.as_bytes());
        assert_eq!(send.attributes, expected, "{headers:?}");
        assert_eq!(send.headers, headers.as_bytes());
        assert_eq!(send.payload, b"hello");
        assert_eq!(send.address, "t.inbox");
    }
}

#[test]
fn a_header_block_that_is_no_text_is_kept_and_asks_for_nothing() {
    let block = b"NATS/1.0\r\nmq9-priority: urgent\r\nx: \xFF\r\n\r\n";
    let send = send(block);
    assert_eq!(send.attributes, Attributes::default());
    assert_eq!(send.headers, block);
}

#[test]
fn more_tags_than_allowed_are_refused() {
    let list = |count: usize| {
        let tags: Vec<String> = (0..count).map(|tag| tag.to_string()).collect();
        tags.join(",")
    };
    let block = |count| format!("NATS/1.0\r\nmq9-tags: {}\r\n\r\n", list(count));
    assert_eq!(send(block(TAGS).as_bytes()).attributes.tags.len(), TAGS);
    let refused = Request::decode("$mq9.AI.MSG.SEND.a", block(TAGS + 1).as_bytes(), b"");
    let words = "mq9-tags has more than the 64 tags that are allowed";
    assert_eq!(refused, Err(Failure::Refused(words.into())));

    let body = |count| format!(r#"{{"tags":["{}"]}}"#, list(count).replace(',', r#"",""#));
    assert_eq!(query(&body(TAGS)).tags.len(), TAGS);
    let refused = refusal("MSG.QUERY.a", &body(TAGS + 1));
    let expected = "invalid query request: invalid length 65, expected at most 64 tags";
    assert!(refused.contains(expected), "{refused}");
}

#[test]
fn user_properties_say_how_a_message_is_kept_too() {
    let fields = [("mq9-key", "k"), ("Mq9-Priority", "urgent"), ("mq9", "x")];
    let attributes = Attributes::from_fields(fields).unwrap();
    assert_eq!(attributes.key, text("k"));
    assert_eq!(attributes.priority, Priority::Urgent);
}

#[test]
fn sent_is_answered_with_the_id_or_minus_one() {
    assert_eq!(
        written(&Reply::Sent { id: Some(0) }),
        r#"{"error":"","msg_id":0}"#
    );
    assert_eq!(
        written(&Reply::Sent { id: None }),
        r#"{"error":"","msg_id":-1}"#
    );
}

// 6.3
#[test]
fn a_fetch_has_defaults_for_all_that_it_leaves_out() {
    let usual = Fetch {
        address: "t.inbox".into(),
        group: None,
        deliver: Deliver::Latest,
        is_forced: false,
        count: 100,
        wait_milliseconds: 500,
        encoding: None,
    };
    let earliest = |group| Fetch {
        group,
        deliver: Deliver::Earliest,
        ..usual.clone()
    };
    let from = |deliver, wait_milliseconds| Fetch {
        deliver,
        wait_milliseconds,
        ..usual.clone()
    };
    let table = [
        ("", usual.clone()),
        ("{}", usual.clone()),
        (r#"{"deliver":"earliest"}"#, earliest(None)),
        (
            r#"{"group_name":"g","deliver":"earliest","from_time":null,"from_id":null,"force_deliver":null,"config":null}"#,
            earliest(text("g")),
        ),
        (
            r#"{"deliver":"latest","force_deliver":false,"config":{"num_msgs":100,"max_wait_ms":500}}"#,
            usual.clone(),
        ),
        (
            r#"{"group_name":"","deliver":"earliest","from_time":0,"from_id":0,"force_deliver":false,"config":{"num_msgs":100,"max_wait_ms":500}}"#,
            earliest(None),
        ),
        (
            r#"{"deliver":"from_id","from_id":3}"#,
            from(Deliver::FromId(3), 500),
        ),
        (r#"{"deliver":"from_id"}"#, from(Deliver::FromId(0), 500)),
        (
            r#"{"deliver":"from_id","from_id":99,"config":{"max_wait_ms":0}}"#,
            from(Deliver::FromId(99), 0),
        ),
        (
            r#"{"deliver":"from_time","from_time":7,"config":{"max_wait_ms":0}}"#,
            from(Deliver::FromTime(7), 0),
        ),
        (
            r#"{"group_name":"g3","deliver":"earliest","config":{"num_msgs":3}}"#,
            Fetch {
                count: 3,
                ..earliest(text("g3"))
            },
        ),
        (
            r#"{"force_deliver":true,"payload_encoding":"utf8","deliver":null}"#,
            Fetch {
                is_forced: true,
                encoding: Some(PayloadEncoding::Utf8),
                ..usual.clone()
            },
        ),
    ];
    for (body, expected) in table {
        assert_eq!(fetch(body), expected, "{body}");
    }
}

#[test]
fn a_fetch_is_refused_in_the_words_of_the_parser_alone() {
    let table = [
        (
            r#"{"deliver":"newest"}"#,
            "unknown variant `newest`, expected one of `earliest`, `latest`, `from_time`, \
             `from_id` at line 1 column 19",
        ),
        (
            r#"{"config":{"num_msgs":-1}}"#,
            "invalid value: integer `-1`, expected u32 at line 1 column 24",
        ),
        (
            r#"{"payload_encoding":"hex"}"#,
            "unknown variant `hex`, expected `base64` or `utf8` at line 1 column 25",
        ),
        ("{", "EOF while parsing an object at line 1 column 1"),
    ];
    for (body, expected) in table {
        let expected = format!("{{\"error\":\"{expected}\"}}");
        assert_eq!(refusal("MSG.FETCH.t.inbox", body), expected);
    }
}

fn message(id: u64, payload: &[u8]) -> Message {
    Message {
        id,
        priority: Priority::Normal,
        headers: Vec::new(),
        payload: payload.to_vec(),
        time: TIME,
    }
}

#[test]
fn messages_are_written_as_text_or_base64_and_as_base64_beside() {
    let mut urgent = message(4, b"x");
    urgent.priority = Priority::Urgent;
    urgent.headers = b"NATS/1.0\r\nmq9-priority: urgent\r\n\r\n".to_vec();
    let header = "[78,65,84,83,47,49,46,48,13,10,109,113,57,45,112,114,105,111,114,105,116,121,\
                  58,32,117,114,103,101,110,116,13,10,13,10]";
    let json = message(0, br#"{"text":"hello"}"#);
    let table = [
        (vec![], PayloadEncoding::Utf8, String::new()),
        (
            vec![message(0, b"m0"), urgent],
            PayloadEncoding::Utf8,
            format!(
                r#"{{"msg_id":0,"payload":"m0","priority":"normal","header":null,"create_time":{TIME},"payload_b64":"bTA="}},"#
            ) + &format!(
                r#"{{"msg_id":4,"payload":"x","priority":"urgent","header":{header},"create_time":{TIME},"payload_b64":"eA=="}}"#
            ),
        ),
        (
            vec![json],
            PayloadEncoding::Utf8,
            format!(
                r#"{{"msg_id":0,"payload":"{{\"text\":\"hello\"}}","priority":"normal","header":null,"create_time":{TIME},"payload_b64":"eyJ0ZXh0IjoiaGVsbG8ifQ=="}}"#
            ),
        ),
        (
            vec![message(9, b"\xFF\x00hello")],
            PayloadEncoding::Utf8,
            format!(
                "{{\"msg_id\":9,\"payload\":\"\u{FFFD}\\u0000hello\",\"priority\":\"normal\",\"header\":null,\"create_time\":{TIME},\"payload_b64\":\"/wBoZWxsbw==\"}}"
            ),
        ),
        (
            vec![message(9, b"hello"), message(10, b"")],
            PayloadEncoding::Base64,
            format!(
                r#"{{"msg_id":9,"payload":"aGVsbG8=","priority":"normal","header":null,"create_time":{TIME},"payload_b64":"aGVsbG8="}},"#
            ) + &format!(
                r#"{{"msg_id":10,"payload":"","priority":"normal","header":null,"create_time":{TIME},"payload_b64":""}}"#
            ),
        ),
    ];
    for (messages, encoding, expected) in table {
        let reply = Reply::Messages { messages, encoding };
        let expected = format!(r#"{{"error":"","messages":[{expected}]}}"#);
        assert_eq!(written(&reply), expected);
    }
}

// 6.4
#[test]
fn an_acknowledgement_goes_by_its_body() {
    let acknowledge = |group: &str, address: &str, id| {
        let (group, address) = (group.to_owned(), address.to_owned());
        Ok(Request::Acknowledge(Acknowledge { address, group, id }))
    };
    let table = [
        (
            r#"{"group_name":"g","mail_address":"t.inbox","msg_id":4}"#,
            acknowledge("g", "t.inbox", 4),
        ),
        (
            r#"{"group_name":"g","mail_address":"nope","msg_id":0}"#,
            acknowledge("g", "nope", 0),
        ),
        (
            r#"{"group_name":"","mail_address":"t.inbox","msg_id":0}"#,
            acknowledge("", "t.inbox", 0),
        ),
        (
            r#"{"group_name":"g","msg_id":18446744073709551615}"#,
            acknowledge("g", "t.inbox", u64::MAX),
        ),
        (
            r#"{"group_name":"g","mail_address":null,"msg_id":1}"#,
            acknowledge("g", "t.inbox", 1),
        ),
    ];
    for (body, expected) in table {
        assert_eq!(decode("MSG.ACK.t.inbox", body), expected, "{body}");
    }
    let table = [
        (
            r#"{"group_name":"g","mail_address":"t.inbox"}"#,
            "missing field `msg_id` at line 1 column 43",
        ),
        (
            r#"{"group_name":"g","mail_address":"t.inbox","msg_id":-1}"#,
            "invalid value: integer `-1`, expected u64 at line 1 column 54",
        ),
        ("", "missing field `group_name` at line 1 column 2"),
    ];
    for (body, expected) in table {
        let expected = format!("{{\"error\":\"{expected}\"}}");
        assert_eq!(refusal("MSG.ACK.t.inbox", body), expected);
    }
    let failure = Failure::NoMailboxToAcknowledge("nope".into());
    assert_eq!(
        written(&Reply::Failed(failure)),
        r#"{"error":"mailbox not found: nope"}"#
    );
    assert_eq!(written(&Reply::Done), r#"{"error":""}"#);
}

// 6.5
#[test]
fn a_query_has_its_filters_and_never_over_a_hundred() {
    let usual = Query {
        address: "t.inbox".into(),
        key: None,
        tags: Vec::new(),
        since: None,
        limit: 100,
        encoding: None,
    };
    let limited = |limit| Query {
        limit,
        ..usual.clone()
    };
    let table = [
        ("", usual.clone()),
        ("{}", usual.clone()),
        (
            r#"{"key":null,"tags":null,"since":null,"limit":null}"#,
            usual.clone(),
        ),
        (r#"{"limit":3}"#, limited(3)),
        (r#"{"limit":0}"#, limited(0)),
        (r#"{"limit":1000}"#, limited(100)),
        (
            r#"{"key":"status","tags":["billing","urgent"],"since":9,"payload_encoding":"base64"}"#,
            Query {
                key: text("status"),
                tags: vec!["billing".into(), "urgent".into()],
                since: Some(9),
                encoding: Some(PayloadEncoding::Base64),
                ..usual.clone()
            },
        ),
        (r#"{"tags":[]}"#, usual.clone()),
    ];
    for (body, expected) in table {
        assert_eq!(query(body), expected, "{body}");
    }
    let refused = refusal("MSG.QUERY.t.inbox", "[1]");
    assert!(
        refused.starts_with(r#"{"error":"invalid query request: "#),
        "{refused}"
    );
}

// 6.6
#[test]
fn a_message_is_deleted_whatever_the_body_says() {
    let delete = |address: &str, id| {
        let address = address.to_owned();
        Ok(Request::Delete(Delete { address, id }))
    };
    for body in ["", r#""""#, "{}", "null", "\u{0}["] {
        assert_eq!(decode("MSG.DELETE.t.inbox.1", body), delete("t.inbox", 1));
    }
    assert_eq!(decode("MSG.DELETE.task.001.0", ""), delete("task.001", 0));
    for id in ["abc", "-1", "", "18446744073709551616"] {
        let expected = format!("{{\"error\":\"invalid msg_id: {id}\"}}");
        assert_eq!(refusal(&format!("MSG.DELETE.t.inbox.{id}"), ""), expected);
    }
    let deleted = |was_there| written(&Reply::Deleted { was_there });
    assert_eq!(deleted(true), r#"{"error":"","deleted":true}"#);
    assert_eq!(deleted(false), r#"{"error":"","deleted":false}"#);
}

// 6.7
#[test]
fn an_agent_registers_with_name_or_mailbox_and_all_it_says_is_kept() {
    let table = [
        (
            r#"{"name":"a.t","mailbox":"a.t","payload":"EN ZH translation"}"#,
            ("a.t", Some("a.t")),
        ),
        (
            r#"{"name":"a.card","payload":"{\"name\":\"a.card\",\"description\":\"pay\"}"}"#,
            ("a.card", None),
        ),
        (
            r#"{"name":"a.c2","description":"d","version":"1","skills":[{"id":"x","name":"X","description":"","tags":["t"]}]}"#,
            ("a.c2", None),
        ),
        (
            r#"{"name":"a.x","mailbox":"mq9://broker/a.x","description":"d","skills":["s"]}"#,
            ("a.x", Some("mq9://broker/a.x")),
        ),
        (r#"{"mailbox":"a.only"}"#, ("a.only", Some("a.only"))),
        (
            r#"{"name":"","mailbox":"a.only"}"#,
            ("a.only", Some("a.only")),
        ),
        (
            r#"{"name":"a2a","mailbox":"a2a","payload":"{}","agent_card":{"name":"a2a"}}"#,
            ("a2a", Some("a2a")),
        ),
        (r#"{"name":"a","payload":{"q":[1]}}"#, ("a", None)),
        (" {\"name\":\"a\"}\n", ("a", None)),
    ];
    for (body, (name, mailbox)) in table {
        let expected = Request::Register(Register {
            name: name.into(),
            mailbox: mailbox.map(str::to_owned),
            body: body.trim().into(),
        });
        assert_eq!(decode("AGENT.REGISTER", body), Ok(expected), "{body}");
    }
}

#[test]
fn an_agent_is_refused_in_the_words_of_the_protocol() {
    let prefix = "invalid AGENT.REGISTER payload: ";
    let table = [
        ("", "payload must not be empty"),
        (
            r#"{"name":"a","payload":""}"#,
            "agent_info must not be empty",
        ),
        (r#"{"name":""}"#, "agent name must not be empty"),
        (
            "[]",
            "invalid AGENT.REGISTER payload: invalid type: sequence, expected an object",
        ),
        ("{}", "invalid AGENT.REGISTER payload: missing field `name`"),
        ("null", prefix),
        (r#"{"name":7}"#, prefix),
        (r#"{"name":"a","name":"b"}"#, prefix),
        (r#"{"name":"a","x":1e999}"#, prefix),
        (r#"{"name":"a","x":"\ud800"}"#, prefix),
    ];
    for (body, expected) in table {
        let refused = refusal("AGENT.REGISTER", body);
        assert!(
            refused.starts_with(&format!("{{\"error\":\"{expected}")),
            "{refused}"
        );
        if expected != prefix {
            assert_eq!(refused, format!("{{\"error\":\"{expected}\"}}"));
        }
    }
    let not_text = Request::decode(
        "$mq9.AI.AGENT.REGISTER",
        b"",
        b"{\"name\":\"a\",\"x\":\"\xFF\"}",
    );
    let words = format!("{prefix}text is not well-formed UTF-8");
    assert_eq!(not_text, Err(Failure::Body(words)));
    let deep = |levels: usize| {
        let (open, close) = ("[".repeat(levels - 1), "]".repeat(levels - 1));
        decode(
            "AGENT.REGISTER",
            &format!(r#"{{"name":"a","x":{open}{close}}}"#),
        )
    };
    assert!(deep(BODY_DEPTH).is_ok());
    assert!(deep(BODY_DEPTH + 1).is_err());
}

// 6.8, 6.9
#[test]
fn an_agent_is_meant_by_name_or_mailbox() {
    let identity = |name: Option<&str>, mailbox: Option<&str>| Identity {
        name: name.map(str::to_owned),
        mailbox: mailbox.map(str::to_owned),
    };
    let table = [
        (r#"{"name":"a.t"}"#, identity(Some("a.t"), None)),
        (r#"{"mailbox":"a.t"}"#, identity(None, Some("a.t"))),
        (
            r#"{"mailbox":"mq9://broker/a.x"}"#,
            identity(None, Some("mq9://broker/a.x")),
        ),
        (
            r#"{"name":"a.t","report_info":"running"}"#,
            identity(Some("a.t"), None),
        ),
        (
            r#"{"name":"a.t","mailbox":"a.t","report_info":"running"}"#,
            identity(Some("a.t"), Some("a.t")),
        ),
        (
            r#"{"mailbox":"a.t","status":"running","reviewed_today":42}"#,
            identity(None, Some("a.t")),
        ),
        (
            r#"{"name":"a.t","report_info":{"q":1}}"#,
            identity(Some("a.t"), None),
        ),
    ];
    for (body, agent) in table {
        let gone = Request::Unregister(agent.clone());
        assert_eq!(decode("AGENT.UNREGISTER", body), Ok(gone));
        let Ok(Request::Report(report)) = decode("AGENT.REPORT", body) else {
            panic!("{body}");
        };
        assert_eq!((report.agent, report.body.as_str()), (agent, body));
    }
    for command in ["AGENT.UNREGISTER", "AGENT.REPORT"] {
        let missing = format!("{{\"error\":\"invalid {command} payload: missing field `name`\"}}");
        assert_eq!(refusal(command, ""), missing);
        assert_eq!(refusal(command, "{}"), missing);
        assert_eq!(
            refusal(command, r#"{"name":""}"#),
            r#"{"error":"agent name must not be empty"}"#
        );
    }
}

// 6.10
#[test]
fn agents_are_looked_for_by_words_or_all_of_them() {
    let discover = |words: Option<&str>, limit, page| {
        let words = words.map(str::to_owned);
        Ok(Request::Discover(Discover { words, limit, page }))
    };
    let table = [
        ("", discover(None, None, 1)),
        ("{}", discover(None, None, 1)),
        (r#"{"limit":20,"page":1}"#, discover(None, Some(20), 1)),
        (r#"{"limit":1,"page":2}"#, discover(None, Some(1), 2)),
        (
            r#"{"text":"translation"}"#,
            discover(Some("translation"), None, 1),
        ),
        (
            r#"{"semantic":"translate Chinese text into English","limit":5}"#,
            discover(Some("translate Chinese text into English"), Some(5), 1),
        ),
        (
            r#"{"text":"a","semantic":"b"}"#,
            discover(Some("b"), None, 1),
        ),
        (r#"{"text":"","semantic":""}"#, discover(None, None, 1)),
        (
            r#"{"text":null,"semantic":null,"limit":20,"page":1}"#,
            discover(None, Some(20), 1),
        ),
        (r#"{"page":0}"#, discover(None, Some(20), 1)),
        (r#"{"page":3}"#, discover(None, Some(20), 3)),
    ];
    for (body, expected) in table {
        assert_eq!(decode("AGENT.DISCOVER", body), expected, "{body}");
    }
    let refused = refusal("AGENT.DISCOVER", r#"{"limit":-1}"#);
    assert!(
        refused.starts_with(r#"{"error":"invalid AGENT.DISCOVER payload: "#),
        "{refused}"
    );
}

fn agent(name: &str, mailbox: Option<&str>, body: &str) -> Agent {
    Agent {
        name: name.to_owned(),
        mailbox: mailbox.map(str::to_owned),
        body: body.to_owned(),
        lives: Home::Edge,
        seen: TIME,
    }
}

#[test]
fn an_agent_is_shown_with_its_own_fields_behind_those_of_all() {
    let table = [
        (
            agent(
                "a.t",
                Some("a.t"),
                r#"{"name":"a.t","mailbox":"a.t","payload":"EN ZH translation"}"#,
            ),
            r#"{"name":"a.t","mailbox":"a.t","payload":"EN ZH translation","agent_info":"EN ZH translation","agent_id":"default\u0000a.t","description":"","home":"edge","last_seen":1767225600}"#,
        ),
        (
            agent(
                "a.card",
                None,
                r#"{"name":"a.card","payload":"{\"name\":\"a.card\",\"description\":\"pay\"}"}"#,
            ),
            r#"{"name":"a.card","mailbox":"","payload":"{\"name\":\"a.card\",\"description\":\"pay\"}","agent_info":"{\"name\":\"a.card\",\"description\":\"pay\"}","agent_id":"default\u0000a.card","description":"pay","home":"edge","last_seen":1767225600}"#,
        ),
        (
            agent(
                "a.x",
                Some("mq9://broker/a.x"),
                r#"{"name":"a.x","description":"d","skills":[ "s" ],"home":"x"}"#,
            ),
            r#"{"name":"a.x","mailbox":"mq9://broker/a.x","payload":"{\"name\":\"a.x\",\"description\":\"d\",\"skills\":[ \"s\" ],\"home\":\"x\"}","agent_info":"{\"name\":\"a.x\",\"description\":\"d\",\"skills\":[ \"s\" ],\"home\":\"x\"}","agent_id":"default\u0000a.x","description":"d","home":"edge","last_seen":1767225600,"skills":[ "s" ]}"#,
        ),
        (
            agent(
                "a2a",
                Some("a2a"),
                r#"{"payload":{"q":1},"agent_card":{"n":[]}}"#,
            ),
            r#"{"name":"a2a","mailbox":"a2a","payload":{"q":1},"agent_info":"{\"q\":1}","agent_id":"default\u0000a2a","description":"","home":"edge","last_seen":1767225600,"agent_card":{"n":[]}}"#,
        ),
        (
            agent("b", None, "no object"),
            r#"{"name":"b","mailbox":"","payload":"no object","agent_info":"no object","agent_id":"default\u0000b","description":"","home":"edge","last_seen":1767225600}"#,
        ),
    ];
    for (agent, expected) in table {
        let bound = agent.encoded_bytes_at_most();
        let shown = written(&Reply::Agents(vec![agent]));
        assert_eq!(shown, format!("{{\"error\":\"\",\"agents\":[{expected}]}}"));
        assert!(expected.len() < bound, "{expected}");
    }
    assert_eq!(
        written(&Reply::Agents(Vec::new())),
        r#"{"error":"","agents":[]}"#
    );
}

#[test]
fn failures_have_the_words_that_clients_know() {
    let table = [
        (
            Failure::NoMailbox("nope".into()),
            "mailbox nope does not exist",
        ),
        (
            Failure::MailboxExists("t.inbox".into()),
            "mailbox t.inbox already exists",
        ),
        (Failure::Refused("a \"limit\"".into()), "a \\\"limit\\\""),
    ];
    for (failure, expected) in table {
        assert_eq!(
            written(&Reply::Failed(failure)),
            format!("{{\"error\":\"{expected}\"}}")
        );
    }
}

// What RobustMQ answered when it was asked.
#[test]
fn answers_of_robustmq_are_read() {
    let plain = |id, payload: &str, priority| Message {
        priority,
        ..message(id, payload.as_bytes())
    };
    let created = Reply::Created {
        address: "t.inbox".into(),
    };
    let messages = |messages| Reply::Messages {
        messages,
        encoding: PayloadEncoding::Base64,
    };
    let table = [
        (
            Kind::Create,
            r#"{"error":"","mail_address":"t.inbox"}"#,
            created,
        ),
        (
            Kind::Create,
            r#"{"error":"mailbox t.inbox already exists"}"#,
            Reply::Failed(Failure::MailboxExists("t.inbox".into())),
        ),
        (
            Kind::Send,
            r#"{"error":"","msg_id":0}"#,
            Reply::Sent { id: Some(0) },
        ),
        (
            Kind::Send,
            r#"{"error":"","msg_id":-1}"#,
            Reply::Sent { id: None },
        ),
        (
            Kind::Send,
            r#"{"error":"mailbox nope does not exist"}"#,
            Reply::Failed(Failure::NoMailbox("nope".into())),
        ),
        (
            Kind::Fetch,
            r#"{"error":"Tenant default topic 'nope' not found in broker cache"}"#,
            Reply::Failed(Failure::NoMailbox("nope".into())),
        ),
        (
            Kind::Fetch,
            "{\"error\":\"\",\"messages\":[{\"msg_id\":1,\"payload\":\"\u{FFFD}\\u0000bin\",\"priority\":\"critical\",\"header\":null,\"create_time\":1767225600}]}",
            messages(vec![plain(1, "\u{FFFD}\0bin", Priority::Critical)]),
        ),
        (
            Kind::Query,
            r#"{"messages":[{"msg_id":2,"payload":"x","priority":"","create_time":1767225600},{"msg_id":3,"create_time":1767225600}]}"#,
            messages(vec![
                plain(2, "x", Priority::Normal),
                plain(3, "", Priority::Normal),
            ]),
        ),
        (
            Kind::Fetch,
            // The marked payload of an edge that has sent bytes.
            r#"{"error":"","messages":[{"msg_id":9,"payload":"/wA=","priority":"normal","header":[78,65,84,83,47,49,46,48,13,10,109,113,57,45,101,100,103,101,45,101,110,99,58,32,98,54,52,13,10,13,10],"create_time":1767225600}]}"#,
            messages(vec![message(9, b"\xFF\0")]),
        ),
        (Kind::Acknowledge, r#"{"error":""}"#, Reply::Done),
        (
            Kind::Delete,
            r#"{"error":"","deleted":true}"#,
            Reply::Deleted { was_there: true },
        ),
        (Kind::Register, r#"{"error":"","more":1}"#, Reply::Done),
        (
            Kind::Discover,
            r#"{"error":"agent search is not enabled in this build"}"#,
            Reply::Failed(Failure::Refused(
                "agent search is not enabled in this build".into(),
            )),
        ),
    ];
    for (kind, bytes, expected) in table {
        assert_eq!(
            Reply::decode(kind, bytes.as_bytes()),
            Ok(expected),
            "{bytes}"
        );
    }
}

#[test]
fn agents_of_the_cloud_are_found_inside_of_what_it_keeps() {
    let registered = r#"{"name":"a.t","mailbox":"a.box","payload":"EN ZH"}"#;
    let quoted = registered.replace('"', "\\\"");
    let item = r#"{"name":"plain","agent_info":"some words"}"#;
    let unsound = r#"{"name":"deep","agent_info":"x","y":1e999}"#;
    let answer = format!(
        r#"{{"error":"","agents":[{{"name":"a.t","agent_info":"{quoted}"}},{item},{{"agent_info":"nameless"}},{unsound},7,{{"name":"odd","agent_info":"{odd}"}}]}}"#,
        odd = r#"{\"mailbox\":7,\"agent_info\":false}"#,
    );
    let cloud = |name, mailbox, body| Agent {
        lives: Home::Cloud,
        seen: 0,
        ..agent(name, mailbox, body)
    };
    let expected = vec![
        cloud("a.t", Some("a.box"), registered),
        cloud("plain", None, item),
        cloud("odd", None, r#"{"mailbox":7,"agent_info":false}"#),
    ];
    let decoded = Reply::decode(Kind::Discover, answer.as_bytes());
    assert_eq!(decoded, Ok(Reply::Agents(expected)));
}

#[test]
fn what_is_no_answer_is_refused() {
    let missing = |field| Err(InvalidReply::Missing { field });
    let table = [
        (Kind::Create, r#"{"error":""}"#, missing("mail_address")),
        (Kind::Send, r#"{"error":""}"#, missing("msg_id")),
        (Kind::Fetch, r#"{"error":""}"#, missing("messages")),
        (Kind::Discover, "{}", missing("agents")),
        (
            Kind::Send,
            "",
            Err(InvalidReply::Json { line: 1, column: 0 }),
        ),
        (
            Kind::Fetch,
            r#"{"messages":[{}]}"#,
            Err(InvalidReply::Json {
                line: 1,
                column: 15,
            }),
        ),
    ];
    for (kind, bytes, expected) in table {
        assert_eq!(Reply::decode(kind, bytes.as_bytes()), expected, "{bytes}");
    }
}

// What RobustMQ would take otherwise than it is meant.
#[test]
fn a_message_travels_so_that_robustmq_keeps_it_as_it_is_meant() {
    let block = "NATS/1.0\r\nMQ9-Priority: urgent\r\nmq9-ttl: 0\r\nmq9-delay: 0\r\nmine: 1\r\n\r\n";
    let request = Request::Send(send(block.as_bytes()));
    assert_eq!(request.subject(), "$mq9.AI.MSG.SEND.t.inbox");
    let expected = "NATS/1.0\r\nmq9-priority: urgent\r\nmine: 1\r\n\r\n";
    assert_eq!(String::from_utf8(request.headers()).unwrap(), expected);
    assert_eq!(request.body(), b"hello");

    let mut bytes = send(b"");
    bytes.payload = b"\xFF\0".to_vec();
    bytes.attributes.key = text("two\r\nlines: 1");
    let request = Request::Send(bytes);
    let expected = "NATS/1.0\r\nmq9-key: two  lines: 1\r\nmq9-edge-enc: b64\r\n\r\n";
    assert_eq!(String::from_utf8(request.headers()).unwrap(), expected);
    assert_eq!(request.body(), b"/wA=");
    assert!(Request::Send(send(b"")).headers().is_empty());
}

#[test]
fn what_an_agent_says_travels_as_one_text() {
    let body = r#"{"name":"a.t","mailbox":"a.t","payload":"EN ZH"}"#;
    let register = decode("AGENT.REGISTER", body).unwrap();
    assert_eq!(register.subject(), "$mq9.AI.AGENT.REGISTER");
    let expected = r#"{"name":"a.t","mailbox":"a.t","payload":"{\"name\":\"a.t\",\"mailbox\":\"a.t\",\"payload\":\"EN ZH\"}"}"#;
    assert_eq!(String::from_utf8(register.body()).unwrap(), expected);
    let gone = decode("AGENT.UNREGISTER", r#"{"mailbox":"a.t"}"#).unwrap();
    assert_eq!(gone.body(), br#"{"name":"a.t","mailbox":"a.t"}"#);
}
