//! What gives way when a lane, or all of them, are at their limit; and that nothing does unseen:
//! what was acknowledged is read back, or is in a gap.

mod log_parts;

use std::collections::{BTreeMap, BTreeSet};

use edge::log::simulated::SimulatedFolder;
use edge::log::{
    Batch, Budget, Event, Intake, LogError, Opened, Overflow, Reader, Settings, Writer, open,
};
use sync::{Change, Lane, Offset, PerLane, WallTime};

use self::log_parts::{Dice, contents, make_foreign, record_of, small};

#[test]
fn all_lanes_together_have_a_limit_and_the_lower_give_way_first() {
    for keeps_latest in [false, true] {
        let folder = SimulatedFolder::new();
        let mut settings = small();
        settings.keeps_latest = keeps_latest;
        settings.max_bytes = Some(1 << 20);
        let mut log = Log::open(&folder, settings);
        let mut first_drop = PerLane::from_fn(|_| usize::MAX);
        for turn in 0..900 {
            // Each lane by itself stays below its own limit.
            let lane = Lane::ALL[2 - turn / 300];
            for _ in 0..10 {
                log.append(lane, "a", 256);
            }
            log.maintain();
            for lane in Lane::ALL {
                let begun = log.reader.first(lane) > Offset(0);
                first_drop[lane] = first_drop[lane].min(if begun { turn } else { usize::MAX });
            }
            let bytes: u64 = log.writer.lane_bytes().iter().map(|(_, bytes)| bytes).sum();
            assert!(bytes <= (1 << 20) + (128 << 10), "{bytes}");
        }
        // Telemetry went for the alarms, and what is between for them when there was none left.
        assert!(
            first_drop[Lane::Normal] < first_drop[Lane::Urgent],
            "{first_drop:?}"
        );
        assert!(first_drop[Lane::Urgent] < usize::MAX, "{first_drop:?}");
        assert_eq!(first_drop[Lane::Critical], usize::MAX, "{first_drop:?}");
        log.assert_all_accounted_for();
    }
}

/// While the latest of its topics were searched for a lane had nothing to give, and a more important
/// one gave way for it.
#[test]
fn a_lane_that_is_searched_for_what_outlives_is_waited_for_by_more_important_ones() {
    let folder = SimulatedFolder::new();
    let mut settings = small();
    settings.keeps_latest = true;
    let mut log = Log::open(&folder, settings);
    for number in 0..100 {
        log.append(Lane::Critical, "noise/alarm", 4000);
        // Nothing comes of these again, so all of the lane is read.
        log.append(Lane::Normal, &format!("noise/{number}"), 40_000);
        log.maintain();
    }
    for most in [2 << 20, 1 << 20] {
        log.settings.max_bytes = Some(most);
        log = log.reopen(&folder);
        log.pass(3, 2000);
        let bytes: u64 = log.writer.lane_bytes().iter().map(|(_, bytes)| bytes).sum();
        assert!(bytes <= most, "{bytes}");
        assert!(log.reader.first(Lane::Normal) > Offset(0));
        assert_eq!(log.reader.first(Lane::Critical), Offset(0));
        log.assert_all_accounted_for();
    }
}

#[test]
fn a_lane_that_rejects_says_so_and_gives_nothing_up() {
    let folder = SimulatedFolder::new();
    let mut settings = small();
    settings.lanes[Lane::Normal].max_bytes = 1 << 20;
    settings.lanes[Lane::Normal].overflow = Overflow::Reject;
    let mut log = Log::open(&folder, settings);
    while log.intake[Lane::Normal] == Intake::Open {
        log.append(Lane::Normal, "a", 256);
        log.maintain();
    }
    assert_eq!(log.intake[Lane::Normal], Intake::Full);
    assert_eq!(log.intake[Lane::Urgent], Intake::Open);
    assert!(log.writer.lane_bytes()[Lane::Normal] > (1 << 20) - (160 << 10));
    log.assert_all_accounted_for();
    assert_eq!(log.reader.first(Lane::Normal), Offset(0));

    // What was delivered makes room.
    log.release(Lane::Normal, Offset(1500));
    log.maintain();
    assert_eq!(log.intake[Lane::Normal], Intake::Open);
    assert!(log.reader.gaps(0).unwrap().is_empty());
}

