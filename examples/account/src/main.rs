//! A bug that hides: two tellers pay 100 into one account. Each asks for the balance and then says what the new one is,
//! and what the other one has paid in between is lost.
//!
//! The second teller comes 200 ms after the first, who has long gone by then. Almost always: run this as often as you
//! like, and there are 200 in the account. `lunatic-exec --seeds` finds a run in which there are 100.

use std::time::Duration;

use lunatic::{Mailbox, Process, sleep};

/// Asks an account to tell its balance to somebody, or to have another balance.
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

/// The account: a balance, and whoever asks for it.
fn keep((): (), mailbox: Mailbox<(Option<Process<u64>>, u64)>) {
    let mut balance = 0;
    loop {
        match mailbox.receive() {
            (Some(asking), _) => asking.send(balance),
            (None, new) => balance = new,
        }
    }
}

/// A teller, who says how much was paid in.
fn pay_in((account, manager, delay_ms): (Account, Process<u64>, u64), mailbox: Mailbox<u64>) {
    sleep(Duration::from_millis(delay_ms));
    account.send((Some(mailbox.this()), 0));
    let balance = mailbox.receive();
    account.send((None, balance + 100));
    manager.send(100);
}
