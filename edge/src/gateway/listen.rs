//! Where links come from: opened before anything is served, accepting for as long as the gateway
//! runs.
//!
//! A link has its place in the core before its first byte is looked at, and whatever it has to do
//! before its CONNECT happens in a task of its own: nobody holds up the next one.

use std::net::SocketAddr;
use std::rc::Rc;

use smol::{Async, LocalExecutor, Timer};
use tracing::{info, warn};

use super::certificates::Certificates;
use super::error::GatewayError;
use super::{ACCEPT_PAUSE, Shared};
use crate::broker::ListenerId;
use crate::config::{IdentityAsUser, Protocol};
use crate::limits::{self, Address};
use crate::link::{ReadBuffer, Turnstile, layered, tcp};
use crate::serve::{open_and_serve, serve};

/// An open listener.
pub(super) struct Listener {
    id: ListenerId,
    socket: tcp::Listener,
    has_websocket: bool,
    names_clients: bool,
}

/// What the links of all listeners share.
pub(super) struct Serving {
    pub(super) shared: Rc<Shared>,
    pub(super) clients: Rc<LocalExecutor<'static>>,
    pub(super) buffer: ReadBuffer,
    pub(super) turnstile: Rc<Turnstile>,
    pub(super) certificates: Rc<Certificates>,
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
        let socket = match &listener.address {
            Address::Tcp(address) => tcp::Listener::bind(*address).map_err(failed)?,
            Address::Unix(_) | Address::Serial { .. } => {
                return Err(failed(std::io::ErrorKind::Unsupported.into()));
            }
        };
        let has_websocket = listener.protocol == Protocol::Websocket;
        let layers = match (&listener.tls, has_websocket) {
            (None, false) => "",
            (Some(_), false) => ", TLS",
            (None, true) => ", WebSocket",
            (Some(_), true) => ", WebSocket over TLS",
        };
        let address = socket.local_address().map_err(failed)?;
        info!("listening on {address}{layers}");
        let names = listener.tls.as_ref().map(|tls| tls.identity_as_user);
        Ok(Listener {
            id: ListenerId(u16::try_from(index).expect("listeners are checked to be few")),
            socket,
            has_websocket,
            names_clients: names == Some(IdentityAsUser::CommonName),
        })
    };
    listeners.iter().enumerate().map(open).collect()
}

/// Accepts links for as long as the gateway runs, whatever single accepts say.
pub(super) async fn accept(serving: Rc<Serving>, listener: Listener) {
    let mut was_failing = false;
    loop {
        match listener.socket.accept().await {
            Ok((stream, peer)) => {
                was_failing = false;
                welcome(&serving, &listener, stream, peer);
                // However many come, those who are there have their turn.
                smol::future::yield_now().await;
            }
            Err(error) => {
                if !std::mem::replace(&mut was_failing, true) {
                    warn!("can't accept connections: {error}");
                }
                Timer::after(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Gives a connection a place and a task; without a place it is dropped.
fn welcome(
    serving: &Serving,
    listener: &Listener,
    stream: Async<std::net::TcpStream>,
    peer: SocketAddr,
) {
    let shared = serving.shared.clone();
    let accepted = {
        let mut core = shared.core.borrow_mut();
        core.accept(shared.now(), listener.id, Some(peer.ip()))
    };
    let Some(place) = accepted else {
        return;
    };
    let layers = layered::Layers {
        tls: serving.certificates.of(listener.id),
        has_websocket: listener.has_websocket,
        names_clients: listener.names_clients,
    };
    if layers.are_none() {
        let link = tcp::link(stream, &serving.buffer);
        let task = serving.clients.spawn(serve(shared, place, link, peer));
        return task.detach();
    }
    let link = layered::link(stream, &serving.buffer, layers);
    let turnstile = serving.turnstile.clone();
    let task = open_and_serve(shared, place, link, turnstile, peer);
    serving.clients.spawn(task).detach();
}
