//! Options from a file: what could be on the command line, as TOML.
//!
//! ```toml
//! dir = ["data::/data:ro", "logs"]
//! max-memory = "64MiB"
//! workers = 2
//! no-network = true
//!
//! [env]
//! RUST_LOG = "info"
//! ```
//!
//! A key is an option's name, a list is an option given several times, `true` one without a value. They become arguments
//! ahead of those on the command line, so there is one place that knows what options mean: where an option has one value,
//! the command line's is the last word; where it has several, it has those of both.

use std::path::Path;

use clap::{ArgAction, Command};
use toml::{Table, Value};

use crate::report::Failure;

/// Bytes of such a file.
const MAX_BYTES: u64 = 1 << 20;

/// What is wrong with such a file.
#[derive(Debug, thiserror::Error)]
enum Wrong {
    #[error(transparent)]
    Unreadable(#[from] std::io::Error),
    #[error("it has more than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("{0}")]
    Malformed(#[from] toml::de::Error),
    #[error("there is no option --{0}")]
    Unknown(String),
    #[error("{0}: expected {1}")]
    Expected(String, &'static str),
}

/// The arguments that a file says, for a command with these options.
///
/// # Errors
/// When it cannot be read, is no TOML, or names an option that there is not, or with a value of the wrong type. What a value
/// means is for who parses the arguments.
pub fn options_from_file(path: &Path, command: &Command) -> Result<Vec<String>, Failure> {
    read(path)
        .and_then(|table| arguments(&table, command))
        .map_err(|wrong| Failure::new(path, "stdin", wrong))
}

fn read(path: &Path) -> Result<Table, Wrong> {
    let file = std::fs::File::open(path)?;
    let mut text = String::new();
    if std::io::Read::read_to_string(&mut std::io::Read::take(file, MAX_BYTES + 1), &mut text)? as u64
        > MAX_BYTES
    {
        return Err(Wrong::TooLarge);
    }
    Ok(text.parse()?)
}

fn arguments(table: &Table, command: &Command) -> Result<Vec<String>, Wrong> {
    let mut arguments = Vec::new();
    for (key, value) in table {
        let option = command.get_arguments().find(|option| option.get_long() == Some(key));
        let option = option.filter(|_| key != "config").ok_or_else(|| Wrong::Unknown(key.clone()))?;
        let flag = format!("--{key}");
        if matches!(option.get_action(), ArgAction::SetTrue) {
            match value {
                Value::Boolean(true) => arguments.push(flag),
                Value::Boolean(false) => {}
                _ => return Err(Wrong::Expected(key.clone(), "true or false")),
            }
            continue;
        }
        for text in texts(key, value)? {
            // In one, so that a value may begin with anything.
            arguments.push(format!("{flag}={text}"));
        }
    }
    Ok(arguments)
}

/// The values of an option, each as it would be on the command line.
fn texts(key: &str, value: &Value) -> Result<Vec<String>, Wrong> {
    let one = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        // Whether it may be left out is the option's to say.
        Value::Boolean(true) => Ok("*".into()),
        _ => Err(Wrong::Expected(key.to_owned(), "a text, a number, or a list of those")),
    };
    match value {
        Value::Array(values) => values.iter().map(one).collect(),
        // `[env]`, with names and values.
        Value::Table(table) if key == "env" => {
            table.iter().map(|(name, value)| Ok(format!("{name}={}", one(value)?))).collect()
        }
        Value::Boolean(false) => Ok(Vec::new()),
        value => Ok(vec![one(value)?]),
    }
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    fn said(text: &str) -> Result<Vec<String>, String> {
        let command = Command::new("test")
            .arg(Arg::new("dir").long("dir").action(ArgAction::Append))
            .arg(Arg::new("env").long("env").action(ArgAction::Append))
            .arg(Arg::new("config").long("config"))
            .arg(Arg::new("workers").long("workers"))
            .arg(Arg::new("quiet").long("quiet").action(ArgAction::SetTrue));
        let table: Table = text.parse().map_err(|error| Wrong::from(error).to_string())?;
        arguments(&table, &command).map_err(|wrong| wrong.to_string())
    }

    #[test]
    fn a_key_is_an_option() {
        let text = "dir = ['a::b:ro', '-c']\nworkers = 2\nquiet = true\n[env]\nA = 'b=c'\nN = 1";
        assert_eq!(
            said(text).unwrap(),
            ["--dir=a::b:ro", "--dir=-c", "--env=A=b=c", "--env=N=1", "--quiet", "--workers=2"]
        );
        assert_eq!(said("quiet = false").unwrap(), [""; 0]);
        assert_eq!(said("").unwrap(), [""; 0]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(said("wokers = 2").unwrap_err(), "there is no option --wokers");
        assert_eq!(said("config = 'a'").unwrap_err(), "there is no option --config");
        assert_eq!(said("quiet = 1").unwrap_err(), "quiet: expected true or false");
        assert!(said("dir = [['a']]").unwrap_err().contains("expected a text"));
        assert!(said("[dir]\na = 1").is_err());
        assert!(said("dir = ").unwrap_err().contains("line 1"), "{:?}", said("dir = "));
    }
}
