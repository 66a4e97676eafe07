//! Reports errors to the user.
//!
//! An error is one line: `COMMAND: error: PATH: what is wrong`. Paths and messages can contain names from a file. Their control
//! characters are escaped, so that a name cannot move the cursor, change colours or begin a line that looks like another
//! message.

use std::fmt::{Display, Write};
use std::path::Path;
use std::process::ExitCode;

/// The exit status for a file that cannot be used, and for failing input and output. Wrong usage has clap's status 2.
const UNUSABLE: u8 = 1;

/// An error, and the file that it concerns.
#[derive(Debug)]
pub struct Failure {
    /// The file as given on the command line, or `stdin`, `stdout`.
    pub place: String,
    /// The error.
    pub cause: Box<dyn std::error::Error>,
}

impl Failure {
    /// A failure with a file, or with a standard stream if the path is `-`.
    pub fn new(path: &Path, stream: &str, cause: impl Into<Box<dyn std::error::Error>>) -> Failure {
        let place = if path == Path::new("-") { stream.to_owned() } else { path.display().to_string() };
        Failure { place, cause: cause.into() }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", escape(&self.place), escape(&self.cause.to_string()))
    }
}

/// Prints a failure and returns its exit status.
pub fn fail(command: &str, failure: &Failure) -> ExitCode {
    eprintln!("{command}: error: {failure}");
    ExitCode::from(UNUSABLE)
}

/// Returns the text as one line, with its control characters escaped.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || is_invisible_format(character) {
            write!(escaped, "{}", character.escape_default()).expect("writing to a string does not fail");
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Whether a character is not a control character and still changes how a line is displayed: line separators, and marks that
/// change the direction of text.
fn is_invisible_format(character: char) -> bool {
    matches!(character, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_is_unchanged() {
        assert_eq!(escape("größe: \"x\" in 'y'"), "größe: \"x\" in 'y'");
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(escape("a\nb\x1b[31m\u{7f}\u{9b}"), "a\\nb\\u{1b}[31m\\u{7f}\\u{9b}");
        assert_eq!(escape("user\u{202e}exe"), "user\\u{202e}exe");
    }

    #[test]
    fn a_dash_is_reported_as_the_stream() {
        let failure = Failure::new(Path::new("-"), "stdin", "broken\n");
        assert_eq!(failure.to_string(), "stdin: broken\\n");
    }
}
