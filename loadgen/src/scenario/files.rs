//! Payload files of a scenario: patterns to paths, and whether each can be read.

use std::fs;
use std::path::{Path, PathBuf};

/// Largest payload file.
const MOST_BYTES: u64 = 64 << 20;

/// The files that a pattern names, sorted. `*` in the file name stands for anything.
///
/// # Errors
/// What is wrong, and what would be right.
pub(super) fn find(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let path = folder.join(pattern);
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or("names no file; write a path such as payloads/cat.png")?;
    let found = if name.contains('*') { matching(&path, name)? } else { vec![path.clone()] };
    if found.is_empty() {
        return Err(format!("no file matches {}; paths are relative to the scenario file", path.display()));
    }
    found.iter().try_for_each(|file| check(file))?;
    Ok(found)
}

fn matching(path: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|file| file.is_file() && file.file_name().and_then(|n| n.to_str()).is_some_and(|n| matches(pattern, n)))
        .collect();
    files.sort();
    Ok(files)
}

fn check(file: &Path) -> Result<(), String> {
    let metadata =
        fs::metadata(file).map_err(|e| format!("{}: {e}; paths are relative to the scenario file", file.display()))?;
    if !metadata.is_file() {
        return Err(format!("{} is no file; write {}/* for the files in it", file.display(), file.display()));
    }
    if metadata.len() > MOST_BYTES {
        return Err(format!(
            "{} has {} bytes, more than the {MOST_BYTES} a payload may have",
            file.display(),
            metadata.len()
        ));
    }
    Ok(())
}

/// Whether a name matches a pattern in which `*` stands for any number of characters.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, mut rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(head) else { return false };
    while let Some((part, after)) = rest.split_once('*') {
        let Some(at) = name.find(part) else { return false };
        name = &name[at + part.len()..];
        rest = after;
    }
    name.ends_with(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let check = |pattern, name, expected| assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        check("a.png", "a.png", true);
        check("a.png", "b.png", false);
        check("*.png", "a.png", true);
        check("*.png", ".png", true);
        check("*.png", "a.jpg", false);
        check("a*b*c", "aXbYc", true);
        check("a*b*c", "aXc", false);
        check("*", "anything", true);
        check("ab*b", "ab", false);
    }

    #[test]
    fn files_are_found_in_order_and_missing_ones_are_named() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.png", "a.png", "c.jpg"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        let names = |pattern: &str| {
            find(folder.path(), pattern).map(|files| {
                files.iter().map(|f| f.file_name().unwrap().to_str().unwrap().to_owned()).collect::<Vec<_>>()
            })
        };
        assert_eq!(names("*.png").unwrap(), ["a.png", "b.png"]);
        assert_eq!(names("c.jpg").unwrap(), ["c.jpg"]);
        assert!(names("d.png").unwrap_err().contains("relative to the scenario file"));
        assert!(names("*.gif").unwrap_err().contains("no file matches"));
        assert!(names("missing/*.gif").is_err());
        assert!(
            find(folder.path().parent().unwrap(), folder.path().to_str().unwrap()).unwrap_err().contains("is no file")
        );
    }
}
