//! The mail office between the broker, which asks, and the log, which keeps.
//!
//! Each call of the office does a bounded piece of work, so that nobody waits for somebody else's
//! mail.

use sync::{Lane, Now, Offset};

use super::super::committer::Owner;
use super::Core;
use crate::broker::{Input, Refusal, Urgency};
use crate::mail::{self, CommitTicket};

impl Core {
    /// Gives the office what the broker let through.
    pub(super) fn ask_office(&mut self, now: Now, input: mail::Input) {
        if let Some(office) = &mut self.office {
            office.handle(now, input, &mut self.reader);
        }
    }

    /// Does what is due in the office.
    pub(super) fn wake_office(&mut self, now: Now) {
        if let Some(office) = &mut self.office {
            office.handle_timeout(now, &mut self.reader);
        }
    }

    /// Carries out what the office wants.
    pub(super) fn obey_office(&mut self, now: Now, output: mail::Output) {
        match output {
            mail::Output::Commit {
                ticket,
                changes,
                is_urgent,
            } => {
                let urgency = match is_urgent {
                    true => Urgency::Immediate,
                    false => Urgency::Relaxed,
                };
                let owner = Owner::Mail(ticket);
                self.committer.add(now.instant, owner, changes, urgency);
            }
            mail::Output::Answer { ticket, reply } => {
                self.broker.handle(now, Input::MailAnswered { ticket, reply });
            }
        }
    }

    /// A commit of the office is durable, with its record, if it had one, at `place`.
    pub(super) fn mail_committed(
        &mut self,
        now: Now,
        ticket: CommitTicket,
        place: Option<(Lane, Offset)>,
    ) {
        if let Some((lane, offset)) = place {
            self.broker.handle(now, Input::Passed { lane, offset });
        }
        self.ask_office(now, mail::Input::Committed { ticket });
    }

    /// A commit of the office never will be durable.
    pub(super) fn mail_refused(&mut self, now: Now, ticket: CommitTicket, refusal: Refusal) {
        let why = refusal.to_string();
        self.ask_office(now, mail::Input::CommitFailed { ticket, why });
    }
}
