//! `poll_oneoff`, with any mix.

use std::time::Instant;

use crate::{DIR, fails, open, works};

const MILLISECOND: u64 = 1_000_000;

pub fn clock(userdata: u64, id: wasi::Clockid, timeout: u64, flags: u16) -> wasi::Subscription {
    let clock = wasi::SubscriptionClock { id, timeout, precision: 0, flags };
    let u = wasi::SubscriptionU { tag: wasi::EVENTTYPE_CLOCK.raw(), u: wasi::SubscriptionUU { clock } };
    wasi::Subscription { userdata, u }
}

pub fn timeout(userdata: u64, milliseconds: u64) -> wasi::Subscription {
    clock(userdata, wasi::CLOCKID_MONOTONIC, milliseconds * MILLISECOND, 0)
}

pub fn readable(userdata: u64, fd: u32) -> wasi::Subscription {
    let fd_read = wasi::SubscriptionFdReadwrite { file_descriptor: fd };
    let u = wasi::SubscriptionU { tag: wasi::EVENTTYPE_FD_READ.raw(), u: wasi::SubscriptionUU { fd_read } };
    wasi::Subscription { userdata, u }
}

pub fn writable(userdata: u64, fd: u32) -> wasi::Subscription {
    let fd_write = wasi::SubscriptionFdReadwrite { file_descriptor: fd };
    let u = wasi::SubscriptionU { tag: wasi::EVENTTYPE_FD_WRITE.raw(), u: wasi::SubscriptionUU { fd_write } };
    wasi::Subscription { userdata, u }
}

pub fn poll(subscriptions: &[wasi::Subscription]) -> Result<Vec<wasi::Event>, wasi::Errno> {
    let mut events = Vec::with_capacity(subscriptions.len());
    let count =
        unsafe { wasi::poll_oneoff(subscriptions.as_ptr(), events.as_mut_ptr(), subscriptions.len())? };
    assert!(count <= subscriptions.len());
    unsafe { events.set_len(count) };
    Ok(events)
}

/// The events, as user data and error.
fn told(subscriptions: &[wasi::Subscription]) -> Vec<(u64, wasi::Errno)> {
    let events = poll(subscriptions).expect("it can be asked");
    events.into_iter().map(|event| (event.userdata, event.error)).collect()
}

const FINE: wasi::Errno = wasi::ERRNO_SUCCESS;

pub fn polling() {
    assert_eq!(poll(&[]).err(), Some(wasi::ERRNO_INVAL));
    let many = vec![timeout(1, 1); 5000];
    assert_eq!(poll(&many).err(), Some(wasi::ERRNO_INVAL));
    // Files are always ready; several may be reported.
    let file = open(DIR, "file", wasi::OFLAGS_CREAT);
    assert_eq!(told(&[readable(1, file), timeout(2, 60_000), writable(3, file)]), [(1, FINE), (3, FINE)]);
    assert_eq!(told(&[writable(1, 1), writable(2, 2), timeout(3, 60_000)]), [(1, FINE), (2, FINE)]);
    // An error of one subscription is reported for that one.
    assert_eq!(told(&[readable(1, 99), timeout(2, 60_000)]), [(1, wasi::ERRNO_BADF)]);
    assert_eq!(told(&[readable(1, 1)]), [(1, wasi::ERRNO_BADF)], "it cannot be read");
    assert_eq!(told(&[writable(1, 0)]), [(1, wasi::ERRNO_BADF)]);
    assert_eq!(told(&[clock(1, wasi::CLOCKID_THREAD_CPUTIME_ID, 0, 0)]), [(1, wasi::ERRNO_INVAL)]);
    assert_eq!(told(&[clock(1, wasi::CLOCKID_MONOTONIC, 0, 1 << 1)]), [(1, wasi::ERRNO_INVAL)]);
    let stat = works!(wasi::fd_fdstat_get(file));
    works!(wasi::fd_fdstat_set_rights(file, stat.fs_rights_base & !wasi::RIGHTS_POLL_FD_READWRITE, 0));
    assert_eq!(told(&[readable(1, file)]), [(1, wasi::ERRNO_NOTCAPABLE)]);
    let mut none = timeout(1, 1);
    none.u.tag = 3;
    assert_eq!(poll(&[none]).err(), Some(wasi::ERRNO_INVAL));
    fails!(wasi::poll_oneoff(std::ptr::null(), std::ptr::null_mut(), 0), ERRNO_INVAL);
}

pub fn sleep() {
    let begun = Instant::now();
    // The earlier one; both if they are due together.
    assert_eq!(told(&[timeout(1, 60_000), timeout(2, 30)]), [(2, FINE)]);
    assert!(begun.elapsed().as_millis() >= 30);
    let now = works!(wasi::clock_time_get(wasi::CLOCKID_MONOTONIC, 0));
    let absolute = wasi::SUBCLOCKFLAGS_SUBSCRIPTION_CLOCK_ABSTIME;
    assert_eq!(
        told(&[clock(1, wasi::CLOCKID_MONOTONIC, now + 20 * MILLISECOND, absolute), timeout(2, 60_000)]),
        [(1, FINE)]
    );
    assert!(works!(wasi::clock_time_get(wasi::CLOCKID_MONOTONIC, 0)) >= now + 20 * MILLISECOND);
    let wall = works!(wasi::clock_time_get(wasi::CLOCKID_REALTIME, 0));
    assert_eq!(told(&[clock(1, wasi::CLOCKID_REALTIME, wall + MILLISECOND, absolute)]), [(1, FINE)]);
    // A deadline in the past is due at once.
    assert_eq!(
        told(&[clock(1, wasi::CLOCKID_MONOTONIC, 1, absolute), timeout(2, 0)]),
        [(1, FINE), (2, FINE)]
    );
}

/// Standard input is silent at first; then, after a line on standard output, comes one, and then its end.
pub fn stdin() {
    for _ in 0..100 {
        assert_eq!(told(&[readable(1, 0), timeout(2, 1)]), [(2, FINE)]);
    }
    works!(wasi::fd_fdstat_set_flags(0, wasi::FDFLAGS_NONBLOCK));
    assert_eq!(crate::read(0, &mut [0; 10]), Err(wasi::ERRNO_AGAIN));
    println!("ready");
    let events = poll(&[readable(1, 0), timeout(2, 60_000)]).unwrap();
    assert_eq!((events.len(), events[0].userdata, events[0].fd_readwrite.nbytes), (1, 1, 6));
    let mut line = [0; 10];
    assert_eq!(crate::read(0, &mut line), Ok(6));
    assert_eq!(&line[..6], b"hello\n");
    println!("line");
    assert_eq!(told(&[readable(1, 0), timeout(2, 60_000)]), [(1, FINE)], "the end is something to read, too");
    assert_eq!(crate::read(0, &mut line), Ok(0));
}
