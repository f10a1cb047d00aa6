//! One user's secret, as a password file keeps it. None of them holds the password.
//!
//! | begins with | what it is |
//! | --- | --- |
//! | `$7$iterations$salt$hash` | PBKDF2 with HMAC-SHA-512, as Mosquitto 2.0 writes it |
//! | `$6$salt$hash` | SHA-512 of password and salt, as Mosquitto 1 wrote it |
//! | `$argon2id$v=19$m=..,t=..,p=..$salt$hash` | Argon2id, as Mosquitto 2.1 writes it |
//! | `$scram-sha-256$iterations$salt$StoredKey$ServerKey` | what SCRAM needs, RFC 5802 |
//!
//! Salts, hashes and keys are Base64, padded but for those of Argon2.

use std::fmt;
use std::num::NonZeroU32;

use argon2::{Algorithm, Argon2, Params, Version};
use base64ct::{Base64, Base64Unpadded, Encoding as _};
use ring::{digest, pbkdf2};

use super::{hmac_sha256, is_same, sha256};

/// A secret that a password is checked against.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Kind);

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Pbkdf2 {
        iterations: NonZeroU32,
        salt: Box<[u8]>,
        hash: [u8; SHA512_BYTES],
    },
    Sha512 {
        salt: Box<[u8]>,
        hash: [u8; SHA512_BYTES],
    },
    Argon2 {
        cost: Cost,
        salt: Box<[u8]>,
        hash: Box<[u8]>,
    },
    Scram(Scram),
}

/// What an Argon2 hash takes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Cost {
    kibibytes: u32,
    passes: u32,
    lanes: u32,
}

/// What a server knows of a SCRAM password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Scram {
    pub(super) iterations: NonZeroU32,
    pub(super) salt: Box<[u8]>,
    pub(super) stored_key: [u8; 32],
    pub(super) server_key: [u8; 32],
}

/// The forms in which new secrets are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `$7$`, which Mosquitto 2 reads as well.
    Pbkdf2,
    /// `$scram-sha-256$`, for which a client need not send its password.
    Scram,
}

/// Why a text is not a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretError {
    /// It begins with none of the known forms.
    Form,
    /// A part is missing or there is one too many.
    Parts,
    /// A number is not one, or is outside its range.
    Number,
    /// A salt or hash is not Base64, or has another length.
    Base64,
}

/// Bytes of a new salt. Mosquitto 2.0 takes no other length.
pub const SALT_BYTES: usize = 12;
const SHA512_BYTES: usize = 64;
/// Of new secrets. A check takes 8 ms on a small x86 machine, some 50 ms on a Cortex-A7.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(20_000).expect("it is not 0");
/// The most that a file may ask for: some seconds a check.
const ITERATIONS_MAXIMUM: u32 = 10_000_000;
const SALT_BYTES_MAXIMUM: usize = 64;
const ARGON2_HASH_BYTES_MAXIMUM: usize = 64;
const ARGON2_KIBIBYTES_MAXIMUM: u32 = 1 << 20;
const ARGON2_PASSES_MAXIMUM: u32 = 100;
const ARGON2_LANES_MAXIMUM: u32 = 16;

