//! One line a minute for each kind of trouble, with a count of what was not said.

use std::collections::BTreeMap;
use std::time::Duration;

use sync::Instant;

/// Remembers what was said when.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    said: BTreeMap<&'static str, Said>,
}

#[derive(Debug)]
struct Said {
    at: Instant,
    since: u64,
}

const PAUSE: Duration = Duration::from_secs(60);

impl Quiet {
    /// Whether a line about `kind` may be said now; then with what to put behind it, which is
    /// empty unless lines were left out.
    pub(crate) fn may_say(&mut self, now: Instant, kind: &'static str) -> Option<String> {
        match self.said.get_mut(kind) {
            Some(said) if now - said.at < PAUSE => {
                said.since += 1;
                None
            }
            Some(said) => {
                let left_out = std::mem::take(&mut said.since);
                said.at = now;
                Some(if left_out == 0 {
                    String::new()
                } else {
                    format!(" (and {left_out} times before)")
                })
            }
            None => {
                self.said.insert(kind, Said { at: now, since: 0 });
                Some(String::new())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_trouble_is_said_once_a_minute() {
        let mut quiet = Quiet::default();
        let at = |seconds: u64| Instant::from_micros(seconds * 1_000_000);
        assert_eq!(quiet.may_say(at(0), "a"), Some(String::new()));
        assert_eq!(quiet.may_say(at(1), "a"), None);
        assert_eq!(quiet.may_say(at(2), "b"), Some(String::new()));
        assert_eq!(quiet.may_say(at(59), "a"), None);
        assert_eq!(
            quiet.may_say(at(60), "a"),
            Some(" (and 2 times before)".to_owned())
        );
        assert_eq!(quiet.may_say(at(120), "a"), Some(String::new()));
    }
}
