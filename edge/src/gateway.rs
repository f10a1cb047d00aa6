//! The gateway: opens the log, starts the threads and tasks, and stops them again.
//!
//! Four threads work: this one (links, broker, engine, on one executor, without locks), the log
//! writer, its worker on the files behind the journal, and the bridge. They talk through bounded
//! channels. The gateway promises to be gone two seconds after SIGTERM, whatever the disk, the cloud
//! and the clients do.

mod addresses;
mod announce;
mod certificates;
mod checker;
mod client;
mod clock;
mod committer;
mod core;
mod descriptors;
mod disk;
mod error;
mod expiry;
mod flash;
mod listen;
mod peers;
mod porter;
mod quiet;
mod reload;
mod rules;
mod service;
mod signal;
mod start;
mod status;
mod stint;
mod terms;

use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use async_signal::{Signal as OsSignal, Signals as OsSignals};
use cloud_bridge::{Bridge, Command};
use smol::future::FutureExt as _;
use smol::stream::StreamExt as _;
use smol::{LocalExecutor, Timer};
use sync::Instant;
use sync::Now;
use tracing::{error, info};

use self::checker::Checker;
use self::clock::Clock;
pub(crate) use self::clock::wall_time;
use self::core::{Core, Wakes};
pub(crate) use self::core::{Place, Progress, Push};
use self::descriptors::Descriptors;
use self::disk::{Answer, Disk, Request};
pub use self::error::GatewayError;
use self::expiry::Expiry;
use self::listen::Serving;
use self::porter::Porter;
use self::reload::Reload;
pub use self::rules::check_access;
use self::service::{Service, Turns};
pub(crate) use self::signal::Cue;
pub use self::start::check;
use crate::admin;
use crate::broker::{AccessInput, Input};
use crate::limits::Limits;
use crate::link::Turnstile;
use crate::link::sockets::Sockets;

/// What all tasks of the core thread share.
pub(crate) struct Shared {
    pub(crate) core: RefCell<Core>,
    wakes: Rc<Wakes>,
    clock: Clock,
}

/// Two end the gateway, one makes it read its configuration again.
const SIGNALS: [OsSignal; 3] = [OsSignal::Term, OsSignal::Int, OsSignal::Hup];
/// Between two looks at all connections.
const SWEEP: Duration = Duration::from_secs(1);
/// How long clients have to take the goodbye, and the disk and the cloud to take theirs.
const GOODBYE: Duration = Duration::from_millis(700);
/// After a failed accept (no file descriptors left), before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What ends a gateway: a signal, or something that only another start mends.
type Ending = Result<Option<io::Result<OsSignal>>, GatewayError>;

/// Runs a gateway until SIGTERM or SIGINT. At SIGHUP it reads `file`, and what that names, again.
///
/// # Errors
/// When it can't start: the data folder, a port, the cloud's files, or those that say who may do
/// what. Afterwards nothing ends it but a signal, or a log that only a start makes whole
/// ([`GatewayError::Unusable`]): whoever started it does so again.
pub fn run(limits: Limits, file: Option<&Path>) -> Result<(), GatewayError> {
    start::protect(&limits);
    let executor = LocalExecutor::new();
    // Boxed, since each future that it is passed to would hold room for it twice.
    let serving = Box::pin(serve_until_told(&executor, limits, file));
    smol::block_on(serving.or(stint::work(&executor)))
}

