//! 3.15 AUTH and 4.12 enhanced authentication, with SCRAM-SHA-256.

use std::rc::Rc;

use base64ct::{Base64, Encoding as _};
use edge::broker::{Policy, Settings, Strangers};
use edge::mqtt::{self, PeerError};
use edge::password::{Form, SALT_BYTES, Secret, Users};
use ring::{digest, hmac, pbkdf2};
use wire::mqtt::property::{Properties, Property, PropertySet};
use wire::mqtt::{Auth, Connack, Disconnect, Packet, ReasonCode, decode};

use crate::world::*;

const METHOD: &str = "SCRAM-SHA-256";
const NONCE: &str = "fyko+d2lbbFgONRv9qkxdawL";

/// `pencil` has a secret for SCRAM, `plain` another one, of the same password.
fn users() -> Policy {
    let salt = [5; SALT_BYTES];
    let pencil = Secret::derive(Form::Scram, b"secret", salt);
    let plain = Secret::derive(Form::Pbkdf2, b"secret", salt);
    let text = format!("pencil:{pencil}\nplain:{plain}\n");
    Policy {
        strangers: Strangers::Refused,
        users: Some(Rc::new(Users::parse(&text).unwrap())),
        list: None,
    }
}

fn world() -> World {
    let mut world = World::new();
    world.rule(users());
    world
}

fn first(user: &str) -> String {
    format!("n,,n={user},r={NONCE}")
}

fn scram_hello(id: &'static str, user: &str) -> Hello {
    hello(V5, id).with(&[
        Property::AuthenticationMethod(METHOD),
        Property::AuthenticationData(first(user).as_bytes()),
    ])
}

fn with_auth<T>(
    reason_code: ReasonCode,
    method: &str,
    data: &str,
    then: impl FnOnce(&Packet<'_>) -> T,
) -> T {
    let properties = properties_of(
        PropertySet::AUTH,
        &[
            Property::AuthenticationMethod(method),
            Property::AuthenticationData(data.as_bytes()),
        ],
    );
    then(&Packet::Auth(Auth {
        reason_code,
        properties: Properties::parse(&properties, PropertySet::AUTH).unwrap(),
    }))
}

fn send_auth(world: &mut World, client: ClientId, reason_code: ReasonCode, data: &str) {
    with_auth(reason_code, METHOD, data, |packet| {
        world.send(client, packet)
    });
}

fn expect_auth(world: &mut World, client: ClientId, reason_code: ReasonCode, data: &str) {
    with_auth(reason_code, METHOD, data, |packet| {
        world.expect(client, packet)
    });
}

/// Takes the server's challenge.
fn challenge(world: &mut World, client: ClientId) -> String {
    let bytes = world.next_packet(client).expect("AUTH");
    let Some((Packet::Auth(auth), _)) = decode(&bytes, V5, u32::MAX).unwrap() else {
        panic!("AUTH expected");
    };
    assert_eq!(auth.reason_code, ReasonCode::ContinueAuthentication);
    assert_eq!(auth.properties.authentication_method(), Some(METHOD));
    String::from_utf8(auth.properties.authentication_data().unwrap().to_vec()).unwrap()
}

/// The client's last message and what the server has to answer, by the book.
fn answer(user: &str, password: &str, challenge: &str) -> (String, String) {
    let sign = |key: &[u8], text: &str| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
    };
    let mut parts = challenge.split(',');
    let nonce = parts.next().unwrap();
    let salt = Base64::decode_vec(parts.next().unwrap().strip_prefix("s=").unwrap()).unwrap();
    let iterations: u32 = parts
        .next()
        .unwrap()
        .strip_prefix("i=")
        .unwrap()
        .parse()
        .unwrap();
    let mut salted = [0; 32];
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        iterations.try_into().unwrap(),
        &salt,
        password.as_bytes(),
        &mut salted,
    );
    let client_key = sign(&salted, "Client Key");
    let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
    let without_proof = format!("c=biws,{nonce}");
    let said = format!("n={user},r={NONCE},{challenge},{without_proof}");
    let signature = sign(stored_key.as_ref(), &said);
    let proof = client_key.as_ref().iter().zip(signature.as_ref());
    let proof: Vec<u8> = proof.map(|(a, b)| a ^ b).collect();
    let server_key = sign(&salted, "Server Key");
    let servers = sign(server_key.as_ref(), &said);
    (
        format!("{without_proof},p={}", Base64::encode_string(&proof)),
        format!("v={}", Base64::encode_string(servers.as_ref())),
    )
}

