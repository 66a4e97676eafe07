//! A plain WASI program without processes, one scenario per invocation.

use std::io::{Read, Write};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map_or("hello", |name| name) {
        "hello" => println!("Hello, world!"),
        "args" => println!("{:?}", &args[2..]),
        "env" => std::env::vars().for_each(|(name, value)| println!("{name}={value}")),
        "exit" => std::process::exit(args[2].parse().expect("a number")),
        "panic" => panic!("a plain panic"),
        "recurse" => println!("{}", recurse(1)),
        "echo" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).expect("stdin can be read");
            print!("{text}");
            eprintln!("{} bytes", text.len());
        }
        "files" => files(&args[2]),
        "read" => println!("{}", std::fs::read_to_string(&args[2]).map_or_else(|e| e.to_string(), |text| text)),
        "lines" => {
            let mut out = std::io::stdout().lock();
            for line in 0..args[2].parse::<u32>().expect("a number") {
                writeln!(out, "line {line}").expect("stdout can be written");
            }
        }
        other => panic!("no scenario {other:?}"),
    }
}

fn recurse(depth: u64) -> u64 {
    std::hint::black_box(if depth == u64::MAX { 0 } else { recurse(depth + 1) + 1 })
}

/// Writes, lists, renames, reads and removes files in a directory.
fn files(directory: &str) {
    let path = |name: &str| format!("{directory}/{name}");
    std::fs::create_dir(path("sub")).expect("create a directory");
    std::fs::write(path("sub/a.txt"), "first ").expect("write a file");
    let mut file = std::fs::OpenOptions::new().append(true).open(path("sub/a.txt")).expect("open to append");
    file.write_all(b"second").expect("append");
    drop(file);
    std::fs::rename(path("sub/a.txt"), path("b.txt")).expect("rename");
    assert_eq!(std::fs::read_to_string(path("b.txt")).expect("read"), "first second");
    assert_eq!(std::fs::metadata(path("b.txt")).expect("stat").len(), 12);
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .expect("list")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    println!("{names:?}");
    std::fs::remove_file(path("b.txt")).expect("remove a file");
    std::fs::remove_dir(path("sub")).expect("remove a directory");
}
