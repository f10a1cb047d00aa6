//! Passwords: the forms in which files keep them, what it takes to check one, and SCRAM.
//!
//! It promises that a file of Mosquitto means here what it means there, that no secret is printed,
//! and that how long a check takes tells nothing about how much of a password was right. It never
//! opens a file and draws no random numbers: text, salts and keys are given to it.

mod scram;
mod secret;
mod users;

pub use scram::{Exchange, Failure, METHOD, Proven};
pub use secret::{Form, SALT_BYTES, Secret, SecretError};
pub use users::{LineError, Users, edited};

use ring::{digest, hmac};

/// The bytes of a secret key, which are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Key {
    /// Takes over bytes that nobody outside can guess.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Authenticates several texts as one: each with its length before it, so that none can be
    /// mistaken for the beginning of the next.
    #[must_use]
    pub fn sign(&self, texts: &[&[u8]]) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let mut context = hmac::Context::with_key(&key);
        for text in texts {
            context.update(&(text.len() as u64).to_be_bytes());
            context.update(text);
        }
        digest_bytes(context.sign().as_ref())
    }
}

/// The key of tests and of brokers that nobody has to log in to.
impl Default for Key {
    fn default() -> Self {
        Self([0; 32])
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

fn hmac_sha256(key: &[u8], text: &[u8]) -> [u8; 32] {
    digest_bytes(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref())
}

fn sha256(text: &[u8]) -> [u8; 32] {
    digest_bytes(digest::digest(&digest::SHA256, text).as_ref())
}

fn digest_bytes(bytes: &[u8]) -> [u8; 32] {
    bytes.try_into().expect("SHA-256 has 32 bytes")
}

/// Compares without telling by the time how much was equal.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let difference = one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
    one.len() == other.len() && difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_tells_texts_apart_wherever_they_are_cut() {
        let key = Key::new([7; 32]);
        let signed = key.sign(&[b"ab", b"c"]);
        assert_eq!(signed, key.sign(&[b"ab", b"c"]));
        assert_ne!(signed, key.sign(&[b"a", b"bc"]));
        assert_ne!(signed, Key::default().sign(&[b"ab", b"c"]));
        assert_eq!(format!("{key:?}"), "Key(..)");
    }

    #[test]
    fn a_prefix_is_not_the_same() {
        assert!(is_same(b"abc", b"abc"));
        for other in [b"ab".as_slice(), b"abd", b"", b"abcd"] {
            assert!(!is_same(b"abc", other));
        }
    }
}
