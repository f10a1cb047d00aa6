//! Mail and agents between the engine, the bridge and the mail office.
//!
//! A pulled message is kept until the office has it, whatever becomes of the connection that
//! brought it: the bridge waits for one answer, and would otherwise never pull that mailbox again.
//! So its answer is said here as soon as it is known, and the engine, which forgets whom to confirm
//! to when a connection falls, decides only whether it is a repeat.

use std::collections::BTreeMap;

use cloud_bridge::{Command, PulledMessage};
use sync::{Apart, Change, ConnectionId, Input, Instant, Place, Record, Table, Token};
use wire::mq9::Agent;
use wire::nats::Headers;

use super::{Uplink, Wish};

/// What the topics of all requests for the cloud begin with,
const REQUESTS: &str = "$mq9/AI/";
/// and those about agents: who comes and goes must not be told in another order.
const AGENTS: &str = "$mq9/AI/AGENT/";
/// What the key of a mailbox's position in [`Table::Cursors`] begins with; its address follows.
const POSITION_KEY: &str = "mq9-pull/";

/// Mail on its way down, and what is known of the cloud's agents.
#[derive(Debug, Default)]
pub(super) struct Mail {
    /// The connection that carries it; `None` where there is no mail.
    connection: Option<ConnectionId>,
    /// Those that the office has not answered for: how many came together, and what they are unless
    /// it has them.
    pulled: BTreeMap<Token, (u64, Option<PulledMessage>)>,
    /// Those that the office has not been told of.
    agents: Option<Vec<Agent>>,
    counts: MailCounts,
}

/// What came down since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MailCounts {
    /// Messages that were stored.
    pub(crate) stored: u64,
    /// Messages that could not be stored, each time.
    pub(crate) declined: u64,
    /// Agents that the cloud knew when it was asked last.
    pub(crate) agents: usize,
}

/// Which topics go by the connection for mail.
pub(crate) fn apart() -> Apart {
    Apart {
        prefix: REQUESTS.to_owned(),
        joined: Some(AGENTS.to_owned()),
    }
}

/// The key of a pulled mailbox's position in [`Table::Cursors`].
pub(crate) fn position_key(address: &str) -> Vec<u8> {
    [POSITION_KEY, address].concat().into_bytes()
}

impl Uplink {
    /// Carries mail, too, by this connection.
    pub(crate) fn with_mail(mut self, connection: Option<ConnectionId>) -> Self {
        self.mail.connection = connection;
        self
    }

    /// The office has a pulled message, or could not store it.
    pub(crate) fn mailed(&mut self, now: Instant, token: Token, is_stored: bool) {
        let pulled = self.mail.pulled.remove(&token);
        let (Some((count, _)), Some(connection)) = (pulled, self.mail.connection) else {
            return;
        };
        let counts = &mut self.mail.counts;
        let (input, command) = if is_stored {
            counts.stored += count;
            let confirm = Command::Confirm { connection, token };
            (Input::Stored { token }, confirm)
        } else {
            counts.declined += count;
            let decline = Command::Decline { connection, token };
            (Input::StoreFailed { token }, decline)
        };
        self.engine.handle(now, input);
        self.commands.push_back(command);
        self.has_commands = true;
    }

    /// The connection for mail, and what came down by it; `None` where there is no mail.
    pub(crate) fn mail_counts(&self) -> Option<(ConnectionId, MailCounts)> {
        Some((self.mail.connection?, self.mail.counts))
    }

    pub(super) fn pulled(
        &mut self,
        connection: ConnectionId,
        token: Token,
        message: PulledMessage,
    ) -> Input {
        let headers = Headers::parse(&message.send.headers).ok();
        let place = Place::from_properties(headers.iter().flat_map(Headers::fields));
        let count = 1 + message.more.len() as u64;
        self.mail.pulled.insert(token, (count, Some(message)));
        Input::Received {
            connection,
            token,
            place: place.ok().flatten(),
        }
    }

    pub(super) fn know_agents(&mut self, agents: Vec<Agent>) {
        self.mail.counts.agents = agents.len();
        self.mail.agents = Some(agents);
    }

    /// What the mail wants of the gateway by itself.
    pub(super) fn poll_mail(&mut self) -> Option<Wish> {
        self.mail.agents.take().map(Wish::Agents)
    }

    /// Gives a pulled message to the office, with where its mailbox is pulled on.
    pub(super) fn deliver_mail(&mut self, token: Token) -> Option<Wish> {
        let (_, message) = self.mail.pulled.get_mut(&token)?;
        let message = message.take();
        let PulledMessage {
            send,
            more,
            position,
            too_large,
        } = message?;
        let put = Change::Put {
            table: Table::Cursors,
            key: position_key(&send.address),
            value: position,
        };
        let changes = vec![put];
        Some(Wish::Mail {
            send,
            more,
            changes,
            token,
            too_large,
        })
    }

    /// Whether a confirmation is for the bridge: for mail, if the message is a repeat of what is
    /// stored; one that was just stored is confirmed already.
    pub(super) fn may_confirm(&mut self, connection: ConnectionId, token: Token) -> bool {
        match self.mail.connection == Some(connection) {
            true => self.mail.pulled.remove(&token).is_some(),
            false => true,
        }
    }

    /// Whether a record is a request for the cloud's mail.
    pub(super) fn is_mail(&self, record: &Record) -> bool {
        self.mail.connection.is_some() && record.topic().starts_with(REQUESTS)
    }
}

#[cfg(test)]
mod tests {
    use cloud_bridge::Event;
    use sync::{Engine, Epoch, LaneExtent, Now, Origin, PerLane, Settings, Start, WallTime};
    use wire::mq9::Send;

    use super::*;

    const MAIL: ConnectionId = ConnectionId(1);

