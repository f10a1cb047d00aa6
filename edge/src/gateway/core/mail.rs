//! The mail office between the broker, which asks, and the log, which keeps.
//!
//! Each call of the office does a bounded piece of work, so that nobody waits for somebody else's
//! mail.

use sync::{Lane, Now, Offset, Table};

use super::super::committer::Owner;
use super::super::peers::Peer;
use super::Core;
use crate::broker::{ConnectionId, Input, MailInput, Refusal, Urgency};
use crate::log::{Budget, Gap, Parts, Reader, Reason};
use crate::mail::{self, CommitTicket, Found, Office, Page, Shelf, Unread, Unreadable};

/// The log's reader, as the office sees it.
pub(crate) struct Pigeonholes<'a>(pub(crate) &'a mut Reader);

impl Shelf for Pigeonholes<'_> {
    fn find(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Unreadable> {
        self.0.find(table, key).map_err(|_| Unreadable)
    }

    fn walk(
        &mut self,
        table: Table,
        from: &[u8],
        end: &[u8],
        page: Page,
    ) -> Result<Found, Unreadable> {
        let budget = Budget {
            records: page.rows,
            bytes: page.bytes,
        };
        let walked = self.0.walk(table, from, end, budget);
        let walked = walked.map_err(|_| Unreadable)?;
        Ok(Found {
            rows: walked.rows,
            next: walked.next,
        })
    }
}

impl Core {
    /// Gives the office what the broker let through, or keeps it while the office is busy: a publish
    /// is a letter as soon as it is read, and who is refused for haste may never try again.
    pub(super) fn hand_in(&mut self, now: Now, input: mail::Input) {
        match input {
            mail::Input::Request { .. } if self.is_office_busy() => self.letters.push_back(input),
            _ => self.ask_office(now, input),
        }
    }

    /// Whether whoever wants something of the office next should wait.
    pub(super) fn is_office_busy(&self) -> bool {
        !self.letters.is_empty() || self.office.as_ref().is_some_and(Office::is_busy)
    }

    /// Gives the office what was kept for it.
    fn hand_in_letters(&mut self, now: Now) {
        while self.office.as_ref().is_some_and(|office| !office.is_busy())
            && let Some(input) = self.letters.pop_front()
        {
            self.ask_office(now, input);
            self.settle(now);
        }
    }

    /// Tells the office something.
    pub(super) fn ask_office(&mut self, now: Now, input: mail::Input) {
        if let Some(office) = &mut self.office {
            office.handle(now, input, &mut Pigeonholes(&mut self.reader));
        }
    }

    /// Does what is due in the office.
    pub(super) fn wake_office(&mut self, now: Now) {
        if let Some(office) = &mut self.office {
            office.handle_timeout(now, &mut Pigeonholes(&mut self.reader));
        }
    }

    /// Gives what a connection has to say next, requests of the office included, for which there must
    /// be no outputs left.
    pub(super) fn next_word(&mut self, id: ConnectionId) -> Option<Input> {
        let is_busy = self.is_office_busy();
        let connection = &mut self.peers.find(id)?.connection;
        let input = connection.poll();
        if input.is_some() || !connection.is_asking() {
            return input;
        }
        let is_reading = connection.is_asking_to_read();
        if is_busy || is_reading && self.has_read_mail {
            self.asking.insert(id);
            return None;
        }
        let input = connection.poll_request();
        if is_reading && input.is_some() {
            self.has_read_mail = true;
            self.last_reader = id;
        }
        input
    }

    /// Lets those ask whose time has come: something happened to them, or the office is not busy any
    /// more. One of them reads; it is somebody else's turn next.
    pub(super) fn let_ask(&mut self, now: Now) {
        self.hand_in_letters(now);
        let mut place = 0;
        while let Some(id) = self.touched.get(place).copied() {
            place += 1;
            self.let_one_ask(now, id);
        }
        if !self.asking.is_empty() {
            self.let_waiting_ask(now);
        }
        self.has_read_mail = false;
    }

    /// Goes round those who wait, from whoever comes behind the one that read last.
    fn let_waiting_ask(&mut self, now: Now) {
        let mut waiting = std::mem::take(&mut self.asking);
        let mut next = waiting.split_off(&self.last_reader);
        if next.remove(&self.last_reader) {
            waiting.insert(self.last_reader);
        }
        while !self.is_office_busy()
            && let Some(id) = next.pop_first().or_else(|| waiting.pop_first())
        {
            self.touch(id);
            self.let_one_ask(now, id);
        }
        self.asking.append(&mut next);
        self.asking.append(&mut waiting);
    }

    fn let_one_ask(&mut self, now: Now, id: ConnectionId) {
        let is_asking = |peer: &mut Peer| peer.connection.is_asking();
        if !self.peers.find(id).is_some_and(is_asking) {
            return;
        }
        while let Some(input) = self.next_word(id) {
            self.broker.handle(now, input);
            self.settle(now);
        }
    }

