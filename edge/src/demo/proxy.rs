//! The link to the cloud, with a switch: a TCP proxy that can be cut and healed.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// A proxy on a port of its own. Its threads end with the program.
pub(super) struct Proxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    is_cut: bool,
    streams: Vec<TcpStream>,
}

impl Proxy {
    /// Listens on a free port of loopback and passes everything to `target`.
    pub(super) fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                // A failed pair is a failed connection, which is what a link may do at any time.
                let _ = connect(&near, target, &shared);
            }
        });
        Ok(Self { address, state })
    }

    /// The address to give to the gateway.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts all connections and refuses new ones.
    pub(super) fn cut(&self) {
        let mut state = lock(&self.state);
        state.is_cut = true;
        for stream in state.streams.drain(..) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Lets connections through again.
    pub(super) fn heal(&self) {
        lock(&self.state).is_cut = false;
    }
}

fn connect(near: &TcpStream, target: SocketAddr, state: &Mutex<State>) -> io::Result<()> {
    let mut state = lock(state);
    if state.is_cut {
        return near.shutdown(Shutdown::Both);
    }
    let far = TcpStream::connect(target)?;
    state.streams.extend([near.try_clone()?, far.try_clone()?]);
    for (mut from, mut to) in [
        (near.try_clone()?, far.try_clone()?),
        (far, near.try_clone()?),
    ] {
        thread::spawn(move || {
            // The end of either direction is the end of both.
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
            let _ = from.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
