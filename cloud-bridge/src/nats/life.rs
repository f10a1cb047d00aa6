//! The driver of one life: waits for bytes, commands and time, feeds the session, and obeys.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use sync::ConnectionId;
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::greeting::Greeting;
use super::incoming::Heard;
use super::link::Link;
use super::pull::Puller;
use super::session::{Session, Terms};
use crate::failure::{Failure, GRACE};
use crate::life::{Outcome, Reached};
use crate::settings::Settings;
use crate::{Command, Endpoint, Event, Scheme, SessionState};

/// Everything one life needs; [`Life::run`] uses it up.
pub(super) struct Life {
    pub(super) settings: Rc<Settings>,
    pub(super) connection: ConnectionId,
    pub(super) endpoint: Endpoint,
    /// Outlives this life. No borrow of it is held across a wait.
    pub(super) puller: Rc<RefCell<Puller>>,
    pub(super) commands: Receiver<Command>,
    pub(super) events: Sender<Event>,
}

/// A server that says nothing for this long may wait for TLS; one whose INFO is longer under way
/// takes TLS as well. One that has begun its INFO has as long as the whole greeting has.
const SILENCE: Duration = Duration::from_secs(1);

impl Life {
    /// Lives, and says everything but the `Down`, which is the caller's.
    pub(super) async fn run(self) -> Outcome {
        let clock = self.settings.clock;
        let start = clock.now();
        let established = tokio::select! {
            biased;
            () = self.interrupted() => {
                let waited = clock.now() - start;
                let failure = Failure::given_up("no greeting", waited);
                let reached = match waited < GRACE {
                    true => Reached::Server,
                    false => Reached::Nothing,
                };
                return Outcome { failure, reached };
            }
            established = self.establish() => established,
        };
        let (mut link, terms) = match established {
            Ok(established) => established,
            Err(failure) => {
                let reached = Reached::Nothing;
                return Outcome { failure, reached };
            }
        };
        self.say(self.up(&terms)).await;
        let mut session = Session::new(terms, clock.now());
        let failure = self.live(&mut link, &mut session).await;
        self.flush(&mut session).await;
        let reached = match session.was_useful(clock.now()) {
            true => Reached::Server,
            false => Reached::Nothing,
        };
        Outcome { failure, reached }
    }

    /// Drops commands that belong to an earlier life; ends when this one is to end.
    async fn interrupted(&self) {
        while let Ok(command) = self.commands.recv().await {
            match command {
                Command::Disconnect { .. } => return,
                command => self.answer_pull(&command),
            }
        }
    }

    /// Connects and greets within the time allowed.
    async fn establish(&self) -> Result<(Link, Terms), Failure> {
        let limit = self.settings.config.connect_timeout;
        let greeted = timeout(limit, self.greet()).await;
        greeted.map_err(|_| Failure::late("no greeting", limit))?
    }

    async fn greet(&self) -> Result<(Link, Terms), Failure> {
        let Endpoint { host, port, .. } = &self.endpoint;
        let addresses = lookup_host((host.as_str(), *port)).await;
        let addresses = addresses.map_err(|error| Failure::unresolved(host, &error))?;
        let mut link = Link::connect(addresses, self.reply_bytes()).await?;
        let Settings {
            config,
            stamp,
            clock,
            ..
        } = &*self.settings;
        let mail = config.mail.as_ref();
        let credentials = mail.and_then(|mail| mail.credentials.clone());
        let is_secured = self.endpoint.scheme == Scheme::Tls;
        let name = &stamp.origin.edge_id;
        let mut greeting = Greeting::new(name, credentials, clock.wall(), is_secured);
        let mut outbound = Vec::new();
        if is_secured {
            self.secure(&mut link, &mut greeting, &mut outbound).await?;
        }
        loop {
            while let Some(heard) = link.incoming.next().map_err(not_nats)? {
                if let Heard::Operation(operation) = heard
                    && greeting.handle(&operation, &mut outbound)?
                {
                    let terms = greeting.agree(self.terms());
                    return Ok((link, terms));
                }
            }
            while !outbound.is_empty() || link.wants_write() {
                link.writable().await?;
                link.write(&mut outbound)?;
            }
            link.readable().await?;
            link.read()?;
        }
    }

    /// Begins TLS: behind the server's INFO, or at once where none comes.
    async fn secure(
        &self,
        link: &mut Link,
        greeting: &mut Greeting,
        outbound: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let trust = self.settings.trust.as_ref();
        let trust = trust.expect("the settings were checked to have TLS where it is needed");
        let mut has_info = false;
        loop {
            match timeout(SILENCE, link.readable()).await {
                Ok(ready) => ready?,
                Err(_) if link.incoming.is_empty() => break,
                Err(_) => continue,
            }
            link.read()?;
            if let Some(Heard::Operation(operation)) = link.incoming.next().map_err(not_nats)? {
                // What comes behind it counts for nothing.
                greeting.handle(&operation, outbound)?;
                has_info = true;
                break;
            }
        }
        link.secure(&trust.current(), &self.endpoint.host, has_info)
    }

