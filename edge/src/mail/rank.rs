//! Which agents words are about.

use wire::mq9::Home;

use super::agents::{Agents, Known};

/// Finds the agents that have any of the words, those with most of them first.
pub(super) fn rank<'a>(agents: &'a Agents, words: &str) -> Vec<(&'a str, Home, &'a Known)> {
    let words = words.to_lowercase();
    let words: Vec<&str> = words.split_whitespace().collect();
    let score = |name: &str, known: &Known| {
        let text = format!("{name} {}", known.body).to_lowercase();
        words.iter().filter(|word| text.contains(**word)).count()
    };
    let mut found: Vec<_> = agents
        .iter()
        .map(|agent| (score(agent.0, agent.2), agent))
        .filter(|(score, _)| *score > 0)
        .collect();
    found.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    found.into_iter().map(|(_, agent)| agent).collect()
}
