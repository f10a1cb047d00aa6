//! What holds for every NATS operation and every name: it comes back as it was, in any slices, and
//! no bytes whatever make a decoder panic.

use std::num::NonZeroU32;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;
use wire::nats::{
    ClientOperation, Connect, HeaderWriter, Headers, Info, Limits, Message, Publish, Sender,
    ServerError, ServerOperation, Status, Subscribe, Unsubscribe, operation_bytes,
};
use wire::subject::{Subject, SubjectFilter};
use wire::topic::{TopicFilter, TopicName};

const CLIENT: &Limits = &Limits::FROM_CLIENT;
const SERVER: &Limits = &Limits::FROM_SERVER;

/// Chooses an argument of a control line.
fn argument() -> impl Strategy<Value = String> {
    "[^ \t\r\n]{1,12}"
}

fn block() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(Vec::new()), vec(any::<u8>(), 1..40)]
}

fn text() -> impl Strategy<Value = Option<String>> {
    option::of(".{0,8}")
}

/// What operations are made of, owned.
#[derive(Clone, Debug)]
struct Ingredients {
    names: [String; 3],
    reply_to: Option<String>,
    blocks: [Vec<u8>; 2],
    number: u32,
    connect: Connect,
    info: Info,
    error_text: String,
}

prop_compose! {
    fn ingredients()(
        names in [argument(), argument(), argument()],
        reply_to in option::of(argument()),
        blocks in [block(), block()],
        number in 0_u32..=999_999_999,
        connect in connect(),
        info in info(),
        error_text in "[^\r\n]{0,30}",
    ) -> Ingredients {
        Ingredients { names, reply_to, blocks, number, connect, info, error_text }
    }
}

prop_compose! {
    fn connect()(
        flags in any::<[bool; 6]>(),
        protocol in any::<u32>(),
        texts in [text(), text(), text(), text(), text(), text(), text()],
        lang in ".{0,8}",
    ) -> Connect {
        let [verbose, pedantic, tls_required, echo, headers, no_responders] = flags;
        let [name, user, password, auth_token, nkey, jwt, signature] = texts;
        Connect {
            verbose, pedantic, tls_required, echo, headers, no_responders, protocol, name,
            version: lang.clone(), lang, user, password, auth_token, nkey, jwt, signature,
        }
    }
}

prop_compose! {
    fn info()(
        flags in any::<[bool; 7]>(),
        numbers in any::<(u32, u16, u64, Option<u64>)>(),
        texts in [".{0,8}", ".{0,8}", ".{0,8}", ".{0,8}"],
        client_ip in text(),
        nonce in text(),
        connect_urls in vec(".{0,8}", 0..3),
    ) -> Info {
        let [server_id, server_name, version, host] = texts;
        let (proto, port, message_bytes_maximum, client_id) = numbers;
        let [headers, auth_required, tls_required, tls_verify, tls_available, jetstream,
            lame_duck_mode] = flags;
        Info {
            server_id, server_name, version, proto, host, port, headers, message_bytes_maximum,
            client_id, client_ip, auth_required, tls_required, tls_verify, tls_available,
            jetstream, nonce, connect_urls, lame_duck_mode,
        }
    }
}

impl Ingredients {
    /// Makes every operation that a client sends.
    fn of_client(&self) -> [ClientOperation<'_>; 6] {
        let [first, second, third] = &self.names;
        let [headers, payload] = &self.blocks;
        let reply_to = self.reply_to.as_deref();
        [
            ClientOperation::Connect(Box::new(self.connect.clone())),
            ClientOperation::Publish(Publish {
                subject: first,
                reply_to,
                headers,
                payload,
            }),
            ClientOperation::Subscribe(Subscribe {
                subject: first,
                queue_group: reply_to.map(|_| second.as_str()),
                sid: third,
            }),
            ClientOperation::Unsubscribe(Unsubscribe {
                sid: third,
                max_messages: NonZeroU32::new(self.number),
            }),
            ClientOperation::Ping,
            ClientOperation::Pong,
        ]
    }

    /// Makes every operation that a server sends.
    fn of_server(&self) -> [ServerOperation<'_>; 9] {
        let [first, second, third] = &self.names;
        let [headers, payload] = &self.blocks;
        [
            ServerOperation::Info(Box::new(self.info.clone())),
            ServerOperation::Message(Message {
                subject: first,
                sid: second,
                reply_to: self.reply_to.as_deref(),
                headers,
                payload,
            }),
            ServerOperation::Ping,
            ServerOperation::Pong,
            ServerOperation::Ok,
            ServerOperation::Err(ServerError::PublishPermission { subject: first }),
            ServerOperation::Err(ServerError::SubscriptionPermission {
                subject: first,
                queue_group: self.reply_to.as_ref().map(|_| third.as_str()),
            }),
            ServerOperation::Err(ServerError::StaleConnection),
            ServerOperation::Err(ServerError::from_text(&self.error_text)),
        ]
    }
}

