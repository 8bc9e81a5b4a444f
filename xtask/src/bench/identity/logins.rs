//! Fifty people log in at once, again and again, while requests are passed on: how long a login takes, and what the others notice.
//!
//! A password costs a core for some ten milliseconds. Requests that are passed on come at a fixed rate that leaves the machine time, so
//! what they wait for is the gateway's threads and not their own crowd. A login also reads and writes a database and wakes its caller,
//! as any call does; so as many programs have their tokens renewed, which is a login without a password, and what is left of the
//! difference is the passwords'. Then as many requests come as the machine can serve and more, so that no core is ever idle: logins
//! still have to end.
//!
//! Passwords at work leave a machine of two cores one that is idle, whoever passes on what the other core gets. How much that alone
//! costs, nginx shows: it passes on the same requests while the same people log in here.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::gateway::Gateway;
use super::super::load::{median, quantile};
use super::super::peers::{self, YARDSTICK};
use super::super::report::{Section, figure};
use super::super::{Bench, Result};
use super::{CALLERS, ours};
use crate::http::{Connection, bearer};

/// Passed on, one after the other, over each of so many connections.
const CONNECTIONS: u32 = 4;
/// Between two requests of a connection.
const PACE: Duration = Duration::from_millis(5);
/// What the slowest hundredth may wait longer than alone, and so than beside as many calls without a password, which takes a core for ten.
const MORE_MS: f64 = 0.5;
/// How many times as long they may wait where no core is ever idle.
const UNDER_LOAD: f64 = 1.1;
/// How many times as long they may wait as those that nginx passes on beside the same logins.
const BESIDE_NGINX: f64 = 1.2;
/// A login that takes longer than this has lost its person.
const LOGIN_MS: f64 = 5_000.0;
/// One on a machine that is never idle, with forty-nine others, long before its request is given up.
const BUSY_LOGIN_MS: f64 = 15_000.0;
/// Connections over which requests come without a pause.
const CROWD: usize = 32;
/// For how long: each of fifty logins has to end in it.
const BUSY: Duration = Duration::from_secs(12);

/// Requests that somebody passes on.
#[derive(Clone, Copy)]
struct Load<'a> {
    gateway: SocketAddr,
    path: &'a str,
    headers: &'a [String],
}

