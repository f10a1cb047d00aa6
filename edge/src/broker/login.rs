//! The way in: from a client that says who it is to its session, or to a refusal.
//!
//! ```text
//! connect -> session     nothing to prove, or proven before
//! connect -> checking    a password; its hash is computed elsewhere
//! connect -> proving     SCRAM: challenge sent
//! checking, proving -> session, refused
//! session -> proving     the client proves its name again, and stays connected meanwhile
//! ```
//!
//! What is not let in yet is bounded in bytes, and in hashes that are waited for.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::Broker;
use super::access::{Check, Deed, Judgement, Policy, Rights};
use super::event::{
    AccessInput, AuthenticationStep, Connect, ConnectionId, Credentials, Event, ListenerId, Output,
    SessionId, Verdict, WillFate,
};
use super::outcome::{CloseReason, Refusal};
use crate::password::{Exchange, Failure};

/// Clients that are about to prove who they are.
#[derive(Debug, Default)]
pub(super) struct Logins {
    waiting: BTreeMap<ConnectionId, Login>,
    bytes: usize,
    /// Checks that are not answered yet, whether their clients are still there or not.
    check_count: usize,
}

#[derive(Debug)]
struct Login {
    /// What it wants; `None` when it is connected and proves its name again.
    connect: Option<Box<Connect>>,
    step: Step,
    bytes: usize,
}

#[derive(Debug)]
enum Step {
    Checking(Check),
    Proving(Box<Exchange>),
}

/// What a login takes beside what the client said.
const LOGIN_BYTES: usize = 512;

impl Broker {
    pub(super) fn handle_connect(&mut self, connect: Box<Connect>) {
        match self.access.judge(&connect.entrance, &connect.credentials) {
            Judgement::Granted(rights) => self.open_session(*connect, rights),
            Judgement::Refused(refusal) => self.refuse_connection(connect.connection, refusal),
            Judgement::Check(check) => self.begin_check(connect, check),
            Judgement::Exchange => self.begin_exchange(connect),
        }
    }

    pub(super) fn handle_access(&mut self, input: AccessInput) {
        match input {
            AccessInput::Authenticate {
                connection,
                step,
                message,
            } => {
                self.handle_authenticate(connection, step, &message);
            }
            AccessInput::Verified {
                connection,
                verdict,
            } => {
                self.handle_verified(connection, verdict);
            }
            AccessInput::Policies(policies) => self.handle_policies(policies),
        }
    }

    fn handle_verified(&mut self, connection: ConnectionId, verdict: Verdict) {
        self.logins.check_count -= 1;
        let Some(login) = self.logins.take(connection) else {
            return;
        };
        let (Some(connect), Step::Checking(check)) = (login.connect, login.step) else {
            return;
        };
        let listener = connect.entrance.listener;
        let is_right = check.is_real && verdict == Verdict::Right;
        let rights = is_right.then(|| {
            let seal = Some(check.seal);
            self.access.admit(listener, &check.user, check.secret, seal)
        });
        match rights.flatten() {
            Some(rights) => self.open_session(*connect, rights),
            None => self.refuse_connection(connection, Refusal::Credentials),
        }
    }

    fn handle_authenticate(
        &mut self,
        connection: ConnectionId,
        step: AuthenticationStep,
        message: &[u8],
    ) {
        match (step, self.logins.take(connection)) {
            (AuthenticationStep::Begin, _) => self.begin_again(connection, message),
            (AuthenticationStep::Answer, Some(login)) => {
                let Step::Proving(exchange) = login.step else {
                    return;
                };
                match login.connect {
                    Some(connect) => self.finish_exchange(*connect, *exchange, message),
                    None => self.finish_again(connection, *exchange, message),
                }
            }
            (AuthenticationStep::Answer, None) => {}
        }
    }

    /// Takes other rules: first everybody has the rights that hold now, then those are closed who
    /// would not be let in.
    fn handle_policies(&mut self, policies: Vec<Policy>) {
        self.access.replace(policies);
        let sessions: Vec<SessionId> = self.registry.iter().map(|session| session.id).collect();
        let mut unwelcome = Vec::new();
        for id in sessions {
            let Some(session) = self.registry.get_mut(id) else {
                continue;
            };
            let Some(rights) = &session.rights else {
                continue;
            };
            if !self.access.admits(rights) {
                unwelcome.extend(session.holder());
            }
            session.rights = Some(self.access.renewed(rights));
            let will = session.will.as_ref();
            if will.is_some_and(|will| !session.may(Deed::Write, will.record.topic())) {
                self.registry.set_will(id, None);
                self.note_unsaved(id);
            }
            self.unpark_groups_of(id);
        }
        for connection in unwelcome {
            self.close(connection, CloseReason::NotAuthorized);
        }
    }

    fn begin_check(&mut self, mut connect: Box<Connect>, check: Check) {
        let connection = connect.connection;
        let Credentials::Password { password, .. } = std::mem::take(&mut connect.credentials)
        else {
            return self.refuse_connection(connection, Refusal::Credentials);
        };
        let bytes = said_bytes(&connect) + password.as_bytes().len();
        let is_full = self.logins.check_count >= self.settings.check_count_maximum;
        if is_full || !self.has_room_for_login(bytes) {
            return self.refuse_connection(connection, Refusal::Logins);
        }
        self.outputs.push_back(Output::Verify {
            connection,
            secret: check.secret.clone(),
            password,
        });
        self.logins.check_count += 1;
        let connect = Some(connect);
        let step = Step::Checking(check);
        let login = Login {
            connect,
            step,
            bytes,
        };
        self.logins.put(connection, login);
    }

