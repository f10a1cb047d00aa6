//! Opening a terminal device so that it carries bytes and nothing else.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::termios::{
    ControlModes, InputModes, OptionalActions, QueueSelector, ioctl_tiocexcl, tcflush, tcgetattr,
    tcsetattr,
};
use smol::Async;

/// An open device.
pub(super) type Tty = Async<File>;

/// Opens a device at a speed, 8 data bits, no parity, no flow control.
///
/// # Errors
/// When it is not there, not a terminal, in somebody's exclusive use, or can't do the speed.
pub(super) fn open(path: &Path, baud: u32) -> io::Result<Tty> {
    // A modem's missing carrier must not hold up the opening, and its loss not end the gateway.
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let device = rustix::fs::open(path, flags, Mode::empty())?;
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
    // A second reader would get every other byte.
    ioctl_tiocexcl(&device)?;
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
