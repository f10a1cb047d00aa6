//! Reading a journal back: what follows the position that the state names, and where it ends.
//!
//! Frames follow each other by sequence. Where the expected one is not found, either nothing more
//! was written, or a frame is damaged. A later frame of this journal anywhere in the file tells
//! that it is damage; the offsets that later frames name tell what it cost. At the very end
//! nothing tells the two apart but what is left of the frame itself: see [`Torn`]. One whose
//! beginning alone is gone is whole by its end, and one of gaps by either of its two bodies.
//!
//! A page that can't be read counts as one without a frame.

use std::io;

use sync::{Offset, PerLane};

use super::super::LogError;
use super::super::frame::{self, Frame, Header, PAGE_BYTES};
use super::{HEADER_BYTES, Journal, NAME, Position};

/// What a journal holds behind a position.
#[derive(Debug, Default)]
pub(in super::super) struct Replayed {
    /// In order; where one is missing the offsets of the next one tell.
    pub(in super::super) frames: Vec<Frame>,
    /// How many are missing between them.
    pub(in super::super) lost_frames: u64,
    /// What is left of a frame behind the last.
    pub(in super::super) torn: Option<Torn>,
    /// The youngest frame of the file, whole or not; 0 when there is none.
    youngest: u64,
}

impl Replayed {
    /// Up to where records went straight into segments, as far as the state does not know.
    pub(in super::super) fn stored(&self) -> PerLane<Offset> {
        let mut stored = PerLane::default();
        for (lane, next) in self.frames.iter().flat_map(Frame::stored) {
            stored[lane] = next.max(stored[lane]);
        }
        stored
    }

    /// Whether the file was written as late as the state says. An old copy was not. The youngest
    /// frame alone may just be damaged.
    pub(in super::super) const fn reaches(&self, youngest: u64) -> bool {
        self.youngest.saturating_add(1) >= youngest
    }
}

/// A last frame that is not whole. Either it was being written when the power went, and nobody was
/// told that it is stored, or it was damaged since: it has to be taken for acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Torn {
    /// Its records had these offsets.
    Offsets {
        first: PerLane<Offset>,
        next: PerLane<Offset>,
    },
    /// Not even its header is whole, which no cut does: sectors are written whole. Or the place
    /// where it would be can't be read.
    Unreadable,
}

impl Torn {
    fn of(Header { first, next, .. }: Header) -> Self {
        Self::Offsets { first, next }
    }
}

impl Journal {
    /// Reads the frames from `position` on, in order, and puts the head behind the last.
    pub(in super::super) fn replay(&mut self, position: Position) -> Result<Replayed, LogError> {
        let is_place = (PAGE_BYTES..=self.file_bytes).contains(&position.at)
            && position.at.is_multiple_of(PAGE_BYTES);
        self.head = Position {
            sequence: position.sequence,
            at: if is_place { position.at } else { PAGE_BYTES },
        };
        self.used_bytes = 0;
        self.held_bytes = 0;
        let mut replayed = Replayed::default();
        let mut claims = None;
        loop {
            self.follow(&mut replayed.frames)?;
            let claims = match &mut claims {
                Some(claims) => claims,
                None => {
                    let all = self.claims()?;
                    self.youngest = all.youngest().map(|found| found.sequence);
                    claims.insert(all)
                }
            };
            let Some(later) = claims.behind(self.head.sequence) else {
                match self.read_by_end(claims.end)? {
                    Some((at, frame)) => self.pass(at, frame, &mut replayed.frames),
                    None => break,
                }
                continue;
            };
            self.head = later;
            // Where the oldest needed frame was is not known any more.
            self.used_bytes = self.capacity();
        }
        let expected = self.head.sequence - position.sequence;
        replayed.lost_frames = expected - replayed.frames.len() as u64;
        // One whose claim is damaged is found by those around it, until the state has it.
        let found = replayed.frames.last().map(|frame| frame.identity.sequence);
        replayed.youngest = self.youngest.max(found).unwrap_or(0);
        replayed.torn = self.torn()?;
        if replayed.torn.is_some() {
            // Its place and its sequence are given up, so that it is found once.
            self.head = Position {
                sequence: self.head.sequence + 1,
                at: (self.head.at + PAGE_BYTES).min(self.file_bytes),
            };
            self.used_bytes = (self.used_bytes + PAGE_BYTES).min(self.capacity());
        }
        Ok(replayed)
    }

