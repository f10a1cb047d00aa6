//! The log as it is read, and as it changes underneath its readers.

use std::mem::discriminant;
use std::time::Duration;

use sync::{Instant, Lane, Now, Offset, PerLane, Record};
use tracing::{debug, error, info, warn};

use super::super::disk::Request;
use super::mail::lane_of;
use super::{Core, Fetch};
use crate::broker::{Input, Intake, LogInput};
use crate::log::{self, Budget, Damage, Event, Gap, LogError};
use crate::mail;

/// A write that takes longer is worth a word.
const HANGING: Duration = Duration::from_secs(5);
/// Gaps that wait for the writer one by one: as many as it keeps apart between two commits.
const WAITING_GAPS: usize = 64;

impl Core {
    /// A file of the log changed.
    pub(crate) fn log_changed(&mut self, now: Now, event: &Event) {
        self.reader.apply(event);
        match event {
            Event::Trimmed { lane, first, gap } => {
                if let Some(gap) = gap {
                    warn!(
                        "dropped {} records of lane {lane}, {} to {}: {:?}",
                        gap.count, gap.first, gap.last, gap.reason
                    );
                }
                self.broker.handle(
                    now,
                    Input::Log(LogInput::Trimmed {
                        lane: *lane,
                        first: *first,
                    }),
                );
                if let Some(uplink) = &mut self.uplink {
                    uplink.trimmed(now.instant, *lane, *first);
                }
            }
            Event::Thinned { lane, .. } => {
                if let Some(uplink) = &mut self.uplink {
                    uplink.thinned(now.instant, *lane);
                }
            }
            Event::Failed { error } => {
                self.is_log_failing = true;
                // Once more, a second later: it may have been the cable.
                let is_unusable = matches!(error, LogError::Unusable { .. });
                self.needs_start |= is_unusable && self.is_log_unusable;
                self.is_log_unusable = is_unusable;
                let is_gone = matches!(error, LogError::Displaced { .. });
                if is_gone && let Some(times) = self.quiet.may_say(now.instant, "displaced") {
                    error!("nothing can be stored: {error}{times}");
                } else if !is_gone && let Some(times) = self.quiet.may_say(now.instant, "log") {
                    error!(
                        "the log can't be written, the journal still holds everything: {error}{times}"
                    );
                }
            }
            Event::Recovered => {
                self.is_log_failing = false;
                self.is_log_unusable = false;
                info!("the log can be written again");
            }
            // Those of a group that was refused came to light, of which no answer will tell.
            Event::Flushed { lane, .. } if self.is_refusing => self.moved_on(now, *lane),
            Event::Intake { intake } => self.intake_changed(now, *intake),
            Event::Gaps { gaps } => self.gaps_found(now, gaps),
            Event::StateExchanged { aside, lost_rows } => warn!(
                "the state was damaged and is made anew, without {lost_rows} sessions, \
                 subscriptions, cursors or retained messages; the damaged file is {aside}"
            ),
            Event::MailExchanged { aside, lost_rows } => {
                let lost = lost_rows.map_or_else(|| "all".to_owned(), |lost| lost.to_string());
                warn!(
                    "the mail was damaged and is made anew, without {lost} of its mailboxes, \
                     messages, groups or agents; the damaged file is {aside}"
                );
            }
            Event::Snapshot { result: Ok(()) } => info!("a snapshot for a backup is there"),
            Event::Snapshot { result: Err(error) } => {
                error!("there is no snapshot for a backup: {error}");
            }
            event => debug!("log: {event:?}"),
        }
        self.pump(now);
    }

    /// Records are at the end of a lane without an answer that says so.
    fn moved_on(&mut self, now: Now, lane: Lane) {
        let head = self.reader.head(lane);
        self.broker
            .handle(now, Input::Log(LogInput::Appended { lane, head }));
        if let Some(uplink) = &mut self.uplink {
            uplink.appended(now.instant, lane, head);
        }
    }

    /// A lane is full or stopped, or takes everything again.
    fn intake_changed(&mut self, now: Now, intake: PerLane<log::Intake>) {
        for lane in Lane::ALL {
            match (self.intake[lane], intake[lane]) {
                (before, after) if before == after => {}
                (_, log::Intake::Open) => info!("lane {lane} takes everything again"),
                (_, log::Intake::Full) => info!("lane {lane} is at its limit"),
                (_, log::Intake::Stopped) => {
                    error!("lane {lane} takes nothing: the disk is full or fails");
                }
            }
        }
        self.intake = intake;
        let of_mail = PerLane::from_fn(|lane| match intake[lane] {
            log::Intake::Stopped => mail::Intake::Nothing,
            log::Intake::Full if self.broker.rejects(lane) => mail::Intake::NothingUp,
            log::Intake::Full | log::Intake::Open => mail::Intake::Open,
        });
        self.ask_office(now, mail::Input::Intake(of_mail));
        let intake = PerLane::from_fn(|lane| match intake[lane] {
            log::Intake::Open => Intake::Open,
            log::Intake::Full => Intake::Full,
            log::Intake::Stopped => Intake::Stopped,
        });
        self.broker
            .handle(now, Input::Log(LogInput::Intake(intake)));
        // What nobody wants any more is the room that is missing, or that the next publishes take: it
        // does not wait for the next second.
        self.release();
    }

