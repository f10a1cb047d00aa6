//! Words of a text, as they are looked for: lower case, without what stands between them.
//!
//! ```text
//! EN ZH translation     en zh translation
//! plant.line-1          plant line 1
//! ImageOCRService       imageocrservice image ocr service
//! translate in Chinese  (in Han characters) each two that stand together, and the last one
//! ```
//!
//! Nothing but letters and digits is part of a word. Characters of scripts without blanks are taken
//! by twos, so that a word of any length is found without a dictionary.

use std::ops::ControlFlow;

/// The longest word; what is longer is cut.
pub(super) const WORD_BYTES: usize = 32;

/// Gives the words of a text one by one, as long as they are wanted.
pub(super) fn walk_words(
    text: &str,
    give: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let runs = text.split(|c: char| !c.is_alphanumeric());
    for run in runs.filter(|run| !run.is_empty()) {
        let mut rest = run;
        while let Some(first) = rest.chars().next() {
            let is_dense = is_dense(first);
            let end = rest.find(|c| self::is_dense(c) != is_dense);
            let (same, following) = rest.split_at(end.unwrap_or(rest.len()));
            match is_dense {
                true => walk_pairs(same, give)?,
                false => walk_parts(same, give)?,
            }
            rest = following;
        }
    }
    ControlFlow::Continue(())
}

/// Says whether a text is a single character of a script without blanks, which is in each pair that
/// begins with it.
pub(super) fn is_single_dense(word: &str) -> bool {
    let mut chars = word.chars();
    chars.next().is_some_and(is_dense) && chars.next().is_none()
}

/// Han, Hiragana, Katakana and Hangul.
const fn is_dense(c: char) -> bool {
    matches!(
        c,
        '\u{3040}'..='\u{30FF}'
            | '\u{3400}'..='\u{4DBF}'
            | '\u{4E00}'..='\u{9FFF}'
            | '\u{AC00}'..='\u{D7AF}'
            | '\u{F900}'..='\u{FAFF}'
            | '\u{20000}'..='\u{3FFFF}'
    )
}

fn walk_pairs(run: &str, give: &mut dyn FnMut(&str) -> ControlFlow<()>) -> ControlFlow<()> {
    let mut rest = run;
    while let Some(first) = rest.chars().next() {
        let following = &rest[first.len_utf8()..];
        let second = following.chars().next().map_or(0, char::len_utf8);
        give(&rest[..first.len_utf8() + second])?;
        rest = following;
    }
    ControlFlow::Continue(())
}

/// Gives a word, and its parts if it is written in camel case.
fn walk_parts(run: &str, give: &mut dyn FnMut(&str) -> ControlFlow<()>) -> ControlFlow<()> {
    give(&lower(run))?;
    let mut start = 0;
    let mut chars = run.char_indices().peekable();
    let mut before = None;
    while let Some((at, c)) = chars.next() {
        let next_is_lower = chars.peek().is_some_and(|(_, next)| next.is_lowercase());
        // A capital begins a part behind a small letter, and before one at the end of an acronym.
        let begins = c.is_uppercase()
            && before.is_some_and(|before: char| {
                before.is_lowercase() || (before.is_uppercase() && next_is_lower)
            });
        if begins {
            give(&lower(&run[start..at]))?;
            start = at;
        }
        before = Some(c);
    }
    match start {
        0 => ControlFlow::Continue(()),
        _ => give(&lower(&run[start..])),
    }
}

/// Writes a word in lower case, cut to [`WORD_BYTES`].
fn lower(word: &str) -> String {
    let mut lowered = String::with_capacity(word.len().min(WORD_BYTES));
    for c in word.chars().flat_map(char::to_lowercase) {
        if lowered.len() + c.len_utf8() > WORD_BYTES {
            break;
        }
        lowered.push(c);
    }
    lowered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut words = Vec::new();
        let _ = walk_words(text, &mut |word| {
            words.push(word.to_owned());
            ControlFlow::Continue(())
        });
        words
    }

    #[test]
    fn texts_fall_into_words() {
        let table: [(&str, &[&str]); 13] = [
            ("", &[]),
            (" .-_/ ", &[]),
            ("EN ZH translation", &["en", "zh", "translation"]),
            ("plant.line-1_temp", &["plant", "line", "1", "temp"]),
            ("mq9://broker/a.x", &["mq9", "broker", "a", "x"]),
            (
                "ImageOCRService",
                &["imageocrservice", "image", "ocr", "service"],
            ),
            ("camelCase", &["camelcase", "camel", "case"]),
            ("JSON", &["json"]),
            ("Stra\u{DF}e", &["stra\u{DF}e"]),
            (
                "\u{4E2D}\u{6587}\u{7FFB}",
                &["\u{4E2D}\u{6587}", "\u{6587}\u{7FFB}", "\u{7FFB}"],
            ),
            ("\u{4E2D}", &["\u{4E2D}"]),
            (
                "PDF\u{6587}\u{4EF6}v2",
                &["pdf", "\u{6587}\u{4EF6}", "\u{4EF6}", "v2"],
            ),
            (
                "\u{30AB}\u{30E1}\u{30E9}",
                &["\u{30AB}\u{30E1}", "\u{30E1}\u{30E9}", "\u{30E9}"],
            ),
        ];
        for (text, expected) in table {
            assert_eq!(words(text), expected, "{text}");
        }
    }

    #[test]
    fn a_long_word_is_cut_between_characters() {
        assert_eq!(words(&"a".repeat(100)), ["a".repeat(WORD_BYTES)]);
        let long = format!("a{}", "\u{E9}".repeat(100));
        assert_eq!(words(&long), [format!("a{}", "\u{E9}".repeat(15))]);
    }

    #[test]
    fn nothing_is_given_that_is_not_wanted() {
        for text in ["a b", "aB", "\u{4E2D}\u{6587}"] {
            let mut count = 0;
            let flow = walk_words(text, &mut |_| {
                count += 1;
                ControlFlow::Break(())
            });
            assert_eq!((flow, count), (ControlFlow::Break(()), 1));
        }
    }
}
