//! The three futures between CONNACK and the end, and the farewell: they wait, feed the session,
//! drain it, and obey.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::mem;
use std::time::Duration;

use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish};
use rumqttc::v5::{AsyncClient, Event as Polled, EventLoop, Request};
use tokio::time::timeout;

use super::{Life, Reached};
use crate::failure::Failure;
use crate::inflight::Place;
use crate::publication::Publication;
use crate::reason::RECEIVE_MAXIMUM_EXCEEDED;
use crate::session::{Output, Session};
use crate::settings::Settings;
use crate::{Command, Event, PublishCommand};

/// What the futures of one life share. No borrow of the session is held across a wait.
pub(super) struct Pump<'a> {
    life: &'a Life,
    client: AsyncClient,
    session: RefCell<Session>,
    /// Packet identifiers to acknowledge as soon as rumqttc has room for it.
    owed: RefCell<VecDeque<u16>>,
}

/// Whether there is still somebody to take leave of.
pub(super) enum End {
    /// The link is gone.
    Lost(Failure),
    /// The link works, or may.
    Closing(Failure),
}

impl<'a> Pump<'a> {
    pub(super) const fn new(life: &'a Life, client: AsyncClient, session: Session) -> Self {
        Self {
            life,
            client,
            session: RefCell::new(session),
            owed: RefCell::new(VecDeque::new()),
        }
    }

