//! Requests that wait for their answers, by the subject that the answer comes to.

use std::collections::BTreeMap;

use sync::{Instant, Lane, Offset, Place};
use wire::mq9::Kind;

/// What an answer is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// A record is sent; with the address, if it is mail.
    Record {
        place: Place,
        address: Option<String>,
    },
    /// The mailbox of a record is made.
    Make { place: Place, address: String },
    /// An agent is removed, to be registered anew by the record with this place.
    Remove { lane: Lane, offset: Offset },
    /// The puller wants to know something.
    Pull,
    /// Which agents there are.
    Agents,
}

impl Question {
    /// The place of the record that it is about, if it is about one.
    pub(super) fn into_place(self) -> Option<Place> {
        match self {
            Self::Record { place, .. } | Self::Make { place, .. } => Some(place),
            Self::Remove { .. } | Self::Pull | Self::Agents => None,
        }
    }
}

/// For each record of the window two at most, one of the puller, and one for agents.
#[derive(Debug)]
pub(super) struct Questions {
    /// What the subject of a reply begins with; a number follows.
    prefix: String,
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
    record_count: usize,
}

#[derive(Debug)]
struct Waiting {
    since: Instant,
    kind: Kind,
    subject: String,
    question: Question,
}

impl Questions {
    pub(super) fn new(inbox: &str) -> Self {
        Self {
            prefix: format!("{inbox}."),
            next: 0,
            waiting: BTreeMap::new(),
            record_count: 0,
        }
    }

    /// The subject for the answer to the next question.
    pub(super) fn reply_to(&self) -> String {
        format!("{}{}", self.prefix, self.next)
    }

    /// Waits for the answer to [`Questions::reply_to`].
    pub(super) fn add(&mut self, since: Instant, kind: Kind, subject: String, question: Question) {
        self.record_count += usize::from(is_of_record(&question));
        let waiting = Waiting {
            since,
            kind,
            subject,
            question,
        };
        self.waiting.insert(self.next, waiting);
        self.next += 1;
    }

    /// What an answer is about, if it is about anything.
    pub(super) fn find(&self, subject: &str) -> Option<&Question> {
        let number = subject.strip_prefix(&self.prefix)?.parse().ok()?;
        let waiting: &Waiting = self.waiting.get(&number)?;
        Some(&waiting.question)
    }

    /// Takes out what an answer is about; `None` for an answer to nothing.
    pub(super) fn take(&mut self, subject: &str) -> Option<(Question, Kind)> {
        let number = subject.strip_prefix(&self.prefix)?.parse().ok()?;
        let Waiting { kind, question, .. } = self.waiting.remove(&number)?;
        self.record_count -= usize::from(is_of_record(&question));
        Some((question, kind))
    }

    /// Whether it is not answered yet that an agent is removed for a record.
    pub(super) fn is_removing(&self, lane: Lane, offset: Offset) -> bool {
        let mut questions = self.waiting.values().map(|waiting| &waiting.question);
        questions.any(|it| *it == Question::Remove { lane, offset })
    }

    /// Takes out all that was asked at a subject.
    pub(super) fn take_all_to(&mut self, subject: &str) -> Vec<Question> {
        let is_meant = |waiting: &Waiting| waiting.subject == subject;
        let (meant, others) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|(_, waiting)| is_meant(waiting));
        self.waiting = others;
        let questions = meant.into_values().map(|waiting| waiting.question);
        let questions: Vec<Question> = questions.collect();
        self.record_count -= questions.iter().filter(|it| is_of_record(it)).count();
        questions
    }

    /// Since when the first of all has waited.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let first = self.waiting.first_key_value();
        first.map(|(_, waiting)| waiting.since)
    }

    /// Counts the records that are not answered.
    pub(super) const fn record_count(&self) -> usize {
        self.record_count
    }
}

const fn is_of_record(question: &Question) -> bool {
    matches!(question, Question::Record { .. } | Question::Make { .. })
}
