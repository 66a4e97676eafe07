//! Runs a script by piccolo, an interpreter of Lua.

use std::process::ExitCode;

use piccolo::{Closure, Executor, Lua, StaticError};

fn main() -> ExitCode {
    let path = std::env::args().nth(1).expect("usage: test-lua SCRIPT");
    let source = std::fs::read(&path).expect("the script can be read");
    match run(&path, &source) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(name: &str, source: &[u8]) -> Result<(), StaticError> {
    let mut lua = Lua::full();
    let executor = lua.try_enter(|context| {
        let main = Closure::load(context, Some(name), source)?;
        Ok(context.stash(Executor::start(context, main.into(), ())))
    })?;
    lua.execute(&executor)
}