    /// Whether the file is what the state takes it for, as far as a replay has found: its header says
    /// so, or a frame; or something is left of the header, and no frame was ever written.
    pub(in super::super) fn is_recognised(&self) -> Result<bool, LogError> {
        if self.is_signed || self.youngest.is_some() {
            return Ok(true);
        }
        let is_written = |bytes: &[u8]| bytes.iter().any(|byte| *byte != 0);
        let header = self.read(0, HEADER_BYTES as u64)?;
        let has_header = header.is_some_and(|header| is_written(&header));
        let frames = self.find_page(|page| is_written(page).then_some(()))?;
        Ok(has_header && frames.is_none())
    }

    /// Reads all whole frames of the file, for a state that no longer says where to begin, and
    /// puts the head behind the youngest. Many of them are in segments already.
    pub(in super::super) fn salvage(&mut self) -> Result<Replayed, LogError> {
        let mut frames = Vec::new();
        let claims = self.claims()?;
        for Position { sequence, at } in claims.heads.iter().copied() {
            if let Some(frame) = self.read_frame(at, sequence)? {
                self.head = Position {
                    sequence: sequence + 1,
                    at: at + frame.padded_bytes,
                };
                frames.push(frame);
            }
        }
        let later = claims.youngest();
        if let Some(later) = later.filter(|it| it.sequence > self.head.sequence) {
            self.head = later;
        }
        self.used_bytes = self.capacity();
        let count = frames.len() as u64;
        let first = frames.first().map(|frame| frame.identity.sequence);
        let all = first.map_or(0, |first| self.head.sequence - first);
        leave_out_refused(&mut frames);
        let torn = self.torn()?;
        Ok(Replayed {
            frames,
            lost_frames: all.saturating_sub(count),
            torn,
            ..Replayed::default()
        })
    }

    /// Takes frames from the head on for as long as one follows the other.
    fn follow(&mut self, frames: &mut Vec<Frame>) -> Result<(), LogError> {
        while let Some((at, frame)) = self.find_next()? {
            self.pass(at, frame, frames);
        }
        Ok(())
    }

    /// Takes the frame at the head, and goes on behind it.
    fn pass(&mut self, at: u64, frame: Frame, frames: &mut Vec<Frame>) {
        let skipped = if at < self.head.at {
            self.file_bytes - self.head.at
        } else {
            0
        };
        // More than a whole round would be frames over frames, which are never written.
        let used = self.used_bytes + skipped + frame.padded_bytes;
        self.used_bytes = used.min(self.capacity());
        let held = self.held_bytes + frame::padded_bytes(&frame.batch);
        self.held_bytes = held.min(self.capacity());
        self.head = Position {
            sequence: self.head.sequence + 1,
            at: at + frame.padded_bytes,
        };
        frames.push(frame);
    }

    /// Reads the next frame where only its end says that it is one.
    fn read_by_end(&self, end: Option<(Position, u64)>) -> Result<Option<(u64, Frame)>, LogError> {
        let next = end.filter(|(end, _)| end.sequence == self.head.sequence);
        let Some((Position { sequence, at }, bytes)) = next else {
            return Ok(None);
        };
        let bytes = self.read(at, bytes)?;
        let frame = bytes.and_then(|bytes| frame::decode(&bytes, self.identity(sequence)));
        Ok(frame.map(|frame| (at, frame)))
    }

    fn find_next(&self) -> Result<Option<(u64, Frame)>, LogError> {
        for at in [self.head.at, PAGE_BYTES] {
            if let Some(frame) = self.read_frame(at, self.head.sequence)? {
                return Ok(Some((at, frame)));
            }
        }
        Ok(None)
    }

    fn torn(&self) -> Result<Option<Torn>, LogError> {
        let identity = self.identity(self.head.sequence);
        for at in [self.head.at, PAGE_BYTES] {
            if at + PAGE_BYTES > self.file_bytes {
                continue;
            }
            let Some(page) = self.read(at, PAGE_BYTES)? else {
                return Ok(Some(Torn::Unreadable));
            };
            if let Some(header) = frame::peek(&page, identity) {
                // Where the file is cut off, others may have followed.
                let is_there = self.read(at, header.padded_bytes)?.is_some();
                return Ok(Some(if is_there {
                    Torn::of(header)
                } else {
                    Torn::Unreadable
                }));
            }
            if frame::resembles(&page, identity) {
                return Ok(Some(Torn::Unreadable));
            }
        }
        let end = self.find_page(|page| frame::peek_at_end(page, identity).map(Torn::of))?;
        Ok(end.map(|(_, torn)| torn))
    }

