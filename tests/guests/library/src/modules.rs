//! Modules that are loaded at run time, and configurations, which limit what their processes may do.

use std::time::Duration;

use lunatic::{
    LunaticError, Mailbox, Param, Process, ProcessConfig, Tag, WasmModule, host, sleep, spawn_link,
};

use crate::eventually;

/// The directory of the test has this program's own file, and one of another language.
fn own() -> Vec<u8> {
    std::fs::read("own.wasm").expect("it is there")
}

fn other() -> Vec<u8> {
    std::fs::read("other.wasm").expect("it is there")
}

/// The entry that is spawned in the loaded module: it answers with a message.
#[unsafe(export_name = "add")]
extern "C" fn add(parent: i64, small: i32, large: i64) {
    // SAFETY: the spawning process passes the identifier of the parent.
    let parent: Process<u64> = unsafe { Process::new(host::node_id(), parent as u64) };
    parent.send(small as u64 + large as u64);
}

pub fn modules(mailbox: Mailbox<u64>) {
    let this = Param::I64(mailbox.this().id() as i64);
    let module = WasmModule::new(&own()).expect("it runs here");
    let spawned: Process<()> =
        module.spawn("add", &[this, Param::I32(2), Param::I64(1 << 40)]).expect("it has such a function");
    assert_eq!(mailbox.receive(), (1 << 40) + 2);
    eventually(|| (!spawned.is_alive()).then_some(()));

    // Another process receives it in a message, and spawns from it after this process has dropped its own.
    let spawner = Process::spawn_link((), |(), mailbox: Mailbox<(WasmModule, Process<u64>)>| {
        let (module, parent) = mailbox.receive();
        sleep(Duration::from_millis(10));
        let parameters = [Param::I64(parent.id() as i64), Param::I32(3), Param::I64(4)];
        let mut config = ProcessConfig::new().expect("it is allowed");
        config.set_max_memory(16 << 20);
        let _: Process<()> = module
            .spawn_link_config("add", &parameters, &config, Tag::new())
            .expect("it has such a function");
        // Linked as it is, it must not end before the other has.
        mailbox.receive();
    });
    spawner.send((module, mailbox.this()));
    assert_eq!(mailbox.receive(), 7);

    // One that imports nothing, and is not Rust's: it ends well with an even number, and else with a trap.
    let other = WasmModule::new(&other()).expect("it is valid");
    let mailbox = mailbox.catch_link_failure();
    let (even, odd) = (Tag::new(), Tag::new());
    let _: Process<()> = other.spawn_link("even", &[Param::I32(4)], even).expect("it has such a function");
    let _: Process<()> = other.spawn_link("even", &[Param::I32(5)], odd).expect("it has such a function");
    assert_eq!(mailbox.receive().unwrap_signal().0, odd);
    assert!(mailbox.receive_timeout(Duration::from_millis(20)).is_err());
    // Without metering in it, an endless loop would be one; here it is a process like any other.
    let spinner: Process<()> = other.spawn("spin", &[]).expect("it has such a function");
    sleep(Duration::from_millis(20));
    assert!(spinner.is_alive());
    spinner.kill();
    eventually(|| (!spinner.is_alive()).then_some(()));
}

/// Bytes that are not a module, and missing functions, are errors.
pub fn refused() {
    for bytes in [&b""[..], b"no module", &own()[..1000], &other()[..20]] {
        let error = WasmModule::new(bytes).err().expect("it is not a module");
        assert!(matches!(error, LunaticError::Error(_)));
        assert!(!error.to_string().is_empty());
    }
    let module = WasmModule::new(&other()).expect("it is valid");
    let spawn =
        |name, parameters: &[Param]| module.spawn::<(), lunatic::serializer::Bincode>(name, parameters);
    assert!(spawn("odd", &[]).is_err());
    let config = ProcessConfig::new().expect("it is allowed");
    let task = spawn_link!(@task &config, || match WasmModule::new(&[]) {
        Err(LunaticError::PermissionDenied) => true,
        _ => false,
    });
    assert!(task.result());
}

/// Settings can be read back, and apply to the processes of the configuration.
pub fn configs() {
    let mut config = ProcessConfig::new().expect("it is allowed");
    config.set_max_memory(12 << 20);
    config.set_max_fuel(500);
    assert_eq!((config.get_max_memory(), config.get_max_fuel()), (12 << 20, 500));
    for can in [true, false] {
        config.set_can_compile_modules(can);
        config.set_can_create_configs(can);
        config.set_can_spawn_processes(can);
        let all = [config.can_compile_modules(), config.can_create_configs(), config.can_spawn_processes()];
        assert_eq!(all, [can; 3]);
    }
    assert!(format!("{config:?}").contains("500"));

    let mut config = ProcessConfig::new().expect("it is allowed");
    config.set_can_spawn_processes(true);
    config.set_can_create_configs(true);
    config.set_can_compile_modules(true);
    for (name, value) in [("FIRST", "1"), ("SECOND", "zwei, drei"), ("EMPTY", "")] {
        config.add_environment_variable(name, value);
    }
    for argument in ["one", "", "drei"] {
        config.add_command_line_argument(argument);
    }
    let task = spawn_link!(@task &config, || {
        assert_eq!(std::env::args().collect::<Vec<_>>(), ["one", "", "drei"]);
        let mut variables: Vec<_> = std::env::vars().collect();
        variables.sort();
        let inner = spawn_link!(@task || std::env::args().count());
        assert_eq!(inner.result(), 3, "a child without a config has its parent's");
        assert!(ProcessConfig::new().is_ok());
        variables
    });
    let expected = [("EMPTY", ""), ("FIRST", "1"), ("SECOND", "zwei, drei")];
    assert_eq!(task.result(), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

/// A directory is given to a child by its config: without, the child sees no files.
pub fn configs_inside() {
    let config = ProcessConfig::new().expect("it is allowed");
    let sees = spawn_link!(@task &config, || std::fs::read("other.wasm").is_ok());
    assert!(!sees.result());
    let config = ProcessConfig::new().expect("it is allowed");
    let directory = ".";
    // The crate has its own method for compilers up to 1.66 only.
    // SAFETY: the pointer and the length are the text's.
    unsafe {
        host::api::wasi::config_preopen_dir(config.id() as u64, directory.as_ptr(), directory.len());
    }
    let sees = spawn_link!(@task &config, || std::fs::read("other.wasm").is_ok_and(|bytes| bytes.starts_with(b"\0asm")));
    assert!(sees.result());
}
