//! Where links come from: opened before anything is served, accepting for as long as the gateway
//! runs.
//!
//! A link has its place in the core before its first byte is looked at, and whatever it has to do
//! before its CONNECT happens in a task of its own: nobody holds up the next one.

use std::io;
use std::net::{IpAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use smol::{Async, LocalExecutor, Task, Timer};
use tracing::info;

use super::certificates::Certificates;
use super::descriptors::{Descriptors, Guest};
use super::error::GatewayError;
use super::porter::{Link, Name, Porter};
use super::{ACCEPT_PAUSE, Shared, shown};
use crate::broker::ListenerId;
use crate::config::{IdentityAsUser, Protocol};
use crate::limits::{self, Address};
use crate::link::websocket::Origins;
use crate::link::{Turnstile, layered, serial, tcp, unix};
use crate::nats::Ends;
use crate::serve::{open_and_serve, serve};

/// An open listener.
pub(super) struct Listener {
    id: ListenerId,
    place: Place,
    websocket: Option<Origins>,
    names_clients: bool,
    /// Its own end of each link.
    host: String,
    port: u16,
}

/// A place where links come from.
enum Place {
    Tcp(tcp::Listener),
    Unix(unix::Listener),
    Serial(serial::Listener),
}

/// What the links of all listeners share.
pub(super) struct Serving {
    pub(super) shared: Rc<Shared>,
    pub(super) clients: Rc<LocalExecutor<'static>>,
    pub(super) porter: Rc<Porter>,
    pub(super) turnstile: Rc<Turnstile>,
    pub(super) certificates: Rc<Certificates>,
    pub(super) descriptors: Descriptors,
}

impl Serving {
    /// Begins to accept on every listener, each in a task of its own.
    pub(super) fn start(
        self,
        executor: &LocalExecutor<'_>,
        listeners: Vec<Listener>,
    ) -> Vec<Task<()>> {
        let serving = Rc::new(self);
        let listeners = listeners.into_iter();
        listeners
            .map(|listener| executor.spawn(accept(serving.clone(), listener)))
            .collect()
    }

    /// Gives whoever connected a descriptor; `None` when the rest is not for links.
    fn guest<P>(&self, peer: P) -> Option<Guest<P>> {
        let guest = self.descriptors.welcome(peer);
        if guest.is_none() {
            let mut core = self.shared.core.borrow_mut();
            core.no_descriptor(self.shared.now(), self.descriptors.limit());
        }
        guest
    }
}

impl Listener {
    /// Asks the core for a place for a link from an address, or from this machine.
    fn admit(&self, shared: &Shared, address: Option<IpAddr>) -> Option<super::core::Place> {
        let ends = || Ends {
            host: self.host.clone(),
            port: self.port,
            client_ip: address.map(|address| address.to_string()),
        };
        let now = shared.now();
        let mut core = shared.core.borrow_mut();
        core.accept(now, self.id, address, ends)
    }
}

/// Opens every listener.
///
/// # Errors
/// At the first one that can't be opened.
pub(super) fn open(listeners: &[limits::Listener]) -> Result<Vec<Listener>, GatewayError> {
    let open = |(index, listener): (usize, &limits::Listener)| {
        let failed = |source| GatewayError::Listen {
            address: listener.address.clone(),
            source,
        };
        let (place, address) = place(listener).map_err(failed)?;
        let origins = || listener.allowed_origins.as_deref().map(Rc::from);
        let websocket = (listener.protocol == Protocol::Websocket).then(origins);
        let layers = match (&listener.tls, listener.protocol) {
            (None, Protocol::Mqtt) => "",
            (Some(_), Protocol::Mqtt) => ", TLS",
            (None, Protocol::Websocket) => ", WebSocket",
            (Some(_), Protocol::Websocket) => ", WebSocket over TLS",
            (None, Protocol::Nats) => ", NATS",
            (Some(_), Protocol::Nats) => ", NATS over TLS",
        };
        let (host, port) = match &address {
            Address::Tcp(address) => (address.ip().to_string(), address.port()),
            Address::Unix { path, .. } | Address::Serial { path, .. } => (shown(path), 0),
        };
        info!("listening on {address}{layers}");
        let names = listener.tls.as_ref().map(|tls| tls.identity_as_user);
        Ok(Listener {
            id: ListenerId(u16::try_from(index).expect("listeners are checked to be few")),
            place,
            websocket,
            names_clients: names == Some(IdentityAsUser::CommonName),
            host,
            port,
        })
    };
    listeners.iter().enumerate().map(open).collect()
}

/// Opens a place; gives its address as it has become.
fn place(listener: &limits::Listener) -> io::Result<(Place, Address)> {
    let mut address = listener.address.clone();
    let place = match &mut address {
        Address::Tcp(address) => {
            let socket = tcp::Listener::bind(*address)?;
            *address = socket.local_address()?;
            Place::Tcp(socket)
        }
        Address::Unix { path, mode } => Place::Unix(unix::Listener::bind(path.clone(), *mode)?),
        Address::Serial { path, baud } => Place::Serial(serial::Listener::open(serial::Settings {
            path: path.clone(),
            baud: *baud,
            packet_bytes: listener.packet_bytes,
        })),
    };
    Ok((place, address))
}

/// Accepts links for as long as the gateway runs, whatever single accepts say.
async fn accept(serving: Rc<Serving>, listener: Listener) {
    if let Place::Serial(line) = &listener.place {
        let mut core = serving.shared.core.borrow_mut();
        core.watch_line(line.counters().clone());
    }
    loop {
        match accept_one(&serving, &listener).await {
            // However many come, those who are there have their turn.
            Ok(()) => smol::future::yield_now().await,
            Err(error) => {
                let shared = &serving.shared;
                shared.core.borrow_mut().not_accepted(shared.now(), &error);
                Timer::after(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn accept_one(serving: &Serving, listener: &Listener) -> io::Result<()> {
    match &listener.place {
        Place::Tcp(socket) => {
            let (stream, peer) = socket.accept().await?;
            if let Some(guest) = serving.guest(Name::Tcp(peer)) {
                welcome_in_layers(serving, listener, stream, guest)?;
            }
        }
        Place::Unix(socket) => {
            let (stream, peer) = socket.accept().await?;
            if let Some(guest) = serving.guest(Name::Unix(peer)) {
                let socket = OwnedFd::from(stream);
                welcome(serving, listener, Link { socket, guest });
            }
        }
        Place::Serial(line) => {
            let link = line.accept().await?;
            let name = line.counters().name().to_owned();
            if let Some(place) = listener.admit(&serving.shared, None) {
                let task = serve(serving.shared.clone(), place, link, name);
                serving.clients.spawn(task).detach();
            }
        }
    }
    Ok(())
}

/// Gives a link on a plain socket a place; without one it is dropped.
fn welcome(serving: &Serving, listener: &Listener, link: Link) {
    if let Some(place) = listener.admit(&serving.shared, link.guest.peer().ip()) {
        serving.porter.take_in(&serving.clients, place, link);
    }
}

/// The same for a connection that may have layers between the socket and its bytes.
fn welcome_in_layers(
    serving: &Serving,
    listener: &Listener,
    stream: TcpStream,
    guest: Guest<Name>,
) -> io::Result<()> {
    let mut layers = layered::Layers {
        tls: serving.certificates.of(listener.id),
        websocket: listener.websocket.clone(),
        names_clients: listener.names_clients,
        words: Vec::new(),
    };
    if layers.are_none() {
        let socket = OwnedFd::from(stream);
        welcome(serving, listener, Link { socket, guest });
        return Ok(());
    }
    let stream = Async::new_nonblocking(stream)?;
    let shared = serving.shared.clone();
    let Some(place) = listener.admit(&shared, guest.peer().ip()) else {
        return Ok(());
    };
    shared
        .core
        .borrow_mut()
        .take_outbound(shared.now(), place.id, &mut layers.words);
    let link = layered::link(stream, serving.porter.buffer(), layers);
    let turnstile = serving.turnstile.clone();
    let task = open_and_serve(shared, place, link, turnstile, guest);
    serving.clients.spawn(task).detach();
    Ok(())
}
