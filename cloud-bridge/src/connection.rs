//! One connection over all its lives: which endpoint comes next.
//!
//! Each `Connect` tries one endpoint, so that whoever gives the commands sets the pace. An
//! endpoint that was of use is tried first the next time; one that was not gives way to the next
//! in the list, even if it let the client in: half of a broken server is broken.

use std::rc::Rc;

use async_channel::{Receiver, Sender};
use embedded_io::ErrorKind;
use sync::ConnectionId;
use tokio::task::spawn_local;

use crate::failure::Failure;
use crate::life::{Life, Outcome, Reached};
use crate::session::Tokens;
use crate::settings::Settings;
use crate::{Command, Event};

/// Serves one connection's commands until their channel is closed.
pub(crate) async fn serve(
    settings: Rc<Settings>,
    connection: ConnectionId,
    tokens: Tokens,
    commands: Receiver<Command>,
    events: Sender<Event>,
) {
    let endpoints = &settings.config.endpoints;
    let mut endpoint = 0;
    while let Ok(command) = commands.recv().await {
        // Whatever else comes while nothing is connected belongs to a life that is over.
        let Command::Connect { .. } = command else {
            continue;
        };
        let life = Life {
            settings: settings.clone(),
            connection,
            endpoint: endpoints[endpoint].clone(),
            tokens: tokens.clone(),
            commands: commands.clone(),
            events: events.clone(),
        };
        // In a task of its own, a panic below ends one life and not the bridge.
        let Outcome { failure, reached } = match spawn_local(life.run()).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome {
                failure: Failure::new(ErrorKind::Other, "the connection's task panicked"),
                reached: Reached::Nothing,
            },
        };
        let text = format!("{}: {}", endpoints[endpoint], failure.text);
        if reached == Reached::Nothing {
            endpoint = (endpoint + 1) % endpoints.len();
        }
        let kind = failure.kind;
        let down = Event::Down {
            connection,
            kind,
            text,
        };
        if events.send(down).await.is_err() {
            return;
        }
    }
}