fn bytes_of_client(operation: &ClientOperation<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let length = operation.encode(&mut bytes).expect("a valid operation");
    assert_eq!(length, bytes.len());
    bytes
}

fn bytes_of_server(operation: &ServerOperation<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let length = operation.encode(&mut bytes).expect("a valid operation");
    assert_eq!(length, bytes.len());
    bytes
}

/// Decodes as both sides would, and uses everything that is decoded.
fn use_up(bytes: &[u8]) {
    if let Ok(Some((operation, length))) = ClientOperation::decode(bytes, CLIENT) {
        assert!(length <= bytes.len());
        let again = bytes_of_client(&operation);
        let decoded = ClientOperation::decode(&again, CLIENT);
        assert_eq!(decoded, Ok(Some((operation.clone(), again.len()))));
        if let ClientOperation::Publish(publish) = operation {
            let _ = Subject::new(publish.subject);
            let _ = Headers::parse(publish.headers);
        }
    }
    if let Ok(Some((operation, length))) = ServerOperation::decode(bytes, SERVER) {
        assert!(length <= bytes.len());
        let again = bytes_of_server(&operation);
        let decoded = ServerOperation::decode(&again, SERVER);
        assert_eq!(decoded, Ok(Some((operation, again.len()))));
    }
    let _ = Headers::parse(bytes).map(|headers| headers.fields().count());
}

