//! SCRAM-SHA-256 from the server's side, RFC 5802 and 7677, without channel binding: a client shows
//! that it knows its password without sending it, and learns that the server knows it too.
//!
//! ```text
//! client-first  n,,n=user,r=nonce            -> begin
//! server-first  r=nonce+ours,s=salt,i=count  <-
//! client-final  c=biws,r=nonce+ours,p=proof  -> finish
//! server-final  v=signature                  <-
//! ```
//!
//! Names are taken as they come: who writes them in another form of Unicode is somebody else.

use std::fmt;
use std::sync::Arc;

use base64ct::{Base64, Encoding as _};

use super::secret::{Scram, Secret};
use super::{Key, hmac_sha256, is_same, sha256};

/// The name of the method in MQTT 5.
pub const METHOD: &str = "SCRAM-SHA-256";

/// An exchange that waits for the client's proof.
#[derive(Clone, PartialEq, Eq)]
pub struct Exchange {
    user: Box<str>,
    /// The client's choice about channel bindings, Base64.
    binding: String,
    nonce: String,
    /// Client-first without its header, and server-first.
    said: String,
    /// Made up when there is no secret.
    scram: Scram,
    secret: Option<Arc<Secret>>,
}

/// How an exchange ends well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// Who the client is.
    pub user: Box<str>,
    /// The secret that its proof fits.
    pub secret: Arc<Secret>,
    /// The last message, which is our own proof.
    pub answer: Vec<u8>,
}

/// Why an exchange ends without a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The message is not what RFC 5802 wants at this step, or asks for what is not offered.
    Message,
    /// The proof does not fit, whether the user exists or not.
    Proof,
}

/// The longest message of a client. A longer one is refused.
const MESSAGE_BYTES_MAXIMUM: usize = 1_024;

impl Exchange {
    /// Takes the client's first message; gives the answer. `ours` is our part of the nonce, never
    /// used before; `key` makes up what is told of users that do not exist, the same each time.
    ///
    /// # Errors
    /// When the message is not one, or wants a channel binding or another identity.
    pub fn begin(
        first: &[u8],
        ours: &str,
        key: &Key,
        find: impl FnOnce(&str) -> Option<Arc<Secret>>,
    ) -> Result<(Self, Vec<u8>), Failure> {
        let first = text_of(first)?;
        let header_bytes = ["n,,", "y,,"]
            .iter()
            .find(|header| first.starts_with(**header));
        let (header, bare) = first.split_at(header_bytes.ok_or(Failure::Message)?.len());
        let mut parts = bare.split(',');
        let user = read_name(attribute(parts.next(), "n=")?)?;
        let theirs = attribute(parts.next(), "r=")?;
        if theirs.is_empty() || !theirs.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Failure::Message);
        }
        let secret = find(&user).filter(|secret| secret.scram().is_some());
        let scram = match secret.as_deref().and_then(Secret::scram) {
            Some(scram) => scram.clone(),
            None => Scram::decoy(key.sign(&[b"salt", user.as_bytes()])),
        };
        let nonce = format!("{theirs}{ours}");
        let salt = Base64::encode_string(&scram.salt);
        let answer = format!("r={nonce},s={salt},i={}", scram.iterations);
        let exchange = Self {
            user: user.into(),
            binding: Base64::encode_string(header.as_bytes()),
            nonce,
            said: format!("{bare},{answer}"),
            scram,
            secret,
        };
        Ok((exchange, answer.into_bytes()))
    }

    /// Takes the client's last message.
    ///
    /// # Errors
    /// When the message is not one or the proof does not fit.
    pub fn finish(self, last: &[u8]) -> Result<Proven, Failure> {
        let last = text_of(last)?;
        let (without_proof, proof) = last.rsplit_once(",p=").ok_or(Failure::Message)?;
        let mut parts = without_proof.split(',');
        let binding = attribute(parts.next(), "c=")?;
        let nonce = attribute(parts.next(), "r=")?;
        if binding != self.binding || nonce != self.nonce {
            return Err(Failure::Message);
        }
        let proof = Base64::decode_vec(proof).map_err(|_| Failure::Message)?;
        let said = format!("{},{without_proof}", self.said);
        let signature = hmac_sha256(&self.scram.stored_key, said.as_bytes());
        let key: Vec<u8> = proof.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        let fits = proof.len() == signature.len() && is_same(&sha256(&key), &self.scram.stored_key);
        let secret = self.secret.filter(|_| fits).ok_or(Failure::Proof)?;
        let signature = hmac_sha256(&self.scram.server_key, said.as_bytes());
        let answer = format!("v={}", Base64::encode_string(&signature));
        Ok(Proven {
            user: self.user,
            secret,
            answer: answer.into_bytes(),
        })
    }

    /// Who the client says it is; not proven.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// What keeping it takes, in bytes, beside the type itself.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let texts = self.user.len() + self.binding.len() + self.nonce.len() + self.said.len();
        texts + self.scram.salt.len()
    }
}

/// Shows who, and no keys.
impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exchange({:?})", self.user)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Message => "not a message of SCRAM without channel binding",
            Self::Proof => "the proof does not fit",
        })
    }
}

