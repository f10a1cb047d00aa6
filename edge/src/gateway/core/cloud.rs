//! What the uplink wants of the gateway, carried out; among it mail and agents that came down, on
//! their way to the mail office.

use sync::{Change, Now, Token};
use tracing::warn;
use wire::mq9::{Agent, Reply, Request, Send};

use super::super::committer::Owner;
use super::{Core, Fetch};
use crate::broker::Input;
use crate::log::Reason;
use crate::mail::{self, Ticket};
use crate::uplink::Wish;

/// What marks the ticket of a pulled message; those of clients count from 0 on.
const PULLED: u64 = 1 << 63;

impl Core {
    /// Carries out what the uplink wants.
    pub(super) fn grant(&mut self, now: Now, wish: Wish) {
        match wish {
            Wish::Fetch { lane, from, budget } => {
                self.fetches.push_back(Fetch::Uplink { lane, from, budget });
                self.wakes.fetch.raise();
            }
            Wish::Commit(changes, urgency) => {
                self.committer
                    .add(now.instant, Owner::Uplink, changes, urgency);
            }
            Wish::NoteGap { gap, why } => {
                if self.is_about_gap(gap.lane, gap.first) {
                    return;
                }
                let kind = match gap.reason {
                    Reason::TooLarge => "too large for the cloud",
                    _ => "rejected by the cloud",
                };
                if let Some(times) = self.quiet.may_say(now.instant, kind) {
                    warn!(
                        "lane {}: record {} never goes to the cloud: {why}{times}",
                        gap.lane, gap.first
                    );
                }
                self.note_gap(gap);
            }
            Wish::Store { record, token } => {
                self.broker.handle(
                    now,
                    Input::FromCloud {
                        record,
                        token,
                        changes: Vec::new(),
                    },
                );
            }
            Wish::Mail {
                send,
                more,
                changes,
                token,
                too_large: None,
            } => self.post(now, (send, more), changes, token),
            Wish::Mail {
                send,
                changes,
                token,
                too_large: Some(bytes),
                ..
            } => self.pass_over(now, &send, changes, (token, bytes)),
            Wish::Agents(agents) => self.know_cloud_agents(now, agents),
            Wish::Bridge => self.wakes.bridge.raise(),
        }
    }

    /// Gives pulled messages to the office, which makes them durable together with `changes`.
    fn post(
        &mut self,
        now: Now,
        (mut send, mut more): (Send, Vec<Send>),
        changes: Vec<Change>,
        token: Token,
    ) {
        let Some(office) = &self.office else {
            return self.posted(now, token, false);
        };
        let ticket = Ticket(PULLED | token.0);
        office.trim_attributes(&mut send.attributes);
        for send in &mut more {
            office.trim_attributes(&mut send.attributes);
        }
        let input = if more.is_empty() {
            mail::Input::Request {
                ticket,
                request: Box::new(Request::Send(send)),
                changes,
            }
        } else {
            more.insert(0, send);
            mail::Input::Bundle {
                ticket,
                sends: more,
                changes,
            }
        };
        self.ask_office(now, input);
    }

    /// Has the office note that a message of the cloud is too large to be pulled.
    fn pass_over(
        &mut self,
        now: Now,
        send: &Send,
        changes: Vec<Change>,
        (token, bytes): (Token, u64),
    ) {
        if let Some(times) = self.quiet.may_say(now.instant, "too large to pull") {
            warn!(
                "a message of mailbox {} stays in the cloud: its {bytes} bytes of JSON are over \
                 cloud.mq9.reply_bytes{times}",
                send.address
            );
        }
        let input = mail::Input::Lost {
            ticket: Ticket(PULLED | token.0),
            priority: send.attributes.priority,
            bytes,
            changes,
        };
        self.ask_office(now, input);
    }

    /// Takes what the office says of a pulled message. False when it is about a client's request.
    pub(super) fn hear_of_pulled(&mut self, now: Now, ticket: Ticket, reply: &Reply) -> bool {
        if ticket.0 & PULLED == 0 {
            return false;
        }
        if let Reply::Failed(failure) = reply
            && let Some(times) = self.quiet.may_say(now.instant, "pulled mail")
        {
            warn!(
                "a message from the cloud waits there, since it is not kept here: {failure}{times}"
            );
        }
        let is_stored = matches!(reply, Reply::Sent { .. });
        self.posted(now, Token(ticket.0 & !PULLED), is_stored);
        true
    }

    fn posted(&mut self, now: Now, token: Token, is_stored: bool) {
        if let Some(uplink) = &mut self.uplink {
            uplink.mailed(now.instant, token, is_stored);
        }
    }

    /// Tells the office which agents the cloud knows, but for those that the cloud knows from here.
    fn know_cloud_agents(&mut self, now: Now, mut agents: Vec<Agent>) {
        if let Some(office) = &self.office {
            agents.retain(|agent| !office.has_agent(&agent.name));
            self.ask_office(now, mail::Input::CloudAgents { agents });
        }
    }
}
