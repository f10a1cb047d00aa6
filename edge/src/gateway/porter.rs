//! Plain sockets, nearly all of which are idle: a link has a task only while there is something to
//! do, and rests as a descriptor and a name otherwise.
//!
//! What happens on the sockets comes to the porter, who passes it on to the task of the link or
//! makes it one. A task ends by itself when there is nothing left to write and nothing to read.

use std::cell::RefCell;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};

use smol::future::FutureExt as _;
use smol::{Async, LocalExecutor, Timer};

use super::core::{Place, RestingPlace};
use super::descriptors::Guest;
use super::{ACCEPT_PAUSE, Shared};
use crate::broker::ConnectionId;
use crate::link::sockets::{News, Paper, Sockets};
use crate::link::{ReadBuffer, socket, unix};
use crate::serve::{End, converse, lost, say_goodbye};

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

/// The most that one read of a link brings, in bytes.
const READ_BYTES: usize = 64 << 10;

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
        clients.spawn(serve(self.clone(), place, link)).detach();
    }

    /// Passes on what happens to the links for as long as their tasks are run.
    async fn attend(self: Rc<Self>, clients: Weak<LocalExecutor<'static>>) {
        let (mut paper, mut carried) = (Paper::default(), 0);
        while let Some(clients) = clients.upgrade() {
            let has_heard = self.hear_core(&clients) | self.hear_sockets(&clients, &mut paper);
            drop(clients);
            // The links have their turn. While they carry something it costs less to look again than
            // to be woken.
            smol::future::yield_now().await;
            let before = std::mem::replace(&mut carried, self.shared.core.borrow().carried_bytes());
            if has_heard || carried != before {
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

    fn hear_core(self: &Rc<Self>, clients: &LocalExecutor<'_>) -> bool {
        let mut has_heard = false;
        loop {
            let called = self.shared.core.borrow_mut().next_called();
            let Some(id) = called else {
                return has_heard;
            };
            has_heard = true;
            self.wake(clients, id, None);
        }
    }

    fn hear_sockets(self: &Rc<Self>, clients: &LocalExecutor<'_>, paper: &mut Paper) -> bool {
        // A wait that was interrupted is one that brought nothing.
        let Ok(news) = self.sockets.poll(paper) else {
            return false;
        };
        let has_heard = news.len() > 0;
        for news in news {
            let id = connection(news.token);
            let mut core = self.shared.core.borrow_mut();
            if core.stir(id, &news) {
                drop(core);
                self.wake(clients, id, Some(&news));
            }
        }
        has_heard
    }

    /// Gives a link that rests a task, and tells that what has happened.
    fn wake(self: &Rc<Self>, clients: &LocalExecutor<'_>, id: ConnectionId, news: Option<&News>) {
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
        clients.spawn(serve(self.clone(), place, link)).detach();
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
fn serve(porter: Rc<Porter>, place: Place, link: Link) -> impl Future<Output = ()> {
    async move {
        let outcome = {
            let halves = socket::link(&link.socket, &*place.signals, &porter.buffer);
            let (mut reader, mut writer) = halves;
            converse(&porter.shared, &place, &mut reader, &mut writer).await
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
