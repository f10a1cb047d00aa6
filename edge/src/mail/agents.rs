//! The agents that can be found: those that registered here, and those that the cloud knows.
//!
//! What they say is held in memory, under limits of count and bytes, with an index of its words;
//! memory changes when the commit is durable. An agent that registered here goes before one of the cloud with the same name.

use std::collections::BTreeMap;

use sync::{Table, WallTime};
use wire::mq9::{Agent, Discover, Failure, Home, Identity, Register, Reply, Report, Request};

use super::Office;
use super::commit::{Draft, Work};
use super::event::Ticket;
use super::mailbox::{at_most, within};
use super::search::Index;
use super::stored::{StoredAgent, StoredReport, encode};

/// Of an agent beside what it says.
pub(super) const AGENT_BYTES: usize = 2 * (size_of::<Known>() + size_of::<String>()) + 64;
/// The same with its words in the index.
pub(super) const AGENT_BYTES_MAXIMUM: usize = AGENT_BYTES + Index::AGENT_BYTES;
/// What begins the keys of agents that registered here.
pub(super) const EDGE: u8 = b'e';
/// What begins the keys of agents that the cloud knows.
pub(super) const CLOUD: u8 = b'c';
/// What begins the keys of reports.
pub(super) const REPORT: u8 = b'r';
/// Agents of a page, for who does not say.
const PAGE_COUNT: u32 = 20;
/// How old the time may be that the table has of an agent of the cloud which says what it said.
const SEEN_LAG_SECONDS: u64 = 3_600;
/// Agents of the cloud that one commit stores, at most.
const STORED_AT_ONCE: usize = 64;

/// What is held of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) mailbox: Option<String>,
    pub(super) body: String,
    pub(super) seen: WallTime,
    /// The time that the table has.
    pub(super) stored: WallTime,
}

/// Something about an agent that a commit makes durable.
#[derive(Clone, Debug)]
pub(super) enum AgentNews {
    /// It is known.
    Known(u8, String, Known),
    /// It is known no more.
    Gone(u8, String),
    /// It was heard of.
    Seen(String, WallTime),
}

/// All agents.
#[derive(Debug, Default)]
pub(super) struct Agents {
    edge: BTreeMap<String, Known>,
    cloud: BTreeMap<String, Known>,
    bytes: usize,
    /// What those say that can be found, ready to be searched.
    index: Index,
    /// Those under way: home, name, mailbox, bytes.
    coming: Vec<(u8, String, Option<String>, usize)>,
}

impl Agents {
    /// Takes in an agent.
    pub(super) fn add(&mut self, home: u8, name: String, known: Known) {
        let bytes = bytes_of(&name, &known.mailbox, &known.body);
        self.remove(home, &name);
        self.bytes += bytes;
        self.of(home).insert(name.clone(), known);
        self.update_index(&name);
    }

    pub(super) fn note_seen(&mut self, name: &str, seen: WallTime) {
        if let Some(known) = self.edge.get_mut(name) {
            known.seen = seen;
        }
    }