impl std::error::Error for Failure {}

fn text_of(message: &[u8]) -> Result<&str, Failure> {
    let is_short = message.len() <= MESSAGE_BYTES_MAXIMUM;
    let text = str::from_utf8(message).ok().filter(|_| is_short);
    text.ok_or(Failure::Message)
}

fn attribute<'a>(part: Option<&'a str>, name: &str) -> Result<&'a str, Failure> {
    let value = part.and_then(|part| part.strip_prefix(name));
    value.ok_or(Failure::Message)
}

/// Undoes `=2C` and `=3D`, for a comma and an equals sign.
fn read_name(name: &str) -> Result<String, Failure> {
    let mut parts = name.split('=');
    let mut read = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_at_checked(2).ok_or(Failure::Message)?;
        read.push(match code {
            "2C" => ',',
            "3D" => '=',
            _ => return Err(Failure::Message),
        });
        read.push_str(rest);
    }
    let is_name = !read.is_empty();
    is_name.then_some(read).ok_or(Failure::Message)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    // RFC 7677, 3.
    const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const OURS: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const ANSWER: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
         s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const LAST: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
         p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const PROOF: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn secret() -> Secret {
        let salt = Base64::decode_vec("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let scram = Scram::derive(NonZeroU32::new(4096).unwrap(), &salt, b"pencil");
        let text = format!(
            "$scram-sha-256$4096$W22ZaJ0SNY7soEsUEjb6gQ==${}${}",
            Base64::encode_string(&scram.stored_key),
            Base64::encode_string(&scram.server_key)
        );
        Secret::parse(&text).unwrap()
    }

    fn begin(first: &str) -> Result<(Exchange, String), Failure> {
        static SECRET: LazyLock<Arc<Secret>> = LazyLock::new(|| Arc::new(secret()));
        let find = |user: &str| (user == "user").then(|| SECRET.clone());
        let (exchange, answer) = Exchange::begin(first.as_bytes(), OURS, &Key::default(), find)?;
        Ok((exchange, String::from_utf8(answer).unwrap()))
    }

    #[test]
    fn the_example_of_rfc_7677_is_spoken_to_the_letter() {
        let (exchange, answer) = begin(FIRST).unwrap();
        assert_eq!((answer.as_str(), exchange.user()), (ANSWER, "user"));
        let proven = exchange.finish(LAST.as_bytes()).unwrap();
        assert_eq!(&*proven.user, "user");
        assert_eq!(proven.answer, PROOF.as_bytes());
    }

    #[test]
    fn a_wrong_proof_and_an_unknown_user_fail_alike() {
        let (exchange, _) = begin(FIRST).unwrap();
        let wrong = LAST.replace("p=dHz", "p=eHz");
        assert_eq!(exchange.finish(wrong.as_bytes()), Err(Failure::Proof));

        let unknown = FIRST.replace("n=user", "n=nobody");
        let (exchange, answer) = begin(&unknown).unwrap();
        assert_eq!(
            begin(&unknown).unwrap().1,
            answer,
            "its salt stays the same"
        );
        assert!(answer.ends_with(",i=20000"));
        assert_eq!(exchange.finish(LAST.as_bytes()), Err(Failure::Proof));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let long = format!("{FIRST}{}", "x".repeat(1_024));
        for first in [
            "",
            "n,,",
            "n=user,r=abc",
            "p=tls-unique,,n=user,r=abc",
            "n,a=root,n=user,r=abc",
            "n,,m=ext,n=user,r=abc",
            "n,,n=user",
            "n,,n=user,r=",
            "n,,n=user,r=a b",
            "n,,n=,r=abc",
            "n,,n=a=2c,r=abc",
            "n,,n=a=,r=abc",
            &long,
        ] {
            assert_eq!(
                begin(first).map(|it| it.1),
                Err(Failure::Message),
                "{first}"
            );
        }
        for last in [
            "",
            "c=biws",
            &LAST.replace("c=biws", "c=eSws"),
            &LAST.replace("k0,p=", "k1,p="),
            &LAST.replace("p=dHz", "p=!!!"),
        ] {
            let (exchange, _) = begin(FIRST).unwrap();
            assert_eq!(
                exchange.finish(last.as_bytes()),
                Err(Failure::Message),
                "{last}"
            );
        }
    }

    proptest! {
        /// Both messages come from clients that nobody knows yet.
        #[test]
        fn no_message_is_too_strange(
            first in "n,,[nr=,a2C\u{e9}]{0,12}|\\PC{0,40}",
            last in "c=biws,r=\\PC{0,20},p=[A-Za-z0-9+/=]{0,60}|\\PC{0,40}",
        ) {
            let _ = begin(&first);
            let (exchange, _) = begin(FIRST).unwrap();
            prop_assert!(exchange.finish(last.as_bytes()).is_err());
        }
    }

    #[test]
    fn names_may_hold_commas_and_equals_signs() {
        assert_eq!(read_name("a=2Cb=3Dc"), Ok("a,b=c".to_owned()));
        let (exchange, _) = begin("y,,n=a=2Cb,r=abc").unwrap();
        assert_eq!(exchange.user(), "a,b");
    }
}
