//! What holds for every request and reply of mq9: it comes back as it was, takes the room that was
//! told, and no bytes whatever make a decoder panic.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use wire::mq9::{
    Acknowledge, Agent, Attributes, Create, Delete, Deliver, Discover, Failure, Fetch, Home,
    Identity, Kind, Message, PayloadEncoding, Priority, Query, Register, Reply, Report, Request,
    Send,
};

fn address() -> impl Strategy<Value = String> {
    "[a-z0-9]{1,8}(\\.[a-z0-9]{1,8}){0,2}"
}

fn priority() -> impl Strategy<Value = Priority> {
    select(vec![Priority::Critical, Priority::Urgent, Priority::Normal])
}

fn encoding() -> impl Strategy<Value = PayloadEncoding> {
    select(vec![PayloadEncoding::Base64, PayloadEncoding::Utf8])
}

fn deliver() -> impl Strategy<Value = Deliver> {
    prop_oneof![
        Just(Deliver::Earliest),
        Just(Deliver::Latest),
        any::<u64>().prop_map(Deliver::FromTime),
        any::<u64>().prop_map(Deliver::FromId),
    ]
}

prop_compose! {
    fn attributes()(
        priority in priority(),
        key in option::of("[!-~]([ -~]{0,6}[!-~])?"),
        delay_seconds in option::of(1..u64::MAX),
        ttl_seconds in option::of(1..u64::MAX),
        tags in prop::collection::btree_set("[!-+.-~]{1,6}", 0..4),
    ) -> Attributes {
        let tags = tags.into_iter().collect();
        Attributes { priority, key, delay_seconds, ttl_seconds, tags }
    }
}

/// Chooses a request that a server can have read.
fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        (option::of(address()), option::of(any::<u64>()), ".{0,8}").prop_map(
            |(name, ttl_seconds, description)| Request::Create(Create {
                name,
                ttl_seconds,
                description
            })
        ),
        (
            address(),
            option::of(".{1,8}"),
            deliver(),
            any::<bool>(),
            any::<(u32, u64)>(),
            option::of(encoding())
        )
            .prop_map(|(address, group, deliver, is_forced, numbers, encoding)| {
                let (count, wait_milliseconds) = numbers;
                Request::Fetch(Fetch {
                    address,
                    group,
                    deliver,
                    is_forced,
                    count,
                    wait_milliseconds,
                    encoding,
                })
            }),
        (address(), ".{0,8}", any::<u64>()).prop_map(|(address, group, id)| Request::Acknowledge(
            Acknowledge { address, group, id }
        )),
        (
            address(),
            option::of(".{1,8}"),
            vec(".{0,4}", 0..4),
            option::of(any::<u64>()),
            0..=100_u64,
            option::of(encoding())
        )
            .prop_map(|(address, key, tags, since, limit, encoding)| {
                Request::Query(Query {
                    address,
                    key,
                    tags,
                    since,
                    limit,
                    encoding,
                })
            }),
        (address(), any::<u64>()).prop_map(|(address, id)| Request::Delete(Delete { address, id })),
        (".{1,8}", option::of(".{1,8}")).prop_map(|(name, mailbox)| Request::Unregister(
            Identity {
                name: Some(name),
                mailbox
            }
        )),
        (option::of(".{1,8}"), option::of(any::<u32>()), any::<u32>()).prop_map(
            |(words, limit, page)| {
                let page = limit.map_or(1, |_| page.max(1));
                Request::Discover(Discover { words, limit, page })
            }
        ),
    ]
}

prop_compose! {
    fn message()(
        id: u64,
        priority in priority(),
        headers in vec(any::<u8>(), 0..40),
        payload in prop_oneof![vec(any::<u8>(), 0..60), ".{0,20}".prop_map(String::into_bytes)],
        time: u64,
    ) -> Message {
        Message { id, priority, headers, payload, time }
    }
}

/// Chooses JSON as it may stand in a body.
fn json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
        select(vec!["", "earliest", "from_id", "base64", "a.b"]).prop_map(Value::from),
    ];
    let names = select(vec![
        "name",
        "mailbox",
        "payload",
        "ttl",
        "deliver",
        "from_id",
        "config",
        "num_msgs",
        "tags",
        "group_name",
        "msg_id",
        "limit",
        "page",
        "text",
        "semantic",
        "error",
        "messages",
        "agents",
        "agent_info",
        "description",
        "header",
        "payload_b64",
        "other",
    ]);
    leaf.prop_recursive(4, 40, 8, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((names.clone(), inner), 0..8).prop_map(|fields| {
                let fields = fields
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value));
                Value::Object(fields.collect())
            }),
        ]
    })
}

fn written(reply: &Reply) -> Vec<u8> {
    let mut into = Vec::new();
    reply.encode(&mut into);
    into
}

fn again(request: &Request) -> Result<Request, Failure> {
    Request::decode(&request.subject(), &request.headers(), &request.body())
}