    /// Takes what a commit was about.
    pub(super) fn take_news(&mut self, news: Vec<AgentNews>, is_durable: bool) {
        for news in news {
            if let AgentNews::Known(home, name, _) = &news {
                let at = self.coming.iter();
                let mut at = at.enumerate();
                let found = at.find(|(_, coming)| coming.0 == *home && coming.1 == *name);
                if let Some((at, _)) = found {
                    self.coming.remove(at);
                }
            }
            match news {
                _ if !is_durable => {}
                AgentNews::Known(home, name, known) => self.add(home, name, known),
                AgentNews::Gone(home, name) => self.remove(home, &name),
                AgentNews::Seen(name, seen) => self.note_seen(&name, seen),
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.edge.len() + self.cloud.len()
    }

    pub(super) const fn held_bytes(&self) -> usize {
        self.bytes + self.index.held_bytes()
    }

    /// Finds agents by words, best first, and gives one page of them.
    fn search(&self, words: &str, limit: u32, page: u32) -> Vec<(&str, Home, &Known)> {
        let found = self.index.search(words, limit, page).into_iter();
        found.filter_map(|name| self.visible(name)).collect()
    }

    /// The agent of a name that is found: one that registered here before one of the cloud.
    fn visible(&self, name: &str) -> Option<(&str, Home, &Known)> {
        let homes = [(&self.edge, Home::Edge), (&self.cloud, Home::Cloud)];
        homes.into_iter().find_map(|(agents, home)| {
            let (name, known) = agents.get_key_value(name)?;
            Some((name.as_str(), home, known))
        })
    }

    fn update_index(&mut self, name: &str) {
        let body = self.visible(name).map(|(_, _, known)| known.body.clone());
        match body {
            Some(body) => self.index.put(name, &body),
            None => self.index.remove(name),
        }
    }

    /// Walks all agents by name; of two with one name only the one that registered here.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, Home, &Known)> {
        let mut names: BTreeMap<&str, (Home, &Known)> = BTreeMap::new();
        for (name, known) in &self.cloud {
            names.insert(name, (Home::Cloud, known));
        }
        for (name, known) in &self.edge {
            names.insert(name, (Home::Edge, known));
        }
        names
            .into_iter()
            .map(|(name, (home, known))| (name, home, known))
    }

    fn of(&mut self, home: u8) -> &mut BTreeMap<String, Known> {
        match home {
            CLOUD => &mut self.cloud,
            _ => &mut self.edge,
        }
    }

    fn remove(&mut self, home: u8, name: &str) {
        if let Some(known) = self.of(home).remove(name) {
            self.bytes -= bytes_of(name, &known.mailbox, &known.body);
            self.update_index(name);
        }
    }

    /// Counts and bytes as they are when all that is under way is done, without one agent.
    fn totals_without(&self, home: u8, name: &str) -> (usize, usize) {
        let coming = self.coming.iter().filter(|it| it.0 != home || it.1 != name);
        let (count, bytes) = coming.fold((0, 0), |(count, sum), it| (count + 1, sum + it.3));
        let known = match home {
            CLOUD => self.cloud.get(name),
            _ => self.edge.get(name),
        };
        let own = known.map_or(0, |known| bytes_of(name, &known.mailbox, &known.body));
        let others = self.len() - usize::from(known.is_some());
        (others + count, self.bytes - own + bytes)
    }

    /// Who is meant, of those that registered here or are about to.
    fn meant(&self, identity: &Identity) -> Vec<String> {
        let known = self.edge.iter();
        let known = known.map(|(name, known)| (name, known.mailbox.as_ref()));
        let coming = self.coming.iter().filter(|it| it.0 == EDGE);
        let all = known.chain(coming.map(|it| (&it.1, it.2.as_ref())));
        let all: Vec<(&String, Option<&String>)> = all.collect();
        if let Some(name) = &identity.name
            && all.iter().any(|(found, _)| *found == name)
        {
            return vec![name.clone()];
        }
        let Some(mailbox) = &identity.mailbox else {
            return Vec::new();
        };
        let meant = all.iter().filter(|(name, found)| match found {
            Some(found) => *found == mailbox,
            None => *name == mailbox,
        });
        let mut meant: Vec<String> = meant.map(|(name, _)| (*name).clone()).collect();
        meant.dedup();
        meant
    }
}

impl Office {
    pub(super) fn register(&mut self, ticket: Ticket, register: Register) -> Result<(), Failure> {
        let settings = &self.settings;
        let most = settings.agent_body_bytes_maximum;
        within("description of an agent", register.body.len(), most)?;
        let bytes = bytes_of(&register.name, &register.mailbox, &register.body);
        let (count, others) = self.agents.totals_without(EDGE, &register.name);
        at_most("agents", count + 1, settings.agent_count_maximum)?;
        if others + bytes > settings.agent_bytes_maximum {
            let why = format!(
                "all agents would take {} bytes, which exceeds the limit of {}",
                others + bytes,
                settings.agent_bytes_maximum
            );
            return Err(Failure::Refused(why));
        }
        let mut draft = Draft::default();
        if settings.announces_agents {
            let request = Request::Register(register.clone());
            draft.changes.push(self.for_cloud(request));
        }
        let name = register.name;
        let news = self.draft_agent(&mut draft, EDGE, name, register.mailbox, register.body);
        self.commit(draft, Work::Agents(Some(ticket), vec![news]), true);
        Ok(())
    }

    pub(super) fn unregister(&mut self, ticket: Ticket, identity: &Identity) {
        let names = self.agents.meant(identity);
        if names.is_empty() {
            self.answer(ticket, Reply::Done);
            return;
        }
        // At most one append a commit: the last one takes all of them out, and answers.
        let mut draft = Draft::default();
        if self.settings.announces_agents {
            for name in &names {
                let before = std::mem::take(&mut draft);
                if !before.is_empty() {
                    self.commit(before, Work::Nothing, true);
                }
                draft
                    .changes
                    .push(self.for_cloud(Request::Unregister(Identity {
                        name: Some(name.clone()),
                        mailbox: None,
                    })));
            }
        }
        for name in &names {
            draft.delete(Table::Agents, key_of(EDGE, name));
            draft.delete(Table::Agents, key_of(REPORT, name));
        }
        let names = names.into_iter();
        let news = names.map(|name| AgentNews::Gone(EDGE, name)).collect();
        self.commit(draft, Work::Agents(Some(ticket), news), true);
    }

    pub(super) fn report(&mut self, ticket: Ticket, report: Report) -> Result<(), Failure> {
        let most = self.settings.agent_body_bytes_maximum;
        within("report", report.body.len(), most)?;
        let names = self.agents.meant(&report.agent);
        if names.is_empty() {
            self.answer(ticket, Reply::Done);
            return Ok(());
        }
        let seen = self.now.wall;
        let value = encode(&StoredReport::new(report.body, seen));
        let mut draft = Draft::default();
        for name in &names {
            draft.put(Table::Agents, key_of(REPORT, name), value.clone());
        }
        let names = names.into_iter();
        let news = names.map(|name| AgentNews::Seen(name, seen)).collect();
        self.commit(draft, Work::Agents(Some(ticket), news), true);
        Ok(())
    }

