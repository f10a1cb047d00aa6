//! What a start found, for the operator.

use super::super::Gap;

/// What was found at opening; everything but the counts is worth a warning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Whether the folder held no log before.
    pub is_new: bool,
    /// Frames of the journal that the state did not know yet: more than zero after a power cut.
    pub replayed_frames: u64,
    /// Files that were damaged or foreign, under their new names.
    pub damaged_files: Vec<String>,
    /// Segments that stay although they are damaged: they are read block by block.
    pub damaged_segments: Vec<String>,
    /// Whether the journal's header or length was damaged. Nothing is lost by that.
    pub is_journal_mended: bool,
    /// Whether the state is lost: sessions, cursors and retained messages begin empty, in a new
    /// epoch. Records are not lost with it, and gaps have another home.
    pub is_state_lost: bool,
    /// Rows of the state that are lost: sessions, subscriptions, cursors, retained messages. An
    /// estimate where a table can't be counted any more.
    pub lost_rows: u64,
    /// Rows of the mail that are lost with a damaged file: mailboxes, messages, groups, agents. An
    /// estimate where a table can't be counted any more.
    pub lost_mail_rows: u64,
    /// Whether mail is lost that nobody can count: its file is missing, unreadable, or an old copy.
    pub is_mail_lost: bool,
    /// Whether the journal is lost: what was acknowledged last may be missing. How many records
    /// nobody can tell; a gap without a count says where.
    pub is_journal_lost: bool,
    /// Frames of the journal that are damaged: their records are gaps, what they held of gaps is one
    /// without a count, and changes of sessions and cursors in them are lost.
    pub lost_frames: u64,
    /// Ranges found missing by this start although they were not released.
    pub gaps: Vec<Gap>,
}

impl Report {
    /// Notes that the mail goes on in a new file; without a number, all its rows are lost.
    pub(super) fn note_exchanged_mail(&mut self, aside: String, lost_rows: Option<u64>) {
        self.damaged_files.push(aside);
        self.is_mail_lost |= lost_rows.is_none();
        self.lost_mail_rows += lost_rows.unwrap_or(0);
    }

    /// Whether nothing was damaged, missing or foreign. A log that was cut is clean.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let counts = Self {
            is_new: self.is_new,
            replayed_frames: self.replayed_frames,
            ..Self::default()
        };
        *self == counts
    }

    /// Tells what is worth a warning, one finding an entry.
    #[must_use]
    pub fn findings(&self) -> Vec<String> {
        let mut found = Vec::new();
        for file in &self.damaged_files {
            found.push(format!("a file is damaged or foreign, set aside as {file}"));
        }
        for file in &self.damaged_segments {
            found.push(format!(
                "{file} is damaged: what is whole of it is served, nothing is written to it"
            ));
        }
        if self.is_journal_mended {
            found.push(
                "the journal's header or length is damaged; its groups are not lost by that"
                    .to_owned(),
            );
        }
        if self.is_state_lost {
            found.push(
                "sessions, cursors and retained messages are lost and begin empty, in a new epoch"
                    .to_owned(),
            );
        }
        if self.lost_rows > 0 {
            found.push(format!(
                "{} sessions, subscriptions, cursors or retained messages are damaged and lost",
                self.lost_rows
            ));
        }
        if self.is_mail_lost {
            found.push(
                "mail.redb is missing, unreadable or an old copy: mail is lost, how much nobody \
                 can tell"
                    .to_owned(),
            );
        }
        if self.lost_mail_rows > 0 {
            found.push(format!(
                "{} mailboxes, messages, groups or agents are damaged and lost",
                self.lost_mail_rows
            ));
        }
        if self.is_journal_lost {
            found.push("the journal is lost: what was acknowledged last may be missing".to_owned());
        }
        if self.lost_frames > 0 {
            found.push(format!(
                "{} groups of the journal are damaged; changes of sessions in them are lost",
                self.lost_frames
            ));
        }
        found.extend(self.gaps.iter().map(ToString::to_string));
        found
    }
}
