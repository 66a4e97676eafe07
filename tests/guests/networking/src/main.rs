//! The networking of the published `lunatic` crate, one scenario per invocation. A failing scenario panics.

mod names;
mod tcp;
mod tls;
mod udp;

use lunatic::Mailbox;

#[lunatic::main]
fn main(mailbox: Mailbox<u64>) {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map_or("", String::as_str) {
        "tcp-echo" => tcp::echo(mailbox),
        "tcp-crowd" => tcp::crowd(mailbox),
        "tcp-bulk" => tcp::bulk(mailbox),
        "tcp-timeouts" => tcp::timeouts(),
        "tcp-peek" => tcp::peek(),
        "tcp-errors" => tcp::errors(),
        "tcp-clones" => tcp::clones(mailbox),
        "tcp-killed" => tcp::killed(mailbox),
        "tcp-ends" => tcp::ends(mailbox),
        "tcp-serve" => tcp::serve(&args[2]),
        "tcp-unanswered" => tcp::unanswered(&args[2]),
        "tls-echo" => tls::echo(mailbox),
        "tls-bulk" => tls::bulk(mailbox),
        "tls-faults" => tls::faults(mailbox),
        "tls-timeouts" => tls::timeouts(mailbox),
        "tls-serve" => tls::serve(&args[2]),
        "tls-fetch" => tls::fetch(&args[2], &args[3]),
        "udp" => udp::datagrams(mailbox),
        "udp-refused" => udp::refused(mailbox),
        "leaks" => tcp::leaks(mailbox),
        "udp-settings" => udp::settings(),
        "names" => names::names(),
        "denied" => names::denied(),
        other => panic!("no scenario {other:?}"),
    }
    println!("done: {}", args[1]);
}