/// Connects by SCRAM.
fn join(world: &mut World, id: &'static str) -> ClientId {
    let client = world.say_hello(&scram_hello(id, "pencil"));
    let (last, _) = answer("pencil", "secret", &challenge(world, client));
    send_auth(world, client, ReasonCode::ContinueAuthentication, &last);
    assert!(world.next_packet(client).is_some(), "CONNACK");
    client
}

fn expect_refusal(world: &mut World, client: ClientId, reason_code: ReasonCode) {
    world.expect(
        client,
        &Packet::Connack(Connack {
            session_present: false,
            reason_code,
            properties: Properties::EMPTY,
        }),
    );
    world.expect_closed(client);
}

// [MQTT-3.15.2-1] [MQTT-4.12.0-2] [MQTT-4.12.0-3] [MQTT-4.12.0-5]
#[test]
fn a_client_proves_its_name_in_four_messages() {
    let mut world = world();
    let client = world.say_hello(&scram_hello("a", "pencil"));
    assert!(world.connection(client).wants_more());
    let challenge = challenge(&mut world, client);
    assert!(challenge.starts_with(&format!("r={NONCE}")));
    assert_eq!(world.broker.session_count(), 0);
    let (last, proof) = answer("pencil", "secret", &challenge);
    send_auth(
        &mut world,
        client,
        ReasonCode::ContinueAuthentication,
        &last,
    );
    let bytes = world.next_packet(client).unwrap();
    let Some((Packet::Connack(connack), _)) = decode(&bytes, V5, u32::MAX).unwrap() else {
        panic!("CONNACK expected");
    };
    assert_eq!(connack.reason_code, ReasonCode::Success);
    assert_eq!(connack.properties.authentication_method(), Some(METHOD));
    let data = connack.properties.authentication_data();
    assert_eq!(data, Some(proof.as_bytes()));
    assert_eq!(world.check_count, 0, "no hash is computed here");
    world.subscribe(client, "a", 0);
}

// [MQTT-4.12.0-4]
#[test]
fn a_wrong_proof_another_form_of_secret_and_an_unknown_user_end_alike() {
    let mut world = world();
    for (user, password) in [
        ("pencil", "wrong"),
        ("plain", "secret"),
        ("nobody", "secret"),
    ] {
        let client = world.say_hello(&scram_hello("a", user));
        let challenge = challenge(&mut world, client);
        assert!(challenge.ends_with(",i=20000"), "{challenge}");
        let (last, _) = answer(user, password, &challenge);
        send_auth(
            &mut world,
            client,
            ReasonCode::ContinueAuthentication,
            &last,
        );
        expect_refusal(&mut world, client, ReasonCode::BadUserNameOrPassword);
    }
    assert_eq!(world.broker.session_count(), 0);
}

#[test]
fn no_challenge_is_given_twice_but_the_salt_of_a_name_stays() {
    let mut world = world();
    for user in ["pencil", "nobody"] {
        let challenges: Vec<String> = (0..2)
            .map(|_| {
                let client = world.say_hello(&scram_hello("a", user));
                challenge(&mut world, client)
            })
            .collect();
        let [one, other] = &challenges[..] else {
            panic!("two");
        };
        let (nonce, rest) = one.split_once(',').unwrap();
        assert!(other.ends_with(rest) && !other.starts_with(nonce));
    }
}

// [MQTT-4.12.0-1]
#[test]
fn methods_that_are_not_served_are_refused_with_8c() {
    let mut world = world();
    let client = world.say_hello(&hello(V5, "a").with(&[Property::AuthenticationMethod("PLAIN")]));
    expect_refusal(&mut world, client, ReasonCode::BadAuthenticationMethod);
    // Nor where nobody has a password.
    world.rule(Policy::default());
    let client = world.say_hello(&scram_hello("a", "pencil"));
    expect_refusal(&mut world, client, ReasonCode::BadAuthenticationMethod);
}