proptest! {
    #[test]
    fn a_request_comes_back_as_it_was(request in request()) {
        prop_assert_eq!(again(&request), Ok(request));
    }

    #[test]
    fn a_message_comes_back_with_its_bytes_and_attributes(
        address in address(),
        attributes in attributes(),
        block in prop_oneof![
            Just(Vec::new()),
            vec(any::<u8>(), 0..60),
            vec("[!-9;-~]{1,6}: ?[ -~]{0,6}", 0..4)
                .prop_map(|lines| format!("NATS/1.0\r\n{}\r\n\r\n", lines.join("\r\n")).into_bytes()),
        ],
        payload in vec(any::<u8>(), 0..60),
    ) {
        let is_text = std::str::from_utf8(&block).is_ok();
        let attributes = if is_text { attributes } else { Attributes::default() };
        let sent = Send { address, attributes, headers: block, payload };
        let Ok(Request::Send(received)) = again(&Request::Send(sent.clone())) else {
            panic!("{sent:?}");
        };
        prop_assert_eq!(&received.attributes, &sent.attributes);
        prop_assert_eq!(&received.payload, &sent.payload);
        // From then on nothing changes any more.
        prop_assert_eq!(again(&Request::Send(received.clone())), Ok(Request::Send(received)));
    }

    #[test]
    fn messages_come_back_and_take_the_room_that_was_told(
        messages in vec(message(), 0..5),
        encoding in encoding(),
    ) {
        let told: usize = messages.iter().map(|message| message.encoded_bytes(encoding)).sum();
        let reply = Reply::Messages { messages: messages.clone(), encoding };
        let bytes = written(&reply);
        let comma = usize::from(!messages.is_empty());
        let around = r#"{"error":"","messages":[]}"#.len();
        prop_assert_eq!(bytes.len(), told + around - comma);
        prop_assert!(bytes.len() <= told + Reply::MESSAGES_BYTES);

        let is_json = serde_json::from_slice::<serde_json::Value>(&bytes).is_ok();
        prop_assert!(is_json);
        let Ok(Reply::Messages { messages: read, .. }) = Reply::decode(Kind::Fetch, &bytes) else {
            panic!("{}", bytes.escape_ascii());
        };
        prop_assert_eq!(read, messages);
    }

    #[test]
    fn an_agent_is_shown_as_json_within_its_bound(
        body in json(),
        name in ".{1,8}",
        mailbox in option::of(".{1,8}"),
        seen: u64,
    ) {
        let body = body.to_string();
        let agent = Agent { name: name.clone(), mailbox, body, lives: Home::Edge, seen };
        let bound = agent.encoded_bytes_at_most();
        let bytes = written(&Reply::Agents(vec![agent]));
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        prop_assert_eq!(value["agents"][0]["name"].as_str(), Some(name.as_str()));
        prop_assert!(value["agents"][0]["agent_info"].is_string());
        prop_assert!(bytes.len() <= bound + 24);
    }

    #[test]
    fn what_is_registered_reaches_the_next_edge_as_it_was(body in json(), name in ".{1,8}") {
        let serde_json::Value::Object(mut fields) = body else {
            return Ok(());
        };
        fields.insert("name".to_owned(), name.into());
        let body = serde_json::Value::Object(fields).to_string();
        let registered = Request::decode("$mq9.AI.AGENT.REGISTER", b"", body.as_bytes());
        let Ok(Request::Register(here)) = registered else {
            return Ok(());
        };
        let Ok(Request::Register(there)) = again(&Request::Register(here.clone())) else {
            panic!("{here:?}");
        };
        let agent = Agent {
            name: there.name,
            mailbox: there.mailbox,
            body: there.body,
            lives: Home::Edge,
            seen: 7,
        };
        let found = Reply::decode(Kind::Discover, &written(&Reply::Agents(vec![agent])));
        let Register { name, mailbox, body } = here;
        let expected = Agent { name, mailbox, body, lives: Home::Cloud, seen: 7 };
        prop_assert_eq!(found, Ok(Reply::Agents(vec![expected])));
    }

    #[test]
    fn any_body_is_decided(
        kind in select(Kind::ALL.to_vec()),
        rest in "[.a-z0-9-]{0,8}",
        headers in vec(any::<u8>(), 0..40),
        body in prop_oneof![
            json().prop_map(|value| value.to_string().into_bytes()),
            vec(any::<u8>(), 0..40),
        ],
    ) {
        let dot = if rest.is_empty() { "" } else { "." };
        let subject = format!("$mq9.AI.{}{dot}{rest}", kind.command());
        match Request::decode(&subject, &headers, &body) {
            Ok(request) => {
                prop_assert_eq!(request.kind(), kind);
                let once = again(&request).map_err(|failure| failure.to_string());
                prop_assert!(once.is_ok(), "{:?}: {:?}", request, once);
            }
            Err(failure) => {
                let answer = written(&Reply::Failed(failure));
                let read = Reply::decode(kind, &answer);
                prop_assert!(matches!(read, Ok(Reply::Failed(_))), "{:?}", read);
            }
        }
        let _ = Reply::decode(kind, &body);
    }
}

#[test]
fn a_report_travels_with_all_it_says() {
    let body = r#"{"mailbox":"a.t","status":"running"}"#;
    let report = Request::Report(Report {
        agent: Identity {
            name: None,
            mailbox: Some("a.t".into()),
        },
        body: body.into(),
    });
    let Ok(Request::Report(received)) = again(&report) else {
        panic!("a report comes back");
    };
    assert_eq!(received.agent.name.as_deref(), Some("a.t"));
    assert!(received.body.contains(r#"\"status\":\"running\""#));
}
