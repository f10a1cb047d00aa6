//! Plain sockets, nearly all of which are idle: a link has a task only while there is something to
//! do, and rests as a descriptor and a name otherwise.
//!
//! What happens on the sockets comes to the porter, who passes it on to the task of the link. For
//! one without, he reads and writes in passing what is a matter of one call each, and makes it a task
//! for all else: when much has come, when the socket has no room, when somebody has to wait or the
//! link ends. A task ends by itself when there is nothing left to write and nothing to read.

use std::cell::RefCell;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};

use smol::future::FutureExt as _;
use smol::{Async, LocalExecutor, Timer};
use sync::Now;

use super::core::{Place, Progress, Push, RestingPlace};
use super::descriptors::Guest;
use super::{ACCEPT_PAUSE, Shared};
use crate::broker::ConnectionId;
use crate::link::sockets::{News, Paper, Sockets};
use crate::link::{ReadBuffer, socket, unix};
use crate::serve::{End, Start, converse, lost, say_goodbye};

/// The links on plain sockets.
pub(super) struct Porter {
    shared: Rc<Shared>,
    buffer: ReadBuffer,
    sockets: Sockets,
    /// Those without a task, by the index of their connection.
    resting: RefCell<Vec<Option<Resting>>>,
}

/// A socket and whose it is.
pub(super) struct Link {
    pub(super) socket: OwnedFd,
    pub(super) guest: Guest<Name>,
}

/// Who is at the other end.
#[derive(Clone, Debug)]
pub(super) enum Name {
    Tcp(SocketAddr),
    Unix(unix::Peer),
}

struct Resting {
    place: RestingPlace,
    link: Link,
}

/// The most that one read of a link brings, in bytes; and all reads in passing together, before
/// others have their turn.
const READ_BYTES: usize = 64 << 10;
/// The most that is read in passing. Whoever has more to say gets a task.
const PASSING_BYTES: usize = 4 << 10;
/// So many links are written to in passing before others have their turn.
const CALLED_COUNT: usize = 64;

/// Each link that rests has one, beside its place in the core.
const _: () = assert!(size_of::<Option<Resting>>() <= 72);

impl Porter {
    /// Starts without links, as one task among theirs, so that whoever sends a lot does not keep it
    /// from its turn.
    pub(super) fn begin(
        shared: Rc<Shared>,
        sockets: Sockets,
        clients: &Rc<LocalExecutor<'static>>,
    ) -> Rc<Self> {
        let porter = Rc::new(Self {
            shared,
            buffer: ReadBuffer::new(READ_BYTES),
            sockets,
            resting: RefCell::default(),
        });
        let attending = porter.clone().attend(Rc::downgrade(clients));
        clients.spawn(attending).detach();
        porter
    }

    /// The buffer that all links read into.
    pub(super) const fn buffer(&self) -> &ReadBuffer {
        &self.buffer
    }

    /// Serves a link on a socket that does not block, from now to its end.
    pub(super) fn take_in(self: &Rc<Self>, clients: &LocalExecutor<'_>, place: Place, link: Link) {
        let watched = self.sockets.watch(&link.socket, token(place.id));
        if let Err(error) = watched {
            let now = self.shared.now();
            let mut core = self.shared.core.borrow_mut();
            core.not_opened(now, place.id, &link.guest, &error);
            return core.left(&place);
        }
        let serving = serve(self.clone(), place, link, Start::default());
        clients.spawn(serving).detach();
    }

    /// Passes on what happens to the links for as long as their tasks are run.
    async fn attend(self: Rc<Self>, clients: Weak<LocalExecutor<'static>>) {
        let mut paper = Paper::default();
        loop {
            let is_called = self.hear_core(&clients);
            let has_heard = self.hear_sockets(&clients, &mut paper).await;
            let carried = self.shared.core.borrow().carried_bytes();
            // The links have their turn. While they carry something it costs less to look again than
            // to be woken.
            smol::future::yield_now().await;
            if is_called || has_heard || carried != self.shared.core.borrow().carried_bytes() {
                continue;
            }
            let called = async {
                self.shared.wakes.links.wait().await;
                Ok(())
            };
            if self.sockets.wait().or(called).await.is_err() {
                Timer::after(ACCEPT_PAUSE).await;
            }
        }
    }

    /// Writes what the core has for links that rest, for some of them; true when there are more.
    fn hear_core(self: &Rc<Self>, clients: &Weak<LocalExecutor<'static>>) -> bool {
        let now = self.shared.now();
        for _ in 0..CALLED_COUNT {
            let called = self.shared.core.borrow_mut().next_called();
            let Some(id) = called else {
                return false;
            };
            if let Some(start) = self.write_in_passing(now, id) {
                self.wake(clients, id, None, start);
            }
        }
        true
    }

    async fn hear_sockets(
        self: &Rc<Self>,
        clients: &Weak<LocalExecutor<'static>>,
        paper: &mut Paper,
    ) -> bool {
        // A wait that was interrupted is one that brought nothing.
        let Ok(news) = self.sockets.poll(paper) else {
            return false;
        };
        let has_heard = news.len() > 0;
        let mut now = self.shared.now();
        let mut before = self.shared.core.borrow().carried_bytes();
        for news in news {
            let id = connection(news.token);
            if self.shared.core.borrow_mut().stir(id, &news)
                && let Some(start) = self.read_in_passing(now, id, &news)
            {
                self.wake(clients, id, Some(&news), start);
            }
            let carried = self.shared.core.borrow().carried_bytes();
            if carried - before >= READ_BYTES as u64 {
                smol::future::yield_now().await;
                (now, before) = (self.shared.now(), carried);
            }
        }
        has_heard
    }