    /// Carries out what the office wants.
    pub(super) fn obey_office(&mut self, now: Now, output: mail::Output) {
        match output {
            mail::Output::Commit {
                ticket,
                mut changes,
                unread,
                is_urgent,
            } => {
                changes.extend(unread.iter().map(|it| gap_of(it).to_change()));
                let urgency = match is_urgent {
                    true => Urgency::Immediate,
                    false => Urgency::Relaxed,
                };
                let owner = Owner::Mail(ticket);
                self.committer.add(now.instant, owner, changes, urgency);
            }
            mail::Output::Answer { ticket, reply } => {
                if self.hear_of_pulled(now, ticket, &reply) {
                    return;
                }
                let answered = MailInput::Answered { ticket, reply };
                self.broker.handle(now, Input::Mail(answered));
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
            let passed = MailInput::Passed { lane, offset };
            self.broker.handle(now, Input::Mail(passed));
        }
        self.ask_office(now, mail::Input::Committed { ticket });
    }

    /// A commit of the office never will be durable.
    pub(super) fn mail_refused(&mut self, now: Now, ticket: CommitTicket, refusal: Refusal) {
        let why = refusal.to_string();
        self.ask_office(now, mail::Input::CommitFailed { ticket, why });
    }

    /// What there is in the office and what it did, for the operator.
    pub(crate) fn mail_counts(&self) -> Option<[(&'static str, u64); 12]> {
        let office = self.office.as_ref()?;
        let (counts, counters) = (office.counts(), office.counters());
        Some([
            ("mail.mailboxes", counts.mailboxes as u64),
            ("mail.messages", counts.messages),
            ("mail.bytes", counts.message_bytes),
            ("mail.agents", counts.agents as u64),
            ("mail.waiting_fetches", counts.waiting as u64),
            ("mail.waits_refused", counters.waits_refused),
            ("mail.requests", counters.requests),
            ("mail.failures", counters.failures),
            ("mail.messages_over", counters.messages_over),
            ("mail.messages_unread", counters.messages_unread),
            ("mail.messages_gave_way", counters.messages_gave_way),
            ("mail.mailboxes_over", counters.mailboxes_over),
        ])
    }
}

/// What ends unread, as it is written down with everything else that is dropped.
fn gap_of(unread: &Unread) -> Gap {
    Gap {
        lane: Lane::ALL[unread.priority as usize],
        first: Offset(unread.first),
        last: Offset(unread.first.saturating_add(unread.count.saturating_sub(1))),
        count: unread.count,
        bytes: unread.bytes,
        from: unread.from,
        to: unread.to,
        reason: Reason::Unread,
        parts: Parts::default(),
    }
}

/// The lane of a message's priority, which its key names behind the number of the mailbox.
pub(super) fn lane_of(key: &[u8]) -> Lane {
    let priority = key.get(8).copied().map(usize::from);
    let lane = priority.and_then(|it| Lane::ALL.get(it).copied());
    lane.unwrap_or(Lane::Normal)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::super::start;
    use super::super::Push;
    use crate::broker::{ListenerId, Policy};
    use crate::config::Config;
    use crate::limits::Limits;
    use crate::nats::Ends;

    /// A client that asks for mail a thousand times at once kept the core until all was read and
    /// written.
    #[test]
    fn one_request_that_reads_mail_is_served_a_turn_and_clients_take_turns() {
        const REQUESTS: usize = 20;
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "[gateway]\ndata = \"{}\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
             protocol = \"nats\"\n",
            folder.path().display()
        );
        let file = Path::new("edge.toml");
        let limits = Limits::resolve(&Config::parse(&text, file).unwrap(), file).unwrap();
        let mut started = start::start(&limits, vec![Policy::default()]).unwrap();
        let (core, now) = (&mut started.core, started.clock.now());
        let clients = ["a", "b", "c"].map(|name| {
            let place = core.accept(now, ListenerId(0), None, Ends::default);
            let id = place.unwrap().id;
            let hello = format!("CONNECT {{}}\r\nSUB {name} 1\r\n");
            core.received(now, id, hello.as_bytes());
            core.go_on(now, id, Push::Hard);
            (id, name)
        });
        let (mut turns, mut served) = (0, [0; 3]);
        for (id, name) in clients {
            let ask = format!("PUB $mq9.AI.AGENT.DISCOVER {name} 0\r\n\r\n");
            core.received(now, id, ask.repeat(REQUESTS).as_bytes());
            core.go_on(now, id, Push::Hard);
            turns += 1;
        }
        while served.iter().sum::<usize>() < clients.len() * REQUESTS {
            assert!(turns < 1_000, "{served:?}");
            let before = served;
            core.handle_timeout(now);
            turns += 1;
            for ((id, name), count) in clients.iter().zip(&mut served) {
                let mut bytes = Vec::new();
                core.take_outbound(now, *id, &mut bytes);
                turns += 1;
                let said = String::from_utf8_lossy(&bytes);
                *count += said.matches(&format!("MSG {name} 1 ")).count();
            }
            assert!(served.iter().sum::<usize>() <= turns, "{served:?} {turns}");
            for (before, after) in before.iter().zip(&served) {
                assert!(after > before || *after == REQUESTS, "{served:?}");
            }
        }
    }
}
