//! Where a record was first stored, and how it says so on its way up: five MQTT 5 user
//! properties, written by the bridge on every PUBLISH. They make a record recognisable exactly
//! once on a wire that carries it at least once.

use alloc::string::{String, ToString};

use crate::{Epoch, Lane, Offset, PlaceError, WallTime};

/// Names of the user properties. Consumers in the cloud rely on them, so they never change.
pub mod property {
    /// The gateway that stored the record first.
    pub const EDGE_ID: &str = "edge-id";
    /// The epoch of that gateway's log, decimal.
    pub const EDGE_EPOCH: &str = "edge-epoch";
    /// The lane, by [`crate::Lane::name`].
    pub const EDGE_LANE: &str = "edge-lane";
    /// The offset in that lane, decimal.
    pub const EDGE_OFFSET: &str = "edge-offset";
    /// When it was published at the edge, milliseconds since 1970, decimal.
    pub const EDGE_TIME: &str = "edge-time";
}

/// A log somewhere: the gateway and the epoch of its log.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The gateway's name, 1 to [`Origin::MAX_ID_BYTES`] bytes.
    pub edge_id: String,
    /// Grows when the log is created anew.
    pub epoch: Epoch,
}

impl Origin {
    /// The longest gateway name; a longer one in a message counts as no place at all.
    pub const MAX_ID_BYTES: usize = 128;
}

/// The place where a record was first stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// In which log.
    pub origin: Origin,
    /// In which lane.
    pub lane: Lane,
    /// At which offset.
    pub offset: Offset,
    /// When, by that gateway's clock.
    pub time: WallTime,
}

impl Place {
    /// Gives the five user properties, in a fixed order.
    #[must_use]
    pub fn to_properties(&self) -> [(&'static str, String); 5] {
        [
            (property::EDGE_ID, self.origin.edge_id.clone()),
            (property::EDGE_EPOCH, self.origin.epoch.0.to_string()),
            (property::EDGE_LANE, self.lane.name().to_string()),
            (property::EDGE_OFFSET, self.offset.0.to_string()),
            (property::EDGE_TIME, self.time.0.to_string()),
        ]
    }

    /// Reads a place out of a message's user properties, whatever their order; others are passed
    /// over, and of a repeated name the first counts. `None` when none of the five is there.
    ///
    /// # Errors
    /// When some are there but not all, or one can't be read: treat the message as foreign.
    pub fn from_properties<'a>(
        properties: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Option<Self>, PlaceError> {
        const NAMES: [&str; 5] = [
            property::EDGE_ID,
            property::EDGE_EPOCH,
            property::EDGE_LANE,
            property::EDGE_OFFSET,
            property::EDGE_TIME,
        ];
        let mut found: [Option<&str>; 5] = [None; 5];
        for (name, value) in properties {
            if let Some(at) = NAMES.iter().position(|known| *known == name) {
                found[at].get_or_insert(value);
            }
        }
        if found == [None; 5] {
            return Ok(None);
        }
        let value = |at: usize| found[at].ok_or(PlaceError::Missing { name: NAMES[at] });
        let number = |at: usize| {
            let malformed = PlaceError::Malformed { name: NAMES[at] };
            value(at)?.parse::<u64>().map_err(|_| malformed)
        };
        let malformed = |at: usize| PlaceError::Malformed { name: NAMES[at] };

        let edge_id = value(0)?;
        if edge_id.is_empty() || edge_id.len() > Origin::MAX_ID_BYTES {
            return Err(malformed(0));
        }
        let epoch = u32::try_from(number(1)?).map_err(|_| malformed(1))?;
        let lane = value(2)?;
        let lane = Lane::ALL
            .into_iter()
            .find(|known| known.name() == lane)
            .ok_or_else(|| malformed(2))?;
        Ok(Some(Self {
            origin: Origin {
                edge_id: edge_id.to_string(),
                epoch: Epoch(epoch),
            },
            lane,
            offset: Offset(number(3)?),
            time: WallTime(number(4)?),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place {
            origin: Origin {
                edge_id: "plant-7".to_string(),
                epoch: Epoch(3),
            },
            lane: Lane::Urgent,
            offset: Offset(42),
            time: WallTime(1_700_000_000_000),
        }
    }

    #[test]
    fn a_place_survives_its_properties_in_any_order_among_others() {
        let properties = place().to_properties();
        let mut pairs = alloc::vec![("other", "1")];
        pairs.extend(
            properties
                .iter()
                .rev()
                .map(|(name, value)| (*name, value.as_str())),
        );
        pairs.push((property::EDGE_ID, "second-one"));
        assert_eq!(Place::from_properties(pairs), Ok(Some(place())));
    }

    #[test]
    fn a_message_without_any_of_them_has_no_place() {
        assert_eq!(Place::from_properties([("a", "b")]), Ok(None));
    }

    #[test]
    fn each_missing_or_malformed_property_is_named() {
        let whole = place().to_properties();
        for broken in 0..whole.len() {
            let without = whole.iter().enumerate().filter(|(at, _)| *at != broken);
            let found = Place::from_properties(without.map(|(_, (n, v))| (*n, v.as_str())));
            let name = whole[broken].0;
            assert_eq!(found, Err(PlaceError::Missing { name }));

            let wrong = if broken == 0 { "" } else { "x" };
            let found = Place::from_properties(
                whole
                    .iter()
                    .enumerate()
                    .map(|(at, (n, v))| (*n, if at == broken { wrong } else { v.as_str() })),
            );
            assert_eq!(found, Err(PlaceError::Malformed { name }));
        }
    }
}