    /// What the gateway wants of a session.
    fn terms(&self) -> Terms {
        let Settings { config, stamp, .. } = &*self.settings;
        let mail = config.mail.as_ref();
        Terms {
            connection: self.connection,
            origin: stamp.origin.clone(),
            inbox: String::new(),
            window: config.window.into(),
            maximum_message_bytes: MESSAGE_BYTES,
            patience: config.patience,
            keep_alive: config.keep_alive,
            create: mail.is_some_and(|mail| mail.create),
            agents_interval: mail.and_then(|mail| mail.agents_interval),
        }
    }

    fn up(&self, terms: &Terms) -> Event {
        let maximum = u32::try_from(terms.maximum_message_bytes).unwrap_or(u32::MAX);
        Event::Up {
            connection: self.connection,
            endpoint: self.endpoint.clone(),
            session: SessionState::New,
            receive_maximum: self.settings.config.window,
            maximum_packet_bytes: maximum,
        }
    }

    fn reply_bytes(&self) -> usize {
        let mail = self.settings.config.mail.as_ref();
        mail.map_or(0, |mail| mail.reply_bytes)
    }

    /// Lives until the link, the server or patience ends, or the gateway says so.
    async fn live(&self, link: &mut Link, session: &mut Session) -> Failure {
        loop {
            match self.turn(link, session).await {
                Ok(None) => {}
                Ok(Some(failure)) | Err(failure) => return failure,
            }
        }
    }

    /// Does what is due, waits for the next thing, and deals with it. Gives why the connection is
    /// to be left, when it is.
    async fn turn(
        &self,
        link: &mut Link,
        session: &mut Session,
    ) -> Result<Option<Failure>, Failure> {
        let clock = self.settings.clock;
        session.handle_timeout(clock.now(), &mut self.puller.borrow_mut())?;
        self.flush(session).await;
        let pull = self.puller.borrow().poll_timeout();
        let due = session.poll_timeout();
        let due = pull.map_or(due, |pull| pull.min(due));
        tokio::select! {
            biased;
            command = self.commands.recv() => match command {
                Ok(Command::Publish(publish)) => {
                    session.handle_record(clock.now(), clock.stamp().steady, publish);
                }
                // The bridge's stop closes the channel.
                Ok(Command::Disconnect { .. }) | Err(_) => {
                    return Ok(Some(session.parting(clock.now())));
                }
                Ok(command) => self.answer_pull(&command),
            },
            ready = link.readable() => {
                ready?;
                link.read()?;
                self.digest(link, session)?;
            }
            ready = link.writable(), if link.wants_write() || !session.outbound().is_empty() => {
                ready?;
                link.write(session.outbound())?;
            }
            () = clock.sleep_until(due) => {}
        }
        Ok(None)
    }

    /// Gives the session all that has arrived.
    fn digest(&self, link: &mut Link, session: &mut Session) -> Result<(), Failure> {
        let now = self.settings.clock.now();
        let mut puller = self.puller.borrow_mut();
        link.incoming.cut(puller.cut());
        while let Some(heard) = link.incoming.next().map_err(not_nats)? {
            match heard {
                Heard::Operation(operation) => session.handle(now, &operation, &mut puller)?,
                Heard::TooLarge { subject } => {
                    session.handle_too_large(now, &subject, &mut puller);
                }
                Heard::Trimmed {
                    subject,
                    payload,
                    lost,
                } => session.handle_trimmed(now, (&subject, &payload), &lost, &mut puller),
            }
        }
        Ok(())
    }

    /// Tells the puller what became of a message, whichever connection it came by.
    fn answer_pull(&self, command: &Command) {
        let now = self.settings.clock.now();
        match command {
            Command::Confirm { token, .. } => self.puller.borrow_mut().confirm(now, *token),
            Command::Decline { token, .. } => self.puller.borrow_mut().decline(now, *token),
            _ => {}
        }
    }

    /// Tells the gateway what the session and the puller have for it.
    async fn flush(&self, session: &mut Session) {
        while let Some(event) = session.poll() {
            self.say(event).await;
        }
        let clock = self.settings.clock;
        let pulled = self.puller.borrow_mut().poll(clock.now(), clock.wall());
        if let Some((token, message)) = pulled {
            let connection = self.connection;
            self.say(Event::Pulled {
                connection,
                token,
                message: Box::new(message),
            })
            .await;
        }
    }

    async fn say(&self, event: Event) {
        // Nobody listens any more only when the bridge is being stopped.
        let _ = self.events.send(event).await;
    }
}

fn not_nats(error: wire::nats::DecodeError) -> Failure {
    Failure::violation(format!("the server does not speak NATS: {error}"))
}

/// Headers and payload of the largest request, whatever the server allows: what RobustMQ was seen
/// to take, and base64 makes of the largest record.
const MESSAGE_BYTES: usize = 1_400_000;
