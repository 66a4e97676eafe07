//! Finds a similar name for one that does not exist.
//!
//! Names are compared by the number of characters to insert, remove or replace to turn one into the other.
//! First, names of the same namespace are compared; then all names as a whole, and the same name in other
//! namespaces, because the namespace may be wrong too.

/// The names of a host function: of its module, and of its field.
type Names<'a> = (&'a str, &'a str);

/// The longest name that is compared, in bytes. Host functions have shorter names.
const MAX_LENGTH: usize = 128;

/// Returns the most similar of these names, if one is similar; the first in alphabetical order if there are
/// several.
pub fn nearest<'a>((module, name): Names<'_>, known: &[Names<'a>]) -> Option<Names<'a>> {
    if module.len().max(name.len()) > MAX_LENGTH {
        return None;
    }
    let best = |distance: &dyn Fn(Names<'a>) -> Option<usize>| {
        let near = known.iter().filter_map(|&names| Some((distance(names)?, names)));
        near.min().map(|(_, names)| names)
    };
    let limit = limit(name);
    let here = best(&|(other_module, other)| {
        Some(distance(name, other)).filter(|&distance| other_module == module && distance <= limit)
    });
    here.or_else(|| {
        best(&|(other_module, other)| {
            let modules = distance(module, other_module);
            let together = modules + distance(name, other);
            (together <= limit || other == name).then_some(together)
        })
    })
}

/// Returns the largest distance that counts as similar: a third of the name's length, and at least one.
fn limit(name: &str) -> usize {
    name.len().max(3) / 3
}

/// Returns the Levenshtein distance, computed row by row.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let exchanged = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = exchanged.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edit_distances_count_characters() {
        for (a, b, expected) in [
            ("", "", 0),
            ("a", "", 1),
            ("", "ab", 2),
            ("abc", "abc", 0),
            ("sleep", "sleeep", 1),
            ("sleep", "slep", 1),
            ("send", "sent", 1),
            ("kitten", "sitting", 3),
            ("größe", "grösse", 2),
        ] {
            assert_eq!((distance(a, b), distance(b, a)), (expected, expected), "{a} {b}");
        }
    }

    #[test]
    fn similar_names_are_found_in_the_namespace_first() {
        let known = [("a::one", "send"), ("a::one", "sleep_ms"), ("a::two", "sleep"), ("a::two", "receive")];
        let of = |module, name| nearest((module, name), &known);
        assert_eq!(of("a::one", "sleeep_ms"), Some(("a::one", "sleep_ms")));
        assert_eq!(of("a::one", "sent"), Some(("a::one", "send")));
        assert_eq!(of("a::one", "receive"), Some(("a::two", "receive")), "the same name elsewhere");
        assert_eq!(of("elsewhere", "receive"), Some(("a::two", "receive")));
        assert_eq!(of("b::one", "sleep_mz"), Some(("a::one", "sleep_ms")));
        assert_eq!(of("a::one", "slip"), None);
        assert_eq!(of("env", "exit"), None);
        let known = [("a::one", "send_to"), ("b::one", "send_it")];
        let found = nearest(("a::one", "send_it"), &known);
        assert_eq!(found, Some(("a::one", "send_to")), "the namespace comes first");
        assert_eq!(of("a::one", &"x".repeat(MAX_LENGTH + 1)), None);
    }
}
