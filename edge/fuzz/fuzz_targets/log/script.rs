//! What a run is made of: libFuzzer's bytes as limits and steps.

use libfuzzer_sys::arbitrary::{self, Arbitrary, Unstructured};

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// Chooses limits, and whether anything is ever damaged.
    pub(crate) limits: u8,
    pub(crate) steps: Vec<Step>,
}

/// As many steps as there are bytes for, so that any bytes are a script of some length, and one
/// that is changed somewhere goes on behind that.
impl<'a> Arbitrary<'a> for Script {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let (limits, mut steps) = (bytes.arbitrary()?, Vec::new());
        while !bytes.is_empty() && steps.len() < STEPS {
            steps.push(bytes.arbitrary()?);
        }
        Ok(Self { limits, steps })
    }
}

const STEPS: usize = 80;

/// Lanes, tables, topics and files are taken modulo those that there are.
#[derive(Arbitrary, Clone, Debug)]
pub(crate) enum Step {
    Commit(Group),
    /// Records alone, enough of them to go straight into a segment.
    Direct {
        lane: u8,
        count: u8,
        size: u8,
    },
    /// Everything that is due, here and now.
    Maintain,
    /// One job, with commits before every so many of its changes.
    Job {
        nth: u8,
        amid: Vec<Group>,
    },
    Pass {
        seconds: u8,
    },
    /// So many more offsets are not wanted any more.
    Release {
        lane: u8,
        count: u8,
    },
    /// Somebody says of a record that it is not taken.
    Reject {
        lane: u8,
        at: u8,
    },
    /// Says of gaps that were handed out that they were announced.
    Announce,
    Copy,
    Read {
        lane: u8,
        from: u8,
    },
    /// Leaves the disk so many pages; none for endless space.
    Room {
        pages: Option<u8>,
    },
    Fault {
        operation: u8,
        file: u8,
    },
    /// The power goes after so many changes.
    Stop {
        changes: u8,
    },
    End(End),
}

/// How a run of the program ends, and what becomes of the folder until the next.
#[derive(Arbitrary, Clone, Debug)]
pub(crate) struct End {
    pub(crate) is_closed: bool,
    /// What the power leaves, where it goes; a process that is killed loses nothing.
    pub(crate) luck: Option<u8>,
    /// The folder is kept as it is, to be taken from later.
    pub(crate) is_kept: bool,
    pub(crate) hurts: Vec<Hurt>,
    /// The power goes again in the start, after so many changes.
    pub(crate) again: Option<(u8, u8)>,
}

/// What is committed together.
#[derive(Arbitrary, Clone, Debug)]
pub(crate) struct Group {
    pub(crate) appends: Vec<Append>,
    pub(crate) rows: Vec<Row>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Append {
    pub(crate) lane: u8,
    pub(crate) topic: u8,
    pub(crate) size: u8,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) table: u8,
    pub(crate) key: u8,
    /// `None` removes it.
    pub(crate) size: Option<u8>,
}

/// Something that a failing medium or a clumsy hand does to a file.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Hurt {
    pub(crate) file: u8,
    /// A page of the file, and a place in it.
    pub(crate) page: u8,
    pub(crate) at: u16,
    pub(crate) how: How,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum How {
    Flip {
        bit: u8,
    },
    /// The end is cut off.
    Cut,
    /// Sectors of another content.
    Overwrite {
        sectors: u8,
        with: u8,
    },
    /// A page of any file where this one should be.
    Misplace {
        file: u8,
        page: u8,
    },
    Foreign,
    Swap {
        file: u8,
    },
    /// As the file was when the folder was kept.
    Old,
    Remove,
    /// Nothing is hurt, but the next start looks at everything.
    Distrust,
}
