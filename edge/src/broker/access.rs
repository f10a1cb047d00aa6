//! Who may come in, and what each client may read and write: rules only. Files are read and hashes
//! are computed elsewhere.
//!
//! A listener has one [`Policy`]. A client proves who it is by a certificate of its link, by a
//! password, or by SCRAM; without `users` a name is taken as claimed, as Mosquitto does. What it may
//! do follows from its name, its client identifier and the listener's access list, and is looked up
//! once, when it comes in or the rules change.
//!
//! A session belongs to a client identifier, not to a user, as with Mosquitto: who may come in may
//! take any of them up, but gets only what it may read itself.

mod list;
mod seals;

use std::rc::Rc;
use std::sync::Arc;

pub use self::list::AccessList;
pub(super) use self::list::Deed;
pub(super) use self::seals::Seal;

use self::list::Rule;
use self::seals::Seals;
use super::event::{Credentials, Entrance, ListenerId};
use super::gate::is_letter;
use super::outcome::Refusal;
use crate::password::{Form, Key, SALT_BYTES, Secret, Users};

/// What one listener asks of its clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Whether clients without a name are let in, and names that nobody can prove are believed.
    pub strangers: Strangers,
    /// Who can prove a name by a password.
    pub users: Option<Rc<Users>>,
    /// What clients may do; without one, everything.
    pub list: Option<Rc<AccessList>>,
}

/// What becomes of clients that say no name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strangers {
    /// They are let in.
    #[default]
    Welcome,
    /// They are refused.
    Refused,
}

/// All policies, and what was found out under them.
#[derive(Debug)]
pub(super) struct Access {
    key: Key,
    policies: Vec<Policy>,
    /// The rights of clients without a name, by listener; shared by all of them.
    strangers: Vec<Rc<Rights>>,
    seals: Seals,
    /// Checked in place of a secret when a file has none.
    decoy: Option<Arc<Secret>>,
    /// Whether any policy has a list.
    is_restricting: bool,
    nonce_count: u64,
}

/// How a client's name was proven.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Proof {
    /// It was not: there is no name, or nobody asked for a proof.
    #[default]
    None,
    /// By the certificate of its link.
    Certificate,
    /// By knowing this secret's password.
    Secret(Arc<Secret>),
}

/// Who a session's client is, and what follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rights {
    listener: ListenerId,
    user: Option<Box<str>>,
    proof: Proof,
    list: Option<(Rc<AccessList>, Rc<[Rule]>)>,
}

/// What to do about a client that wants to come in.
#[derive(Debug)]
pub(super) enum Judgement {
    Granted(Rc<Rights>),
    Refused(Refusal),
    /// Its password has to be checked.
    Check(Check),
    /// It wants to prove its name by SCRAM.
    Exchange,
}

/// A password to check.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) user: Box<str>,
    pub(super) secret: Arc<Secret>,
    /// Whether the secret is the user's, not a stand-in that takes as long.
    pub(super) is_real: bool,
    pub(super) seal: Seal,
}

/// Longer names are unknown. A longer one would also be kept with its session.
const USER_BYTES_MAXIMUM: usize = 256;

impl Access {
    pub(super) fn new(key: Key, seal_count_maximum: usize) -> Self {
        Self {
            key,
            policies: Vec::new(),
            strangers: Vec::new(),
            seals: Seals::new(seal_count_maximum),
            decoy: None,
            is_restricting: false,
            nonce_count: 0,
        }
    }

    /// Takes other policies, by listener. What was found out before is forgotten.
    pub(super) fn replace(&mut self, policies: Vec<Policy>) {
        self.seals.clear();
        self.is_restricting = policies.iter().any(|policy| policy.list.is_some());
        let is_needed = |policy: &Policy| policy.users.as_ref().is_some_and(|it| it.is_empty());
        if self.decoy.is_none() && policies.iter().any(is_needed) {
            let secret = Secret::derive(Form::Pbkdf2, b"", [0; SALT_BYTES]);
            self.decoy = Some(Arc::new(secret));
        }
        let listeners = (0..).map(ListenerId);
        let strangers = listeners.zip(&policies).map(|(listener, policy)| {
            Rc::new(Rights::new(listener, Some(policy), None, Proof::None))
        });
        self.strangers = strangers.collect();
        self.policies = policies;
    }

    /// Decides about a client as far as that is possible without work.
    pub(super) fn judge(&self, entrance: &Entrance, credentials: &Credentials) -> Judgement {
        let listener = entrance.listener;
        let users = self.users(listener);
        match (credentials, &entrance.identity, users) {
            (Credentials::Scram { .. }, _, Some(_)) => Judgement::Exchange,
            (Credentials::Scram { .. }, _, None) => {
                Judgement::Refused(Refusal::AuthenticationMethod)
            }
            (_, Some(identity), _) => {
                Judgement::Granted(self.rights(listener, Some(identity), Proof::Certificate))
            }
            (Credentials::Password { user, password }, None, Some(users)) => {
                self.judge_password(listener, users, user, password.as_bytes())
            }
            (_, None, _) if !self.welcomes_strangers(listener) => {
                Judgement::Refused(Refusal::NotAuthorized)
            }
            (Credentials::Password { user, .. }, None, None) if user.len() > USER_BYTES_MAXIMUM => {
                Judgement::Refused(Refusal::Credentials)
            }
            (Credentials::Password { user, .. }, None, None) => {
                Judgement::Granted(self.rights(listener, Some(user), Proof::None))
            }
            (Credentials::None, None, _) => {
                Judgement::Granted(self.rights(listener, None, Proof::None))
            }
        }
    }