pub(super) fn measure(bench: &Bench<'_>) -> Result<Section> {
    let (gateway, account) = bench.gateway("logins")?;
    let nginx = peers::start(YARDSTICK, &bench.folder.0, bench.upstream.address)?;
    let path = super::super::main_route(&bench.routes(&gateway, &account)?.0)?.path(&account.project);
    let key = [account.key.clone()];
    let load = Load { gateway: gateway.address, path: &path, headers: &key };
    let their_load = Load { gateway: nginx.address, ..load };
    let mut connection = gateway.connect()?;
    let mut programs = Vec::new();
    for person in 0..CALLERS {
        let person = bearer(&ours::sign_up(&mut connection, &email(person))?);
        programs.push(ours::let_in(&mut connection, &person)?);
    }
    let time = Duration::from_secs(bench.options.seconds.max(3));
    let rounds = bench.options.rounds;
    let (mut alone, mut beside, mut logins) = (Times::default(), Times::default(), Times::default());
    let (mut nginx_alone, mut nginx_beside) = (Times::default(), Times::default());
    let (mut nginx_crowd, mut nginx_crowded) = (Times::default(), Times::default());
    let (mut beside_renewals, mut renewals) = (Times::default(), Times::default());
    let (mut crowd_alone, mut crowded, mut late) = (Times::default(), Times::default(), Times::default());
    for _ in 0..rounds {
        alone.round(passed_on(load, time)?, time);
        nginx_alone.round(passed_on(their_load, time)?, time);
        let (passed, logged_in) = with_logins(&gateway, || passed_on(load, time))?;
        beside.round(passed, time);
        let pace = time * u32::try_from(CALLERS).unwrap_or(1) / u32::try_from(logged_in.len()).unwrap_or(1);
        logins.round(logged_in, time);
        nginx_beside.round(with_logins(&gateway, || passed_on(their_load, time))?.0, time);
        let (passed, renewed) = with_renewals(&gateway, &mut programs, pace, || passed_on(load, time))?;
        beside_renewals.round(passed, time);
        renewals.round(renewed, time);
        crowd_alone.round(crowd(load)?, BUSY);
        let (passed, logged_in) = with_logins(&gateway, || crowd(load))?;
        crowded.round(passed, BUSY);
        late.round(logged_in, BUSY);
        nginx_crowd.round(crowd(their_load)?, BUSY);
        nginx_crowded.round(with_tries_to_log_in(&gateway, || crowd(their_load))?, BUSY);
    }
    let mut section = Section::new(
        format!("{CALLERS} people log in at once, again and again, while requests are passed on"),
        &["", "per second", "p50 ms", "p99 ms"],
    );
    let p99 = |times: &Times| median(times.p99.clone());
    let more = p99(&beside) - p99(&alone);
    let of_passwords = p99(&beside) - p99(&beside_renewals);
    let beside_nginx = p99(&beside) / p99(&nginx_beside);
    let under_load = p99(&crowded) / p99(&crowd_alone);
    let crowded_nginx = p99(&crowded) / p99(&nginx_crowded);
    let (login, busy) = (p99(&logins), p99(&late));
    for (name, times) in [
        ("passed on, nobody logs in", alone),
        ("passed on while programs renew their tokens", beside_renewals),
        ("renewal", renewals),
        ("passed on while people log in", beside),
        ("login", logins),
        ("passed on by nginx+limit, nobody logs in", nginx_alone),
        ("passed on by nginx+limit while people log in here", nginx_beside),
        ("passed on as fast as it goes, nobody logs in", crowd_alone),
        ("passed on as fast as it goes while people log in", crowded),
        ("login on a machine that is never idle", late),
        ("passed on by nginx+limit as fast as it goes, nobody logs in", nginx_crowd),
        ("passed on by nginx+limit as fast as it goes while people try to log in here", nginx_crowded),
    ] {
        let cells = [times.rate, times.p50, times.p99].map(|values| figure(median(values)));
        section.row([vec![name.to_owned()], cells.to_vec()].concat());
    }
    for (line, value, most, unit) in [
        ("p99 of what is passed on, more than alone", more, MORE_MS, "ms"),
        ("p99 of what is passed on, more while people log in than while programs renew", of_passwords, MORE_MS, "ms"),
        ("p99 of what is passed on while people log in / by nginx+limit", beside_nginx, BESIDE_NGINX, ""),
        ("p99 of what is passed on as fast as it goes, while people log in / nobody does", under_load, UNDER_LOAD, ""),
        (
            "p99 of what is passed on as fast as it goes while people log in / by nginx+limit",
            crowded_nginx,
            BESIDE_NGINX,
            "",
        ),
        ("p99 of a login", login, LOGIN_MS, "ms"),
        ("p99 of a login on a machine that is never idle", busy, BUSY_LOGIN_MS, "ms"),
    ] {
        section.at_most(line, value, most, unit);
    }
    section.note(format!(
        "passed on: {CONNECTIONS} connections, a request each {} ms, counted from when it was due; medians of {rounds} rounds of {} s",
        PACE.as_millis(),
        time.as_secs()
    ));
    section.note("renewals: as many a second as there were logins, of fifty programs; all that a login does but for the password");
    section.note(format!(
        "as fast as it goes: {CROWD} connections, one request behind the other, for {} s",
        BUSY.as_secs()
    ));
    section.note("every login was answered with a session; one that was refused would have ended the run, but beside nginx as fast as it goes, whose people are told to come back and do");
    Ok(section)
}

/// What each round came to.
#[derive(Default)]
struct Times {
    rate: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
}

impl Times {
    fn round(&mut self, mut times: Vec<f64>, time: Duration) {
        self.rate.push(times.len() as f64 / time.as_secs_f64());
        self.p50.push(quantile(&mut times, 0.5));
        self.p99.push(quantile(&mut times, 0.99));
    }
}

fn email(person: usize) -> String {
    format!("login-{person}@example.com")
}

impl Load<'_> {
    fn ask(&self, connection: &mut Connection) -> Result {
        match connection.call("GET", self.path, self.headers, &[])? {
            (200, _) => Ok(()),
            (status, _) => Err(format!("`{}` answered {status}", self.path)),
        }
    }
}