impl Secret {
    /// Reads a secret.
    ///
    /// # Errors
    /// When its form is not known or a part is not what it should be.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let rest = text.strip_prefix('$').ok_or(SecretError::Form)?;
        let (form, rest) = rest.split_once('$').ok_or(SecretError::Form)?;
        let parts: Vec<&str> = rest.split('$').collect();
        let kind = match (form, parts.as_slice()) {
            ("7", [iterations, salt, hash]) => Kind::Pbkdf2 {
                iterations: parse_iterations(iterations)?,
                salt: parse_salt::<Base64>(salt)?,
                hash: parse_exact(hash)?,
            },
            ("6", [salt, hash]) => Kind::Sha512 {
                salt: parse_salt::<Base64>(salt)?,
                hash: parse_exact(hash)?,
            },
            ("argon2id", ["v=19", cost, salt, hash]) => Kind::Argon2 {
                cost: Cost::parse(cost)?,
                salt: parse_salt::<Base64Unpadded>(salt)?,
                hash: parse_argon2_hash(hash)?,
            },
            (SCRAM, [iterations, salt, stored_key, server_key]) => Kind::Scram(Scram {
                iterations: parse_iterations(iterations)?,
                salt: parse_salt::<Base64>(salt)?,
                stored_key: parse_exact(stored_key)?,
                server_key: parse_exact(server_key)?,
            }),
            ("6" | "7" | "argon2id" | SCRAM, _) => return Err(SecretError::Parts),
            _ => return Err(SecretError::Form),
        };
        Ok(Self(kind))
    }

    /// Makes a secret of a password, with a salt that nobody can guess.
    #[must_use]
    pub fn derive(form: Form, password: &[u8], salt: [u8; SALT_BYTES]) -> Self {
        let iterations = ITERATIONS;
        Self(match form {
            Form::Pbkdf2 => {
                let mut hash = [0; SHA512_BYTES];
                let algorithm = pbkdf2::PBKDF2_HMAC_SHA512;
                pbkdf2::derive(algorithm, iterations, &salt, password, &mut hash);
                let salt = Box::new(salt);
                Kind::Pbkdf2 {
                    iterations,
                    salt,
                    hash,
                }
            }
            Form::Scram => Kind::Scram(Scram::derive(iterations, &salt, password)),
        })
    }

    /// Whether this is the password. Takes as long as the secret's cost says, and its memory.
    #[must_use]
    pub fn matches(&self, password: &[u8]) -> bool {
        match &self.0 {
            Kind::Pbkdf2 {
                iterations,
                salt,
                hash,
            } => {
                let algorithm = pbkdf2::PBKDF2_HMAC_SHA512;
                pbkdf2::verify(algorithm, *iterations, salt, password, hash).is_ok()
            }
            Kind::Sha512 { salt, hash } => {
                let mut context = digest::Context::new(&digest::SHA512);
                context.update(password);
                context.update(salt);
                is_same(context.finish().as_ref(), hash)
            }
            Kind::Argon2 { cost, salt, hash } => {
                let mut found = vec![0; hash.len()];
                let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, cost.params());
                let hashed = hasher.hash_password_into(password, salt, &mut found);
                hashed.is_ok() && is_same(&found, hash)
            }
            Kind::Scram(scram) => {
                let found = Scram::derive(scram.iterations, &scram.salt, password);
                is_same(&found.stored_key, &scram.stored_key)
            }
        }
    }

    /// What a check takes, in bytes, beside what every check takes.
    #[must_use]
    pub const fn check_bytes(&self) -> u64 {
        match &self.0 {
            Kind::Argon2 { cost, .. } => cost.kibibytes as u64 * 1024,
            Kind::Pbkdf2 { .. } | Kind::Sha512 { .. } | Kind::Scram(_) => 0,
        }
    }

    /// What keeping it takes, in bytes, beside the type itself.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        match &self.0 {
            Kind::Pbkdf2 { salt, .. } | Kind::Sha512 { salt, .. } => salt.len(),
            Kind::Argon2 { salt, hash, .. } => salt.len() + hash.len(),
            Kind::Scram(scram) => scram.salt.len(),
        }
    }

    /// About how much work a check is, in steps of PBKDF2.
    pub(super) const fn work(&self) -> u64 {
        match &self.0 {
            Kind::Pbkdf2 { iterations, .. } => iterations.get() as u64,
            Kind::Sha512 { .. } => 1,
            // Measured: 1 KiB of memory once over is about two steps.
            Kind::Argon2 { cost, .. } => 2 * cost.kibibytes as u64 * cost.passes as u64,
            Kind::Scram(scram) => scram.iterations.get() as u64,
        }
    }

    pub(super) const fn scram(&self) -> Option<&Scram> {
        match &self.0 {
            Kind::Scram(scram) => Some(scram),
            Kind::Pbkdf2 { .. } | Kind::Sha512 { .. } | Kind::Argon2 { .. } => None,
        }
    }
}

/// As the file keeps it.
impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Base64::encode_string;
        match &self.0 {
            Kind::Pbkdf2 {
                iterations,
                salt,
                hash,
            } => write!(f, "$7${iterations}${}${}", text(salt), text(hash)),
            Kind::Sha512 { salt, hash } => write!(f, "$6${}${}", text(salt), text(hash)),
            Kind::Argon2 { cost, salt, hash } => {
                let text = Base64Unpadded::encode_string;
                let (kibibytes, passes, lanes) = (cost.kibibytes, cost.passes, cost.lanes);
                write!(f, "$argon2id$v=19$m={kibibytes},t={passes},p={lanes}")?;
                write!(f, "${}${}", text(salt), text(hash))
            }
            Kind::Scram(scram) => {
                write!(f, "${SCRAM}${}${}", scram.iterations, text(&scram.salt))?;
                write!(
                    f,
                    "${}${}",
                    text(&scram.stored_key),
                    text(&scram.server_key)
                )
            }
        }
    }
}

