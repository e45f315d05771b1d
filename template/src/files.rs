//! The files of the project.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What went wrong, in words.
pub type Result<T> = std::result::Result<T, String>;

/// Folders with what is made or fetched, wherever they are.
const NOT_OURS: [&str; 4] = [".git", ".wrangler", "node_modules", "target"];

/// Every file.
pub fn all(folder: &Path) -> Result<Vec<PathBuf>> {
    let told = |error| format!("cannot read {}: {error}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(told)? {
        let entry = entry.map_err(told)?;
        let path = entry.path();
        if NOT_OURS.iter().any(|it| entry.file_name() == *it) {
            continue;
        }
        match entry.file_type().map_err(told)? {
            kind if kind.is_dir() => found.extend(all(&path)?),
            kind if kind.is_file() => found.push(path),
            _ => {}
        }
    }
    Ok(found)
}

/// Every file with this ending.
pub fn with_ending(folder: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let mut files = all(folder)?;
    files.retain(|it| it.extension().is_some_and(|it| it == ending));
    Ok(files)
}

/// Changes a file, if it is text.
pub fn edit(file: &Path, change: impl FnOnce(&str) -> String) -> Result<()> {
    let told = |error| format!("cannot change {}: {error}", file.display());
    let Ok(text) = String::from_utf8(fs::read(file).map_err(told)?) else { return Ok(()) };
    let changed = change(&text);
    if changed == text { Ok(()) } else { fs::write(file, changed).map_err(told) }
}

/// Deletes a file or a folder, which must be there: or else nobody would know that this is out of date.
pub fn delete(path: &Path) -> Result<()> {
    let deleted = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    deleted.map_err(|error| format!("cannot delete {}: {error}", path.display()))
}

/// Makes plain text of each link to a file that is not there any more.
pub fn unlink(root: &Path) -> Result<()> {
    for page in with_ending(root, "md")? {
        let folder = page.parent().unwrap_or(root).to_owned();
        edit(&page, |text| without_dead_links(text, |target| folder.join(target).exists()))?;
    }
    Ok(())
}

fn without_dead_links(text: &str, exists: impl Fn(&str) -> bool) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("](") {
        let end = after.split_once(')');
        let opening = before.rfind('[').and_then(|at| before.split_at_checked(at));
        let (Some((target, behind)), Some((plain, label))) = (end, opening) else {
            kept.push_str(before);
            kept.push_str("](");
            rest = after;
            continue;
        };
        let file = target.split('#').next().unwrap_or_default();
        if file.is_empty() || file.contains("://") || exists(file) {
            kept.push_str(before);
            kept.push_str("](");
            rest = after;
        } else {
            kept.push_str(plain.strip_suffix('!').unwrap_or(plain));
            kept.push_str(label.trim_start_matches('['));
            rest = behind;
        }
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_what_is_gone_becomes_its_text() {
        let text =
            "[a](gone.md#x) [`b`](there.md) [c](https://d.example/gone.md) ![e](gone.png) [f](#g)";
        assert_eq!(
            without_dead_links(text, |target| target == "there.md"),
            "a [`b`](there.md) [c](https://d.example/gone.md) e [f](#g)"
        );
    }
}