    fn now() -> Now {
        Now {
            instant: Instant::from_micros(1),
            wall: WallTime(1),
        }
    }

    fn uplink() -> Uplink {
        let settings = Settings {
            origin: Origin {
                edge_id: "plant-7".to_owned(),
                epoch: Epoch(1),
            },
            connections: 1,
            apart: Some(apart()),
            ..Settings::default()
        };
        let engine = Engine::new(&Start {
            settings,
            seed: 1,
            lanes: PerLane::from_fn(|_| LaneExtent::default()),
            checkpoint: None,
        });
        let engine = engine.expect("allowed settings");
        Uplink::new(engine, Vec::new()).with_mail(Some(MAIL))
    }

    fn pulled(token: u64, headers: &str) -> Event {
        Event::Pulled {
            connection: MAIL,
            token: Token(token),
            message: Box::new(PulledMessage {
                send: Send {
                    address: "a.in".to_owned(),
                    headers: headers.as_bytes().to_vec(),
                    ..Send::default()
                },
                more: Vec::new(),
                position: vec![1, 2, 3],
                too_large: None,
            }),
        }
    }

    fn from(edge_id: &str, offset: u64) -> String {
        format!(
            "NATS/1.0\r\nedge-id: {edge_id}\r\nedge-epoch: 1\r\nedge-lane: normal\r\n\
             edge-offset: {offset}\r\nedge-time: 5\r\n\r\n"
        )
    }

    /// Everything that is wanted but for connections: messages for the office.
    fn wished(uplink: &mut Uplink) -> Vec<(Token, Vec<Change>)> {
        let mut all = Vec::new();
        while let Some(wish) = uplink.poll() {
            if let Wish::Mail { changes, token, .. } = wish {
                all.push((token, changes));
            }
        }
        all
    }

    /// The answers for the bridge.
    fn answers(uplink: &mut Uplink) -> Vec<(bool, Token)> {
        let commands = uplink.commands.drain(..);
        let answer = |command| match command {
            Command::Confirm { token, .. } => Some((true, token)),
            Command::Decline { token, .. } => Some((false, token)),
            _ => None,
        };
        commands.filter_map(answer).collect()
    }

    #[test]
    fn a_message_goes_to_the_office_with_its_position_and_is_confirmed_once() {
        let mut uplink = uplink();
        uplink.bridge_said(now(), pulled(7, ""));
        let put = Change::Put {
            table: Table::Cursors,
            key: b"mq9-pull/a.in".to_vec(),
            value: vec![1, 2, 3],
        };
        assert_eq!(wished(&mut uplink), [(Token(7), vec![put])]);
        assert!(answers(&mut uplink).is_empty());
        uplink.mailed(now().instant, Token(7), true);
        uplink.mailed(now().instant, Token(7), true);
        assert!(wished(&mut uplink).is_empty());
        assert_eq!(answers(&mut uplink), [(true, Token(7))]);
    }

    #[test]
    fn a_message_that_is_not_stored_is_declined_and_comes_again() {
        let mut uplink = uplink();
        let headers = from("plant-8", 3);
        uplink.bridge_said(now(), pulled(0, &headers));
        assert_eq!(wished(&mut uplink).len(), 1);
        uplink.mailed(now().instant, Token(0), false);
        uplink.bridge_said(now(), pulled(1, &headers));
        assert_eq!(wished(&mut uplink).len(), 1);
        assert_eq!(answers(&mut uplink), [(false, Token(0))]);
        let (_, counts) = uplink.mail_counts().expect("there is mail");
        assert_eq!((counts.stored, counts.declined), (0, 1));
    }

    #[test]
    fn own_mail_and_repeats_of_another_gateway_are_confirmed_without_the_office() {
        let mut uplink = uplink();
        uplink.bridge_said(now(), pulled(0, &from("plant-7", 3)));
        assert!(wished(&mut uplink).is_empty());
        assert_eq!(answers(&mut uplink), [(true, Token(0))]);
        for (token, is_new) in [(1, true), (2, false)] {
            uplink.bridge_said(now(), pulled(token, &from("plant-8", 3)));
            assert_eq!(wished(&mut uplink).len(), usize::from(is_new));
            uplink.mailed(now().instant, Token(token), true);
            assert_eq!(answers(&mut uplink), [(true, Token(token))]);
        }
    }

    /// The bridge pulls nothing more until it has an answer, and a fallen connection gives none.
    #[test]
    fn a_message_is_answered_although_its_connection_fell() {
        let mut uplink = uplink();
        uplink.engine.handle_timeout(now().instant);
        uplink.bridge_said(now(), pulled(0, ""));
        assert_eq!(wished(&mut uplink).len(), 1);
        uplink.bridge_said(
            now(),
            Event::Down {
                connection: MAIL,
                kind: embedded_io::ErrorKind::ConnectionReset,
                text: String::new(),
            },
        );
        uplink.mailed(now().instant, Token(0), true);
        wished(&mut uplink);
        assert_eq!(answers(&mut uplink), [(true, Token(0))]);
    }

    #[test]
    fn requests_of_the_log_go_up_where_there_is_mail() {
        let record = |topic| {
            Record::new(&sync::RecordParts {
                qos: 1,
                retain: false,
                from_cloud: false,
                time: WallTime(0),
                expiry_seconds: None,
                publisher: 0,
                topic,
                properties: &[],
                payload: &[],
            })
        };
        let with_mail = uplink();
        assert!(with_mail.goes_up(&record("$mq9/AI/MSG/SEND/a")));
        assert!(!with_mail.goes_up(&record("$mq9/a")));
        let without = uplink().with_mail(None);
        assert!(!without.goes_up(&record("$mq9/AI/MSG/SEND/a")));
    }
}