/// Shows nothing that helps to guess it.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::Pbkdf2 { .. } => "Secret($7$..)",
            Kind::Sha512 { .. } => "Secret($6$..)",
            Kind::Argon2 { .. } => "Secret($argon2id$..)",
            Kind::Scram(_) => "Secret($scram-sha-256$..)",
        })
    }
}

impl SecretError {
    /// What a secret looks like.
    pub(super) const ALLOWED: &'static str = "$7$iterations$salt$hash, $6$salt$hash, \
         $argon2id$v=19$m=KiB,t=passes,p=lanes$salt$hash, or \
         $scram-sha-256$iterations$salt$StoredKey$ServerKey";
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "a password that is not hashed in a known form",
            Self::Parts => "a hash with a part missing or too many",
            Self::Number => "a hash with a number that is none, or out of range",
            Self::Base64 => "a hash with a part that is not Base64, or of another length",
        })
    }
}

impl std::error::Error for SecretError {}

impl Scram {
    /// [RFC 5802, 3]: SaltedPassword, and the two keys that follow from it.
    pub(super) fn derive(iterations: NonZeroU32, salt: &[u8], password: &[u8]) -> Self {
        let mut salted = [0; 32];
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(algorithm, iterations, salt, password, &mut salted);
        Self {
            iterations,
            salt: salt.into(),
            stored_key: sha256(&hmac_sha256(&salted, b"Client Key")),
            server_key: hmac_sha256(&salted, b"Server Key"),
        }
    }

    /// What is told of a user who does not exist or has another form of secret: a salt that stays
    /// the same, and keys that fit nothing.
    pub(super) fn decoy(seed: [u8; 32]) -> Self {
        Self {
            iterations: ITERATIONS,
            salt: seed[..SALT_BYTES].into(),
            stored_key: seed,
            server_key: seed,
        }
    }
}

impl Cost {
    fn parse(text: &str) -> Result<Self, SecretError> {
        let mut parts = text.split(',');
        let mut part = |name: &str, least: u32, most: u32| {
            let number = parts.next().and_then(|part| part.strip_prefix(name));
            let number = number.ok_or(SecretError::Parts)?;
            let number: u32 = number.parse().map_err(|_| SecretError::Number)?;
            let is_within = (least..=most).contains(&number);
            is_within.then_some(number).ok_or(SecretError::Number)
        };
        let cost = Self {
            kibibytes: part("m=", 8, ARGON2_KIBIBYTES_MAXIMUM)?,
            passes: part("t=", 1, ARGON2_PASSES_MAXIMUM)?,
            lanes: part("p=", 1, ARGON2_LANES_MAXIMUM)?,
        };
        if parts.next().is_some() {
            return Err(SecretError::Parts);
        }
        let is_enough = cost.kibibytes >= 8 * cost.lanes;
        is_enough.then_some(cost).ok_or(SecretError::Number)
    }

    fn params(self) -> Params {
        Params::new(self.kibibytes, self.passes, self.lanes, None)
            .expect("the costs were checked when they were read")
    }
}

fn parse_iterations(text: &str) -> Result<NonZeroU32, SecretError> {
    let number = text.parse().map_err(|_| SecretError::Number)?;
    let number = NonZeroU32::new(number).filter(|it| it.get() <= ITERATIONS_MAXIMUM);
    number.ok_or(SecretError::Number)
}

fn parse_salt<E: base64ct::Encoding>(text: &str) -> Result<Box<[u8]>, SecretError> {
    let salt = E::decode_vec(text).map_err(|_| SecretError::Base64)?;
    let is_within = (1..=SALT_BYTES_MAXIMUM).contains(&salt.len());
    is_within.then(|| salt.into()).ok_or(SecretError::Base64)
}

fn parse_exact<const N: usize>(text: &str) -> Result<[u8; N], SecretError> {
    let bytes = Base64::decode_vec(text).map_err(|_| SecretError::Base64)?;
    bytes.try_into().map_err(|_| SecretError::Base64)
}

