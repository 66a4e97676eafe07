//! Reads options from a TOML file.
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
//! A key is an option's name, a list is an option given several times, `true` an option without a value. The options become
//! arguments in front of those on the command line, so only one place defines what options mean. For an option with one
//! value, the command line takes precedence; for an option with several, the values of both count.

use std::path::Path;

use clap::{ArgAction, Command};
use toml::{Table, Value};

use crate::report::Failure;

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// An error in a file of options.
#[derive(Debug, thiserror::Error)]
enum Wrong {
    #[error(transparent)]
    Unreadable(#[from] std::io::Error),
    #[error("the file has more than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("line {line}: {message}")]
    Malformed { line: usize, message: String },
    #[error("there is no option --{0}")]
    Unknown(String),
    #[error("{0}: expected {1}")]
    Expected(String, &'static str),
}

/// The arguments that a file describes, for a command with these options.
///
/// # Errors
/// If the file cannot be read, is not TOML, names an unknown option, or gives one a value of the wrong type. The command's own
/// parser checks the values.
pub fn options_from_file(path: &Path, command: &Command) -> Result<Vec<String>, Failure> {
    read(path)
        .and_then(|table| arguments(&table, command))
        .map_err(|wrong| Failure::new(path, "stdin", wrong))
}

fn read(path: &Path) -> Result<Table, Wrong> {
    let file = std::fs::File::open(path)?;
    let mut text = String::new();
    // One byte beyond the limit is read, to distinguish a file of that size from a larger one.
    if std::io::Read::read_to_string(&mut std::io::Read::take(file, MAX_BYTES + 1), &mut text)? as u64
        > MAX_BYTES
    {
        return Err(Wrong::TooLarge);
    }
    parse(&text)
}

/// Parses the text of a file. The error is a single line: the message of the parser spans several.
fn parse(text: &str) -> Result<Table, Wrong> {
    text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        Wrong::Malformed {
            line: before.matches('\n').count() + 1,
            message: error.message().replace('\n', "; "),
        }
    })
}

fn arguments(table: &Table, command: &Command) -> Result<Vec<String>, Wrong> {
    let mut arguments = Vec::new();
    for (key, value) in table {
        // The command defines which options exist and whether they have values; a file cannot name another file.
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
            // As one argument, so that a value may begin with a dash.
            arguments.push(format!("{flag}={text}"));
        }
    }
    Ok(arguments)
}

/// The values of an option, each as it would be written on the command line.
fn texts(key: &str, value: &Value) -> Result<Vec<String>, Wrong> {
    let one = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        // `true` is a missing value; the command's parser knows whether the option allows that.
        Value::Boolean(true) => Ok("*".into()),
        _ => Err(Wrong::Expected(key.to_owned(), "a string, a number, or a list of these")),
    };
    match value {
        Value::Array(values) => values.iter().map(one).collect(),
        // A table `[env]` contains names and values.
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

    fn arguments_of(text: &str) -> Result<Vec<String>, String> {
        let command = Command::new("test")
            .arg(Arg::new("dir").long("dir").action(ArgAction::Append))
            .arg(Arg::new("env").long("env").action(ArgAction::Append))
            .arg(Arg::new("config").long("config"))
            .arg(Arg::new("workers").long("workers"))
            .arg(Arg::new("quiet").long("quiet").action(ArgAction::SetTrue));
        let table = parse(text).map_err(|wrong| wrong.to_string())?;
        arguments(&table, &command).map_err(|wrong| wrong.to_string())
    }

    #[test]
    fn keys_become_options() {
        let text = "dir = ['a::b:ro', '-c']\nworkers = 2\nquiet = true\n[env]\nA = 'b=c'\nN = 1";
        assert_eq!(
            arguments_of(text).unwrap(),
            ["--dir=a::b:ro", "--dir=-c", "--env=A=b=c", "--env=N=1", "--quiet", "--workers=2"]
        );
        assert_eq!(arguments_of("quiet = false").unwrap(), [""; 0]);
        assert_eq!(arguments_of("").unwrap(), [""; 0]);
    }

    #[test]
    fn errors_name_the_option_or_the_line() {
        assert_eq!(arguments_of("wokers = 2").unwrap_err(), "there is no option --wokers");
        assert_eq!(arguments_of("config = 'a'").unwrap_err(), "there is no option --config");
        assert_eq!(arguments_of("quiet = 1").unwrap_err(), "quiet: expected true or false");
        assert!(arguments_of("dir = [['a']]").unwrap_err().contains("expected a string"));
        assert!(arguments_of("[dir]\na = 1").is_err());
        let malformed = arguments_of("quiet = true\ndir = 64MiB").unwrap_err();
        assert!(malformed.starts_with("line 2: ") && !malformed.contains('\n'), "{malformed}");
    }
}
