//! How long the gateway's own certificates still hold, those of the authorities that it trusts, and
//! revocation lists: said at the start, after a reload and then once a day, from thirty days before
//! the end on, and in `status`.
//!
//! It refuses nothing: others decide by their own clocks whom they trust, the one of a device may be
//! wrong, and a list that is out of date still counts. So both dates are said, the file's and the
//! device's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sync::{Instant, WallTime};
use wire::certificate::Validity;
use wire::date::Date;

use super::shown;
use crate::limits::Limits;
use crate::link::tls;

/// The files that listeners and the connections to the cloud show, or hold others to.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    papers: Vec<Paper>,
}

#[derive(Debug)]
struct Paper {
    /// Whose it is, as `status` calls it.
    owner: String,
    kind: Kind,
    file: String,
    validity: Validity,
    /// What was said of it last, and when.
    said: Option<(Standing, Instant)>,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Who the gateway is.
    Certificate,
    /// Who signs the cloud's certificates.
    Authority,
    /// Who signs those of clients.
    ClientAuthority,
    /// What that one has revoked.
    Revocations,
}

/// Where a time stands to that of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It has not begun.
    Early,
    Good,
    /// The end is near, so many whole days away.
    Soon(u64),
    /// It has ended.
    Over,
}

impl Expiry {
    /// Looks into the files of a configuration that was found good.
    pub(super) fn read(limits: &Limits) -> Self {
        let mut papers = Vec::new();
        let mut add = |owner: &str, kind, file: Option<&PathBuf>| {
            papers.extend(file.and_then(|file| Paper::read(owner, kind, file)));
        };
        for (number, listener) in limits.listeners.iter().enumerate() {
            if let Some(tls) = &listener.tls {
                let owner = format!("listener.{number}");
                add(&owner, Kind::Certificate, Some(&tls.certificate_file));
                add(&owner, Kind::ClientAuthority, tls.client_ca_file.as_ref());
                add(&owner, Kind::Revocations, tls.crl_file.as_ref());
            }
        }
        if let Some(cloud) = &limits.cloud {
            add("cloud", Kind::Certificate, cloud.certificate_file.as_ref());
            add("cloud", Kind::Authority, cloud.ca_file.as_ref());
        }
        Self { papers }
    }

    /// Gives a line for each file that does not hold, or not for long: when that has become
    /// so, and a day after the last line.
    pub(super) fn remind(&mut self, now: Instant, device: WallTime) -> Vec<String> {
        let papers = self.papers.iter_mut();
        papers
            .filter_map(|paper| paper.remind(now, device))
            .collect()
    }

    /// The whole days that each has left by the device's clock, 0 at and after its end.
    pub(super) fn facts(&self, device: WallTime) -> impl Iterator<Item = (String, u64)> {
        self.papers.iter().map(move |paper| {
            let name = format!("{}.{}", paper.owner, paper.kind.fact());
            (name, paper.days_left(device))
        })
    }
}

impl Paper {
    fn read(owner: &str, kind: Kind, file: &Path) -> Option<Self> {
        let validity = match kind {
            Kind::Certificate => tls::validity(file)?,
            Kind::Authority | Kind::ClientAuthority => tls::authority_validity(file)?,
            Kind::Revocations => tls::revocation_validity(file)?,
        };
        Some(Self {
            owner: owner.to_owned(),
            kind,
            file: shown(file),
            validity,
            said: None,
        })
    }

    fn remind(&mut self, now: Instant, device: WallTime) -> Option<String> {
        let standing = self.standing(device);
        let is_news = match self.said {
            Some((said, at)) => !said.is_like(standing) || now - at >= AGAIN,
            None => true,
        };
        if !is_news {
            return None;
        }
        self.said = Some((standing, now));
        let today = date(seconds(device));
        let (begins, ends) = (date(self.validity.begins), date(self.validity.ends));
        let what = match standing {
            Standing::Good => return None,
            Standing::Early => format!("holds from {begins} on"),
            Standing::Soon(0) => format!("ends on {ends}, in less than a day"),
            Standing::Soon(1) => format!("ends on {ends}, in a day"),
            Standing::Soon(days) => format!("ends on {ends}, in {days} days"),
            Standing::Over => format!("ended on {ends}"),
        };
        let (owner, kind, file) = (&self.owner, self.kind.word(), &self.file);
        Some(format!(
            "{owner}: {kind} {file} {what}, if it is {today} as this device's clock says"
        ))
    }

