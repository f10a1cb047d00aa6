//! An answer that is too large, without what makes it so: as it arrives, long values of some of its
//! messages are left out, and the rest stays the JSON that it was. So the ids of messages that can
//! never be taken are known, and those beside them are read. Never holds more than its limit.

/// Of which messages long values are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) enum Cut {
    /// Of none: the answer is passed over.
    #[default]
    None,
    /// Of these.
    Of(Vec<u64>),
    /// Of all.
    All,
}

/// A message without some of its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Lost {
    pub(in super::super) id: u64,
    /// What was left out.
    pub(in super::super) bytes: u64,
}

/// What is known of the place in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between values, or in one that is short by nature.
    Plain,
    /// In a text that begins there.
    Text { from: usize, is_escaped: bool },
    /// In a list of numbers, so far, that begins there.
    Numbers { from: usize },
    /// In a text that is left out.
    LostText { is_escaped: bool },
    /// In a list that is left out.
    LostNumbers,
}

/// One answer on its way.
#[derive(Debug)]
pub(super) struct Trimmer {
    cut: Cut,
    limit: usize,
    state: State,
    text: Vec<u8>,
    /// Whether the last text was the name of a message's id.
    is_id_next: bool,
    /// The message that it is about.
    id: Option<u64>,
    lost: Vec<Lost>,
    is_hopeless: bool,
}

/// A value that is longer may be left out.
const LONG_BYTES: usize = 4 << 10;
const ID: &[u8] = b"\"msg_id\"";

impl Trimmer {
    pub(super) const fn new(cut: Cut, limit: usize) -> Self {
        Self {
            cut,
            limit,
            state: State::Plain,
            text: Vec::new(),
            is_id_next: false,
            id: None,
            lost: Vec::new(),
            is_hopeless: false,
        }
    }