    /// Looks at every page of the file for what claims to be of a frame of this journal.
    fn claims(&self) -> Result<Claims, LogError> {
        let mut claims = Claims::default();
        let mut at = 0;
        self.find_page(|page| {
            at += PAGE_BYTES;
            let sequence = frame::claimed_sequence(page);
            if frame::peek(page, self.identity(sequence)).is_some() {
                claims.heads.push(Position { sequence, at });
            }
            let sequence = frame::claimed_at_end(page);
            if let Some(header) = frame::peek_at_end(page, self.identity(sequence)) {
                let at = (at + PAGE_BYTES).saturating_sub(header.padded_bytes);
                let at = at.max(PAGE_BYTES);
                let end = (Position { sequence, at }, header.padded_bytes);
                claims.end = claims.end.max(Some(end));
            }
            None::<()>
        })?;
        claims.heads.sort_unstable();
        Ok(claims)
    }

    /// Looks at every page behind the header until one is what is looked for. Gives its place.
    fn find_page<T>(
        &self,
        mut look: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Option<(u64, T)>, LogError> {
        let mut at = PAGE_BYTES;
        while at + PAGE_BYTES <= self.file_bytes {
            let bytes = STEP_BYTES.min(self.file_bytes - at);
            let bytes = bytes - bytes % PAGE_BYTES;
            let step = match self.read(at, bytes)? {
                Some(step) => step,
                // A page of it can't be read: one by one.
                None => self.read_pages(at, bytes)?,
            };
            for (number, page) in step.chunks(PAGE_BYTES as usize).enumerate() {
                if let Some(found) = look(page) {
                    return Ok(Some((at + number as u64 * PAGE_BYTES, found)));
                }
            }
            at += bytes;
        }
        Ok(None)
    }

    fn read_frame(&self, at: u64, sequence: u64) -> Result<Option<Frame>, LogError> {
        if at + PAGE_BYTES > self.file_bytes {
            return Ok(None);
        }
        let identity = self.identity(sequence);
        let Some(page) = self.read(at, PAGE_BYTES)? else {
            return Ok(None);
        };
        match frame::peek(&page, identity) {
            Some(header) if at + header.padded_bytes <= self.file_bytes => {
                let bytes = self.read(at, header.padded_bytes)?;
                Ok(bytes.and_then(|bytes| frame::decode(&bytes, identity)))
            }
            _ => Ok(None),
        }
    }

    /// Reads pages; those that can't be read are zeros.
    fn read_pages(&self, at: u64, bytes: u64) -> Result<Vec<u8>, LogError> {
        let mut read = Vec::new();
        for page in (at..at + bytes).step_by(PAGE_BYTES as usize) {
            let zeros = || vec![0; PAGE_BYTES as usize];
            read.extend(self.read(page, PAGE_BYTES)?.unwrap_or_else(zeros));
        }
        Ok(read)
    }

    /// Reads bytes; `None` where the file ends or the medium is bad. No length that a frame says of
    /// itself takes more memory than a journal has bytes.
    fn read(&self, at: u64, bytes: u64) -> Result<Option<Vec<u8>>, LogError> {
        if bytes > self.file_bytes {
            return Ok(None);
        }
        let mut read = vec![0; bytes as usize];
        match self.file.read_at(at, &mut read) {
            Ok(()) => Ok(Some(read)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) if LogError::is_bad_medium(&error) => Ok(None),
            Err(error) => Err(LogError::file("read", NAME)(error)),
        }
    }
}

/// Where frames of a journal seem to be.
#[derive(Debug, Default)]
struct Claims {
    /// By their beginnings; the oldest first.
    heads: Vec<Position>,
    /// The youngest by its end, which may be all that is left of it, and its bytes.
    end: Option<(Position, u64)>,
}

impl Claims {
    /// The youngest, whether all of it is there or not.
    fn youngest(&self) -> Option<Position> {
        let end = self.end.map(|(end, _)| end);
        self.heads.last().copied().max(end)
    }

    /// The first that is younger than `sequence`, by its beginning if there is such a one.
    fn behind(&mut self, sequence: u64) -> Option<Position> {
        self.heads.retain(|head| head.sequence > sequence);
        let end = self.end.map(|(end, _)| end);
        let end = end.filter(|end| end.sequence > sequence);
        self.heads.first().copied().or(end)
    }
}

/// A frame that was refused and given up has offsets of the one after it. Where that one begins
/// later, a cut left records in segments that no frame names.
fn leave_out_refused(frames: &mut Vec<Frame>) {
    let heads: Vec<_> = frames
        .iter()
        .skip(1)
        .map(|frame| (frame.identity.sequence, frame.first))
        .collect();
    let mut following = heads.into_iter();
    frames.retain(|frame| match following.next() {
        Some((sequence, first)) if sequence == frame.identity.sequence + 1 => {
            frame.next.iter().all(|(lane, next)| *next <= first[lane])
        }
        _ => true,
    });
}

/// How much is read at a time when the whole file is looked through.
const STEP_BYTES: u64 = 256 << 10;
