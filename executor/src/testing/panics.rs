//! Finds panic messages of guests in their standard error.
//!
//! There is no other source: a panic is a few lines of text and then a trap. Rust writes them in two formats:
//!
//! ```text
//! thread 'main' panicked at 'the message', src/lib.rs:1:2          until 1.72
//!
//! thread 'main' (1) panicked at src/lib.rs:1:2:                    from 1.73 on; the number since 1.91
//! the message
//! ```
//!
//! A message may have several lines. Only a note, a backtrace, the runtime's report or the next panic can follow it.

/// The text between the thread's name and the rest.
const PANICKED: &str = " panicked at ";

/// Returns all messages, in their order.
pub(super) fn messages(errors: &str) -> Vec<String> {
    let lines: Vec<&str> = errors.lines().collect();
    let mut messages = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(rest) = after_header(line) else { continue };
        let following = &lines[index + 1..];
        messages.push(match rest.strip_prefix('\'') {
            Some(quoted) => quoted_message(quoted, following),
            None => message(following),
        });
    }
    messages
}

/// Returns the reasons of all traps, in their order.
pub(super) fn traps(errors: &str) -> Vec<String> {
    let reports = errors.lines().filter(|line| is_report(line));
    reports.filter_map(|line| Some(line.split_once(TRAPPED)?.1.to_owned())).collect()
}

/// Returns the text after `thread 'NAME' panicked at `.
fn after_header(line: &str) -> Option<&str> {
    let (thread, rest) = line.strip_prefix("thread '")?.split_once(PANICKED)?;
    let (_, number) = thread.rsplit_once('\'')?;
    let is_number = |text: &str| text.strip_prefix(" (").is_some_and(|text| text.ends_with(')'));
    (number.is_empty() || is_number(number)).then_some(rest)
}

/// Returns the message up to the quote before a location. The message may contain other quotes.
fn quoted_message(first: &str, following: &[&str]) -> String {
    let mut message = String::new();
    for line in [first].iter().chain(following) {
        if let Some((end, place)) = line.rsplit_once("', ")
            && is_place(place)
        {
            return message + end;
        }
        message += line;
        message.push('\n');
    }
    message
}

/// Returns a message of whole lines.
fn message(following: &[&str]) -> String {
    let is_over = |line: &&&str| is_report(line) || is_after_message(line) || after_header(line).is_some();
    let lines: Vec<&str> = following.iter().take_while(|line| !is_over(line)).copied().collect();
    // An empty line precedes a panic.
    lines.join("\n").trim_end_matches('\n').to_owned()
}

/// Returns whether this is `FILE:LINE` or `FILE:LINE:COLUMN`.
fn is_place(text: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.rsplit_once(':').is_some_and(|(file, line)| !file.is_empty() && is_number(line))
}

fn is_after_message(line: &str) -> bool {
    line == "stack backtrace:" || line.starts_with("note: run with `RUST_BACKTRACE=")
}

/// The text before the reason in the runtime's report of a trap.
const TRAPPED: &str = " trapped: ";

/// Returns whether this is the first line of the runtime's report of a trap.
fn is_report(line: &str) -> bool {
    let number = line.strip_prefix("process ").and_then(|rest| rest.split(' ').next());
    line.contains(TRAPPED) && number.is_some_and(|number| number.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_of_today_is_in_the_lines_that_follow() {
        for (errors, expected) in [
            ("thread 'main' panicked at src/lib.rs:1:2:\nfailed\n", "failed"),
            ("\nthread '<unnamed>' (7) panicked at src/lib.rs:1:2:\ntwo\n\nlines\n", "two\n\nlines"),
            (
                "thread 'a' panicked at a.rs:1:2:\nx\nnote: run with `RUST_BACKTRACE=1` environment variable to …\n",
                "x",
            ),
            ("thread 'a' panicked at a.rs:1:2:\nx\nstack backtrace:\n  0: y\n", "x"),
            ("thread 'a' panicked at a.rs:1:2:\nx\nprocess 1 (a::b) trapped: unreachable\n   0: y\n", "x"),
            ("thread 'it's' panicked at a.rs:1:2:\nx\n", "x"),
            ("thread 'a' panicked at a.rs:1:2:\n", ""),
        ] {
            assert_eq!(messages(errors), [expected], "{errors}");
        }
    }

    #[test]
    fn the_old_message_is_quoted() {
        for (errors, expected) in [
            ("thread 'main' panicked at 'failed', src/lib.rs:1:2\n", "failed"),
            ("thread 'main' panicked at 'failed', src/lib.rs:1\n", "failed"),
            ("thread 'main' panicked at 'it's, 'that', b', src/lib.rs:1:2\nmore\n", "it's, 'that', b"),
            ("thread 'main' panicked at 'two\n\nlines', src/lib.rs:1:2\nmore\n", "two\n\nlines"),
            ("thread 'main' panicked at '', src/lib.rs:1:2\n", ""),
        ] {
            assert_eq!(messages(errors), [expected], "{errors}");
        }
    }

    #[test]
    fn each_panic_has_its_message() {
        let errors =
            "x\n\nthread 'a' panicked at a.rs:1:2:\nfirst\n\nthread 'b' panicked at a.rs:1:2:\nsecond\n";
        assert_eq!(messages(errors), ["first", "second"]);
        for no_panic in
            ["", "thread 'a' is well", "it panicked at noon", "thread 'a'b panicked at a.rs:1:2:\nx"]
        {
            assert_eq!(messages(no_panic), [""; 0], "{no_panic}");
        }
    }

    #[test]
    fn a_trap_has_a_reason() {
        let errors = "x\nprocess 1 (a::b) trapped: integer divide by zero\n   0: f\nprocess a trapped: y\n";
        assert_eq!(traps(errors), ["integer divide by zero"]);
    }
}
