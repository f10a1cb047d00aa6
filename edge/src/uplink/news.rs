//! What the operator hears of the cloud: each trouble once, and what ends it.
//!
//! A trouble is its text, which names the endpoint: however many connections run into it, it is
//! told by the first. It is told again after a while, sooner if records were taken in between. An
//! end is told to whoever was told of the trouble, so the last word about a connection is true or
//! will be within a minute.

use std::collections::BTreeMap;
use std::time::Duration;

use sync::{ConnectionId, Instant, Lane, Offset};

/// What was said.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Whether the last word about each connection was that it is up.
    is_up: BTreeMap<ConnectionId, bool>,
    troubles: BTreeMap<String, Instant>,
    /// When the cloud last took a record.
    accepted: Option<Instant>,
    /// Why the cloud will never take a record; asked for when it is given up.
    rejection: Option<(Lane, Offset, String)>,
    /// By reason, and whether it was given in words.
    refusals: BTreeMap<(u8, bool), Refusal>,
}

/// A reason with which the cloud refuses records again and again.
#[derive(Debug)]
struct Refusal {
    first: Instant,
    last: Instant,
    told: Option<Instant>,
}

/// A trouble that never went away is said again after this time,
const REMIND: Duration = Duration::from_secs(600);
/// and one that comes and goes after this.
const PAUSE: Duration = Duration::from_secs(60);
/// A refusal that lasts for this long is no passing one, as those of new topics are. Tries are
/// closer together than that, so a pause of it is an end.
const LASTING: Duration = Duration::from_secs(10);
/// Troubles remembered; beyond, the one that was told first may be told again.
const TROUBLES: usize = 16;

impl News {
    /// A connection is up. True when that is news.
    pub(super) fn up(&mut self, connection: ConnectionId) -> bool {
        self.is_up.insert(connection, true) != Some(true)
    }

    /// A connection is down. True when that is news.
    pub(super) fn down(&mut self, now: Instant, connection: ConnectionId, text: &str) -> bool {
        let is_known = self.troubles.get(text).is_some_and(|told| {
            let was_well = self.accepted.is_some_and(|accepted| accepted >= *told);
            now - *told < if was_well { PAUSE } else { REMIND }
        });
        if is_known {
            return false;
        }
        self.troubles.insert(text.to_owned(), now);
        if self.troubles.len() > TROUBLES {
            let oldest = self.troubles.iter().min_by_key(|(_, told)| **told);
            let oldest = oldest.map(|(text, _)| text.clone());
            oldest.map(|text| self.troubles.remove(&text));
        }
        self.is_up.insert(connection, false);
        true
    }

    /// The cloud took a record.
    pub(super) const fn accepted(&mut self, now: Instant) {
        self.accepted = Some(now);
    }

    /// The cloud refused a record for now. Gives since when it does so, if that is news.
    pub(super) fn refused(
        &mut self,
        now: Instant,
        reason: u8,
        has_words: bool,
    ) -> Option<Duration> {
        let new = Refusal {
            first: now,
            last: now,
            told: None,
        };
        let refusal = self.refusals.entry((reason, has_words)).or_insert(new);
        if now - refusal.last > LASTING {
            refusal.first = now;
        }
        refusal.last = now;
        let lasting = now - refusal.first;
        let is_known = refusal.told.is_some_and(|told| now - told < REMIND);
        if lasting < LASTING || is_known {
            return None;
        }
        refusal.told = Some(now);
        Some(lasting)
    }

    /// The cloud will never take a record.
    pub(super) fn rejected(&mut self, lane: Lane, offset: Offset, why: String) {
        self.rejection = Some((lane, offset, why));
    }

    /// Why a record is given up, if it was the last to be rejected.
    pub(super) fn rejection(&mut self, lane: Lane, offset: Offset) -> Option<String> {
        let is_meant =
            |rejection: &mut (Lane, Offset, String)| rejection.0 == lane && rejection.1 == offset;
        self.rejection.take_if(is_meant).map(|(_, _, why)| why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: ConnectionId = ConnectionId(0);
    const SECOND: ConnectionId = ConnectionId(1);

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_trouble_of_all_connections_is_told_once_and_its_end_too() {
        let mut news = News::default();
        assert!(news.up(FIRST) && news.up(SECOND));
        assert!(news.down(at(1), FIRST, "closed"));
        assert!(!news.down(at(1), SECOND, "closed"));
        assert!(news.down(at(2), FIRST, "refused"));
        assert!(!news.down(at(2), SECOND, "refused"));
        assert!(news.up(FIRST));
        assert!(!news.up(SECOND));
    }

    #[test]
    fn a_cloud_that_greets_and_leaves_is_remembered() {
        let mut news = News::default();
        assert!(news.up(FIRST) && news.down(at(0), FIRST, "closed") && news.up(FIRST));
        for second in 1..600 {
            assert!(!news.down(at(second), FIRST, "closed") && !news.up(FIRST));
        }
        assert!(news.down(at(600), FIRST, "closed") && news.up(FIRST));
        news.accepted(at(610));
        assert!(!news.down(at(659), FIRST, "closed"));
        assert!(news.down(at(660), FIRST, "closed"));
    }

    /// A topic that the cloud does not allow was refused for ever without a word.
    #[test]
    fn a_refusal_that_lasts_is_told_and_a_passing_one_is_not() {
        let mut news = News::default();
        for second in [0, 4, 8, 30, 34, 38] {
            assert_eq!(news.refused(at(second), 0x80, false), None);
        }
        assert_eq!(news.refused(at(38), 0x87, false), None);
        assert_eq!(news.refused(at(40), 0x80, false), Some(LASTING));
        for second in 41..640 {
            assert_eq!(news.refused(at(second), 0x80, false), None);
        }
        let since = Some(Duration::from_secs(610));
        assert_eq!(news.refused(at(640), 0x80, false), since);
    }

    #[test]
    fn troubles_are_few() {
        let mut news = News::default();
        for second in 0..100 {
            assert!(news.down(at(second), FIRST, &second.to_string()));
        }
        assert_eq!(news.troubles.len(), TROUBLES);
        assert!(!news.down(at(100), FIRST, "99"));
    }
}