#[test]
fn what_is_no_message_of_scram_is_refused() {
    let mut world = world();
    for data in ["", "n=pencil", "p=tls-unique,,n=pencil,r=abc"] {
        let hello = hello(V5, "a").with(&[
            Property::AuthenticationMethod(METHOD),
            Property::AuthenticationData(data.as_bytes()),
        ]);
        let client = world.say_hello(&hello);
        expect_refusal(&mut world, client, ReasonCode::BadUserNameOrPassword);
    }
    let client = world.say_hello(&scram_hello("a", "pencil"));
    challenge(&mut world, client);
    send_auth(
        &mut world,
        client,
        ReasonCode::ContinueAuthentication,
        "p=abc",
    );
    expect_refusal(&mut world, client, ReasonCode::BadUserNameOrPassword);
}

// [MQTT-3.1.2-30]
#[test]
fn before_its_connack_a_client_sends_auth_or_disconnect() {
    let mut world = world();
    let client = world.say_hello(&scram_hello("a", "pencil"));
    challenge(&mut world, client);
    world.send(client, &Packet::Pingreq);
    expect_refusal(&mut world, client, ReasonCode::ProtocolError);

    let client = world.say_hello(&scram_hello("a", "pencil"));
    challenge(&mut world, client);
    send_auth(&mut world, client, ReasonCode::ReAuthenticate, "");
    expect_refusal(&mut world, client, ReasonCode::ProtocolError);

    let client = world.say_hello(&scram_hello("a", "pencil"));
    challenge(&mut world, client);
    let changed = |packet: &Packet<'_>| world.send(client, packet);
    with_auth(ReasonCode::ContinueAuthentication, "PLAIN", "", changed);
    assert_eq!(
        world.connection(client).peer_error(),
        Some(&PeerError::AuthenticationMethodChanged)
    );
    expect_refusal(&mut world, client, ReasonCode::ProtocolError);

    let client = world.say_hello(&scram_hello("a", "pencil"));
    challenge(&mut world, client);
    world.disconnect(client);
    assert!(world.connection(client).peer_error().is_none());
}

#[test]
fn an_exchange_has_the_deadline_of_connect() {
    let mut world = world();
    let client = world.open(V5);
    world.pass(5);
    world.introduce(client, &scram_hello("a", "pencil"));
    challenge(&mut world, client);
    world.pass(4);
    assert!(!world.is_closed(client));
    world.pass(1);
    world.expect_closed(client);
    assert_eq!(
        world.connection(client).peer_error(),
        Some(&PeerError::ConnectTimeout)
    );
}

#[test]
fn exchanges_hold_at_most_so_many_bytes() {
    let settings = Settings {
        login_bytes_maximum: 4_000,
        ..Settings::default()
    };
    let mut world = World::with(settings, mqtt::Settings::default());
    world.rule(users());
    let clients = ["a", "b", "c", "d"].map(|id| world.say_hello(&scram_hello(id, "pencil")));
    expect_refusal(&mut world, clients[3], ReasonCode::ServerUnavailable);
    // Those who go make room.
    world.cut(clients[0]);
    world.pass(10);
    let client = world.say_hello(&scram_hello("d", "pencil"));
    challenge(&mut world, client);
}

// [MQTT-4.12.0-6] [MQTT-4.12.0-7]
#[test]
fn without_a_method_in_connect_there_is_no_auth() {
    let mut world = world();
    let client = world.say_hello(&hello(V5, "a").user("plain", "secret"));
    let bytes = world.next_packet(client).unwrap();
    let Some((Packet::Connack(connack), _)) = decode(&bytes, V5, u32::MAX).unwrap() else {
        panic!("CONNACK expected");
    };
    assert_eq!(connack.properties.authentication_method(), None);
    send_auth(
        &mut world,
        client,
        ReasonCode::ReAuthenticate,
        &first("plain"),
    );
    world.expect_disconnect(client, ReasonCode::ProtocolError);
}

// [MQTT-4.12.1-1]
#[test]
fn a_connected_client_proves_its_name_again_without_a_pause() {
    let mut world = world();
    let client = join(&mut world, "a");
    for _ in 0..2 {
        send_auth(
            &mut world,
            client,
            ReasonCode::ReAuthenticate,
            &first("pencil"),
        );
        let challenge = challenge(&mut world, client);
        // Everything else goes on.
        world.send(client, &Packet::Pingreq);
        world.expect(client, &Packet::Pingresp);
        let (last, proof) = answer("pencil", "secret", &challenge);
        send_auth(
            &mut world,
            client,
            ReasonCode::ContinueAuthentication,
            &last,
        );
        expect_auth(&mut world, client, ReasonCode::Success, &proof);
    }
    world.subscribe(client, "a", 0);
}