    /// Reads what has come for a link that rests, and has the core deal with it. Gives what is left
    /// to do for a task, if anything is.
    fn read_in_passing(&self, now: Now, id: ConnectionId, news: &News) -> Option<Start> {
        let resting = self.resting.borrow();
        let link = &resting.get(id.index as usize)?.as_ref()?.link;
        let core = &self.shared.core;
        // The end of a link, and what is held up, are a task's business.
        if news.has_ended || !core.borrow_mut().may_read(id) {
            return Some(Start::default());
        }
        let read = socket::read_once(&link.socket, &self.buffer, PASSING_BYTES, |bytes| {
            core.borrow_mut().received(now, id, bytes);
            bytes.len()
        });
        let count = match read {
            Ok(None) => return None,
            // Which a task finds as well.
            Ok(Some(0)) | Err(_) => return Some(Start::default()),
            Ok(Some(count)) => count,
        };
        let progress = core.borrow_mut().go_on(now, id, Push::Gentle);
        let is_held = progress == Progress::Held;
        if is_held || count == PASSING_BYTES {
            return Some(Start {
                is_held,
                ..Start::default()
            });
        }
        core.borrow_mut().passed(id);
        None
    }

    /// Writes what the core has for a link that rests. Gives what is left to do for a task, if
    /// anything is.
    fn write_in_passing(&self, now: Now, id: ConnectionId) -> Option<Start> {
        let resting = self.resting.borrow();
        let Resting { place, link } = resting.get(id.index as usize)?.as_ref()?;
        loop {
            let mut unsent = Vec::new();
            let mut core = self.shared.core.borrow_mut();
            if !core.take_outbound(now, place.id(), &mut unsent) {
                return Some(Start::default());
            }
            if unsent.is_empty() {
                core.passed(place.id());
                return None;
            }
            drop(core);
            // A link that is broken is so for a task as well.
            let count = socket::write_once(&link.socket, &unsent).unwrap_or(0);
            if count < unsent.len() {
                unsent.drain(..count);
                return Some(Start {
                    unsent,
                    ..Start::default()
                });
            }
        }
    }

    /// Gives a link that rests a task, and tells that what has happened.
    fn wake(
        self: &Rc<Self>,
        clients: &Weak<LocalExecutor<'static>>,
        id: ConnectionId,
        news: Option<&News>,
        start: Start,
    ) {
        // While the porter has a turn, his executor is there.
        let Some(clients) = clients.upgrade() else {
            return;
        };
        let mut resting = self.resting.borrow_mut();
        let found = resting.get_mut(id.index as usize);
        let Some(Resting { place, link }) = found.and_then(Option::take) else {
            return;
        };
        let mut core = self.shared.core.borrow_mut();
        let place = core.attend(place);
        if let Some(news) = news {
            core.stir(id, news);
        }
        drop(core);
        let serving = serve(self.clone(), place, link, start);
        clients.spawn(serving).detach();
    }

    fn put_to_rest(&self, place: Place, link: Link) {
        let index = place.id.index as usize;
        let place = self.shared.core.borrow_mut().rest(place);
        let mut resting = self.resting.borrow_mut();
        if resting.len() <= index {
            resting.resize_with(index + 1, || None);
        }
        resting[index] = Some(Resting { place, link });
    }
}

/// Serves a link until it rests or has ended.
#[expect(
    clippy::manual_async_fn,
    reason = "an async fn keeps its arguments twice, and each busy connection has one of these"
)]
fn serve(porter: Rc<Porter>, place: Place, link: Link, start: Start) -> impl Future<Output = ()> {
    async move {
        let outcome = {
            let halves = socket::link(&link.socket, &*place.signals, &porter.buffer);
            let (mut reader, mut writer) = halves;
            let halves = (&mut reader, &mut writer);
            converse(&porter.shared, &place, halves, start).await
        };
        if let Ok(End::Rest) = outcome {
            return porter.put_to_rest(place, link);
        }
        lost(&porter.shared, &place, &link.guest, outcome);
        Box::pin(take_leave(&porter.buffer, link)).await;
        porter.shared.core.borrow_mut().left(&place);
    }
}

/// The porter hears nothing more of a link that the core has forgotten.
async fn take_leave(buffer: &ReadBuffer, link: Link) {
    if let Ok(socket) = Async::new_nonblocking(link.socket) {
        let (mut reader, writer) = socket::link(socket.get_ref(), &socket, buffer);
        say_goodbye(&mut reader, &writer).await;
    }
}

fn token(id: ConnectionId) -> u64 {
    u64::from(id.generation) << 32 | u64::from(id.index)
}

fn connection(token: u64) -> ConnectionId {
    let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).expect("32 bits are left");
    ConnectionId {
        index: half(token),
        generation: half(token >> 32),
    }
}

impl Name {
    /// Its address; `None` on this machine's own sockets.
    pub(super) const fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip()),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(peer) => peer.fmt(f),
        }
    }
}