/// What waits in memory was not counted: three times `flush_bytes` came past the limit of a lane.
#[test]
fn what_waits_for_a_segment_counts_as_what_is_in_one() {
    const MOST: u64 = 256 << 10;
    let mut settings = small();
    (settings.journal_bytes, settings.flush_bytes) = (4 << 20, 1 << 20);
    settings.lanes[Lane::Normal].max_bytes = MOST;
    settings.lanes[Lane::Normal].overflow = Overflow::Reject;
    for is_lent in [false, true] {
        let folder = SimulatedFolder::new();
        let mut log = Log::open(&folder, settings.clone());
        log.append(Lane::Normal, "noise", 1000);
        log.maintain();
        log.writer.snapshot();
        let job = is_lent.then(|| log.writer.begin(log.wall).expect("it was asked for"));
        let before = log.serial;
        while log.intake[Lane::Normal] == Intake::Open {
            log.append(Lane::Normal, "noise", 1000);
            log.follow();
            assert!((log.serial - before) * 1000 < MOST, "it is full");
        }
        assert_eq!(log.intake[Lane::Normal], Intake::Full);
        assert_eq!(log.intake[Lane::Critical], Intake::Open);
        if let Some(job) = job {
            let done = job.run();
            log.writer.finish(done);
            log.follow();
            assert_eq!(log.intake[Lane::Normal], Intake::Full, "it waits still");
        }
        // Nobody waits for a flush when everything was read.
        log.release(Lane::Normal, log.reader.head(Lane::Normal));
        log.maintain();
        assert_eq!(log.intake[Lane::Normal], Intake::Open);
    }
}

#[test]
fn the_folder_holds_what_is_wanted_and_one_segment_a_lane() {
    let folder = SimulatedFolder::new();
    let mut log = Log::open(&folder, small());
    let empty = folder.used_bytes();
    for turn in 0..3000 {
        log.append(Lane::ALL[turn % 3], "a", 1024);
        log.maintain();
    }
    let full = folder.used_bytes() - empty;
    assert!(full > 3000 * 1024, "{full}");
    for lane in Lane::ALL {
        log.release(lane, log.reader.head(lane));
    }
    log.pass(3, 1000);
    // A redb file takes more than its records: a segment of 128 KiB is at most two of these.
    let drained = folder.used_bytes().saturating_sub(empty);
    assert!(
        drained <= 3 * 2 * (128 << 10) + (512 << 10),
        "{drained} bytes are left"
    );
    assert!(log.reader.gaps(0).unwrap().is_empty());
}

#[test]
fn the_latest_of_a_topic_outlives_its_segment() {
    let folder = SimulatedFolder::new();
    let mut log = Log::open(&folder, keeping_latest());
    log.append(Lane::Normal, "rare/once", 100);
    log.append(Lane::Normal, "plain/once", 100);
    for turn in 0..6000 {
        log.append(Lane::Normal, ["busy/a", "plain/b"][turn % 2], 256);
        log.maintain();
    }
    log.append(Lane::Normal, "rare/once", 50);
    for _ in 0..6000 {
        log.append(Lane::Normal, "busy/a", 256);
        log.maintain();
    }
    assert!(log.thinned > 1, "the file went more than once");
    let kept = log.assert_all_accounted_for();
    let serials = &kept["rare/once"];
    assert_eq!(serials, &[6002], "only the last one, and once");
    assert!(!kept.contains_key("plain/once"));
    log.assert_latest_kept();
}

/// A gap names 256 ranges of offsets at most, and what outlives a segment may leave more.
#[test]
fn gaps_add_up_with_more_records_that_outlive_them_than_they_name() {
    let folder = SimulatedFolder::new();
    let mut settings = keeping_latest();
    settings.segment_bytes = 256 << 10;
    settings.lanes[Lane::Normal].max_bytes = 1 << 20;
    let mut log = Log::open(&folder, settings);
    for number in 0..9000 {
        let rare = format!("rare/{number}");
        let topic = if number % 4 == 0 { &rare } else { "noise/busy" };
        log.append(Lane::Normal, topic, 200);
        if number % 50 == 0 {
            log.maintain();
        }
    }
    let kept = log.assert_all_accounted_for();
    let first = log.reader.first(Lane::Normal);
    let busy = log
        .acknowledged
        .iter()
        .position(|it| it.0 == kept["noise/busy"][0]);
    let outlived = (busy.expect("it was acknowledged") as u64 - first.0) / 4;
    assert!(
        outlived > 256 && log.thinned > 2,
        "{outlived} {}",
        log.thinned
    );
    log = log.reopen(&folder);
    log.assert_all_accounted_for();
    assert_eq!(log.reader.first(Lane::Normal), first);
}

