//! Two agents that find each other, write to each other while the other one is away, and catch up.
//! No client library: what mq9 says is in the crate `robustmq-wire`, which needs no `std`.
//!
//! ```text
//! cargo run -- run --config edge.toml        with a listener of protocol = "nats"
//! cargo run --example agent -- 127.0.0.1:4222
//! ```

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use wire::mq9::{
    Acknowledge, Attributes, Create, Deliver, Discover, Failure, Fetch, Message, PayloadEncoding,
    Priority, Register, Reply, Request, Send,
};
use wire::nats::{ClientOperation, Connect, Headers, Limits, Publish, ServerOperation, Subscribe};

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// Who acknowledges what an agent has dealt with.
const GROUP: &str = "all";
/// Where replies come.
const INBOX: &str = "_INBOX.agent.reply";

/// One agent, connected: a name, and a mailbox of the same name.
struct Agent {
    name: &'static str,
    stream: TcpStream,
    received: Vec<u8>,
}

impl Agent {
    fn connect(name: &'static str, address: &str) -> Outcome<Self> {
        let stream = TcpStream::connect(address)?;
        let received = Vec::new();
        let mut agent = Self {
            name,
            stream,
            received,
        };
        let connect = Connect {
            verbose: false,
            headers: true,
            ..Connect::default()
        };
        agent.say(&ClientOperation::Connect(Box::new(connect)))?;
        agent.say(&ClientOperation::Subscribe(Subscribe {
            subject: INBOX,
            queue_group: None,
            sid: "1",
        }))?;
        Ok(agent)
    }

    /// Has a mailbox, and can be found by what it says of itself.
    fn register(&mut self, about: &str) -> Outcome<()> {
        let made = self.ask(&Request::Create(Create {
            name: Some(self.name.to_owned()),
            ttl_seconds: Some(0),
            description: String::new(),
        }))?;
        assert!(matches!(
            made,
            Reply::Created { .. } | Reply::Failed(Failure::MailboxExists(_))
        ));
        let name = self.name;
        let body = format!(r#"{{"name":"{name}","mailbox":"{name}","payload":"{about}"}}"#);
        let registered = self.ask(&Request::Register(Register {
            name: name.to_owned(),
            mailbox: Some(name.to_owned()),
            body,
        }))?;
        assert_eq!(registered, Reply::Done);
        Ok(())
    }

    /// Gives the mailbox of the agent that words describe best.
    fn find(&mut self, words: &str) -> Outcome<String> {
        let found = self.ask(&Request::Discover(Discover {
            words: Some(words.to_owned()),
            limit: Some(1),
            page: 1,
        }))?;
        match found {
            Reply::Agents(agents) => agents
                .into_iter()
                .find_map(|agent| agent.mailbox)
                .ok_or_else(|| "nobody is like that".into()),
            other => Err(format!("{other:?}").into()),
        }
    }

    fn send(&mut self, address: &str, text: &str, priority: Priority) -> Outcome<()> {
        let sent = self.ask(&Request::Send(Send {
            address: address.to_owned(),
            attributes: Attributes {
                priority,
                ..Attributes::default()
            },
            headers: format!("NATS/1.0\r\nreply-to: {}\r\n\r\n", self.name).into_bytes(),
            payload: text.as_bytes().to_vec(),
        }))?;
        assert!(matches!(sent, Reply::Sent { .. }), "{sent:?}");
        Ok(())
    }

    /// Gives what came and was not dealt with, most important first.
    fn fetch(&mut self) -> Outcome<Vec<Message>> {
        let fetched = self.ask(&Request::Fetch(Fetch {
            address: self.name.to_owned(),
            group: Some(GROUP.to_owned()),
            deliver: Deliver::Earliest,
            is_forced: false,
            count: 10,
            wait_milliseconds: 1000,
            encoding: Some(PayloadEncoding::Base64),
        }))?;
        match fetched {
            Reply::Messages { messages, .. } => Ok(messages),
            other => Err(format!("{other:?}").into()),
        }
    }

    /// Says that a message was dealt with. Until then it comes again.
    fn acknowledge(&mut self, message: &Message) -> Outcome<()> {
        let done = self.ask(&Request::Acknowledge(Acknowledge {
            address: self.name.to_owned(),
            group: GROUP.to_owned(),
            id: message.id,
        }))?;
        assert_eq!(done, Reply::Done);
        Ok(())
    }

    /// Makes a request and waits for its reply.
    fn ask(&mut self, request: &Request) -> Outcome<Reply> {
        let (subject, headers, payload) = (request.subject(), request.headers(), request.body());
        self.say(&ClientOperation::Publish(Publish {
            subject: &subject,
            reply_to: Some(INBOX),
            headers: &headers,
            payload: &payload,
        }))?;
        let reply = self.next_message()?;
        Ok(Reply::decode(request.kind(), &reply)?)
    }

    fn next_message(&mut self) -> Outcome<Vec<u8>> {
        loop {
            let decoded = ServerOperation::decode(&self.received, &Limits::FROM_SERVER)?;
            let Some((operation, bytes)) = decoded else {
                let mut buffer = [0; 4096];
                match self.stream.read(&mut buffer)? {
                    0 => return Err("the gateway has closed the connection".into()),
                    count => self.received.extend(&buffer[..count]),
                }
                continue;
            };
            let (mut message, mut is_ping) = (None, false);
            match operation {
                ServerOperation::Message(it) => message = Some(it.payload.to_vec()),
                ServerOperation::Ping => is_ping = true,
                ServerOperation::Err(error) => return Err(error.to_string().into()),
                _ => {}
            }
            self.received.drain(..bytes);
            if is_ping {
                self.say(&ClientOperation::Pong)?;
            }
            if let Some(message) = message {
                return Ok(message);
            }
        }
    }

    fn say(&mut self, operation: &ClientOperation<'_>) -> Outcome<()> {
        let mut bytes = Vec::new();
        operation
            .encode(&mut bytes)
            .map_err(|error| error.to_string())?;
        Ok(self.stream.write_all(&bytes)?)
    }
}

fn main() -> Outcome<()> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:4222");
    play(address, |line| println!("{line}"))
}

/// Lets both agents do their work, and say what they do.
pub(crate) fn play(address: &str, mut say: impl FnMut(String)) -> Outcome<()> {
    let translator = || Agent::connect("rs.translator", address);
    let reviewer = || Agent::connect("rs.reviewer", address);

    translator()?.register("translates English into French")?;
    reviewer()?.register("reviews documents")?;

    // The translator is away, and is written to nevertheless.
    let mut agent = reviewer()?;
    let mailbox = agent.find("French")?;
    say(format!("reviewer found {mailbox}"));
    agent.send(&mailbox, "page 1", Priority::Normal)?;
    agent.send(&mailbox, "page 2", Priority::Normal)?;
    agent.send(&mailbox, "the title", Priority::Urgent)?;
    drop(agent);

    // Now the reviewer is away, and is answered nevertheless.
    let mut agent = translator()?;
    for message in agent.fetch()? {
        let text = String::from_utf8(message.payload.clone())?;
        say(format!("translator got {text}"));
        let headers = Headers::parse(&message.headers)?;
        let sender = headers.value("reply-to").unwrap_or_default().to_owned();
        agent.send(&sender, &format!("{text}, translated"), Priority::Normal)?;
        agent.acknowledge(&message)?;
    }
    drop(agent);

    let mut agent = reviewer()?;
    for message in agent.fetch()? {
        let text = String::from_utf8(message.payload.clone())?;
        say(format!("reviewer got {text}"));
        agent.acknowledge(&message)?;
    }
    Ok(())
}
