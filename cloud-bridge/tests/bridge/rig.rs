//! A bridge under test: what it is told, and what it says within a deadline.

use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use cloud_bridge::{Bridge, Command, Config, Event, PublishCommand};
use embedded_io::ErrorKind;
use sync::{ConnectionId, Epoch, Lane, Offset, Record, RecordParts, Token, WallTime};

/// Longer than anything here takes on any machine, shorter than a tester's patience.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) const FIRST: ConnectionId = ConnectionId(0);

pub(crate) struct Rig {
    bridge: Option<Bridge>,
    events: Receiver<Event>,
}

impl Rig {
    pub(crate) fn start(config: Config) -> Self {
        let bridge = Bridge::start(config, "plant-7", Epoch(3)).expect("allowed settings");
        let source = bridge.events().clone();
        let (sender, events) = channel();
        thread::spawn(move || {
            while let Ok(event) = source.recv_blocking() {
                if sender.send(event).is_err() {
                    break;
                }
            }
        });
        Self {
            bridge: Some(bridge),
            events,
        }
    }

    pub(crate) fn tell(&self, command: Command) {
        let bridge = self.bridge.as_ref().expect("a running bridge");
        bridge
            .commands()
            .send_blocking(command)
            .expect("it listens");
    }

    pub(crate) fn connect(&self) {
        self.tell(Command::Connect { connection: FIRST });
    }

    pub(crate) fn connect_to(&self, connection: ConnectionId) {
        self.tell(Command::Connect { connection });
    }

    pub(crate) fn confirm(&self, token: Token) {
        self.tell(Command::Confirm {
            connection: FIRST,
            token,
        });
    }

    pub(crate) fn publish(&self, offset: u64, record: &Record) {
        self.tell(Command::Publish(PublishCommand {
            connection: FIRST,
            lane: Lane::Normal,
            offset: Offset(offset),
            record: record.clone(),
        }));
    }

    /// Has a record sent on another connection than the first.
    pub(crate) fn send(&self, connection: ConnectionId, offset: u64, record: &Record) {
        self.tell(Command::Publish(PublishCommand {
            connection,
            lane: Lane::Normal,
            offset: Offset(offset),
            record: record.clone(),
        }));
    }

    pub(crate) fn event(&self) -> Event {
        self.events.recv_timeout(DEADLINE).expect("an event")
    }

    /// Whether nothing is said for as long as a millisecond's work takes many times over.
    pub(crate) fn is_silent(&self) -> bool {
        self.events
            .recv_timeout(Duration::from_millis(200))
            .is_err()
    }

    pub(crate) fn expect_up(&self) {
        let event = self.event();
        assert!(matches!(event, Event::Up { .. }), "{event:?}");
    }

    /// Gives the text of a `Down` of this kind.
    pub(crate) fn expect_down(&self, expected: ErrorKind) -> String {
        match self.event() {
            Event::Down { kind, text, .. } => {
                assert_eq!(kind, expected, "{text}");
                text
            }
            other => panic!("{other:?} instead of Down"),
        }
    }

    pub(crate) fn expect_accepted(&self, expected: u64) {
        match self.event() {
            Event::Accepted { offset, .. } => assert_eq!(offset, Offset(expected)),
            other => panic!("{other:?} instead of Accepted"),
        }
    }

    pub(crate) fn expect_refused(&self, expected: u64, code: u8) {
        match self.event() {
            Event::Refused { offset, reason, .. } => {
                assert_eq!((offset, reason), (Offset(expected), code));
            }
            other => panic!("{other:?} instead of Refused"),
        }
    }

    /// Stops the bridge, from within and without.
    pub(crate) fn stop(mut self) {
        if let Some(bridge) = self.bridge.take() {
            bridge.stop();
        }
    }
}

/// A record of now.
pub(crate) fn record(topic: &str, payload: &[u8]) -> Record {
    Record::new(&RecordParts {
        payload,
        ..parts(topic)
    })
}

pub(crate) fn parts(topic: &str) -> RecordParts<'_> {
    RecordParts {
        qos: 1,
        retain: false,
        from_cloud: false,
        time: WallTime(1_700_000_000_000),
        expiry_seconds: None,
        publisher: 0,
        topic,
        properties: &[],
        payload: b"21.5",
    }
}
