//! One life of a connection: a rumqttc event loop from CONNECT until it fails or is told to end.
//!
//! rumqttc is trusted with packets and nothing else. Its queue of pending packets never survives,
//! since the whole event loop is dropped with the life; its own judgement of a late PINGRESP or
//! acknowledgement is overruled, because a server that works through a window one second a record
//! answers pings late and is not dead; and what would make it panic is kept from it: a keep alive
//! below 5 s ([`crate::Config`] refuses it) and a receive maximum of 0 ([`Life::agree`]).
//!
//! Its `poll` must not be cancelled, so it runs in a future of its own beside the ones that take
//! commands and watch the time; all three end together, and only then is it dropped or, for the
//! farewell, polled anew.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use embedded_io::ErrorKind;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{ConnAck, Filter, Packet, Publish, RetainForwardRule};
use rumqttc::v5::{AsyncClient, EventLoop, MqttOptions, Request};
use rumqttc::{NetworkOptions, Outgoing, TlsConfiguration, Transport};
use sync::{ConnectionId, Token};
use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::failure::Failure;
use crate::inflight::Place;
use crate::publication::Publication;
use crate::reason::RECEIVE_MAXIMUM_EXCEEDED;
use crate::session::{Output, Session, Terms, Tokens};
use crate::settings::Settings;
use crate::settings::whole_seconds;
use crate::{Command, Endpoint, Event, PublishCommand, Scheme, SessionState, client_id};

/// Everything one life needs; [`Life::run`] uses it up.
pub(crate) struct Life {
    pub(crate) settings: Rc<Settings>,
    pub(crate) connection: ConnectionId,
    pub(crate) endpoint: Endpoint,
    pub(crate) tokens: Tokens,
    pub(crate) commands: Receiver<Command>,
    pub(crate) events: Sender<Event>,
}

/// How a life ended.
pub(crate) struct Outcome {
    pub(crate) failure: Failure,
    pub(crate) reached: Reached,
}

/// How far a life came: whether its endpoint deserves the next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// The endpoint did not let the client in.
    Nothing,
    /// There was a CONNACK, or nobody waited for it.
    Server,
}

/// Whether there is still somebody to take leave of.
enum End {
    /// The link is gone.
    Lost(Failure),
    /// The link works, or may.
    Closing(Failure),
}

impl Life {
    /// Lives, and says everything but the `Down`, which is the caller's.
    pub(crate) async fn run(self) -> Outcome {
        let capacity = self.settings.connection_capacity();
        let (client, mut event_loop) = AsyncClient::new(self.options(), capacity);
        let established = tokio::select! {
            biased;
            () = self.interrupted() => {
                let reached = Reached::Server;
                return Outcome { failure: Failure::asked(), reached };
            }
            established = self.establish(&mut event_loop) => established,
        };
        let session = match established {
            Ok(session) => RefCell::new(session),
            Err(failure) => {
                let reached = Reached::Nothing;
                return Outcome { failure, reached };
            }
        };

        self.subscribe(&client);
        let end = tokio::select! {
            biased;
            end = self.receive(&mut event_loop, &client, &session) => end,
            end = self.obey(&client, &session) => end,
            end = self.watch(&session) => end,
        };
        self.flush(&client, &session).await;
        let failure = match end {
            End::Lost(failure) => failure,
            End::Closing(failure) => {
                self.farewell(&mut event_loop, &client, &session).await;
                failure
            }
        };
        let reached = Reached::Server;
        Outcome { failure, reached }
    }