    fn begin_exchange(&mut self, mut connect: Box<Connect>) {
        let connection = connect.connection;
        let Credentials::Scram { first } = std::mem::take(&mut connect.credentials) else {
            return self.refuse_connection(connection, Refusal::Credentials);
        };
        let listener = connect.entrance.listener;
        let said = said_bytes(&connect);
        if let Err(refusal) = self.challenge(connection, listener, &first, (Some(connect), said)) {
            self.refuse_connection(connection, refusal);
        }
    }

    fn begin_again(&mut self, connection: ConnectionId, first: &[u8]) {
        let Some((_, rights)) = self.rights_of(connection) else {
            return;
        };
        let listener = rights.listener();
        if let Err(refusal) = self.challenge(connection, listener, first, (None, 0)) {
            self.close(
                connection,
                match refusal {
                    Refusal::Logins => CloseReason::Busy,
                    _ => CloseReason::NotAuthorized,
                },
            );
        }
    }

    /// Answers the first message of SCRAM, and waits for the second.
    fn challenge(
        &mut self,
        connection: ConnectionId,
        listener: ListenerId,
        first: &[u8],
        (connect, said): (Option<Box<Connect>>, usize),
    ) -> Result<(), Refusal> {
        let nonce = self.access.next_nonce();
        let users = self.access.users(listener);
        let find = |user: &str| users?.find(user).cloned();
        let (exchange, message) = Exchange::begin(first, &nonce, self.access.key(), find)
            .map_err(|_| Refusal::Credentials)?;
        let bytes = said + LOGIN_BYTES + exchange.held_bytes();
        if !self.has_room_for_login(bytes) {
            return Err(Refusal::Logins);
        }
        let step = Step::Proving(Box::new(exchange));
        let login = Login {
            connect,
            step,
            bytes,
        };
        self.logins.put(connection, login);
        let event = Event::Challenge { message };
        self.outputs
            .push_back(Output::ToConnection { connection, event });
        Ok(())
    }

    fn finish_exchange(&mut self, connect: Connect, exchange: Exchange, last: &[u8]) {
        let connection = connect.connection;
        let listener = connect.entrance.listener;
        let admitted = exchange.finish(last).and_then(|proven| {
            let rights = self
                .access
                .admit(listener, &proven.user, proven.secret, None);
            Ok((rights.ok_or(Failure::Proof)?, proven.answer))
        });
        match admitted {
            Ok((rights, proof)) => {
                let event = Event::Authenticated { proof };
                self.outputs
                    .push_back(Output::ToConnection { connection, event });
                self.open_session(connect, rights);
            }
            Err(_) => self.refuse_connection(connection, Refusal::Credentials),
        }
    }

    /// A client that stays who it is stays connected.
    fn finish_again(&mut self, connection: ConnectionId, exchange: Exchange, last: &[u8]) {
        let Some((id, former)) = self.rights_of(connection) else {
            return;
        };
        let renewed = exchange.finish(last).ok().and_then(|proven| {
            let (listener, user) = (former.listener(), &proven.user);
            let is_same = former.user() == Some(&**user);
            let admit = || self.access.admit(listener, user, proven.secret, None);
            Some((is_same.then(admit)??, proven.answer))
        });
        let Some((rights, proof)) = renewed else {
            return self.close(connection, CloseReason::NotAuthorized);
        };
        if let Some(session) = self.registry.get_mut(id) {
            session.rights = Some(rights);
        }
        self.tell(connection, Event::Authenticated { proof });
    }

    /// Ends a connection from our side; its client is lost.
    fn close(&mut self, connection: ConnectionId, reason: CloseReason) {
        self.tell(connection, Event::Closed(reason));
        self.handle_disconnect(connection, WillFate::Publish, None);
    }

    fn rights_of(&self, connection: ConnectionId) -> Option<(SessionId, Rc<Rights>)> {
        let id = self.registry.session_of(connection)?;
        let rights = self.registry.get(id)?.rights.clone()?;
        Some((id, rights))
    }

    const fn has_room_for_login(&self, bytes: usize) -> bool {
        self.logins.bytes + bytes <= self.settings.login_bytes_maximum
    }
}

impl Logins {
    /// Forgets a client that is gone.
    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.take(connection);
    }

    fn put(&mut self, connection: ConnectionId, login: Login) {
        self.bytes += login.bytes;
        self.waiting.insert(connection, login);
    }

    fn take(&mut self, connection: ConnectionId) -> Option<Login> {
        let login = self.waiting.remove(&connection)?;
        self.bytes -= login.bytes;
        Some(login)
    }
}

/// What a client said in its CONNECT, in bytes, without what proves its name.
fn said_bytes(connect: &Connect) -> usize {
    let will = connect.will.as_ref().map_or(0, super::Will::held_bytes);
    LOGIN_BYTES + connect.client_identifier.len() + will
}
