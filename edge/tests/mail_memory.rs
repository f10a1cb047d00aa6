//! What the mail office holds is at most what is counted: it is filled up to its limits, and every
//! byte that was allocated meanwhile is held against `Office::held_bytes`, and that against
//! `Settings::memory_bytes`, which `limits.memory_bytes` pays for.
//!
//! Allocations are counted by the allocator of this program; nothing is stored, so that nothing but
//! the office holds anything.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::alloc::System;

use cap::Cap;
use edge::mail::{Found, Input, Office, Output, Page, Settings, Shelf, Ticket, Unreadable};
use sync::{Instant, Now, Table, WallTime};
use wire::mq9::{Attributes, Create, Deliver, Fetch, Register, Request, Send};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

const NOW: Now = Now {
    instant: Instant::from_micros(1_000_000),
    wall: WallTime(1_767_225_600_000),
};

/// A shelf that keeps nothing.
struct Empty;

impl Shelf for Empty {
    fn find(&mut self, _: Table, _: &[u8]) -> Result<Option<Vec<u8>>, Unreadable> {
        Ok(None)
    }

    fn walk(&mut self, _: Table, _: &[u8], _: &[u8], _: Page) -> Result<Found, Unreadable> {
        Ok(Found::default())
    }
}

struct Site {
    office: Office,
    /// Whether commits are answered.
    is_writing: bool,
    next_ticket: u64,
}

impl Site {
    fn ask(&mut self, request: Request) {
        self.next_ticket += 1;
        let input = Input::Request {
            ticket: Ticket(self.next_ticket),
            request: Box::new(request),
            changes: Vec::new(),
        };
        self.office.handle(NOW, input, &mut Empty);
        while let Some(output) = self.office.poll() {
            if let Output::Commit { ticket, .. } = output
                && self.is_writing
            {
                let input = Input::Committed { ticket };
                self.office.handle(NOW, input, &mut Empty);
            }
        }
    }

    fn assert_counted(&self, before: usize, what: &str) {
        let held = ALLOCATOR.allocated() - before;
        let counted = self.office.held_bytes();
        println!("{what}: {held} held, {counted} counted");
        assert!(held <= counted, "{what}: {held} held, {counted} counted");
    }
}

#[test]
fn a_full_office_holds_no_more_than_is_counted() {
    let settings = Settings::default();
    let most = settings.memory_bytes();
    let before = ALLOCATOR.allocated();
    let mut site = Site {
        office: Office::new(settings.clone(), &mut Empty, NOW).unwrap(),
        is_writing: true,
        next_ticket: 0,
    };
    let long = |at: usize, bytes: usize| format!("{at:0>bytes$}");
    for at in 0..settings.mailbox_count_maximum {
        site.ask(Request::Create(Create {
            name: Some(long(at, settings.address_bytes_maximum)),
            ttl_seconds: Some(0),
            description: long(at, settings.description_bytes_maximum),
        }));
    }
    site.assert_counted(before, "10,000 mailboxes");
    for at in 0..settings.agent_count_maximum {
        site.ask(Request::Register(Register {
            name: long(at, 64),
            mailbox: Some(long(at, 128)),
            body: long(at, 800),
        }));
    }
    site.assert_counted(before, "and 1,000 agents");
    for at in 0..settings.waiting_count_maximum + 1_000 {
        site.ask(Request::Fetch(Fetch {
            address: long(at, settings.address_bytes_maximum),
            group: Some(long(at, settings.group_name_bytes_maximum)),
            deliver: Deliver::Latest,
            is_forced: false,
            count: 10,
            wait_milliseconds: 4_000,
            encoding: None,
        }));
    }
    site.assert_counted(before, "and 1,000 fetches that wait, each of a group");
    site.is_writing = false;
    for at in 0..settings.pending_count_maximum {
        site.ask(Request::Send(Send {
            address: long(at, settings.address_bytes_maximum),
            attributes: Attributes {
                key: Some(long(at, settings.key_bytes_maximum)),
                ..Attributes::default()
            },
            headers: Vec::new(),
            payload: vec![0; 1_000],
        }));
    }
    site.assert_counted(before, "and 1,024 messages under way");
    let counts = site.office.counts();
    let reached = (counts.mailboxes, counts.agents, counts.waiting);
    assert_eq!(reached, (10_000, 1_000, 1_000));
    assert!(site.office.held_bytes() <= most, "{most}");
}