// [MQTT-4.12.1-2]
#[test]
fn a_client_that_can_not_prove_its_name_again_is_closed() {
    for (user, password) in [("pencil", "wrong"), ("nobody", "secret")] {
        let mut world = world();
        let client = join(&mut world, "a");
        send_auth(&mut world, client, ReasonCode::ReAuthenticate, &first(user));
        let (last, _) = answer(user, password, &challenge(&mut world, client));
        send_auth(
            &mut world,
            client,
            ReasonCode::ContinueAuthentication,
            &last,
        );
        world.expect(
            client,
            &Packet::Disconnect(Disconnect::new(ReasonCode::NotAuthorized)),
        );
        world.expect_closed(client);
    }
}

#[test]
fn an_auth_that_nobody_asked_for_is_a_mistake() {
    let mut world = world();
    let client = join(&mut world, "a");
    send_auth(
        &mut world,
        client,
        ReasonCode::ContinueAuthentication,
        "c=biws",
    );
    world.expect_disconnect(client, ReasonCode::ProtocolError);

    let client = join(&mut world, "b");
    let other = |packet: &Packet<'_>| world.send(client, packet);
    with_auth(ReasonCode::ReAuthenticate, "PLAIN", "", other);
    world.expect_disconnect(client, ReasonCode::ProtocolError);

    let client = join(&mut world, "c");
    send_auth(
        &mut world,
        client,
        ReasonCode::ReAuthenticate,
        &first("pencil"),
    );
    challenge(&mut world, client);
    send_auth(
        &mut world,
        client,
        ReasonCode::ReAuthenticate,
        &first("pencil"),
    );
    world.expect_disconnect(client, ReasonCode::ProtocolError);
}

#[test]
fn a_secret_for_scram_checks_a_plain_password_too() {
    let mut world = world();
    world.join(&hello(V5, "a").user("pencil", "secret"));
    let client = world.say_hello(&hello(V5, "b").user("pencil", "Secret"));
    expect_refusal(&mut world, client, ReasonCode::BadUserNameOrPassword);
}

#[test]
fn a_secret_that_changes_during_an_exchange_does_not_let_in() {
    let mut world = world();
    let client = world.say_hello(&scram_hello("a", "pencil"));
    let (last, _) = answer("pencil", "secret", &challenge(&mut world, client));
    let mut policy = users();
    policy.users = Some(Rc::new(Users::default()));
    world.rule(policy);
    send_auth(
        &mut world,
        client,
        ReasonCode::ContinueAuthentication,
        &last,
    );
    expect_refusal(&mut world, client, ReasonCode::BadUserNameOrPassword);
}

// [MQTT-3.15.1-1] [MQTT-3.15.2-1]
#[test]
fn an_auth_with_reserved_flags_or_another_reason_is_a_mistake() {
    for (bytes, reason_code) in [
        (&[0xF1, 0x00][..], ReasonCode::MalformedPacket),
        (&[0xF8, 0x02, 0x18, 0x00], ReasonCode::MalformedPacket),
        (&[0xF0, 0x02, 0x01, 0x00], ReasonCode::ProtocolError),
        (&[0xF0, 0x02, 0x87, 0x00], ReasonCode::ProtocolError),
    ] {
        let mut world = world();
        let client = join(&mut world, "a");
        world.send_bytes(client, bytes);
        world.expect_disconnect(client, reason_code);
        let client = world.say_hello(&scram_hello("b", "pencil"));
        challenge(&mut world, client);
        world.send_bytes(client, bytes);
        expect_refusal(&mut world, client, reason_code);
    }
}

// No AUTH of ours has a reason string or a user property. [MQTT-3.15.2-2] [MQTT-3.15.2-3]
#[test]
fn an_auth_that_the_client_does_not_take_is_not_sent() {
    let mut world = world();
    let small = [Property::MaximumPacketSize(40.try_into().unwrap())];
    let client = world.say_hello(&scram_hello("a", "pencil").with(&small));
    world.expect_closed(client);
}