    fn standing(&self, device: WallTime) -> Standing {
        let now = seconds(device);
        if now < self.validity.begins {
            Standing::Early
        } else if now > self.validity.ends {
            Standing::Over
        } else {
            match self.days_left(device) {
                days if days < NEAR_DAYS => Standing::Soon(days),
                _ => Standing::Good,
            }
        }
    }

    const fn days_left(&self, device: WallTime) -> u64 {
        self.validity.ends.saturating_sub(seconds(device)) / DAY
    }
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Authority => "authority",
            Self::ClientAuthority => "authority of clients",
            Self::Revocations => "revocation list",
        }
    }

    const fn fact(self) -> &'static str {
        match self {
            Self::Certificate => "certificate_days",
            Self::Authority => "ca_days",
            Self::ClientAuthority => "client_ca_days",
            Self::Revocations => "crl_days",
        }
    }
}

impl Standing {
    /// Whether one word does for both.
    const fn is_like(self, other: Self) -> bool {
        matches!(
            (self, other),
            (Self::Early, Self::Early)
                | (Self::Good, Self::Good)
                | (Self::Soon(_), Self::Soon(_))
                | (Self::Over, Self::Over)
        )
    }
}

const fn seconds(time: WallTime) -> u64 {
    time.0 / 1000
}

fn date(seconds: u64) -> Date {
    Date::from_days(seconds / DAY)
}

/// In seconds.
const DAY: u64 = 86_400;
/// Enough to have one signed and brought to a place where nobody is.
const NEAR_DAYS: u64 = 30;
/// Between two lines of the same.
const AGAIN: Duration = Duration::from_secs(DAY);

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-22, and a certificate from half a year before to 40 days after.
    const TODAY: u64 = 20_779;

    fn expiry() -> Expiry {
        Expiry {
            papers: vec![Paper {
                owner: "cloud".to_owned(),
                kind: Kind::Certificate,
                file: "plant-7.pem".to_owned(),
                validity: Validity {
                    begins: (TODAY - 180) * DAY,
                    ends: (TODAY + 40) * DAY - 1,
                },
                said: None,
            }],
        }
    }

    fn at(day: u64) -> Instant {
        Instant::from_micros(day * DAY * 1_000_000)
    }

    fn clock(day: u64) -> WallTime {
        WallTime(day * DAY * 1000)
    }

    #[test]
    fn a_certificate_is_spoken_of_once_a_day_from_thirty_days_before_its_end_on() {
        let mut expiry = expiry();
        let mut lines = Vec::new();
        for day in 0..50 {
            for _ in 0..3 {
                lines.extend(expiry.remind(at(day), clock(TODAY + day)));
            }
        }
        assert_eq!(lines.len(), 40, "{lines:#?}");
        assert_eq!(
            lines[0],
            "cloud: certificate plant-7.pem ends on 2026-12-31, in 29 days, if it is 2026-12-02 as \
             this device's clock says"
        );
        assert!(lines[28].contains("ends on 2026-12-31, in a day, if it is 2026-12-30"));
        assert!(lines[29].contains("ends on 2026-12-31, in less than a day, if it is 2026-12-31"));
        assert!(lines[30].contains("ended on 2026-12-31, if it is 2027-01-01"));
    }

    #[test]
    fn a_clock_that_starts_at_1970_is_told_and_so_is_its_correction() {
        let mut expiry = expiry();
        let line = expiry.remind(at(0), clock(0)).concat();
        let early = "holds from 2026-05-26 on, if it is 1970-01-01 as this device's clock says";
        assert!(line.ends_with(early), "{line}");
        assert!(expiry.remind(at(0), clock(TODAY)).is_empty());
        let soon = expiry.remind(at(0), clock(TODAY + 20)).concat();
        assert!(soon.contains("in 19 days"), "{soon}");
    }

    #[test]
    fn status_says_the_days_that_are_left() {
        let days = |day| expiry().facts(clock(day)).collect::<Vec<_>>();
        let fact = |days| vec![("cloud.certificate_days".to_owned(), days)];
        assert_eq!(days(TODAY), fact(39));
        assert_eq!(days(TODAY + 39), fact(0));
        assert_eq!(days(TODAY + 400), fact(0));
    }
}