    /// Drives rumqttc until the link or the server fails.
    pub(super) async fn receive(&self, event_loop: &mut EventLoop) -> End {
        let clock = self.life.settings.clock;
        loop {
            while self.session.borrow().is_overrun() {
                clock.sleep_until(clock.now() + OVERRUN_PAUSE).await;
            }
            let end = match event_loop.poll().await {
                Ok(event) => {
                    relieve(event_loop, &event);
                    self.digest(event).err().map(End::Closing)
                }
                Err(error) => {
                    self.digest_rest(event_loop);
                    Some(End::Lost(error.into()))
                }
            };
            self.flush().await;
            self.pay();
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// Takes commands until told to disconnect; the bridge's stop closes the channel.
    pub(super) async fn obey(&self) -> End {
        while let Ok(command) = self.life.commands.recv().await {
            match command {
                Command::Publish(publish) => {
                    if let Some(answer) = self.publish(&publish) {
                        self.life.say(answer).await;
                    }
                }
                Command::Confirm { token, .. } => {
                    let identifier = self.session.borrow_mut().handle_confirm(token);
                    if let Some(identifier) = identifier {
                        self.acknowledge(identifier);
                    }
                }
                Command::Disconnect { .. } => break,
                Command::Connect { .. } | Command::Decline { .. } | Command::Stop => {}
            }
        }
        let now = self.life.settings.clock.now();
        End::Closing(self.session.borrow().parting(now))
    }

    /// Whether the endpoint deserves the next try.
    pub(super) fn reached(&self) -> Reached {
        match self
            .session
            .borrow()
            .was_useful(self.life.settings.clock.now())
        {
            true => Reached::Server,
            false => Reached::Nothing,
        }
    }

    /// Waits until patience has run out.
    pub(super) async fn watch(&self) -> End {
        let Settings { config, clock, .. } = &*self.life.settings;
        loop {
            // What is first awaited during this sleep is not overdue at its end.
            let idle = || clock.now() + config.patience;
            let deadline = self.session.borrow().poll_timeout().unwrap_or_else(idle);
            clock.sleep_until(deadline).await;
            let outcome = self.session.borrow_mut().handle_timeout(clock.now());
            if let Err(failure) = outcome {
                return End::Closing(failure);
            }
        }
    }

    /// Does what the session wants done.
    pub(super) async fn flush(&self) {
        loop {
            let output = self.session.borrow_mut().poll();
            match output {
                Some(Output::Say(event)) => self.life.say(event).await,
                Some(Output::Acknowledge(identifier)) => self.acknowledge(identifier),
                None => return,
            }
        }
    }

    /// Says DISCONNECT behind everything already handed over, and waits for the server to close,
    /// so that nothing it still sends makes the kernel cut the DISCONNECT off.
    pub(super) async fn farewell(&self, event_loop: &mut EventLoop) {
        if event_loop.state.collision.is_some() || !self.session.borrow().has_room() {
            // rumqttc may take no requests now, only what is pending.
            event_loop.pending.push_front(Request::Disconnect);
        } else if self.client.try_disconnect().is_err() {
            return;
        }
        let leave = async {
            let mut limit = FAREWELL;
            while let Ok(Ok(event)) = timeout(limit, event_loop.poll()).await {
                if event == Polled::Outgoing(Outgoing::Disconnect) {
                    limit = LINGER;
                }
                relieve(event_loop, &event);
                if self.digest(event).is_err() {
                    break;
                }
                self.flush().await;
            }
            self.digest_rest(event_loop);
            self.flush().await;
        };
        // What is left then is in doubt, as `Down` says.
        let _ = timeout(FAREWELL, leave).await;
    }

    /// Hands a record to rumqttc, or says at once why not.
    fn publish(&self, command: &PublishCommand) -> Option<Event> {
        let Settings { stamp, clock, .. } = &*self.life.settings;
        let mut session = self.session.borrow_mut();
        let connection = self.life.connection;
        let place @ Place { lane, offset } = Place {
            lane: command.lane,
            offset: command.offset,
        };
        let refused = Event::Refused {
            connection,
            lane,
            offset,
            reason: RECEIVE_MAXIMUM_EXCEEDED,
            text: None,
        };
        if !session.has_room() {
            return Some(refused);
        }
        let limit = session.maximum_packet_bytes();
        let publication = match stamp.publication(place, &command.record, clock.stamp(), limit) {
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
        let (qos, retain) = (QoS::AtLeastOnce, false);
        let handed = self
            .client
            .try_publish_with_properties(topic, qos, retain, payload, properties);
        if handed.is_err() {
            return Some(refused);
        }
        session.handle_submitted(place, clock.now());
        None
    }

    fn acknowledge(&self, packet_identifier: u16) {
        self.owed.borrow_mut().push_back(packet_identifier);
        self.pay();
    }

    /// Hands rumqttc as many acknowledgements as it takes. It sends one for up to ten packets that
    /// it reads, so what a server in a hurry is owed may have to wait here; at most one for each
    /// of its packet identifiers.
    fn pay(&self) {
        let mut owed = self.owed.borrow_mut();
        while let Some(&packet_identifier) = owed.front() {
            let publish = Publish {
                qos: QoS::AtLeastOnce,
                pkid: packet_identifier,
                ..Publish::default()
            };
            if self.client.try_ack(&publish).is_err() {
                return;
            }
            owed.pop_front();
        }
    }

    fn digest(&self, event: Polled) -> Result<(), Failure> {
        let now = self.life.settings.clock.now();
        let mut session = self.session.borrow_mut();
        match event {
            Polled::Incoming(packet) => session.handle_incoming(packet, now),
            Polled::Outgoing(outgoing) => session.handle_outgoing(&outgoing, now),
        }
    }

    /// Takes the acknowledgements that came together with the end: they count.
    fn digest_rest(&self, event_loop: &mut EventLoop) {
        for event in mem::take(&mut event_loop.state.events) {
            if self.digest(event).is_err() {
                return;
            }
        }
    }
}

/// Between two looks at whether an overrun is over; the gateway confirms within some milliseconds.
const OVERRUN_PAUSE: Duration = Duration::from_millis(1);

/// Overrules rumqttc where it would give a slow server up, and frees a publish that it forgets:
/// one that waits for a packet identifier whose acknowledgement is a refusal.
fn relieve(event_loop: &mut EventLoop, event: &Polled) {
    let EventLoop { state, pending, .. } = event_loop;
    match event {
        Polled::Outgoing(Outgoing::PingReq) => {
            state.await_pingresp = false;
            state.collision_ping_count = 0;
        }
        Polled::Incoming(Packet::PubAck(acknowledgement)) => {
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

/// Time for all of it: writing to a dead peer with full buffers takes for ever, and a server may
/// go on sending.
const FAREWELL: Duration = Duration::from_millis(900);
/// Time for the server to close, or to say one more thing.
const LINGER: Duration = Duration::from_millis(200);
