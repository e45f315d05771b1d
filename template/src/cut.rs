//! Takes out of Rust code, as rustfmt writes it, what stands under a cargo feature.

/// Code without what stands under the feature, and the modules that it declared there.
pub fn cut(code: &str, feature: &str) -> (String, Vec<String>) {
    let attribute = attribute(feature);
    let mut lines: Vec<&str> = code.lines().collect();
    let mut modules = Vec::new();
    while let Some(at) = lines.iter().position(|line| line.trim() == attribute) {
        let (start, end) = item(&lines, at);
        let taken: Vec<&str> = lines.drain(start..end).collect();
        modules.extend(taken.iter().filter_map(|line| module(line)).map(str::to_owned));
    }
    let mut code = lines.join("\n") + "\n";
    while let Some(shorter) = without_parameter(&code, &attribute) {
        code = shorter;
    }
    (code, modules)
}

/// Whether a file as a whole is under the feature.
pub fn is_whole(code: &str, feature: &str) -> bool {
    let attribute = attribute(feature).replacen('#', "#!", 1);
    code.lines().any(|line| line == attribute)
}

fn attribute(feature: &str) -> String {
    format!("#[cfg(feature = \"{feature}\")]")
}

/// The lines of the item, statement, field or match arm that has an attribute in the line `at`: from its
/// first comment or attribute to its end.
fn item(lines: &[&str], at: usize) -> (usize, usize) {
    let line = |index: usize| lines.get(index).copied().unwrap_or_default();
    let depth = indentation(line(at));
    let belongs = |index: usize| {
        let text = line(index).trim_start();
        indentation(line(index)) == depth && (text.starts_with("//") || text.starts_with("#["))
    };
    let start = (0..at).rev().take_while(|it| belongs(*it)).last().unwrap_or(at);
    let first = (at..lines.len()).find(|it| !belongs(*it)).unwrap_or(at);
    let mut end = first + 1;
    // More of it stands deeper, up to a line that closes it, if there is one.
    for index in first + 1..lines.len() {
        let text = line(index).trim();
        let deeper = indentation(line(index)) > depth;
        let beside = indentation(line(index)) == depth;
        let closes = beside && text.starts_with(['}', ')', ']']);
        let opens = beside && (text == "{" || closes && text.ends_with(['{', '(', '[']));
        if text.is_empty() {
            continue;
        } else if deeper || opens {
            end = index + 1;
        } else {
            end = if closes { index + 1 } else { end };
            break;
        }
    }
    // Of two empty lines around it, one goes too.
    let is_between = start == 0 || line(start - 1).trim().is_empty();
    (start, if is_between && line(end).trim().is_empty() { end + 1 } else { end })
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The name in a line `mod name;`.
fn module(line: &str) -> Option<&str> {
    line.trim().trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';')
}

/// Code without the first parameter that has the attribute, in the same line as others.
fn without_parameter(code: &str, attribute: &str) -> Option<String> {
    let (before, after) = code.split_once(attribute)?;
    let end = after.find([',', ')', '\n'])?;
    let (_, rest) = after.split_at_checked(end)?;
    match rest.strip_prefix(',') {
        Some(rest) => Some(before.to_owned() + rest),
        None => Some(before.trim_end().trim_end_matches(',').to_owned() + rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_under_the_feature_goes_and_all_else_stays() {
        let code = r#"
use a;
#[cfg(feature = "x")]
use b;

/// Told.
#[cfg(feature = "x")]
#[derive(Debug)]
pub struct B {
    b: u8,
}

#[cfg(feature = "x")]
pub mod whole;
#[cfg(feature = "y")]
mod other;

fn c(a: u8, #[cfg(feature = "x")] b: u8) -> u8 {
    let all = &[
        a,
        #[cfg(feature = "x")]
        b,
    ];
    #[cfg(feature = "x")]
    if let Some(b) = b
        && b > 1
    {
        return b;

    } else {
        drop(b);
    }
    match a {
        // Told too.
        #[cfg(feature = "x")]
        1 => {
            b
        }
        #[cfg(feature = "x")]
        2 => b,
        _ => all,
    }
}

trials! {
    #[cfg(feature = "y")]
    #[cfg(feature = "x")]
    one: a,
        b;
    two: c;
}
"#;
        let left = r#"
use a;

#[cfg(feature = "y")]
mod other;

fn c(a: u8) -> u8 {
    let all = &[
        a,
    ];
    match a {
        _ => all,
    }
}

trials! {
    two: c;
}
"#;
        assert_eq!(cut(code, "x"), (left.to_owned(), vec!["whole".to_owned()]));
        assert_eq!(cut(left, "x").0, left);
    }

    #[test]
    fn a_file_may_be_under_it_as_a_whole() {
        assert!(is_whole("//! A\n\n#![cfg(feature = \"x\")]\n", "x"));
        assert!(!is_whole("#[cfg(feature = \"x\")]\nmod y;\n", "x"));
    }
}
