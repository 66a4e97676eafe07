//! A plugin host: runs untrusted modules with limits, and offers them host functions.
//!
//! `cargo run -p lunatic-example-embed --bin plugins`

use lunatic_executor::embed::host::{CALL, Fault, Guest, parts};
use lunatic_executor::embed::{CallError, Node, Sandbox, Value};
use lunatic_executor::func;

const NAME: &str = "world";

const PLUGINS: [(&str, &str); 3] = [
    ("greet", include_str!("../../plugins/greet.wat")),
    ("endless", include_str!("../../plugins/endless.wat")),
    ("greedy", include_str!("../../plugins/greedy.wat")),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let node = Node::builder()
        .host(|host| {
            func!(host, "app", "name_length", CALL, |_: &mut Guest<'_>| NAME.len() as u32);
            // Copies the name to a buffer of `length` bytes.
            func!(host, "app", "read_name", CALL.bytes(0), |guest: &mut Guest<'_>, at: u32, length: u32| {
                let (mut memory, _) = parts(guest)?;
                let length = NAME.len().min(length as usize);
                memory.bytes_mut(at, length as u32)?.copy_from_slice(&NAME.as_bytes()[..length]);
                Ok::<_, Fault>(length as u32)
            });
            func!(
                host,
                "app",
                "log",
                CALL.range(0, 1024, "a line"),
                |guest: &mut Guest<'_>, at: u32, length: u32| {
                    let (memory, _) = parts(guest)?;
                    println!("the plugin says: {}", memory.str(at, length)?);
                    Ok::<_, Fault>(())
                }
            );
        })
        .build()?;
    let sandbox = Sandbox::new().memory(1 << 20).reductions(10_000_000);
    for (name, text) in PLUGINS {
        let program = node.load(&wat::parse_str(text)?)?;
        match node.call(&program, "run", &[], &sandbox) {
            Ok(results) => println!("{name} returned {:?}", results.first().unwrap_or(&Value::I32(0))),
            Err(CallError::Exit(exit)) => println!("{name} ended: {:?}", exit.kind),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
