//! Where TCP connections come from.

use std::net::{SocketAddr, TcpListener, TcpStream};

use smol::Async;

/// Accepts connections on one address.
pub(crate) struct Listener {
    socket: Async<TcpListener>,
}

impl Listener {
    /// Opens the port.
    ///
    /// # Errors
    /// When the address is taken, not this host's, or needs more rights.
    pub(crate) fn bind(address: SocketAddr) -> std::io::Result<Self> {
        Ok(Self {
            socket: Async::<TcpListener>::bind(address)?,
        })
    }

    /// Tells the address in use, with the port that was chosen for port 0.
    ///
    /// # Errors
    /// When the socket was closed by the system.
    pub(crate) fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.socket.get_ref().local_addr()
    }

    /// Waits for the next connection, whose socket does not block.
    ///
    /// # Errors
    /// When the system has no more file descriptors or memory, or the peer has gone already; the
    /// listener stays usable.
    pub(crate) async fn accept(&self) -> std::io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = self.socket.read_with(TcpListener::accept).await?;
        stream.set_nonblocking(true)?;
        // Acknowledgements are small and waited for.
        stream.set_nodelay(true)?;
        Ok((stream, peer))
    }
}
