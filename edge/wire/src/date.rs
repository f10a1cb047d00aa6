//! Days of the calendar: as certificates write them, as clocks count them, as people read them.
//!
//! It promises that counting and reading are each other's opposite, and never to panic.

use core::fmt;

/// A day of the Gregorian calendar, 1970-01-01 or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    year: u64,
    month: u64,
    day: u64,
}

impl Date {
    /// Takes a date apart; `None` for one that the calendar does not have, or before 1970.
    #[must_use]
    pub fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        let date = Self {
            year: year.into(),
            month: month.into(),
            day: day.into(),
        };
        let is_counted = year >= 1970 && (1..=12).contains(&month) && (1..=31).contains(&day);
        (is_counted && Self::from_days(date.days()) == date).then_some(date)
    }

    /// The day that begins so many days after 1970-01-01; the last of the year 9999 for all later.
    #[must_use]
    pub fn from_days(days: u64) -> Self {
        // Years begin in March here, so that the day that is not always there is a year's last.
        let days = days.min(LAST) + BEFORE_1970;
        let (era, day_of_era) = (days / ERA, days % ERA);
        let leap = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
        let year_of_era = (day_of_era - leap) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153;
        let is_next_year = month >= 10;
        Self {
            year: era * 400 + year_of_era + u64::from(is_next_year),
            month: if is_next_year { month - 9 } else { month + 3 },
            day: day_of_year - (153 * month + 2) / 5 + 1,
        }
    }

    /// Counts the days since 1970-01-01.
    #[must_use]
    pub const fn days(self) -> u64 {
        let (year, month) = match self.month {
            1 | 2 => (self.year - 1, self.month + 9),
            _ => (self.year, self.month - 3),
        };
        let year_of_era = year % 400;
        let day_of_year = (153 * month + 2) / 5 + self.day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        year / 400 * ERA + day_of_era - BEFORE_1970
    }
}

/// As in ISO 8601: `2026-11-22`.
impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// Days of 400 years, after which the calendar repeats itself.
const ERA: u64 = 146_097;
/// From the first of March of the year 0 to 1970-01-01.
const BEFORE_1970: u64 = 719_468;
/// 9999-12-31
const LAST: u64 = 2_932_896;

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString as _;

    use super::*;

    #[test]
    fn every_day_is_counted_and_read_as_the_same() {
        let mut last = None;
        for days in 0..=LAST {
            let date = Date::from_days(days);
            assert_eq!(date.days(), days);
            assert!(last < Some(date));
            last = Some(date);
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (year, month, day, days) in [
            (1970, 1, 1, 0),
            (1972, 2, 29, 789),
            (2000, 2, 29, 11_016),
            (2000, 3, 1, 11_017),
            (2026, 11, 22, 20_779),
            (2100, 3, 1, 47_541),
            (9999, 12, 31, LAST),
        ] {
            let date = Date::new(year, month, day).expect("a date");
            assert_eq!(date.days(), days, "{date}");
        }
        assert_eq!(Date::from_days(20_779).to_string(), "2026-11-22");
        assert_eq!(Date::from_days(u64::MAX).to_string(), "9999-12-31");
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for (year, month, day) in [
            (1969, 12, 31),
            (2026, 0, 1),
            (2026, 13, 1),
            (2026, 1, 0),
            (2026, 4, 31),
            (2026, 2, 29),
            (2100, 2, 29),
        ] {
            assert_eq!(Date::new(year, month, day), None, "{year} {month} {day}");
        }
    }
}