    /// Answers the request for records that has waited longest. False when there was none.
    pub(crate) fn fetch_one(&mut self, now: Now) -> bool {
        match self.fetches.pop_front() {
            None => return false,
            Some(Fetch::Broker {
                reader,
                lane,
                from,
                budget,
            }) => {
                let (records, next) = self
                    .read(now, lane, from, budget)
                    .unwrap_or((Vec::new(), from));
                self.broker.handle(
                    now,
                    Input::Fetched {
                        reader,
                        lane,
                        from,
                        records,
                        next,
                    },
                );
            }
            Some(Fetch::Uplink { lane, from, budget }) => {
                let read = self.read(now, lane, from, budget);
                if let Some(uplink) = &mut self.uplink {
                    uplink.fetched(now.instant, lane, read);
                }
            }
        }
        self.pump(now);
        true
    }

    fn read(
        &mut self,
        now: Now,
        lane: Lane,
        from: Offset,
        budget: Budget,
    ) -> Option<(Vec<(Offset, Record)>, Offset)> {
        match self.reader.read(lane, from, budget) {
            Ok(chunk) => {
                if let Some(gap) = chunk.damaged {
                    // Whoever was away comes by it, one after the other.
                    if let Some(times) = self.quiet.may_say(now.instant, "damaged") {
                        error!(
                            "lane {lane}: records {} to {} are damaged{times}",
                            gap.first, gap.last
                        );
                    }
                    self.note_gap(gap);
                }
                Some((chunk.records, chunk.next))
            }
            // The event that says so is on its way.
            Err(LogError::Removed { .. }) => None,
            Err(error) => {
                if let Some(times) = self.quiet.may_say(now.instant, "read") {
                    warn!("lane {lane} can't be read at {from} for now: {error}{times}");
                }
                None
            }
        }
    }

    /// Writes down what reads of the mail found damaged, or has it mended.
    pub(super) fn note_damaged_mail(&mut self, now: Now) {
        while let Some(damage) = self.reader.poll_damage() {
            if let Some(times) = self.quiet.may_say(now.instant, "damaged mail") {
                match &damage {
                    Damage::Row { table, .. } => {
                        error!("a row of the mail ({table:?}) is damaged and passed over{times}");
                    }
                    Damage::File => error!("the file of the mail is damaged{times}"),
                }
            }
            match &damage {
                Damage::File => self.note(Request::MendMail),
                Damage::Row { key, .. } => {
                    if let Some(gap) = damage.gap(lane_of(key)) {
                        self.note_gap(gap);
                    }
                }
            }
        }
    }

    /// Lets retention pass what neither a session nor the uplink wants any more.
    pub(super) fn release(&mut self) {
        let floors = PerLane::from_fn(|lane| {
            let sessions = self.broker.release_floor(lane);
            let uplink = self
                .uplink
                .as_ref()
                .map(|uplink| uplink.engine.release_floor(lane));
            uplink.map_or(sessions, |floor| floor.min(sessions))
        });
        if floors != self.released {
            self.released = floors;
            self.note(Request::Release(floors));
        }
    }

    /// Has a gap written down, before the next group. While the writer hangs, what waits to be noted
    /// already is left out, which many readers come by, and of so many gaps those of a lane become one.
    pub(super) fn note_gap(&mut self, gap: Gap) {
        let waiting = self.notes.iter_mut().find_map(|it| match it {
            Request::NoteGaps(gaps) => Some(gaps),
            _ => None,
        });
        match waiting {
            Some(gaps) => log::add_news(gaps, gap, WAITING_GAPS),
            None => self.note(Request::NoteGaps(vec![gap])),
        }
    }

    /// Asks something of the writer. While it hangs, one word of a kind is enough.
    pub(in super::super) fn note(&mut self, request: Request) {
        match &request {
            Request::Commit(_) | Request::NoteGaps(_) => {}
            Request::Maintain | Request::Release(_) | Request::Snapshot | Request::MendMail => {
                let kind = discriminant(&request);
                self.notes.retain(|it| discriminant(it) != kind);
            }
        }
        self.notes.push_back(request);
        self.wakes.commit.raise();
    }

