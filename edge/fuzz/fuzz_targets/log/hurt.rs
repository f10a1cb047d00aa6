//! What a failing medium or a clumsy hand does to the files of a log that is closed, and which
//! offsets that may cost.

use std::collections::BTreeMap;

use edge::log::directory::Directory;
use edge::log::simulated::SimulatedFolder;
use sync::Lane;

use crate::books::{Books, Harm};
use crate::log_parts::{contents, replace};
use crate::script::{How, Hurt};

/// Files by their names.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// Hurts the files of a folder. `kept` is what it was like at another time.
pub(crate) fn hurt(folder: &SimulatedFolder, hurts: &[Hurt], kept: &Files, books: &mut Books) {
    let mut touched = Vec::new();
    for hurt in hurts.iter().take(HURTS) {
        let names = hurt_once(folder, hurt, kept);
        let is_whole = matches!(hurt.how, How::Old | How::Swap { .. });
        if is_whole && names.iter().any(|name| name == "state.redb") {
            // A whole state of another time may name a journal of that time.
            touched.push("journal".to_owned());
        }
        touched.extend(names);
    }
    books.harm.times += u32::from(!touched.is_empty());
    touched.iter().for_each(|name| note(name, books));
    end_segments(folder, books);
}

/// Files that a start looks at.
pub(crate) fn names(folder: &SimulatedFolder) -> Vec<String> {
    let mut names = folder.names().expect("the disk works");
    names.retain(|name| !name.contains(".damaged-"));
    names
}

/// Leaves nothing of the files: a handle of a damaged one is never closed, and keeps the disk.
pub(crate) fn empty(folder: &SimulatedFolder) {
    for name in folder.names().expect("the disk works") {
        folder.remove(&name).expect("the disk works");
    }
    folder.sync().expect("the disk works");
    folder.power_cut(0);
}

/// Finds where segments end whose damage was seen when they were the last of their lanes. What was
/// stored until then may be lost with them, although the next one begins before its end.
pub(crate) fn end_segments(folder: &SimulatedFolder, books: &mut Books) {
    let names = names(folder);
    let segments: Vec<_> = names.iter().filter_map(|it| segment(it)).collect();
    for lane in Lane::ALL {
        let end = books.next(lane);
        let Harm { unended, lost, .. } = &mut books.harm;
        unended[lane].retain(|first| {
            let later = segments.iter().filter(|it| it.0 == lane && it.1 > *first);
            let next = later.map(|it| it.1).min();
            lost[lane].push((*first, next.unwrap_or(end)));
            next.is_none()
        });
    }
}

/// Gives the names of the files that are not what they were.
fn hurt_once(folder: &SimulatedFolder, hurt: &Hurt, kept: &Files) -> Vec<String> {
    let names = names(folder);
    let Some(name) = one_of(&names, hurt.file) else {
        return Vec::new();
    };
    let before = contents(folder, name);
    let mut after = before.clone();
    let at = place(&before, hurt.page) + usize::from(hurt.at) % PAGE;
    match hurt.how {
        How::Flip { bit } => {
            if let Some(byte) = after.get_mut(at) {
                *byte ^= 1 << (bit % 8);
            }
        }
        How::Cut => after.truncate(at),
        How::Overwrite { sectors, with } => {
            let from = at - at % SECTOR;
            let to = (from + SECTOR * (1 + usize::from(sectors % 32))).min(after.len());
            if let Some(part) = after.get_mut(from..to) {
                part.fill(with);
            }
        }
        How::Misplace { file, page } => {
            let other = contents(folder, one_of(&names, file).unwrap_or(name));
            let (from, to) = (place(&other, page), at - at % PAGE);
            if from + PAGE <= other.len() && to + PAGE <= after.len() {
                after[to..to + PAGE].copy_from_slice(&other[from..from + PAGE]);
            }
        }
        How::Foreign => after.fill(0x55),
        How::Swap { file } => {
            let other = one_of(&names, file).unwrap_or(name);
            after = contents(folder, other);
            replace(folder, other, &before);
            replace(folder, name, &after);
            let both = [name.to_owned(), other.to_owned()];
            return both.into_iter().filter(|_| before != after).collect();
        }
        How::Old => after = kept.get(name).cloned().unwrap_or(after),
        How::Remove => {
            folder.remove(name).expect("the disk works");
            folder.sync().expect("the disk works");
            return vec![name.to_owned()];
        }
        How::Distrust => {
            folder.create("starting").expect("the disk works");
            folder.sync().expect("the disk works");
        }
    }
    if after == before {
        return Vec::new();
    }
    replace(folder, name, &after);
    vec![name.to_owned()]
}

/// Notes what may be missing now.
fn note(name: &str, books: &mut Books) {
    match name {
        "journal" => {
            books.harm.journal = true;
            for lane in Lane::ALL {
                let lost = (books.flushed[lane], books.next(lane));
                books.harm.lost[lane].push(lost);
            }
        }
        "state.redb" => {
            books.harm.state = true;
            // It says which file of what outlived segments counts: another one goes.
            for lane in Lane::ALL.into_iter().filter(|_| books.keeps_latest) {
                books.harm.lost[lane].push((0, books.flushed[lane]));
            }
        }
        "mail.redb" => books.harm.mail = true,
        _ => {
            let Some((lane, first)) = segment(name) else {
                return;
            };
            books.harm.unended[lane].push(first);
        }
    }
}

fn segment(name: &str) -> Option<(Lane, u64)> {
    let (lane, place) = name.strip_suffix(".redb")?.split_once('-')?;
    let lane = Lane::ALL.into_iter().find(|known| known.name() == lane)?;
    // What outlived others has its end in its name as well.
    let first = place.split_once('-').map_or(place, |(first, _)| first);
    Some((lane, first.parse().ok()?))
}

fn place(contents: &[u8], page: u8) -> usize {
    let pages = contents.len().div_ceil(PAGE).max(1);
    usize::from(page) % pages * PAGE
}

fn one_of(names: &[String], number: u8) -> Option<&str> {
    let number = usize::from(number) % names.len().max(1);
    names.get(number).map(String::as_str)
}

const PAGE: usize = 4096;
const SECTOR: usize = 512;
/// At a time.
const HURTS: usize = 4;