/// A small lane whose records are all the latest of their topics: one goes for each that comes.
#[test]
fn a_lane_of_nothing_but_latest_records_keeps_to_its_limit() {
    let folder = SimulatedFolder::new();
    let mut settings = keeping_latest();
    settings.journal_bytes = 2 << 20;
    settings.lanes[Lane::Normal].max_bytes = 256 << 10;
    let most = settings.lanes[Lane::Normal].max_bytes + settings.segment_bytes;
    let mut log = Log::open(&folder, settings);
    for number in 0..5000 {
        log.append(Lane::Normal, &format!("noise/{number}"), 100);
        log.maintain();
        let bytes = log.writer.lane_bytes()[Lane::Normal];
        assert!(bytes <= most, "{bytes} after {number}");
    }
    log.assert_all_accounted_for();
}

/// Records go on to be stored while the power is cut again and again, also while what outlives a
/// segment takes its place.
#[test]
fn the_latest_of_each_topic_is_there_after_every_power_cut() {
    let (mut thinned, mut cuts) = (0, 0);
    for seed in 1..=3_u64 {
        let folder = SimulatedFolder::new();
        let mut log = Log::open(&folder, keeping_latest());
        let mut dice = Dice(seed);
        for life in 0..14 {
            if life > 0 {
                folder.stop_after(dice.below(1300));
            }
            for _ in 0..600 {
                // Few of them often, many of them seldom.
                let topic = match dice.below(10) {
                    0 => format!("rare/{}", dice.below(40)),
                    1..6 => format!("busy/{}", dice.below(3)),
                    _ => "plain".to_owned(),
                };
                let bytes = dice.below(600) as usize;
                if log.try_append(Lane::Normal, &topic, bytes).is_err() {
                    break;
                }
                log.maintain();
            }
            folder.power_cut(seed * 1000 + life);
            cuts += 1;
            log = log.reopen(&folder);
            // Gaps of the journal are seen a second later.
            log.pass(2, 2000);
            log.settle();
            log.assert_all_accounted_for();
            log.assert_latest_kept();
        }
        thinned += log.thinned;
    }
    println!("{cuts} cuts, {thinned} segments thinned");
    assert!(thinned > 5, "{thinned}");
}

/// A cut anywhere while what outlives a segment takes its place: before its file counts, the segment
/// is there as it was; behind that, the segment is no more. Then several go at once, because a limit
/// became smaller, and no gap counts what another one does.
#[test]
fn a_cut_while_a_segment_is_thinned_leaves_it_or_what_outlives_it() {
    let (mut log, folder) = nearly_full();
    folder.reset_counts();
    assert!(log.append_until_thinned());
    let changes = folder.counts().changes;
    let (mut whole, mut thinned) = (0, 0);
    for cut in (changes.saturating_sub(60)..=changes).step_by(3) {
        let (mut log, folder) = nearly_full();
        folder.stop_after(cut);
        log.append_until_thinned();
        folder.power_cut(cut);
        log = log.reopen(&folder);
        log.settle();
        match log.assert_all_accounted_for()["noise/busy"][0] {
            5 => whole += 1,
            _ => thinned += 1,
        }
        log.assert_latest_kept();
        log.settings.keeps_latest = false;
        log.settings.lanes[Lane::Normal].max_bytes = 256 << 10;
        log = log.reopen(&folder);
        log.pass(3, 2000);
        let kept = log.assert_all_accounted_for();
        assert!(!kept.contains_key("noise/0"), "it went as any record does");
    }
    assert!(whole > 2 && thinned > 2, "{whole} {thinned} of {changes}");
}