    /// Takes the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if !self.is_hopeless {
                self.take(*byte);
            }
        }
    }

    /// Gives what is left of the answer, and which messages lost something; `None` when
    /// that is still too large.
    pub(super) fn finish(self) -> Option<(Vec<u8>, Vec<Lost>)> {
        let is_whole = self.state == State::Plain && !self.is_hopeless;
        is_whole.then_some((self.text, self.lost))
    }

    fn take(&mut self, byte: u8) {
        self.state = match (self.state, byte) {
            (State::LostText { is_escaped: false }, b'"') => {
                self.text.push(byte);
                State::Plain
            }
            (State::LostText { is_escaped }, _) => {
                self.count_lost(1);
                let is_escaped = byte == b'\\' && !is_escaped;
                State::LostText { is_escaped }
            }
            (State::LostNumbers, b']') => {
                self.text.extend(b"null");
                State::Plain
            }
            (State::LostNumbers, _) => {
                self.count_lost(1);
                State::LostNumbers
            }
            (state, _) => {
                self.text.push(byte);
                self.follow(state, byte)
            }
        };
        self.is_hopeless |= self.text.len() > self.limit;
    }

    /// Where a byte that was taken leads.
    fn follow(&mut self, state: State, byte: u8) -> State {
        let end = self.text.len();
        match (state, byte) {
            (State::Text { from, is_escaped }, b'"') if !is_escaped => {
                self.is_id_next = self.text[from..] == *ID;
                State::Plain
            }
            (State::Text { from, is_escaped }, _) => {
                if end - from > LONG_BYTES && self.loses() {
                    self.text.truncate(from + 1);
                    return State::LostText {
                        is_escaped: byte == b'\\' && !is_escaped,
                    };
                }
                let is_escaped = byte == b'\\' && !is_escaped;
                State::Text { from, is_escaped }
            }
            (State::Numbers { from }, b'0'..=b'9' | b',' | b' ') => {
                if end - from > LONG_BYTES && self.loses() {
                    self.text.truncate(from);
                    return State::LostNumbers;
                }
                State::Numbers { from }
            }
            (_, b'"') => State::Text {
                from: end - 1,
                is_escaped: false,
            },
            (_, b'[') => State::Numbers { from: end - 1 },
            (_, b'0'..=b'9') if self.is_id_next => {
                let digit = u64::from(byte - b'0');
                let id = self.id.take_if(|_| self.text[end - 2].is_ascii_digit());
                let id = id.unwrap_or(0).checked_mul(10);
                self.id = id.and_then(|id| id.checked_add(digit));
                State::Plain
            }
            (_, b':' | b' ') => State::Plain,
            _ => {
                self.is_id_next = false;
                State::Plain
            }
        }
    }

    /// Whether a long value of the message at hand is left out; notes that it is.
    fn loses(&mut self) -> bool {
        let Some(id) = self.id else { return false };
        let is_lost = match &self.cut {
            Cut::None => false,
            Cut::Of(ids) => ids.contains(&id),
            Cut::All => true,
        };
        if is_lost {
            if self.lost.last().is_none_or(|last| last.id != id) {
                self.lost.push(Lost { id, bytes: 0 });
            }
            self.count_lost(LONG_BYTES as u64);
        }
        is_lost
    }

    fn count_lost(&mut self, bytes: u64) {
        if let Some(lost) = self.lost.last_mut() {
            lost.bytes += bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: u64, payload: &str, header: &str) -> String {
        format!(
            "{{\"msg_id\":{id},\"payload\":\"{payload}\",\"priority\":\"normal\",\
             \"header\":{header},\"create_time\":7}}"
        )
    }

    fn answer(items: &[String]) -> String {
        format!("{{\"error\":\"\",\"messages\":[{}]}}", items.join(","))
    }

    fn trimmed(cut: &Cut, limit: usize, text: &str, step: usize) -> Option<(String, Vec<u64>)> {
        let mut trimmer = Trimmer::new(cut.clone(), limit);
        text.as_bytes().chunks(step).for_each(|it| trimmer.push(it));
        let (text, lost) = trimmer.finish()?;
        assert!(lost.iter().all(|it| it.bytes > 10_000), "{lost:?}");
        let ids = lost.iter().map(|it| it.id).collect();
        Some((String::from_utf8(text).unwrap(), ids))
    }

    #[test]
    fn long_values_are_left_out_wherever_it_is_cut_and_the_rest_stays() {
        let long = "x\\\"\\\\".repeat(4_000);
        let bytes = format!("[{}]", vec!["255"; 4_000].join(","));
        let items = [
            item(12, "short \\\" 9", "null"),
            item(345, &long, "[1, 2]"),
            item(6, "a", &bytes),
            item(7, &long, &bytes),
        ];
        let text = answer(&items);
        let kept = answer(&[
            item(12, "short \\\" 9", "null"),
            item(345, "", "[1, 2]"),
            item(6, "a", "null"),
            item(7, "", "null"),
        ]);
        for step in [1, 7, 4_096, text.len()] {
            let all = trimmed(&Cut::All, 10_000, &text, step);
            assert_eq!(
                all,
                Some((kept.clone(), vec![345, 6, 7])),
                "in steps of {step}"
            );
        }
        let some = answer(&[
            items[0].clone(),
            item(345, "", "[1, 2]"),
            items[2].clone(),
            items[3].clone(),
        ]);
        let of = Cut::Of(vec![345]);
        assert_eq!(trimmed(&of, 1 << 20, &text, 9), Some((some, vec![345])));
        assert_eq!(trimmed(&Cut::None, 10_000, &text, 9), None);
        assert_eq!(trimmed(&of, 10_000, &text, 9), None);
    }

    #[test]
    fn what_does_not_end_or_has_no_id_is_hopeless() {
        let long = "x".repeat(20_000);
        for text in [
            format!("\"{long}"),
            format!("{{\"payload\":\"{long}\",\"msg_id\":1}}"),
        ] {
            assert_eq!(
                trimmed(&Cut::All, 10_000, &text, 100),
                None,
                "{}",
                text.len()
            );
        }
    }
}