    fn judge_password(
        &self,
        listener: ListenerId,
        users: &Users,
        user: &str,
        password: &[u8],
    ) -> Judgement {
        let place = listener.0.to_be_bytes();
        let seal = self
            .key
            .sign(&[b"login", &place, user.as_bytes(), password]);
        let known = users
            .find(user)
            .filter(|_| user.len() <= USER_BYTES_MAXIMUM);
        if let Some(secret) = known.filter(|_| self.seals.holds(&seal)) {
            let proof = Proof::Secret(secret.clone());
            return Judgement::Granted(self.rights(listener, Some(user), proof));
        }
        match known.or_else(|| users.decoy()).or(self.decoy.as_ref()) {
            None => Judgement::Refused(Refusal::Credentials),
            Some(secret) => Judgement::Check(Check {
                user: user.into(),
                secret: secret.clone(),
                is_real: known.is_some(),
                seal,
            }),
        }
    }

    /// Takes the result of a check; gives the rights, unless the user's secret has changed meanwhile.
    pub(super) fn admit(
        &mut self,
        listener: ListenerId,
        user: &str,
        secret: Arc<Secret>,
        seal: Option<Seal>,
    ) -> Option<Rc<Rights>> {
        let found = self.users(listener)?.find(user)?;
        if *found != secret {
            return None;
        }
        if let Some(seal) = seal {
            self.seals.keep(seal);
        }
        Some(self.rights(listener, Some(user), Proof::Secret(secret)))
    }

    /// What a client's rights are under the present policies, whether it would be let in or not.
    pub(super) fn renewed(&self, rights: &Rights) -> Rc<Rights> {
        self.rights(rights.listener, rights.user(), rights.proof.clone())
    }

    /// Whether a client would be let in under the present policies.
    pub(super) fn admits(&self, rights: &Rights) -> bool {
        let listener = rights.listener;
        let (users, user) = (self.users(listener), rights.user());
        match &rights.proof {
            Proof::Certificate => true,
            Proof::Secret(secret) => {
                let found = user.and_then(|user| users?.find(user));
                found == Some(secret)
            }
            Proof::None => {
                let must_prove = user.is_some() && users.is_some();
                self.welcomes_strangers(listener) && !must_prove
            }
        }
    }

    /// Who can prove a name by a password at a listener.
    pub(super) fn users(&self, listener: ListenerId) -> Option<&Rc<Users>> {
        self.policy(listener)?.users.as_ref()
    }

    /// The secret that nobody outside knows.
    pub(super) const fn key(&self) -> &Key {
        &self.key
    }

    /// A part of a nonce that was never given before and can't be guessed.
    pub(super) fn next_nonce(&mut self) -> String {
        self.nonce_count += 1;
        let bytes = self.key.sign(&[b"nonce", &self.nonce_count.to_be_bytes()]);
        bytes[..NONCE_BYTES]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Whether there is anybody who may not use a topic: only then somebody has to ask who it is.
    pub(super) fn restricts(&self, topic: &str) -> bool {
        self.is_restricting || topic.starts_with('$')
    }

    fn policy(&self, listener: ListenerId) -> Option<&Policy> {
        self.policies.get(usize::from(listener.0))
    }

    fn welcomes_strangers(&self, listener: ListenerId) -> bool {
        let policy = self.policy(listener);
        policy.is_none_or(|policy| policy.strangers == Strangers::Welcome)
    }

    fn rights(&self, listener: ListenerId, user: Option<&str>, proof: Proof) -> Rc<Rights> {
        match self.strangers.get(usize::from(listener.0)) {
            Some(strangers) if user.is_none() => strangers.clone(),
            _ => Rc::new(Rights::new(listener, self.policy(listener), user, proof)),
        }
    }
}

impl Rights {
    fn new(
        listener: ListenerId,
        policy: Option<&Policy>,
        user: Option<&str>,
        proof: Proof,
    ) -> Self {
        let list = policy.and_then(|policy| policy.list.clone());
        Self {
            listener,
            user: user.map(Box::from),
            proof,
            list: list.map(|list| {
                let section = list.section(user);
                (list, section)
            }),
        }
    }

    /// Whether a client with these rights may do something. Allocates nothing.
    pub(super) fn grant(&self, client_identifier: &str, deed: Deed, topic: &str) -> bool {
        let is_reserved = match deed {
            Deed::Write => is_servers_own(topic),
            // Mail is fetched, never overheard.
            Deed::Read => is_letter(topic),
        };
        if is_reserved {
            return false;
        }
        match &self.list {
            None => true,
            Some((list, section)) => {
                let client = (client_identifier, self.user.as_deref());
                list.grants(section, client, deed, topic)
            }
        }
    }

    /// The name, proven or not.
    pub(super) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Where the client came in.
    pub(super) const fn listener(&self) -> ListenerId {
        self.listener
    }
}

/// Whether a topic is the server's own: no client may write there, whatever a list says; what is
/// below `$edge` goes to the cloud as the gateway's word. The state of Mosquitto's bridges is the one exception, as it is there.
fn is_servers_own(topic: &str) -> bool {
    let rest = topic.strip_prefix("$SYS");
    let is_below = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let is_bridge_state = || {
        let name = topic.strip_prefix("$SYS/broker/connection/");
        let name = name.and_then(|rest| rest.strip_suffix("/state"));
        name.is_some_and(|name| !name.contains('/'))
    };
    let is_of_the_edge = topic.starts_with("$edge/");
    topic.starts_with("$share") || is_of_the_edge || is_below && !is_bridge_state()
}

const NONCE_BYTES: usize = 16;
