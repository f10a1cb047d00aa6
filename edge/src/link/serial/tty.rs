//! Opening a terminal device so that it carries bytes and nothing else.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use rustix::termios::{
    ControlModes, InputModes, OptionalActions, QueueSelector, tcflush, tcgetattr, tcsetattr,
};
use smol::Async;

/// An open device.
pub(super) type Tty = Async<File>;

/// Opens a device at a speed, 8 data bits, no parity, no flow control.
///
/// # Errors
/// When it is not there, not a terminal, locked by somebody else, or can't do the speed.
pub(super) fn open(path: &Path, baud: u32) -> io::Result<Tty> {
    // A modem's missing carrier must not hold up the opening, and its loss not end the gateway.
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let device = rustix::fs::open(path, flags, Mode::empty())?;
    // A second reader would get every other byte. This lock is what terminal programs look at, and
    // unlike the terminal's own it goes with the process, however that ends.
    match flock(&device, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => {
            let message = "another program has locked it";
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, message));
        }
        outcome => outcome?,
    }
    let mut modes = tcgetattr(&device)?;
    modes.make_raw();
    modes.input_modes &= !(InputModes::IXOFF | InputModes::IXANY | InputModes::INPCK);
    modes.control_modes &= !(ControlModes::CSTOPB | ControlModes::CRTSCTS);
    // Boards that take a falling DTR for a reset are not restarted with the gateway.
    modes.control_modes &= !ControlModes::HUPCL;
    modes.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD;
    modes.set_speed(baud)?;
    tcsetattr(&device, OptionalActions::Now, &modes)?;
    let found = tcgetattr(&device)?.output_speed();
    if found.abs_diff(baud) > baud / TOLERANCE {
        let message = format!("it can't do {baud} baud, the nearest is {found}");
        return Err(io::Error::other(message));
    }
    Async::new(File::from(device))
}

/// Throws away what the device has not sent yet.
pub(super) fn forget_unsent(tty: &Tty) {
    // A device that is gone has nothing to send.
    let _ = tcflush(tty, QueueSelector::OFlush);
}

/// Two sides may differ by a twentieth before the last bit of a byte is misread; half of that is
/// the other side's.
const TOLERANCE: u32 = 40;