/// Of what was released with the file before it, the file being there still, a start said that it is
/// damaged.
#[test]
fn a_cut_while_released_files_go_makes_no_gap() {
    let release = |log: &mut Log| {
        log.release(Lane::Normal, log.reader.head(Lane::Normal));
        log.maintain();
    };
    let full = || {
        let (mut log, folder) = nearly_full();
        assert!(log.append_until_thinned());
        log.maintain();
        (log, folder)
    };
    let (mut log, folder) = full();
    folder.reset_counts();
    release(&mut log);
    let changes = folder.counts().changes;
    for cut in changes.saturating_sub(8)..=changes {
        let (mut log, folder) = full();
        let before = log.reader.gaps(0).expect("the log works");
        folder.stop_after(cut);
        release(&mut log);
        folder.power_cut(cut);
        log = log.reopen(&folder);
        assert_eq!(log.reader.gaps(0).expect("the log works"), before, "{cut}");
    }
}

/// One block that can't be read took all that came after it in the segment from what outlives that.
#[test]
fn the_latest_of_a_topic_behind_damage_outlives_its_segment() {
    let folder = SimulatedFolder::new();
    let mut log = Log::open(&folder, keeping_latest());
    log.append(Lane::Normal, "noise/early", 3000);
    while log.writer.lane_bytes()[Lane::Normal] < (300 << 10) {
        let rare = log.serial == 30;
        let topic = if rare { "noise/rare" } else { "noise/busy" };
        log.append(Lane::Normal, topic, 3000);
        log.maintain();
    }
    let name = "normal-00000000000000000000.redb";
    let bytes = contents(&folder, name);
    let early = |at: &usize| bytes[*at..].starts_with(b"noise/early");
    let places: Vec<usize> = (0..bytes.len()).filter(early).collect();
    assert!(!places.is_empty());
    places.iter().for_each(|at| folder.flip(name, *at as u64));
    assert!(log.append_until_thinned());
    let left: BTreeSet<String> = log.read_all().into_values().map(|it| it.2).collect();
    let expected = ["noise/busy", "noise/rare"].map(str::to_owned);
    assert_eq!(left, BTreeSet::from(expected));
}

/// Damage in the file of what outlived segments is told apart from what was given up before, and what
/// is whole of it goes on to outlive others.
#[test]
fn damage_of_what_outlived_segments_is_counted_once() {
    let mut damaged = 0;
    for seed in 1..=6_u64 {
        let folder = SimulatedFolder::new();
        let mut log = Log::open(&folder, keeping_latest());
        let mut dice = Dice(seed);
        for _ in 0..3 {
            let before = log.thinned;
            while log.thinned == before {
                let rare = format!("noise/{}", dice.below(60));
                let topic = if dice.below(4) == 0 {
                    &rare
                } else {
                    "noise/busy"
                };
                log.append(Lane::Normal, topic, 3000);
                log.maintain();
            }
            let directory = folder.directory();
            let names = directory.names().expect("they are there");
            let kept = names.iter().filter(|name| name.matches('-').count() == 2);
            let kept = kept.max().expect("something is kept");
            let file = directory.open(kept).expect("it is there");
            let bytes = file.len().expect("it is there");
            for _ in 0..dice.below(40) {
                let page = dice.below(bytes / 4096) * 4096;
                (page..page + 4096).for_each(|at| folder.flip(kept, at));
            }
            if dice.below(2) == 0 {
                log = log.reopen(&folder);
            }
            // Or it gives way before anybody has read it.
            if dice.below(2) == 0 {
                damaged += log.note_damage();
                log.assert_all_accounted_for();
            }
        }
        damaged += log.note_damage();
        log.assert_all_accounted_for();
    }
    assert!(damaged > 0, "{damaged}");
}

/// A start that began anew took the file of what outlived segments, and the next one removed it.
#[test]
fn what_outlived_segments_is_there_although_the_state_is_lost() {
    let (mut log, folder) = nearly_full();
    assert!(log.append_until_thinned());
    log.maintain();
    let rare = |log: &mut Log| {
        let found = log.read_all().into_values();
        found.filter(|it| it.2 != "noise/busy").count()
    };
    assert_eq!(rare(&mut log), 5);
    make_foreign(&folder, "state.redb");
    for start in 0..3 {
        log = log.reopen(&folder);
        log.maintain();
        assert_eq!(rare(&mut log), 5, "start {start}");
    }
}