/// How long each request took, in milliseconds, counted from when it was due.
fn passed_on(load: Load<'_>, time: Duration) -> Result<Vec<f64>> {
    let begun = Instant::now();
    // Evenly spread: four at the same moment would wait for one another.
    let one = |number: u32| -> Result<Vec<f64>> {
        let mut connection = Connection::open(load.gateway)?;
        let (start, mut times) = (begun + PACE * number / CONNECTIONS, Vec::new());
        while begun.elapsed() < time {
            let due = start + PACE * u32::try_from(times.len()).map_err(|error| error.to_string())?;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            load.ask(&mut connection)?;
            times.push(due.elapsed().as_secs_f64() * 1e3);
        }
        Ok(times)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS).map(|number| scope.spawn(move || one(number))).collect();
        joined(threads)
    })
}

/// The same without any pause, from so many that no core has time.
fn crowd(load: Load<'_>) -> Result<Vec<f64>> {
    let one = || -> Result<Vec<f64>> {
        let mut connection = Connection::open(load.gateway)?;
        let (start, mut times) = (Instant::now(), Vec::new());
        while start.elapsed() < BUSY {
            let begun = Instant::now();
            load.ask(&mut connection)?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        Ok(times)
    };
    thread::scope(|scope| joined((0..CROWD).map(|_| scope.spawn(one)).collect()))
}

/// `others` while everybody logs in; and how long that took, each time.
fn with_logins(gateway: &Gateway, others: impl FnOnce() -> Result<Vec<f64>>) -> Result<(Vec<f64>, Vec<f64>)> {
    let person = |person: usize| {
        move |is_over: &AtomicBool| -> Result<Vec<f64>> {
            let mut connection = gateway.connect()?;
            let mut times = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                ours::log_in(&mut connection, &email(person))?;
                times.push(begun.elapsed().as_secs_f64() * 1e3);
            }
            Ok(times)
        }
    };
    during((0..CALLERS).map(person), others)
}

/// The same where logins may be too many for what is left of the machine: who is refused tries again a second later.
fn with_tries_to_log_in(gateway: &Gateway, others: impl FnOnce() -> Result<Vec<f64>>) -> Result<Vec<f64>> {
    let person = |person: usize| {
        move |is_over: &AtomicBool| -> Result<Vec<f64>> {
            let mut connection = gateway.connect()?;
            while !is_over.load(Ordering::Relaxed) {
                if !ours::try_to_log_in(&mut connection, &email(person))? {
                    thread::sleep(Duration::from_secs(1));
                }
            }
            Ok(Vec::new())
        }
    };
    Ok(during((0..CALLERS).map(person), others)?.0)
}

/// `others` while each program has its tokens renewed once in `pace`; and how long that took, each time.
fn with_renewals(
    gateway: &Gateway,
    programs: &mut [Value],
    pace: Duration,
    others: impl FnOnce() -> Result<Vec<f64>>,
) -> Result<(Vec<f64>, Vec<f64>)> {
    // Evenly: a login ends when its password's turn has come.
    let count = u32::try_from(programs.len()).unwrap_or(1);
    let start = Instant::now();
    let programs = (0..).zip(programs).map(|(number, tokens)| {
        move |is_over: &AtomicBool| renewals(gateway, tokens, start + pace * number / count, pace, is_over)
    });
    during(programs, others)
}

fn renewals(
    gateway: &Gateway,
    tokens: &mut Value,
    first: Instant,
    pace: Duration,
    is_over: &AtomicBool,
) -> Result<Vec<f64>> {
    let mut connection = gateway.connect()?;
    let (mut due, mut times) = (first, Vec::new());
    loop {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if is_over.load(Ordering::Relaxed) {
            return Ok(times);
        }
        let begun = Instant::now();
        *tokens = ours::renew(&mut connection, tokens)?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        due += pace;
    }
}

/// `others`, while each of `people` does what they do until it is over; and how long that took them.
fn during<Person: FnOnce(&AtomicBool) -> Result<Vec<f64>> + Send>(
    people: impl Iterator<Item = Person>,
    others: impl FnOnce() -> Result<Vec<f64>>,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let is_over = AtomicBool::new(false);
    let is_over = &is_over;
    thread::scope(|scope| {
        let people = people.map(|person| scope.spawn(move || person(is_over))).collect();
        let passed = others();
        is_over.store(true, Ordering::Relaxed);
        Ok((passed?, joined(people)?))
    })
}

fn joined(threads: Vec<thread::ScopedJoinHandle<'_, Result<Vec<f64>>>>) -> Result<Vec<f64>> {
    let mut all = Vec::new();
    for thread in threads {
        all.extend(thread.join().map_err(|_| "a thread of the benchmark panicked")??);
    }
    Ok(all)
}
