//! What holds for the connections of each listener, and how many there are.

use std::rc::Rc;

use sync::Now;

use super::client::Client;
use crate::broker::{ConnectionId, ListenerId, Policy};
use crate::nats::Ends;
use crate::{mqtt, nats};

/// The terms of all listeners, by [`ListenerId`]; at least one.
pub(crate) struct Terms {
    shared: mqtt::Settings,
    listeners: Vec<Listener>,
}

/// What one listener's connections have in common.
pub(crate) struct Listener {
    /// What its clients speak.
    pub(crate) protocol: Protocol,
    /// One more connection is refused.
    pub(crate) connection_limit: usize,
    connection_count: usize,
}

/// A protocol with the limits of each connection; the memory in them is one for all listeners.
#[derive(Clone)]
pub(crate) enum Protocol {
    Mqtt(Rc<mqtt::Settings>),
    Nats(Rc<nats::Settings>),
}

impl Protocol {
    /// Begins a connection. `ends` is asked where the client is told.
    pub(crate) fn begin(
        self,
        id: ConnectionId,
        listener: ListenerId,
        ends: impl FnOnce() -> Ends,
        now: Now,
    ) -> Client {
        match self {
            Self::Mqtt(settings) => {
                Client::Mqtt(mqtt::Connection::new(id, settings, listener, now))
            }
            Self::Nats(settings) => {
                let connection = nats::Connection::new(id, settings, listener, &ends(), now);
                Client::Nats(Box::new(connection))
            }
        }
    }
}

impl Listener {
    /// Begins without connections.
    pub(crate) const fn new(protocol: Protocol, connection_limit: usize) -> Self {
        Self {
            protocol,
            connection_limit,
            connection_count: 0,
        }
    }

    /// Whether there is room for one more connection.
    pub(crate) const fn is_full(&self) -> bool {
        self.connection_count >= self.connection_limit
    }
}

impl Terms {
    /// Of each listener, and what they have in common.
    pub(crate) fn new(shared: mqtt::Settings, listeners: Vec<Listener>) -> Self {
        assert!(!listeners.is_empty(), "a gateway has a listener");
        Self { shared, listeners }
    }

    /// What holds for a listener's connections.
    pub(crate) fn of(&self, id: ListenerId) -> &Listener {
        &self.listeners[usize::from(id.0)]
    }

    /// Lets INFO ask for a user and password where there are some now; told to those who come.
    pub(crate) fn ask_for_credentials(&mut self, policies: &[Policy]) {
        for (listener, policy) in self.listeners.iter_mut().zip(policies) {
            if let Protocol::Nats(settings) = &mut listener.protocol {
                Rc::make_mut(settings).asks_for_credentials = policy.users.is_some();
            }
        }
    }

    /// What holds for all connections together.
    pub(crate) const fn shared(&self) -> &mqtt::Settings {
        &self.shared
    }

    /// Counts a connection that begins.
    pub(crate) fn enter(&mut self, id: ListenerId) {
        self.listeners[usize::from(id.0)].connection_count += 1;
    }

    /// Counts a connection that has ended.
    pub(crate) fn leave(&mut self, id: ListenerId) {
        self.listeners[usize::from(id.0)].connection_count -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_asks_for_credentials_where_there_are_users_now() {
        let settings = Rc::new(nats::Settings::default());
        let listener = Listener::new(Protocol::Nats(settings), 1);
        let mut terms = Terms::new(mqtt::Settings::default(), vec![listener]);
        let asks = |terms: &Terms| match &terms.of(ListenerId(0)).protocol {
            Protocol::Nats(settings) => settings.asks_for_credentials,
            Protocol::Mqtt(_) => false,
        };
        assert!(!asks(&terms));
        let policy = Policy {
            users: Some(Rc::default()),
            ..Policy::default()
        };
        terms.ask_for_credentials(&[policy]);
        assert!(asks(&terms));
        terms.ask_for_credentials(&[Policy::default()]);
        assert!(!asks(&terms));
    }

    #[test]
    fn each_listener_has_its_own_count() {
        let settings = mqtt::Settings::default();
        let protocol = Protocol::Mqtt(Rc::new(settings.clone()));
        let listener = |limit| Listener::new(protocol.clone(), limit);
        let mut terms = Terms::new(settings, vec![listener(1), listener(2)]);
        let (first, second) = (ListenerId(0), ListenerId(1));
        terms.enter(first);
        terms.enter(second);
        assert!(terms.of(first).is_full() && !terms.of(second).is_full());
        terms.leave(first);
        assert!(!terms.of(first).is_full());
    }
}