/// A log before the first segment of a lane goes, which has some records that outlive it.
fn nearly_full() -> (Log, SimulatedFolder) {
    let folder = SimulatedFolder::new();
    let mut log = Log::open(&folder, keeping_latest());
    let mut turn = 0;
    while log.writer.lane_bytes()[Lane::Normal] < (470 << 10) {
        let rare = format!("noise/{turn}");
        let topic = if turn < 5 { &rare } else { "noise/busy" };
        log.append(Lane::Normal, topic, 3000);
        log.maintain();
        turn += 1;
    }
    assert_eq!(log.thinned, 0);
    (log, folder)
}

/// A log with the ledger of its publishers.
struct Log {
    writer: Writer,
    reader: Reader,
    wall: WallTime,
    settings: Settings,
    intake: PerLane<Intake>,
    floors: PerLane<Offset>,
    thinned: u64,
    /// What was acknowledged: the serial number and topic of each record.
    acknowledged: Vec<(u64, Lane, String)>,
    /// Not acknowledged, so it may be stored or not.
    uncertain: Option<(u64, Lane, String)>,
    serial: u64,
}

impl Log {
    fn open(folder: &SimulatedFolder, settings: Settings) -> Self {
        let wall = WallTime(1_000_000);
        let Opened { writer, reader, .. } =
            open(folder.directory(), settings.clone(), wall).expect("the log works");
        Self {
            writer,
            reader,
            wall,
            settings,
            intake: PerLane::from_fn(|_| Intake::Open),
            floors: PerLane::default(),
            thinned: 0,
            acknowledged: Vec::new(),
            uncertain: None,
            serial: 0,
        }
    }

    fn reopen(self, folder: &SimulatedFolder) -> Self {
        let new = Self::open(folder, self.settings);
        Self {
            wall: self.wall,
            thinned: self.thinned,
            acknowledged: self.acknowledged,
            uncertain: self.uncertain,
            serial: self.serial,
            ..new
        }
    }

    fn append(&mut self, lane: Lane, topic: &str, bytes: usize) {
        self.try_append(lane, topic, bytes).expect("the log works");
    }

    fn try_append(&mut self, lane: Lane, topic: &str, bytes: usize) -> Result<(), LogError> {
        self.wall.0 += 10;
        let mut payload = self.serial.to_le_bytes().to_vec();
        payload.resize(8 + bytes, 7);
        if topic.starts_with("noise") {
            // What can't be compressed.
            let mut dice = Dice(self.serial);
            payload.fill_with(|| dice.below(256) as u8);
            payload[..8].copy_from_slice(&self.serial.to_le_bytes());
        }
        let record = record_of(topic, self.wall, &payload);
        let record = match topic.starts_with("plain") {
            true => record,
            false => record.keeping_latest(),
        };
        let entry = (self.serial, lane, topic.to_owned());
        self.serial += 1;
        let batch = Batch {
            changes: vec![Change::Append { lane, record }],
        };
        match self.writer.commit(&batch, self.wall) {
            Ok(committed) => {
                self.reader.committed(&batch, &committed);
                self.acknowledged.push(entry);
                Ok(())
            }
            Err(error) => {
                self.uncertain = Some(entry);
                Err(error)
            }
        }
    }

    fn maintain(&mut self) {
        let events = self.writer.maintain(self.wall);
        self.apply(events);
    }

    /// Does what is due, so many times, with time between.
    fn pass(&mut self, times: u32, milliseconds: u64) {
        for _ in 0..times {
            self.wall.0 += milliseconds;
            self.maintain();
        }
    }

    fn follow(&mut self) {
        let events = self.writer.events();
        self.apply(events);
    }

    fn apply(&mut self, events: Vec<Event>) {
        for event in events {
            self.reader.apply(&event);
            match event {
                Event::Intake { intake } => self.intake = intake,
                Event::Thinned { .. } => self.thinned += 1,
                _ => {}
            }
        }
    }

