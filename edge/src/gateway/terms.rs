//! What holds for the connections of each listener, and how many there are.

use std::rc::Rc;

use crate::broker::ListenerId;
use crate::mqtt;

/// The terms of all listeners, by [`ListenerId`]; at least one.
pub(crate) struct Terms {
    listeners: Vec<Listener>,
}

/// What one listener's connections have in common.
pub(crate) struct Listener {
    /// Limits of each connection; the memory in them is one for all listeners.
    pub(crate) settings: Rc<mqtt::Settings>,
    /// One more connection is refused.
    pub(crate) connection_limit: usize,
    connection_count: usize,
}

impl Listener {
    /// Begins without connections.
    pub(crate) const fn new(settings: Rc<mqtt::Settings>, connection_limit: usize) -> Self {
        Self {
            settings,
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
    pub(crate) fn new(listeners: Vec<Listener>) -> Self {
        assert!(!listeners.is_empty(), "a gateway has a listener");
        Self { listeners }
    }

    /// What holds for a listener's connections.
    pub(crate) fn of(&self, id: ListenerId) -> &Listener {
        &self.listeners[usize::from(id.0)]
    }

    /// What holds for all connections together.
    pub(crate) fn shared(&self) -> &mqtt::Settings {
        &self.listeners[0].settings
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
    fn each_listener_has_its_own_count() {
        let settings = Rc::new(mqtt::Settings::default());
        let mut terms = Terms::new(vec![
            Listener::new(settings.clone(), 1),
            Listener::new(settings, 2),
        ]);
        let (first, second) = (ListenerId(0), ListenerId(1));
        terms.enter(first);
        terms.enter(second);
        assert!(terms.of(first).is_full() && !terms.of(second).is_full());
        terms.leave(first);
        assert!(!terms.of(first).is_full());
    }
}