/// Chooses bytes that often are the beginning of something.
fn likely_bytes() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        &b"PUB "[..],
        b"HPUB ",
        b"MSG ",
        b"HMSG ",
        b"SUB ",
        b"UNSUB ",
        b"CONNECT ",
        b"INFO ",
        b"PING",
        b"PONG",
        b"+OK",
        b"-ERR ",
        b"\r\n",
        b"\n",
        b" ",
        b"\t",
        b"a.b ",
        b"0",
        b"3",
        b"12",
        b"999999999",
        b"{",
        b"}",
        b"\"verbose\":",
        b"\"max_payload\":",
        b"true",
        b"1",
        b",",
        b"'",
        b"NATS/1.0",
        b" 503",
        b"name: value",
        b"abc",
        b"\xFF",
        b"\0",
    ]);
    vec(pieces, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_operation_comes_back_as_it_was(
        ingredients in ingredients(),
        next in vec(any::<u8>(), 0..4),
    ) {
        for operation in ingredients.of_client() {
            let mut bytes = bytes_of_client(&operation);
            let length = bytes.len();
            bytes.extend_from_slice(&next);
            let decoded = ClientOperation::decode(&bytes, CLIENT);
            prop_assert_eq!(decoded, Ok(Some((operation, length))));
            let needed = operation_bytes(&bytes, Sender::Client, CLIENT);
            prop_assert_eq!(needed, Ok(Some(length)));
        }
        for operation in ingredients.of_server() {
            let mut bytes = bytes_of_server(&operation);
            let length = bytes.len();
            bytes.extend_from_slice(&next);
            let decoded = ServerOperation::decode(&bytes, SERVER);
            prop_assert_eq!(decoded, Ok(Some((operation, length))));
            let needed = operation_bytes(&bytes, Sender::Server, SERVER);
            prop_assert_eq!(needed, Ok(Some(length)));
        }
    }

    #[test]
    fn an_operation_is_not_there_before_its_last_byte(ingredients in ingredients()) {
        for operation in ingredients.of_client() {
            let bytes = bytes_of_client(&operation);
            for end in 0..bytes.len() {
                prop_assert_eq!(ClientOperation::decode(&bytes[..end], CLIENT), Ok(None));
                let needed = operation_bytes(&bytes[..end], Sender::Client, CLIENT).unwrap();
                prop_assert!(needed.is_none_or(|needed| needed == bytes.len()));
            }
        }
        for operation in ingredients.of_server() {
            let bytes = bytes_of_server(&operation);
            for end in 0..bytes.len() {
                prop_assert_eq!(ServerOperation::decode(&bytes[..end], SERVER), Ok(None));
                let needed = operation_bytes(&bytes[..end], Sender::Server, SERVER).unwrap();
                prop_assert!(needed.is_none_or(|needed| needed == bytes.len()));
            }
        }
    }

    #[test]
    fn more_bytes_never_make_an_error_good(bytes in likely_bytes(), next in likely_bytes()) {
        let more = [&bytes[..], &next].concat();
        if let Err(error) = ClientOperation::decode(&bytes, CLIENT) {
            prop_assert_eq!(ClientOperation::decode(&more, CLIENT), Err(error));
        }
        if let Err(error) = ServerOperation::decode(&bytes, SERVER) {
            prop_assert_eq!(ServerOperation::decode(&more, SERVER), Err(error));
        }
    }

    #[test]
    fn a_short_sink_fails_without_panic(ingredients in ingredients(), cut in any::<Index>()) {
        for operation in ingredients.of_client() {
            let mut buffer = vec![0; cut.index(bytes_of_client(&operation).len())];
            prop_assert!(operation.encode(&mut &mut buffer[..]).is_err());
        }
        for operation in ingredients.of_server() {
            let mut buffer = vec![0; cut.index(bytes_of_server(&operation).len())];
            prop_assert!(operation.encode(&mut &mut buffer[..]).is_err());
        }
    }

    #[test]
    fn changed_operations_never_panic(
        ingredients in ingredients(),
        changes in vec((any::<Index>(), any::<u8>()), 1..4),
    ) {
        let of_client = ingredients.of_client().map(|operation| bytes_of_client(&operation));
        let of_server = ingredients.of_server().map(|operation| bytes_of_server(&operation));
        for mut bytes in of_client.into_iter().chain(of_server) {
            for (at, byte) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            use_up(&bytes);
        }
    }

    #[test]
    fn likely_bytes_never_panic(bytes in likely_bytes()) {
        use_up(&bytes);
    }

    #[test]
    fn any_bytes_never_panic(bytes in vec(any::<u8>(), 0..64)) {
        use_up(&bytes);
    }

    #[test]
    fn header_blocks_come_back_as_they_were(
        status in option::of((100_u16..1000, "([!-~]([ -~]{0,8}[!-~])?)?")),
        fields in vec(("[!-9;-~]{1,8}", "([^\\s]([^\r\n]{0,8}[^\\s])?)?"), 0..5),
    ) {
        let status = status
            .as_ref()
            .map(|(code, description)| Status { code: *code, description });
        let mut block = Vec::new();
        let mut writer = HeaderWriter::new(status, &mut block).unwrap();
        for (name, value) in &fields {
            writer.field(name, value).unwrap();
        }
        prop_assert_eq!(writer.finish().unwrap(), block.len());
        let headers = Headers::parse(&block).unwrap();
        prop_assert_eq!(headers.status(), status);
        let found: Vec<_> = headers.fields().collect();
        let expected: Vec<_> = fields.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        prop_assert_eq!(found, expected);
        for end in 0..block.len() {
            prop_assert!(Headers::parse(&block[..end]).is_err());
        }
    }

    #[test]
    fn a_topic_that_has_a_subject_comes_back(topic in "[/.ab*> \u{e9}]{1,12}") {
        let (mut subject_text, mut topic_text) = (String::new(), String::new());
        let topic = TopicName::new(&topic).unwrap();
        if let Ok(subject) = Subject::from_topic(topic, &mut subject_text) {
            prop_assert_eq!(Subject::new(subject.as_str()), Ok(subject));
            prop_assert_eq!(subject.to_topic(&mut topic_text), Ok(topic));
        }
    }

    #[test]
    fn a_subject_that_has_a_topic_comes_back(subject in "[/.ab+#*]{1,12}") {
        let (mut subject_text, mut topic_text) = (String::new(), String::new());
        if let Ok(subject) = Subject::new(&subject)
            && let Ok(topic) = subject.to_topic(&mut topic_text)
        {
            prop_assert_eq!(Subject::from_topic(topic, &mut subject_text), Ok(subject));
        }
    }

    #[test]
    fn a_topic_filter_that_has_a_subject_filter_comes_back(
        levels in vec("[+#]|[/.ab*>]{0,3}", 1..5),
    ) {
        let (mut subject_text, mut topic_text) = (String::new(), String::new());
        if let Ok(filter) = TopicFilter::new(&levels.join("/"))
            && let Ok(subject) = SubjectFilter::from_topic_filter(filter, &mut subject_text)
        {
            prop_assert_eq!(SubjectFilter::new(subject.as_str()), Ok(subject));
            prop_assert_eq!(subject.to_topic_filter(&mut topic_text), Ok(filter));
        }
    }

    #[test]
    fn a_subject_filter_that_has_a_topic_filter_comes_back(
        tokens in vec("[*>]|[/ab+#]{1,3}", 1..5),
    ) {
        let (mut subject_text, mut topic_text) = (String::new(), String::new());
        if let Ok(filter) = SubjectFilter::new(&tokens.join("."))
            && let Ok(topic) = filter.to_topic_filter(&mut topic_text)
        {
            let again = SubjectFilter::from_topic_filter(topic, &mut subject_text);
            prop_assert_eq!(again, Ok(filter));
        }
    }

    #[test]
    fn both_protocols_match_the_same_names(
        filter in vec("[+#]|[ab.]{0,2}", 1..4),
        topic in vec("[ab.]{0,2}", 1..4),
    ) {
        let (mut filter_text, mut subject_text) = (String::new(), String::new());
        let (filter, topic) = (filter.join("/"), topic.join("/"));
        let (Ok(filter), Ok(topic)) = (TopicFilter::new(&filter), TopicName::new(&topic)) else {
            return Ok(());
        };
        let asked = SubjectFilter::from_topic_filter(filter, &mut filter_text).unwrap();
        let subject = Subject::from_topic(topic, &mut subject_text).unwrap();
        let up = asked.level_up();
        let found = asked.matches(subject) || up.is_some_and(|up| up.matches(subject));
        prop_assert_eq!(filter.matches(topic), found);
    }
}
