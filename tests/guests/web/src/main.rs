//! Uses published crates for Lunatic: the web framework `submillisecond`, the HTTP client `nightfly`, and
//! `lunatic-log`. One of them an invocation; one that is wrong panics.

mod fetch;
mod log;
mod serve;

#[lunatic::main]
fn main(_: lunatic::Mailbox<()>) {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", level] => serve::serve(level),
        ["fetch", server] => fetch::fetch(server),
        ["fetch-failing", url] => fetch::fetch_failing(url),
        ["log"] => log::log(),
        ref other => panic!("no scenario {other:?}"),
    }
    println!("done: {}", args[0]);
}
