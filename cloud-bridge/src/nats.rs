//! The connection for mail: NATS to the mq9 of a RobustMQ cluster, by hand, because no client
//! library bears all that RobustMQ does: a PING before the PONG that ends the greeting, replies
//! under a subscription that nobody made, requests that are never answered.
//!
//! Upward, a record is a request and the answer to it is what becomes of the record. Downward,
//! mailboxes are pulled one after the other, and each message waits for the gateway to store it
//! before the next is handed over. The rules of [`crate::connection`] hold here too: each `Connect`
//! tries one endpoint, nothing is retried, and whatever was not answered is in doubt after `Down`.
//! Only the pull outlives a connection: where it stands is not the server's business.

mod greeting;
mod incoming;
mod life;
mod link;
mod position;
mod pull;
mod request;
mod session;
mod verdict;

use std::cell::RefCell;
use std::rc::Rc;

use async_channel::{Receiver, Sender};
use embedded_io::ErrorKind;
use sync::ConnectionId;
use tokio::task::spawn_local;

use self::life::Life;
use self::pull::Puller;
use crate::failure::Failure;
use crate::life::{Outcome, Reached};
use crate::session::Tokens;
use crate::settings::Settings;
use crate::{Command, Event, MailConfig};

/// Serves the mail's commands until their channel is closed.
pub(crate) async fn serve(
    settings: Rc<Settings>,
    tokens: Tokens,
    commands: Receiver<Command>,
    events: Sender<Event>,
) {
    let Some(config) = &settings.config.mail else {
        return;
    };
    let connection = ConnectionId(settings.config.connections);
    let puller = Rc::new(RefCell::new(Puller::new(config, tokens)));
    let mut endpoint = 0;
    while let Ok(command) = commands.recv().await {
        match command {
            Command::Connect { .. } => {}
            // A message that was handed over on a connection which is gone.
            Command::Confirm { token, .. } => {
                puller.borrow_mut().confirm(settings.clock.now(), token);
                continue;
            }
            Command::Decline { token, .. } => {
                puller.borrow_mut().decline(settings.clock.now(), token);
                continue;
            }
            _ => continue,
        }
        let failure = {
            let life = Life {
                settings: settings.clone(),
                connection,
                endpoint: config.endpoints[endpoint].clone(),
                puller: puller.clone(),
                commands: commands.clone(),
                events: events.clone(),
            };
            live(life, config, &mut endpoint).await
        };
        puller.borrow_mut().disconnected();
        let Failure { kind, text } = failure;
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

/// Lives one life, and chooses the endpoint of the next.
async fn live(life: Life, config: &MailConfig, endpoint: &mut usize) -> Failure {
    let name = life.endpoint.to_string();
    // In a task of its own, a panic below ends one life and not the bridge.
    let Outcome { failure, reached } = match spawn_local(life.run()).await {
        Ok(outcome) => outcome,
        Err(_) => Outcome {
            failure: Failure::new(ErrorKind::Other, "the connection's task panicked"),
            reached: Reached::Nothing,
        },
    };
    if reached == Reached::Nothing {
        *endpoint = (*endpoint + 1) % config.endpoints.len();
    }
    Failure::new(failure.kind, format!("{name}: {}", failure.text))
}
