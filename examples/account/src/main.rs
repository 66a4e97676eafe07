//! A rare race: two tellers pay 100 into one account. Each reads the balance and then sets a new one, so a payment between the two
//! steps is lost.
//!
//! The second teller starts 200 ms after the first one, which has normally finished by then. However often you run this, the
//! account has 200. `lunatic-exec --seeds` finds a run in which it has 100.

use std::time::Duration;

use lunatic::{Mailbox, Process, sleep};

/// Requests to the account: send the balance to a process, or set a new balance.
type Account = Process<(Option<Process<u64>>, u64)>;

#[lunatic::main]
fn main(mailbox: Mailbox<u64>) {
    let account: Account = Process::spawn((), keep);
    for delay_ms in [0, 200] {
        Process::spawn((account, mailbox.this(), delay_ms), pay_in);
    }
    let paid = mailbox.receive() + mailbox.receive();
    account.send((Some(mailbox.this()), 0));
    let balance = mailbox.receive();
    println!("{balance} in the account");
    assert_eq!(balance, paid);
}

/// The account: keeps a balance and handles requests.
fn keep((): (), mailbox: Mailbox<(Option<Process<u64>>, u64)>) {
    let mut balance = 0;
    loop {
        match mailbox.receive() {
            (Some(asking), _) => asking.send(balance),
            (None, new) => balance = new,
        }
    }
}

/// A teller: pays in, and reports the amount.
fn pay_in((account, manager, delay_ms): (Account, Process<u64>, u64), mailbox: Mailbox<u64>) {
    sleep(Duration::from_millis(delay_ms));
    account.send((Some(mailbox.this()), 0));
    let balance = mailbox.receive();
    account.send((None, balance + 100));
    manager.send(100);
}
