//! What a client gets: a message, and on whose account.

use sync::Record;

use super::DeliveryId;

/// A message for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// What was published.
    pub record: Record,
    /// To acknowledge with; `None` at QoS 0.
    pub id: Option<DeliveryId>,
    /// The lower of published and granted.
    pub qos: u8,
    /// The flag to send.
    pub retain: bool,
    /// Whether it may have been delivered before, on another connection.
    pub is_repeated: bool,
    /// The identifiers of all matching subscriptions that have one.
    pub identifiers: SubscriptionIdentifiers,
}

/// Subscription identifiers of one delivery; nearly always none or one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SubscriptionIdentifiers {
    /// No matching subscription has one.
    #[default]
    None,
    /// One has.
    One(u32),
    /// Several have.
    Many(Box<[u32]>),
}

impl SubscriptionIdentifiers {
    /// Gives the identifiers as a slice.
    #[must_use]
    pub fn as_slice(&self) -> &[u32] {
        match self {
            Self::None => &[],
            Self::One(identifier) => std::slice::from_ref(identifier),
            Self::Many(identifiers) => identifiers,
        }
    }

    /// Adds one more.
    pub(in super::super) fn push(&mut self, identifier: u32) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(identifier),
            Self::One(first) => Self::Many(Box::new([first, identifier])),
            Self::Many(all) => Self::Many(
                all.iter()
                    .copied()
                    .chain([identifier])
                    .collect::<Box<[u32]>>(),
            ),
        };
    }
}

impl From<Option<u32>> for SubscriptionIdentifiers {
    fn from(identifier: Option<u32>) -> Self {
        identifier.map_or(Self::None, Self::One)
    }
}