    fn options(&self) -> MqttOptions {
        let Settings {
            config, stamp, tls, ..
        } = &*self.settings;
        let Endpoint { scheme, host, port } = &self.endpoint;
        let id = client_id(
            &config.client_id_prefix,
            &stamp.origin.edge_id,
            self.connection,
        );
        let is_durable = config.carries_downlink(self.connection);
        let session_expiry = whole_seconds(config.session_expiry);
        let mut options = MqttOptions::new(id, host, *port);
        options
            .set_keep_alive(config.keep_alive)
            .set_clean_start(!is_durable)
            .set_session_expiry_interval(is_durable.then_some(session_expiry))
            .set_receive_maximum(Some(config.downlink_window))
            .set_max_packet_size(Some(config.maximum_packet_bytes))
            .set_outgoing_inflight_upper_limit(config.window.saturating_mul(2).max(IDENTIFIERS))
            .set_connection_timeout(config.connect_timeout.as_secs() + 1)
            .set_manual_acks(true);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
        if let Some(credentials) = &config.credentials {
            options.set_credentials(&credentials.user_name, &credentials.password);
        }
        if let (Scheme::Mqtts, Some(tls)) = (scheme, tls) {
            let tls = TlsConfiguration::Rustls(tls.clone());
            options.set_transport(Transport::tls_with_config(tls));
        }
        options
    }

    /// Drops commands that belong to an earlier life; ends when this one is to end.
    async fn interrupted(&self) {
        while let Ok(command) = self.commands.recv().await {
            if matches!(command, Command::Disconnect { .. }) {
                return;
            }
        }
    }

    async fn establish(&self, event_loop: &mut EventLoop) -> Result<Session, Failure> {
        let limit = self.settings.config.connect_timeout;
        let acknowledgement = timeout(limit, self.connect(event_loop))
            .await
            .map_err(|_| Failure::late("no CONNACK", limit))??;
        let (session, event) = self.agree(&acknowledgement, event_loop)?;
        self.say(event).await;
        Ok(session)
    }

    /// Looks the name up before rumqttc does, only to tell this failure from others.
    async fn connect(&self, event_loop: &mut EventLoop) -> Result<ConnAck, Failure> {
        let Endpoint { host, port, .. } = &self.endpoint;
        if let Err(error) = lookup_host((host.as_str(), *port)).await {
            return Err(Failure::unresolved(host, &error));
        }
        match event_loop.poll().await? {
            rumqttc::v5::Event::Incoming(Packet::ConnAck(acknowledgement)) => Ok(acknowledgement),
            _ => Err(Failure::new(
                ErrorKind::Other,
                "rumqttc skipped the CONNACK",
            )),
        }
    }

    /// Holds the server's terms against the configured ones.
    fn agree(
        &self,
        acknowledgement: &ConnAck,
        event_loop: &mut EventLoop,
    ) -> Result<(Session, Event), Failure> {
        let config = &self.settings.config;
        let properties = acknowledgement.properties.as_ref();
        let receive_maximum = properties.and_then(|it| it.receive_max).unwrap_or(u16::MAX);
        let maximum_packet_bytes = properties
            .and_then(|it| it.max_packet_size)
            .unwrap_or(u32::MAX)
            .min(config.maximum_packet_bytes);
        if receive_maximum == 0 || maximum_packet_bytes == 0 {
            return Err(Failure::violation("the CONNACK allows nothing to be sent"));
        }
        // Zero would make rumqttc ping without pause, a long time would hide a dead server. A
        // short one stays: the server drops whoever is slower.
        let keep_alive = properties
            .and_then(|it| it.server_keep_alive)
            .map(u64::from);
        if keep_alive.is_some_and(|it| it == 0 || it > config.keep_alive.as_secs()) {
            event_loop.options.set_keep_alive(config.keep_alive);
        }
        // One slot stays free, since rumqttc sends nothing at all while every slot is taken, not
        // even the acknowledgement of a downlink message.
        let window = config.window.min((receive_maximum - 1).max(1));
        let filters = if config.carries_downlink(self.connection) {
            config.downlink_filters.clone()
        } else {
            Vec::new()
        };
        let terms = Terms {
            connection: self.connection,
            tokens: self.tokens.clone(),
            window,
            maximum_packet_bytes,
            downlink_window: config.downlink_window,
            patience: config.patience,
            filters,
        };
        let up = Event::Up {
            connection: self.connection,
            endpoint: self.endpoint.clone(),
            session: if acknowledgement.session_present {
                SessionState::Present
            } else {
                SessionState::New
            },
            receive_maximum: window,
            maximum_packet_bytes,
        };
        Ok((Session::new(terms, self.settings.clock.now()), up))
    }