fn parse_argon2_hash(text: &str) -> Result<Box<[u8]>, SecretError> {
    let hash = Base64Unpadded::decode_vec(text).map_err(|_| SecretError::Base64)?;
    let is_within = (Params::MIN_OUTPUT_LEN..=ARGON2_HASH_BYTES_MAXIMUM).contains(&hash.len());
    is_within.then(|| hash.into()).ok_or(SecretError::Base64)
}

const SCRAM: &str = "scram-sha-256";

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by Debian's `mosquitto_passwd` 2.0.11, by Python's `hashlib`, and by the reference
    /// implementation of Argon2; the password of the last one is `password`.
    const MOSQUITTO_2_0: &str = "$7$101$CUuwKNBWsQdwqnFw$fBAhtZ/XPHK8I4G3sr9TModsdcTA/l8YMdypN3ZI\
         UEXQSepvXIYo6FPINL+uECYbVAEPF0SsXScZTT7/Fmkv0g==";
    const MOSQUITTO_1: &str = "$6$MDEyMzQ1Njc4OWFi$qEXipeLbgxRlwd06QHfY5WITkUZg0jLg9SZbXzq3ifXjfj\
         +v3GbJGrSfC5PAg3UNCS+UFfbhUIZX4bmIAs330w==";
    const ARGON2: &str = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$\
         nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

    #[test]
    fn the_forms_of_mosquitto_are_checked_as_mosquitto_does() {
        for (text, password) in [
            (MOSQUITTO_2_0, "secret"),
            (MOSQUITTO_1, "secret"),
            (ARGON2, "password"),
        ] {
            let secret = Secret::parse(text).unwrap();
            assert!(secret.matches(password.as_bytes()), "{text}");
            for wrong in ["", "Secret", "secret1", "passwor"] {
                assert!(!secret.matches(wrong.as_bytes()), "{text} with {wrong}");
            }
            assert_eq!(secret.to_string(), text);
        }
    }

    #[test]
    fn new_secrets_are_read_back_and_fit_only_their_password() {
        for (form, begin) in [
            (Form::Pbkdf2, "$7$20000$"),
            (Form::Scram, "$scram-sha-256$20000$"),
        ] {
            let secret = Secret::derive(form, b"pa:ss", [9; SALT_BYTES]);
            let text = secret.to_string();
            assert!(text.starts_with(begin), "{text}");
            let read = Secret::parse(&text).unwrap();
            assert_eq!(read, secret);
            assert!(read.matches(b"pa:ss") && !read.matches(b"pa:st"));
            assert_eq!(read.check_bytes(), 0);
            assert!(!format!("{read:?}").contains("CQkJ"));
        }
    }

    #[test]
    fn memory_of_a_check_is_what_the_hash_says() {
        let secret = Secret::parse(&ARGON2.replace("m=256", "m=47104")).unwrap();
        assert_eq!(secret.check_bytes(), 46 << 20);
    }

    #[test]
    fn what_is_no_secret_is_refused_with_its_reason() {
        let table = [
            ("secret", SecretError::Form),
            ("", SecretError::Form),
            ("$5$a$b", SecretError::Form),
            ("$7$101$AAAA", SecretError::Parts),
            ("$7$0$AAAA$AAAA", SecretError::Number),
            ("$7$10000001$AAAA$AAAA", SecretError::Number),
            ("$7$101$AAAA$AAAA", SecretError::Base64),
            ("$7$101$$AAAA", SecretError::Base64),
            ("$6$AA!A$AAAA", SecretError::Base64),
            (
                "$argon2id$v=16$m=256,t=2,p=1$c29tZXNhbHQ$nf65",
                SecretError::Parts,
            ),
            (
                "$argon2id$v=19$m=256,t=2$c29tZXNhbHQ$nf65",
                SecretError::Parts,
            ),
            (
                "$argon2id$v=19$m=8,t=2,p=2$c29tZXNhbHQ$nf65EOgL",
                SecretError::Number,
            ),
            (
                "$argon2id$v=19$m=2000000,t=2,p=1$c29tZXNhbHQ$nf65",
                SecretError::Number,
            ),
            (
                "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65",
                SecretError::Base64,
            ),
            ("$scram-sha-256$4096$AAAA$AAAA", SecretError::Parts),
        ];
        for (text, expected) in table {
            assert_eq!(Secret::parse(text), Err(expected), "{text}");
        }
    }
}