    /// Reads everything, and notes what is damaged. Says how many ranges were.
    fn note_damage(&mut self) -> usize {
        let mut damaged = 0;
        for lane in Lane::ALL {
            let mut at = self.reader.first(lane);
            while at < self.reader.head(lane) {
                let chunk = self.reader.read(lane, at, BUDGET).expect("the log works");
                if let Some(gap) = chunk.damaged {
                    damaged += usize::from(self.writer.note_gap(gap));
                }
                at = chunk.next;
            }
        }
        let empty = self.writer.commit(&Batch::default(), self.wall);
        empty.expect("there is room");
        self.pass(2, 2000);
        damaged
    }

    /// False when the power went before.
    fn append_until_thinned(&mut self) -> bool {
        for _ in 0..100 {
            if self.try_append(Lane::Normal, "noise/busy", 3000).is_err() {
                return false;
            }
            self.maintain();
            if self.thinned > 0 {
                return true;
            }
        }
        panic!("the lane never got full");
    }

    fn release(&mut self, lane: Lane, floor: Offset) {
        self.floors[lane] = floor;
        self.writer.release(self.floors);
    }

    /// Finds out whether what was not acknowledged is stored.
    fn settle(&mut self) {
        if let Some(entry) = self.uncertain.take()
            && self.read_all().contains_key(&entry.0)
        {
            self.acknowledged.push(entry);
        }
    }

    /// Every record by its serial number, with its offset: each is there once.
    fn read_all(&mut self) -> BTreeMap<u64, (Lane, Offset, String)> {
        let mut found = BTreeMap::new();
        for lane in Lane::ALL {
            let mut at = self.reader.first(lane);
            while at < self.reader.head(lane) {
                let chunk = self.reader.read(lane, at, BUDGET).expect("the log works");
                for (offset, record) in chunk.records {
                    let (serial, _) = record.payload().split_first_chunk().expect("a serial");
                    let entry = (lane, offset, record.topic().to_owned());
                    let other = found.insert(u64::from_le_bytes(*serial), entry);
                    assert_eq!(other, None, "{serial:?}");
                }
                at = chunk.next;
            }
        }
        found
    }

    /// Acknowledged is what is there plus what gaps count. Gives the serial numbers of each topic,
    /// in the order of their offsets.
    fn assert_all_accounted_for(&mut self) -> BTreeMap<String, Vec<u64>> {
        let found = self.read_all();
        let gaps = self.reader.gaps(0).expect("the log works");
        // Of torn groups nobody was told that they are stored.
        let counts = gaps
            .iter()
            .filter(|(_, gap)| gap.reason != edge::log::Reason::Torn);
        let dropped: u64 = counts.map(|(_, gap)| gap.count).sum();
        let known: BTreeSet<u64> = self.acknowledged.iter().map(|(it, ..)| *it).collect();
        assert!(found.keys().all(|serial| known.contains(serial)));
        let (found_count, known_count) = (found.len() as u64, known.len() as u64);
        assert_eq!(
            found_count + dropped,
            known_count,
            "{found_count} are there, {dropped} in gaps, {known_count} acknowledged: {gaps:?}"
        );
        let mut topics: BTreeMap<String, Vec<(Offset, u64)>> = BTreeMap::new();
        for (serial, (_, offset, topic)) in found {
            topics.entry(topic).or_default().push((offset, serial));
        }
        let ordered = topics.into_iter().map(|(topic, mut all)| {
            all.sort_unstable();
            (topic, all.into_iter().map(|(_, serial)| serial).collect())
        });
        ordered.collect()
    }

    /// The last record of each such topic is there, and is the last of its topic.
    fn assert_latest_kept(&mut self) {
        let kept = self.assert_all_accounted_for();
        let latest: BTreeMap<&String, u64> = self
            .acknowledged
            .iter()
            .map(|(serial, _, topic)| (topic, *serial))
            .collect();
        for (topic, serial) in latest {
            if !topic.starts_with("plain") {
                let last = kept.get(topic).and_then(|serials| serials.last());
                assert_eq!(last, Some(&serial), "{topic}");
            }
        }
    }
}

fn keeping_latest() -> Settings {
    let mut settings = small();
    settings.keeps_latest = true;
    settings.lanes[Lane::Normal].max_bytes = 512 << 10;
    settings
}

const BUDGET: Budget = Budget {
    records: 500,
    bytes: 1 << 20,
};