    /// Subscribes anew on every connection, since RobustMQ delivers nothing to a kept session
    /// until then; without retained messages, which would hold the server up for 20 s.
    fn subscribe(&self, client: &AsyncClient) {
        let config = &self.settings.config;
        if !config.carries_downlink(self.connection) {
            return;
        }
        let filters = config.downlink_filters.iter().map(|path| Filter {
            retain_forward_rule: RetainForwardRule::Never,
            ..Filter::new(path, QoS::AtLeastOnce)
        });
        client
            .try_subscribe_many(filters)
            .expect("filters are checked at the start, and the queue is empty");
    }

    /// Drives rumqttc until the link or the server fails.
    async fn receive(
        &self,
        event_loop: &mut EventLoop,
        client: &AsyncClient,
        session: &RefCell<Session>,
    ) -> End {
        loop {
            let end = match event_loop.poll().await {
                Ok(event) => {
                    relieve(event_loop, &event);
                    self.digest(event, session).err().map(End::Closing)
                }
                Err(error) => {
                    // Acknowledgements that came together with the end still count.
                    for event in std::mem::take(&mut event_loop.state.events) {
                        if self.digest(event, session).is_err() {
                            break;
                        }
                    }
                    Some(End::Lost(error.into()))
                }
            };
            self.flush(client, session).await;
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// Takes commands until told to disconnect; the bridge's stop closes the channel.
    async fn obey(&self, client: &AsyncClient, session: &RefCell<Session>) -> End {
        while let Ok(command) = self.commands.recv().await {
            match command {
                Command::Publish(publish) => {
                    if let Some(answer) = self.publish(&publish, client, session) {
                        self.say(answer).await;
                    }
                }
                Command::Confirm { token, .. } => confirm(token, client, session),
                Command::Disconnect { .. } => break,
                Command::Connect { .. } | Command::Stop => {}
            }
        }
        End::Closing(Failure::asked())
    }

    /// Waits until patience has run out.
    async fn watch(&self, session: &RefCell<Session>) -> End {
        let Settings { config, clock, .. } = &*self.settings;
        loop {
            // What is first awaited during this sleep is not overdue at its end.
            let idle = || clock.now() + config.patience;
            let deadline = session.borrow().poll_timeout().unwrap_or_else(idle);
            clock.sleep_until(deadline).await;
            if let Err(failure) = session.borrow_mut().handle_timeout(clock.now()) {
                return End::Closing(failure);
            }
        }
    }

    /// Hands a record to rumqttc, or says at once why not.
    fn publish(
        &self,
        command: &PublishCommand,
        client: &AsyncClient,
        session: &RefCell<Session>,
    ) -> Option<Event> {
        let Settings { stamp, clock, .. } = &*self.settings;
        let mut session = session.borrow_mut();
        let PublishCommand {
            lane,
            offset,
            record,
            ..
        } = command;
        let (connection, lane, offset) = (self.connection, *lane, *offset);
        let refused = Event::Refused {
            connection,
            lane,
            offset,
            reason: RECEIVE_MAXIMUM_EXCEEDED,
        };
        if !session.has_room() {
            return Some(refused);
        }
        let place = Place { lane, offset };
        let limit = session.maximum_packet_bytes();
        let publication = match stamp.publication(place, record, clock.wall(), limit) {
            Ok(publication) => publication,
            Err(reason) => {
                return Some(Event::Rejected {
                    connection,
                    lane,
                    offset,
                    reason,
                });
            }
        };
        let Publication {
            topic,
            payload,
            properties,
        } = publication;
        let qos = QoS::AtLeastOnce;
        match client.try_publish_with_properties(topic, qos, false, payload, properties) {
            Ok(()) => {
                session.handle_submitted(place, clock.now());
                None
            }
            Err(_) => Some(refused),
        }
    }

    fn digest(&self, event: rumqttc::v5::Event, session: &RefCell<Session>) -> Result<(), Failure> {
        let now = self.settings.clock.now();
        let mut session = session.borrow_mut();
        match event {
            rumqttc::v5::Event::Incoming(packet) => session.handle_incoming(packet, now),
            rumqttc::v5::Event::Outgoing(outgoing) => session.handle_outgoing(&outgoing, now),
        }
    }

    async fn flush(&self, client: &AsyncClient, session: &RefCell<Session>) {
        loop {
            let output = session.borrow_mut().poll();
            match output {
                Some(Output::Say(event)) => self.say(event).await,
                Some(Output::Acknowledge(identifier)) => acknowledge(identifier, client),
                None => return,
            }
        }
    }

    /// Says DISCONNECT behind everything already handed over, and waits for the server to close,
    /// so that nothing it still sends makes the kernel cut the DISCONNECT off.
    async fn farewell(
        &self,
        event_loop: &mut EventLoop,
        client: &AsyncClient,
        session: &RefCell<Session>,
    ) {
        if event_loop.state.collision.is_some() || !session.borrow().has_room() {
            // rumqttc takes no requests now, only what is pending.
            event_loop.pending.push_front(Request::Disconnect);
        } else if client.try_disconnect().is_err() {
            return;
        }
        let mut limit = FAREWELL;
        while let Ok(Ok(event)) = timeout(limit, event_loop.poll()).await {
            if event == rumqttc::v5::Event::Outgoing(Outgoing::Disconnect) {
                limit = LINGER;
            }
            relieve(event_loop, &event);
            if self.digest(event, session).is_err() {
                return;
            }
        }
        self.flush(client, session).await;
    }

    async fn say(&self, event: Event) {
        // Nobody listens any more only when the bridge is being stopped.
        let _ = self.events.send(event).await;
    }
}

/// Overrules rumqttc where it would give a slow server up, and frees a publish that it forgets:
/// one that waits for a packet identifier whose acknowledgement is a refusal.
fn relieve(event_loop: &mut EventLoop, event: &rumqttc::v5::Event) {
    let EventLoop { state, pending, .. } = event_loop;
    match event {
        rumqttc::v5::Event::Outgoing(Outgoing::PingReq) => {
            state.await_pingresp = false;
            state.collision_ping_count = 0;
        }
        rumqttc::v5::Event::Incoming(Packet::PubAck(acknowledgement)) => {
            let is_forgotten = state
                .collision
                .as_ref()
                .is_some_and(|waiting| waiting.pkid == acknowledgement.pkid);
            if is_forgotten {
                pending.extend(state.collision.take().map(Request::Publish));
            }
        }
        _ => {}
    }
}

fn confirm(token: Token, client: &AsyncClient, session: &RefCell<Session>) {
    let identifier = session.borrow_mut().handle_confirm(token);
    if let Some(identifier) = identifier {
        acknowledge(identifier, client);
    }
}

fn acknowledge(packet_identifier: u16, client: &AsyncClient) {
    let publish = Publish {
        qos: QoS::AtLeastOnce,
        pkid: packet_identifier,
        ..Publish::default()
    };
    if client.try_ack(&publish).is_err() {
        tracing::warn!("an acknowledgement found no room and waits for its message to come again");
    }
}

/// Time for writing DISCONNECT: to a dead peer with full buffers it takes for ever.
const FAREWELL: Duration = Duration::from_millis(600);
/// Time for the server to close.
const LINGER: Duration = Duration::from_millis(200);
/// Packet identifiers at least, so that one is hardly ever still taken when its turn comes.
const IDENTIFIERS: u16 = 64;
