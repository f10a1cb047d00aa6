//! Serves one link: its handshakes, then bytes to the core and bytes from the core, until either
//! side ends it.
//!
//! Reads only while the core has room, so that a full disk or a slow one holds the sender up and
//! not memory. Decides nothing: what bytes mean is the connection's business.

use std::fmt::Display;
use std::rc::Rc;
use std::time::Duration;

use embedded_io_async::{BufRead, Write};
use smol::Timer;
use smol::future::FutureExt as _;

use crate::broker::ConnectionId;
use crate::gateway::{Cue, Place, Progress, Push, Shared};
use crate::link::{Finish, Source, Turnstile, layered};

/// How long a peer may take to close its side after ours.
const LINGER: Duration = Duration::from_millis(500);
/// Pauses that a sender makes, at most, for each buffer that was read.
const PATIENCE: u32 = 50;
const PAUSE: Duration = Duration::from_millis(1);
/// A written buffer that is larger is not used for the next write.
const SPARE_BYTES: usize = 16 << 10;

/// Serves a link whose connection has a place in the core, and gives the place back.
#[expect(
    clippy::manual_async_fn,
    reason = "an async fn keeps its arguments twice, and each connection has one of these"
)]
pub(crate) fn serve<R: Source, W: Write<Error = R::Error> + Finish>(
    gateway: Rc<Shared>,
    place: Place,
    (mut reader, mut writer): (R, W),
    name: impl Display,
) -> impl Future<Output = ()>
where
    R::Error: Display,
{
    async move {
        let halves = (&mut reader, &mut writer);
        let outcome = converse(&gateway, &place, halves, Start::default()).await;
        lost(&gateway, &place, &name, outcome);
        say_goodbye(&mut reader, &writer).await;
        drop((reader, writer));
        gateway.core.borrow_mut().left(&place);
    }
}

/// How a link stands when nobody serves it any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// One side has ended it.
    Over,
    /// There is nothing to do until the core has something to write, or the socket something to
    /// read. Only a link whose socket gives [`Cue::Readable`] comes to rest.
    Rest,
}

/// What whoever served a link before has left to do.
#[derive(Debug, Default)]
pub(crate) struct Start {
    /// Bytes that the core gave, and the link had no room for.
    pub(crate) unsent: Vec<u8>,
    /// Whether the core deals with what came only when others have had their share.
    pub(crate) is_held: bool,
}

/// Carries bytes between a link and the core, until it ends or comes to rest.
#[expect(
    clippy::manual_async_fn,
    reason = "an async fn keeps its arguments twice, and each connection has one of these"
)]
pub(crate) fn converse<R: Source, W: Write<Error = R::Error>>(
    gateway: &Shared,
    place: &Place,
    (reader, writer): (&mut R, &mut W),
    start: Start,
) -> impl Future<Output = Result<End, R::Error>> {
    async move {
        let read = read(gateway, place, reader, start.is_held);
        let write = write(gateway, place, writer, start.unsent);
        let abandon = async {
            place.signals.wait(Cue::Abandon).await;
            Ok(End::Over)
        };
        let rest = async {
            place.signals.rest().await;
            Ok(End::Rest)
        };
        write.or(read).or(abandon).or(rest).await
    }
}

/// Tells the core that a link has ended.
pub(crate) fn lost<E: Display>(
    gateway: &Shared,
    place: &Place,
    name: &impl Display,
    outcome: Result<End, E>,
) {
    let mut core = gateway.core.borrow_mut();
    core.lost(gateway.now(), place.id, name);
    if let Err(error) = outcome {
        tracing::debug!("{name}: {error}");
    }
}

/// Opens the layers of a link whose connection has a place in the core, and serves it. A client
/// has no more time for that than until its CONNECT has to be there.
pub(crate) async fn open_and_serve(
    gateway: Rc<Shared>,
    place: Place,
    (mut reader, writer): (layered::Reader, layered::Writer),
    turnstile: Rc<Turnstile>,
    name: impl Display,
) {
    let ended = async {
        while gateway.core.borrow_mut().is_open(place.id) {
            place.signals.wait(Cue::Write).await;
        }
        Ok(None)
    };
    match reader.open(&turnstile).or(ended).await {
        Ok(identity) => {
            gateway.core.borrow_mut().identify(place.id, identity);
            serve(gateway, place, (reader, writer), name).await;
        }
        Err(error) => {
            let now = gateway.now();
            gateway
                .core
                .borrow_mut()
                .not_opened(now, place.id, &name, &error);
            say_goodbye(&mut reader, &writer).await;
            drop((reader, writer));
            gateway.core.borrow_mut().left(&place);
        }
    }
}

/// Ends the writing half and waits for the peer to end its own, but not for long.
pub(crate) async fn say_goodbye<R: BufRead>(reader: &mut R, writer: &impl Finish) {
    writer.finish();
    drain(reader).or(linger()).await;
}