    /// Notes whether the writer has come round, which it does every second unless a disk hangs.
    pub(super) fn watch_writer(&mut self, now: Instant, turns: u64) {
        let (known, since) = self.writer_turned;
        if turns != known {
            self.writer_turned = (turns, now);
        } else if now - since >= HANGING
            && let Some(times) = self.quiet.may_say(now, "hanging")
        {
            let seconds = (now - since).as_secs();
            error!("the disk has not answered for {seconds} s{times}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use sync::WallTime;

    use super::super::super::start::{self, Started};
    use super::*;
    use crate::broker::Policy;
    use crate::config::Config;
    use crate::limits::Limits;

    /// On a disk that had been full for hours the first look that a bad cable spoilt ended the program.
    #[test]
    fn a_log_that_can_not_be_used_is_looked_at_twice_whatever_failed_before() {
        let folder = tempfile::tempdir().unwrap();
        let mut started = started(folder.path());
        let (core, now) = (&mut started.core, started.clock.now());
        let path = || "state.redb".to_owned();
        let other = || Event::Failed {
            error: LogError::Unavailable { path: path() },
        };
        let unusable = || Event::Failed {
            error: LogError::Unusable {
                path: path(),
                what: "a test".to_owned(),
            },
        };
        for harmless in [other(), unusable(), other(), unusable(), Event::Recovered] {
            core.log_changed(now, &harmless);
            assert!(!core.needs_start, "{harmless:?}");
        }
        core.log_changed(now, &unusable());
        assert!(!core.needs_start, "once");
        core.log_changed(now, &unusable());
        assert!(core.needs_start, "twice");
    }

    /// Devices that went on at once filled the first room that came back within a second, and were
    /// refused beside segments that nobody wanted.
    #[test]
    fn a_lane_that_stops_or_opens_again_releases_at_once_what_nobody_wants() {
        let folder = tempfile::tempdir().unwrap();
        let mut started = started(folder.path());
        let (core, now) = (&mut started.core, started.clock.now());
        let stopped = PerLane::from_fn(|_| log::Intake::Stopped);
        for intake in [stopped, PerLane::default()] {
            // As it was asked for before.
            core.released = PerLane::from_fn(|_| Offset(u64::MAX));
            core.notes.clear();
            core.log_changed(now, &Event::Intake { intake });
            let floors = PerLane::from_fn(|lane| core.broker.release_floor(lane));
            let is_release = |note: &Request| matches!(note, Request::Release(it) if *it == floors);
            assert!(core.notes.iter().any(is_release), "{intake:?}");
        }
    }

    /// An operator who asked for copies while the disk hung, or clients that came by the same damage
    /// one after the other, filled the memory with it.
    #[test]
    fn what_is_asked_again_and_again_while_the_disk_hangs_waits_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut started = started(folder.path());
        let core = &mut started.core;
        core.notes.clear();
        let gap = |number| Gap::of_mail(Lane::Normal, &[number], 1);
        for _ in 0..100 {
            core.note_gap(gap(1));
            core.note_gap(gap(2));
            core.note(Request::Snapshot);
            core.note(Request::MendMail);
            core.note(Request::Release(PerLane::default()));
            core.note(Request::Maintain);
        }
        assert_eq!(core.notes.len(), 5);
        assert_eq!(waiting_gaps(core), [gap(1), gap(2)], "each is written down");
    }

    /// A cloud that takes nothing filled the memory with it, and when the disk was back every commit
    /// waited for all of these to be compared with those that are stored, one by one.
    #[test]
    fn what_a_cloud_rejects_while_the_disk_hangs_waits_as_a_few_gaps_that_count_it_all() {
        let folder = tempfile::tempdir().unwrap();
        let mut started = started(folder.path());
        let core = &mut started.core;
        core.notes.clear();
        // What is between them arrives.
        for at in (0..3000).step_by(3) {
            let rejected = Gap {
                lane: Lane::ALL[at as usize % 2],
                first: Offset(at),
                last: Offset(at),
                count: 1,
                bytes: 10,
                from: WallTime(at),
                to: WallTime(at),
                reason: log::Reason::Rejected,
                parts: log::Parts::default(),
            };
            core.note_gap(rejected.clone());
            core.note_gap(rejected);
        }
        let gaps = waiting_gaps(core);
        assert_eq!(gaps.len(), WAITING_GAPS);
        let sum = |of: fn(&Gap) -> u64| gaps.iter().map(of).sum::<u64>();
        assert_eq!((sum(|it| it.count), sum(|it| it.bytes)), (1000, 10_000));
    }

    fn waiting_gaps(core: &Core) -> Vec<Gap> {
        let gaps = core.notes.iter().filter_map(|it| match it {
            Request::NoteGaps(gaps) => Some(gaps.clone()),
            _ => None,
        });
        gaps.flatten().collect()
    }

    fn started(data: &Path) -> Started {
        let text = format!("[gateway]\ndata = \"{}\"\n", data.display());
        let file = Path::new("edge.toml");
        let limits = Limits::resolve(&Config::parse(&text, file).unwrap(), file).unwrap();
        start::start(&limits, vec![Policy::default()]).unwrap()
    }
}
