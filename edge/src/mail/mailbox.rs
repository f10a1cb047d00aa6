//! The mailboxes that there are: by address, by number, and their counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use sync::{Change, Table, WallTime};
use wire::mq9::{Create, Failure, Reply};

use super::Office;
use super::commit::{Draft, Work};
use super::event::Ticket;
use super::stored::{NEXT_NUMBER_KEY, Number, Place, StoredMailbox, StoredNumber, Tail, encode};

/// Of a mailbox beside its address: itself, and its places in both maps, which are half empty at
/// worst.
pub(super) const MAILBOX_BYTES: usize =
    2 * (size_of::<Mailbox>() + size_of::<Number>() + size_of::<(Arc<str>, Number)>()) + 32;

/// A made-up address has so many characters.
const ADDRESS_CHARACTERS: usize = 20;
const ADDRESS_ALPHABET: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

/// What is held of a mailbox.
#[derive(Debug)]
pub(super) struct Mailbox {
    pub(super) address: Arc<str>,
    /// When it ends.
    pub(super) over: WallTime,
    pub(super) tail: Tail,
    /// No message that the longest time is for was kept before; 0 when nobody looked.
    pub(super) oldest: WallTime,
    /// One above the highest id that anybody can have seen.
    pub(super) seen_end: u64,
    /// Commits under way that are about it.
    pub(super) under_way: u32,
    /// The value of its row, which goes with every commit until one of them is durable: so that what
    /// is sent to it right behind its making never depends on another commit.
    unmade: Option<Box<[u8]>>,
}

/// All of them, also those that are leaving.
#[derive(Debug, Default)]
pub(super) struct Mailboxes {
    by_address: BTreeMap<Arc<str>, Number>,
    all: BTreeMap<Number, Mailbox>,
    pub(super) next_number: Number,
    /// Of all messages.
    pub(super) count: u64,
    /// Of all messages.
    pub(super) bytes: u64,
    /// What their addresses take.
    address_bytes: usize,
}

impl Default for Number {
    /// The first mailbox has number 1.
    fn default() -> Self {
        Self(1)
    }
}

impl Mailboxes {
    /// Takes in a mailbox; an address may be that of a former one.
    pub(super) fn add(
        &mut self,
        number: Number,
        stored: &StoredMailbox,
        address: &str,
        tail: Tail,
    ) {
        let address: Arc<str> = address.into();
        self.address_bytes += address.len();
        self.by_address.insert(Arc::clone(&address), number);
        let over = stored.over();
        self.add_nameless(number, address, over, tail);
    }

    /// Takes in a mailbox that nobody can find any more.
    pub(super) fn add_nameless(
        &mut self,
        number: Number,
        address: Arc<str>,
        over: WallTime,
        tail: Tail,
    ) {
        self.count = self.count.saturating_add(tail.count);
        self.bytes = self.bytes.saturating_add(tail.bytes);
        self.next_number = self.next_number.max(Number(number.0.saturating_add(1)));
        let mailbox = Mailbox {
            address,
            over,
            tail,
            oldest: WallTime(0),
            seen_end: tail.next_id,
            under_way: 0,
            unmade: None,
        };
        self.all.insert(number, mailbox);
    }

    pub(super) fn find(&self, address: &str) -> Option<Number> {
        self.by_address.get(address).copied()
    }

    pub(super) fn mailbox(&self, number: Number) -> Option<&Mailbox> {
        self.all.get(&number)
    }

    pub(super) fn mailbox_mut(&mut self, number: Number) -> Option<&mut Mailbox> {
        self.all.get_mut(&number)
    }

    /// Whether it can be found by its address.
    pub(super) fn is_open(&self, number: Number) -> bool {
        let mailbox = self.all.get(&number);
        mailbox.is_some_and(|it| self.find(&it.address) == Some(number))
    }

    /// Makes an address point at nothing.
    pub(super) fn close(&mut self, number: Number) {
        if let Some(mailbox) = self.all.get(&number)
            && self.by_address.get(&mailbox.address) == Some(&number)
        {
            self.address_bytes -= mailbox.address.len();
            self.by_address.remove(&mailbox.address);
        }
    }

    pub(super) fn forget(&mut self, number: Number) {
        self.close(number);
        if let Some(mailbox) = self.all.remove(&number) {
            self.count = self.count.saturating_sub(mailbox.tail.count);
            self.bytes = self.bytes.saturating_sub(mailbox.tail.bytes);
        }
    }