/// Takes what the peer still sends, unread: closing a link with unread bytes makes the system cut
/// off the last ones that were written, and these say why it was closed.
async fn drain<R: BufRead>(reader: &mut R) {
    while let Ok(bytes) = reader.fill_buf().await {
        let count = bytes.len();
        if count == 0 {
            return;
        }
        reader.consume(count);
        // Whoever sends without end must not keep the thread.
        smol::future::yield_now().await;
    }
}

async fn linger() {
    Timer::after(LINGER).await;
}

#[expect(
    clippy::manual_async_fn,
    reason = "an async fn keeps its arguments twice, and each connection has one of these"
)]
fn read<R: Source>(
    gateway: &Shared,
    place: &Place,
    reader: &mut R,
    is_held: bool,
) -> impl Future<Output = Result<End, R::Error>> {
    async move {
        if is_held {
            Box::pin(go_on(gateway, place.id)).await;
        }
        loop {
            while !gateway.core.borrow_mut().may_read(place.id) {
                place.signals.wait(Cue::Read).await;
            }
            let bytes = reader.fill_buf().await?;
            let count = bytes.len();
            if count == 0 {
                return Ok(End::Over);
            }
            let now = gateway.now();
            gateway.core.borrow_mut().received(now, place.id, bytes);
            reader.consume(count);
            let progress = gateway.core.borrow_mut().go_on(now, place.id, Push::Gentle);
            if progress == Progress::Held {
                Box::pin(go_on(gateway, place.id)).await;
            }
            // One buffer a turn: others are served in between, and answers gather.
            if !reader.is_drained() {
                smol::future::yield_now().await;
            }
        }
    }
}

/// Lets the core deal with what it held back. A sender waits for slow receivers, but not for long:
/// one that takes nothing must not stop the others.
async fn go_on(gateway: &Shared, id: ConnectionId) {
    let step = |push| gateway.core.borrow_mut().go_on(gateway.now(), id, push);
    for _ in 1..PATIENCE {
        Timer::after(PAUSE).await;
        if step(Push::Gentle) == Progress::Done {
            return;
        }
    }
    Timer::after(PAUSE).await;
    step(Push::Hard);
}

#[expect(
    clippy::manual_async_fn,
    reason = "an async fn keeps its arguments twice, and each connection has one of these"
)]
fn write<W: Write>(
    gateway: &Shared,
    place: &Place,
    writer: &mut W,
    unsent: Vec<u8>,
) -> impl Future<Output = Result<End, W::Error>> {
    async move {
        let mut bytes = unsent;
        loop {
            if !bytes.is_empty() {
                write_all(writer, &bytes, || gateway.core.borrow_mut().took(place.id)).await?;
                writer.flush().await?;
                bytes.clear();
                if bytes.capacity() > SPARE_BYTES {
                    bytes = Vec::new();
                }
            }
            let now = gateway.now();
            let taken = gateway
                .core
                .borrow_mut()
                .take_outbound(now, place.id, &mut bytes);
            if !taken {
                return Ok(End::Over);
            }
            if bytes.is_empty() {
                place.signals.wait(Cue::Write).await;
            }
        }
    }
}

/// Writes everything, and says after each piece but the last that it was taken: a slow link may need
/// longer for what it was given than a client may be silent.
#[expect(
    clippy::manual_async_fn,
    reason = "an async fn keeps its arguments twice, and each busy connection has one of these"
)]
fn write_all<W: Write>(
    writer: &mut W,
    bytes: &[u8],
    taken: impl Fn(),
) -> impl Future<Output = Result<(), W::Error>> {
    async move {
        let mut written = writer.write(bytes).await?;
        while written < bytes.len() {
            taken();
            written += writer.write(&bytes[written..]).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A peer that always has more to say.
    struct Endless {
        reads_left: u32,
    }

    impl embedded_io::ErrorType for Endless {
        type Error = std::io::Error;
    }

    impl embedded_io_async::Read for Endless {
        async fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            Ok(buffer.len())
        }
    }

    impl BufRead for Endless {
        async fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
            self.reads_left -= 1;
            Ok(&[0; 100])
        }

        fn consume(&mut self, _count: usize) {}
    }

    #[test]
    fn who_sends_without_end_after_the_goodbye_does_not_keep_the_thread() {
        let mut peer = Endless { reads_left: 100 };
        let patience = smol::future::yield_now();
        smol::block_on(drain(&mut peer).or(patience));
        assert!(peer.reads_left > 90, "patience comes to its turn");
    }

    /// A link that takes ten bytes at a time.
    struct Narrow(Vec<u8>);

    impl embedded_io::ErrorType for Narrow {
        type Error = std::io::Error;
    }

    impl Write for Narrow {
        async fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let count = bytes.len().min(10);
            self.0.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        async fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_piece_that_a_slow_link_takes_is_a_sign_of_life() {
        let (bytes, signs) = ([7; 95], Cell::new(0));
        let mut link = Narrow(Vec::new());
        let written = write_all(&mut link, &bytes, || signs.set(signs.get() + 1));
        smol::block_on(written).expect("it takes all");
        assert_eq!((link.0, signs.get()), (bytes.to_vec(), 9));
    }
}