    pub(super) fn discover(&mut self, ticket: Ticket, discover: &Discover) {
        let agent = |(name, lives, known): (&str, Home, &Known)| Agent {
            name: name.to_owned(),
            mailbox: known.mailbox.clone(),
            body: known.body.clone(),
            lives,
            seen: known.seen.0 / 1_000,
        };
        let page = discover.page.max(1);
        let words = discover.words.as_deref().filter(|it| !it.is_empty());
        let found: Vec<Agent> = if let Some(words) = words {
            let limit = discover.limit.unwrap_or(PAGE_COUNT);
            let found = self.agents.search(words, limit, page);
            found.into_iter().map(agent).collect()
        } else {
            let limit = discover.limit.or_else(|| (page > 1).then_some(PAGE_COUNT));
            let limit = limit.map_or(usize::MAX, |it| usize::try_from(it).unwrap_or(usize::MAX));
            let skipped = usize::try_from(page - 1).unwrap_or(usize::MAX);
            let found = self.agents.iter().skip(skipped.saturating_mul(limit));
            found.take(limit).map(agent).collect()
        };
        self.answer(ticket, Reply::Agents(found));
    }

    /// Whether an agent of this name registered here.
    #[must_use]
    pub fn has_agent(&self, name: &str) -> bool {
        self.agents.edge.contains_key(name)
    }

    /// Takes the agents that the cloud knows in the place of those that it knew.
    pub(super) fn know_cloud_agents(&mut self, agents: Vec<Agent>) {
        let seen = self.now.wall;
        let mut news = Vec::new();
        let mut draft = Draft::default();
        let named: BTreeMap<String, Agent> =
            agents.into_iter().map(|it| (it.name.clone(), it)).collect();
        let cloud = self.agents.cloud.keys();
        let gone: Vec<String> = cloud
            .filter(|it| !named.contains_key(*it))
            .cloned()
            .collect();
        for name in gone {
            draft.delete(Table::Agents, key_of(CLOUD, &name));
            news.push(AgentNews::Gone(CLOUD, name));
            self.commit_some(&mut draft, &mut news, STORED_AT_ONCE);
        }
        for (name, agent) in named {
            if let Some(known) = self.agents.cloud.get_mut(&name)
                && known.body == agent.body
                && known.mailbox == agent.mailbox
            {
                known.seen = seen;
                if seen.seconds_since(known.stored) < SEEN_LAG_SECONDS && seen >= known.stored {
                    continue;
                }
            }
            if !self.has_room_for_agent(&name, &agent) {
                self.counters.cloud_agents_left_out += 1;
                continue;
            }
            news.push(self.draft_agent(&mut draft, CLOUD, name, agent.mailbox, agent.body));
            self.commit_some(&mut draft, &mut news, STORED_AT_ONCE);
        }
        self.commit_some(&mut draft, &mut news, 1);
    }

    fn has_room_for_agent(&self, name: &str, agent: &Agent) -> bool {
        let settings = &self.settings;
        let (count, bytes) = self.agents.totals_without(CLOUD, name);
        let more = bytes_of(name, &agent.mailbox, &agent.body);
        agent.body.len() <= settings.agent_body_bytes_maximum
            && count < settings.agent_count_maximum
            && bytes + more <= settings.agent_bytes_maximum
    }

    /// Commits what has come together once it is enough.
    fn commit_some(&mut self, draft: &mut Draft, news: &mut Vec<AgentNews>, enough: usize) {
        if news.len() >= enough {
            let news = std::mem::take(news);
            self.commit(std::mem::take(draft), Work::Agents(None, news), false);
        }
    }

    fn draft_agent(
        &mut self,
        draft: &mut Draft,
        home: u8,
        name: String,
        mailbox: Option<String>,
        body: String,
    ) -> AgentNews {
        let seen = self.now.wall;
        let bytes = bytes_of(&name, &mailbox, &body);
        let coming = (home, name.clone(), mailbox.clone(), bytes);
        self.agents.coming.push(coming);
        let stored = StoredAgent::new(mailbox.clone(), body.clone(), seen);
        draft.put(Table::Agents, key_of(home, &name), encode(&stored));
        let known = Known {
            mailbox,
            body,
            seen,
            stored: seen,
        };
        AgentNews::Known(home, name, known)
    }
}

fn key_of(home: u8, name: &str) -> Vec<u8> {
    [&[home], name.as_bytes()].concat()
}

fn bytes_of(name: &str, mailbox: &Option<String>, body: &str) -> usize {
    name.len() + mailbox.as_ref().map_or(0, String::len) + body.len()
}