async fn serve_until_told(
    executor: &LocalExecutor<'_>,
    mut limits: Limits,
    file: Option<&Path>,
) -> Result<(), GatewayError> {
    let signals = OsSignals::new(SIGNALS).map_err(GatewayError::Signals)?;
    let (begun, reload) = Reload::begin(&mut limits, file)?;
    let started = start::start(&limits, begun.policies)?;
    let control = admin::listen(&limits.data).map_err(|source| GatewayError::Control { source })?;
    let descriptors = Descriptors::claim(limits.section.connections);
    let sockets = Sockets::new().map_err(GatewayError::Sockets)?;
    let listeners = listen::open(&limits.listeners)?;
    let shared = Rc::new(Shared::new(started.core, started.clock));
    let disk = Rc::new(started.disk);
    let bridge = started.bridge.map(Rc::new);

    let mut tasks = vec![
        executor.spawn(write_groups(shared.clone(), disk.clone())),
        executor.spawn(fetch(shared.clone())),
        executor.spawn(check_passwords(shared.clone(), started.checker)),
        executor.spawn(watch_clock(shared.clone())),
        executor.spawn(answer_operator(shared.clone(), control)),
    ];
    if let Some(bridge) = &bridge {
        tasks.push(executor.spawn(command_bridge(shared.clone(), bridge.clone())));
        tasks.push(executor.spawn(hear_bridge(shared.clone(), bridge.clone())));
    }
    let mut service = Service::from_environment();
    let clients = Rc::new(LocalExecutor::new());
    tasks.push(clients.spawn(take_answers(shared.clone(), disk.clone())));
    let porter = Porter::begin(shared.clone(), sockets, &clients);
    let serving = Serving {
        shared: shared.clone(),
        clients: clients.clone(),
        porter,
        turnstile: Rc::new(Turnstile::new(limits.section.handshake_percent)),
        certificates: begun.certificates,
        descriptors,
    };
    let accepting = serving.start(executor, listeners);
    let running = executor.spawn({
        let clients = clients.clone();
        async move { stint::work::<()>(&clients).await }
    });

    service.ready();
    let turns = || Turns {
        writer: disk.turns(),
        bridge: bridge.as_ref().map(|bridge| bridge.turns()),
    };
    // A task, so that nobody asks for signals at every turn of the others.
    let obeying = obey_signals(shared.clone(), bridge.clone(), signals, reload);
    let obeying = executor.spawn(obeying);
    let ending = sweep(&shared, turns, &mut service).or(obeying).await;
    tell_of_end(&service, &ending);
    for task in accepting {
        task.cancel().await;
    }
    say_goodbye(&shared, bridge.as_deref()).await;
    // What the tasks share goes with the last of them.
    tasks.push(running);
    for task in tasks {
        task.cancel().await;
    }
    drop((clients, shared, bridge));
    let disk = Rc::into_inner(disk).expect("all tasks that used the disk are gone");
    let closed = disk.close();
    ending?;
    closed.map_err(|source| GatewayError::Close { source })
}

fn tell_of_end(service: &Service, ending: &Ending) {
    match ending {
        Ok(signal) => {
            service.stopping();
            info!("stopping: {signal:?}");
        }
        Err(why) => {
            service.failing(why);
            error!("stopping: {why}");
        }
    }
}

/// Reloads at each SIGHUP; gives the signal that ends the gateway.
async fn obey_signals(
    shared: Rc<Shared>,
    bridge: Option<Rc<Bridge>>,
    mut signals: OsSignals,
    mut reload: Option<Reload>,
) -> Ending {
    loop {
        let signal = signals.next().await;
        let Some(Ok(OsSignal::Hup)) = signal else {
            return Ok(signal);
        };
        let Some(reload) = &mut reload else {
            info!("nothing to reload: there is no configuration file");
            continue;
        };
        if let Some(policies) = reload.run(bridge.as_deref()) {
            let mut core = shared.core.borrow_mut();
            core.expiry = Expiry::read(reload.limits());
            core.take_policies(shared.now(), policies);
        }
    }
}

impl Shared {
    fn new(core: Core, clock: Clock) -> Self {
        Self {
            wakes: core.wakes.clone(),
            core: RefCell::new(core),
            clock,
        }
    }

    /// Reads both clocks.
    pub(crate) fn now(&self) -> Now {
        self.clock.now()
    }

    fn at(&self, instant: Instant) -> Timer {
        self.clock.at(instant)
    }
}

/// Hands notes and groups to the writer thread. Notes go first: a gap that the uplink gave up must
/// be durable before the checkpoint that passes it. Its turn comes when the links have had theirs, so
/// that a disk that is free gets all that they said at once in one group.
async fn write_groups(shared: Rc<Shared>, disk: Rc<Disk>) {
    loop {
        let now = shared.now();
        let (request, due) = {
            let mut core = shared.core.borrow_mut();
            let note = core.notes.pop_front();
            let request = match note {
                Some(note) => Some(note),
                None => core.committer.take(now.instant).map(Request::Commit),
            };
            (request, core.committer.poll_timeout())
        };
        if let Some(request) = request {
            disk.send(request).await;
            continue;
        }
        let until_due = async {
            match due {
                Some(due) => drop(shared.at(due).await),
                None => std::future::pending().await,
            }
        };
        shared.wakes.commit.wait().or(until_due).await;
    }
}

