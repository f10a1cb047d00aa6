//! One life of a connection: a rumqttc event loop from CONNECT until it fails or is told to end.
//!
//! rumqttc is trusted with packets and nothing else. Its queue of pending packets never survives,
//! since the whole event loop is dropped with the life; its own judgement of a late PINGRESP or
//! acknowledgement is overruled, because a server that works through a window one second a record
//! answers pings late and is not dead; and what would make it panic is kept from it: a keep alive
//! below 5 s, which [`crate::Config`] refuses, and a receive maximum of 0, which [`greeting`] does.
//!
//! Its `poll` must not be cancelled, so it runs in a future of its own beside the ones that take
//! commands and watch the time; all three end together, and only then is it dropped or, for the
//! farewell, polled anew.

mod greeting;
mod pump;

use std::rc::Rc;

use async_channel::{Receiver, Sender};
use rumqttc::v5::AsyncClient;
use sync::ConnectionId;

use self::pump::{End, Pump};
use crate::failure::{Failure, GRACE};
use crate::session::Tokens;
use crate::settings::Settings;
use crate::{Command, Endpoint, Event};

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
    /// The endpoint did not let the client in, or let it in and did nothing for it.
    Nothing,
    /// The endpoint took records, or had no chance to.
    Server,
}

impl Life {
    /// Lives, and says everything but the `Down`, which is the caller's.
    pub(crate) async fn run(self) -> Outcome {
        let clock = self.settings.clock;
        let start = clock.now();
        let capacity = self.settings.connection_capacity();
        let (client, mut event_loop) = AsyncClient::new(self.options(), capacity);
        let established = tokio::select! {
            biased;
            () = self.interrupted() => {
                let waited = clock.now() - start;
                let failure = Failure::given_up("no CONNACK", waited);
                let reached = match waited < GRACE {
                    true => Reached::Server,
                    false => Reached::Nothing,
                };
                return Outcome { failure, reached };
            }
            established = self.establish(&mut event_loop) => established,
        };
        let (session, up) = match established {
            Ok(established) => established,
            Err(failure) => {
                let reached = Reached::Nothing;
                return Outcome { failure, reached };
            }
        };

        self.say(up).await;
        self.subscribe(&client);
        let pump = Pump::new(&self, client, session);
        let end = tokio::select! {
            biased;
            end = pump.receive(&mut event_loop) => end,
            end = pump.obey() => end,
            end = pump.watch() => end,
        };
        pump.flush().await;
        let reached = pump.reached();
        let failure = match end {
            End::Lost(failure) => failure,
            End::Closing(failure) => {
                pump.farewell(&mut event_loop).await;
                failure
            }
        };
        Outcome { failure, reached }
    }

    /// Drops commands that belong to an earlier life; ends when this one is to end.
    async fn interrupted(&self) {
        while let Ok(command) = self.commands.recv().await {
            if matches!(command, Command::Disconnect { .. }) {
                return;
            }
        }
    }

    async fn say(&self, event: Event) {
        // Nobody listens any more only when the bridge is being stopped.
        let _ = self.events.send(event).await;
    }
}