    /// Counts a message in.
    pub(super) fn count_in(&mut self, place: Place, bytes: u64) {
        let Some(mailbox) = self.all.get_mut(&place.mailbox()) else {
            return;
        };
        let tail = &mut mailbox.tail;
        tail.count = tail.count.saturating_add(1);
        tail.bytes = tail.bytes.saturating_add(bytes);
        tail.delayed = tail.delayed.saturating_add(is_delayed(place));
        self.count = self.count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Counts a message out.
    pub(super) fn count_out(&mut self, place: Place, bytes: u64) {
        let Some(mailbox) = self.all.get_mut(&place.mailbox()) else {
            return;
        };
        let tail = &mut mailbox.tail;
        tail.count = tail.count.saturating_sub(1);
        tail.bytes = tail.bytes.saturating_sub(bytes);
        tail.delayed = tail.delayed.saturating_sub(is_delayed(place));
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// How many can be found.
    pub(super) fn open_count(&self) -> usize {
        self.by_address.len()
    }

    /// How many there are, also those that are leaving.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Numbers behind one, in their order, once around.
    pub(super) fn after(&self, number: Number) -> impl Iterator<Item = (Number, &Mailbox)> {
        let behind = self.all.range(Number(number.0.saturating_add(1))..);
        behind.map(|(number, mailbox)| (*number, mailbox))
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.all.len() * MAILBOX_BYTES + self.address_bytes
    }
}

impl Mailbox {
    /// The rows that a commit about the mailbox carries along.
    pub(super) fn changes(&self, number: Number, is_counted: bool, into: &mut Vec<Change>) {
        if let Some(value) = &self.unmade {
            into.push(Change::Put {
                table: Table::Mailboxes,
                key: self.address.as_bytes().to_vec(),
                value: value.to_vec(),
            });
            into.push(Change::Put {
                table: Table::Mailboxes,
                key: NEXT_NUMBER_KEY.to_vec(),
                value: encode(&StoredNumber::new(Number(number.0.saturating_add(1)))),
            });
        }
        if is_counted || self.unmade.is_some() {
            into.push(self.tail.change(number));
        }
    }

    /// Whether nothing of it is durable.
    pub(super) const fn is_unmade(&self) -> bool {
        self.unmade.is_some()
    }

    pub(super) fn is_made(&mut self) {
        self.unmade = None;
    }
}

impl Office {
    pub(super) fn create(&mut self, ticket: Ticket, create: Create) -> Result<(), Failure> {
        let address = match create.name {
            Some(name) => name,
            None => self.made_up_address(),
        };
        if self.lives_in_cloud(&address) {
            self.answer(ticket, Reply::Created { address });
            return Ok(());
        }
        if self.open(&address).is_some() {
            return Err(Failure::MailboxExists(address));
        }
        let ttl = create
            .ttl_seconds
            .unwrap_or(self.settings.mailbox_ttl_seconds);
        let number = self.make(&address, ttl, create.description)?;
        let mut draft = Draft::default();
        draft.touch(number);
        self.commit(
            draft,
            Work::answer(ticket, Reply::Created { address }),
            true,
        );
        Ok(())
    }

    /// Finds a mailbox that is not over.
    pub(super) fn open(&mut self, address: &str) -> Option<Number> {
        let number = self.mailboxes.find(address)?;
        let mailbox = self.mailboxes.mailbox(number)?;
        if mailbox.over > self.now.wall {
            return Some(number);
        }
        self.retire(number);
        None
    }

    /// Finds the mailbox of a message; one that is pulled is made.
    pub(super) fn open_to_send(&mut self, address: &str) -> Result<Number, Failure> {
        if let Some(number) = self.open(address) {
            return Ok(number);
        }
        if self.settings.pulled.iter().any(|pulled| pulled == address) {
            return self.make(address, 0, String::new());
        }
        Err(Failure::NoMailbox(address.to_owned()))
    }

    /// Makes a mailbox in memory; the next commit about it makes it durable.
    fn make(
        &mut self,
        address: &str,
        ttl_seconds: u64,
        description: String,
    ) -> Result<Number, Failure> {
        let settings = &self.settings;
        // Those that are leaving still take their place.
        at_most(
            "mailboxes",
            self.mailboxes.len() + 1,
            settings.mailbox_count_maximum,
        )?;
        within("address", address.len(), settings.address_bytes_maximum)?;
        let most = settings.description_bytes_maximum;
        within("description", description.len(), most)?;
        let number = self.mailboxes.next_number;
        let stored = StoredMailbox::new(number, self.now.wall, ttl_seconds, description);
        self.mailboxes
            .add(number, &stored, address, Tail::default());
        if let Some(mailbox) = self.mailboxes.mailbox_mut(number) {
            mailbox.oldest = self.now.wall;
            mailbox.unmade = Some(encode(&stored).into());
        }
        self.schedule_sweep();
        Ok(number)
    }

    fn made_up_address(&mut self) -> String {
        loop {
            let character = |_| {
                let at = usize::try_from(self.generator.below(32)).unwrap_or(0);
                char::from(ADDRESS_ALPHABET[at])
            };
            let address: String = (0..ADDRESS_CHARACTERS).map(character).collect();
            if self.mailboxes.find(&address).is_none() {
                return address;
            }
        }
    }
}

/// Refuses one thing more than there may be.
pub(super) fn at_most(what: &str, count: usize, most: usize) -> Result<(), Failure> {
    match count <= most {
        true => Ok(()),
        false => Err(Failure::Refused(format!("there are {most} {what} already"))),
    }
}

/// Refuses what is too long.
pub(super) fn within(what: &str, bytes: usize, most: usize) -> Result<(), Failure> {
    match bytes <= most {
        true => Ok(()),
        false => Err(Failure::Refused(format!(
            "{what} of {bytes} bytes exceeds the limit of {most}"
        ))),
    }
}

const fn is_delayed(place: Place) -> u64 {
    matches!(place, Place::Delayed { .. }) as u64
}