/// Takes what the writer answers. The disk has the next group before anybody hears of the last one.
/// Among the links, so that no answer waits for all the turns that these have in a row.
async fn take_answers(shared: Rc<Shared>, disk: Rc<Disk>) {
    while let Ok(answer) = disk.answers.recv().await {
        let mut core = shared.core.borrow_mut();
        let now = shared.now();
        match answer {
            Answer::Committed { group, result } => {
                core.committer.answered();
                if core.notes.is_empty() {
                    disk.offer(|| core.committer.take(now.instant));
                }
                core.committed(now, &group, result);
            }
            Answer::Event(event) => core.log_changed(now, &event),
        }
    }
}

/// Reads the log for those who are behind, one bounded read a turn.
async fn fetch(shared: Rc<Shared>) {
    loop {
        while shared.core.borrow_mut().fetch_one(shared.now()) {
            smol::future::yield_now().await;
        }
        shared.wakes.fetch.wait().await;
    }
}

async fn check_passwords(shared: Rc<Shared>, checker: Checker) {
    let asking = async {
        loop {
            let check = shared.core.borrow_mut().checks.pop_front();
            match check {
                // The thread only goes when this task has gone.
                Some(check) => drop(checker.checks.send(check).await),
                None => shared.wakes.check.wait().await,
            }
        }
    };
    let hearing = async {
        while let Ok((connection, verdict)) = checker.verdicts.recv().await {
            let input = Input::Access(AccessInput::Verified {
                connection,
                verdict,
            });
            shared.core.borrow_mut().tell_broker(shared.now(), input);
        }
    };
    asking.or(hearing).await;
}

async fn watch_clock(shared: Rc<Shared>) {
    let turn = || shared.core.borrow_mut().handle_timeout(shared.now());
    shared.clock.keep_time(&shared.wakes.clock, turn).await
}

/// Looks at everything once a second, and feeds the watchdog while all threads turn. Ends when only a
/// start makes the log whole.
async fn sweep(shared: &Shared, turns: impl Fn() -> Turns, service: &mut Service) -> Ending {
    loop {
        Timer::after(SWEEP).await;
        let turns = turns();
        let stamp = shared.clock.stamp();
        let mut core = shared.core.borrow_mut();
        core.sweep(shared.now(), turns.writer, stamp);
        if core.needs_start {
            return Err(GatewayError::Unusable);
        }
        drop(core);
        service.feed(turns);
    }
}

async fn command_bridge(shared: Rc<Shared>, bridge: Rc<Bridge>) {
    loop {
        let command = shared.core.borrow_mut().next_command();
        match command {
            // A closed channel means that the bridge has ended, which only happens at a stop.
            Some(command) => drop(bridge.commands().send(command).await),
            None => shared.wakes.bridge.wait().await,
        }
    }
}

async fn hear_bridge(shared: Rc<Shared>, bridge: Rc<Bridge>) {
    while let Ok(event) = bridge.events().recv().await {
        shared.core.borrow_mut().bridge_said(shared.now(), event);
    }
}

async fn answer_operator(
    shared: Rc<Shared>,
    control: smol::Async<std::os::unix::net::UnixListener>,
) {
    loop {
        let Ok((stream, _)) = control.accept().await else {
            Timer::after(ACCEPT_PAUSE).await;
            continue;
        };
        let reply = |request| shared.core.borrow_mut().reply(shared.now(), request);
        // An operator who went away needs no answer.
        let _ = admin::answer(stream, reply).await;
    }
}

/// Says goodbye to all, waits until the last commits are durable and the clients have gone, but
/// not for long, and stops the bridge.
async fn say_goodbye(shared: &Shared, bridge: Option<&Bridge>) {
    shared.core.borrow_mut().shut_down(shared.now());
    let all_gone = async {
        loop {
            let is_done = {
                let core = shared.core.borrow();
                core.committer.is_idle() && core.connection_count() == 0 && core.has_left_cloud()
            };
            if is_done {
                return;
            }
            Timer::after(Duration::from_millis(5)).await;
        }
    };
    let patience = async {
        Timer::after(GOODBYE).await;
    };
    all_gone.or(patience).await;
    if let Some(bridge) = bridge {
        // A full channel means that the bridge is busy; it ends with its channel.
        let _ = bridge.commands().try_send(Command::Stop);
    }
}

/// Writes a path for a message.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
