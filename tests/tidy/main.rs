//! The house rules of the design, proved on the sources.
//!
//! A rule that looks at one file is a row of [`rules::RULES`] and brings an offence that it must see and an innocent
//! that it must spare. Rules about the whole tree are in [`tree`].

mod providers;
mod rules;
mod tree;

use std::path::PathBuf;
use std::process::Command;

/// A committed text file.
pub struct File {
    /// Below the top, with slashes.
    pub path: String,
    /// What it says.
    pub text: String,
}

/// Every committed or about to be committed text file.
pub fn files() -> Vec<File> {
    let root = latch_tests::paths::workspace();
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(&root)
        .output()
        .expect("git lists the files");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let paths = String::from_utf8(listed.stdout).expect("paths are UTF-8");
    let read = |path: &str| {
        let text = std::fs::read(root.join(path)).ok().and_then(|bytes| String::from_utf8(bytes).ok())?;
        Some(File { path: path.to_owned(), text })
    };
    paths.split('\0').filter(|path| !path.is_empty()).filter_map(read).collect()
}

/// A file below the top.
pub fn path(below: &str) -> PathBuf {
    latch_tests::paths::workspace().join(below)
}

#[test]
fn every_file_keeps_the_rules() {
    let files = files();
    assert!(files.len() > 50, "only {} files were found", files.len());
    let complaints: Vec<String> =
        files.iter().flat_map(|file| rules::RULES.iter().flat_map(move |rule| complaints(rule, file))).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

fn complaints(rule: &rules::Rule, file: &File) -> Vec<String> {
    let found = (rule.check)(&file.path, &file.text);
    found.into_iter().map(|(line, what)| format!("{}:{line}: {}: {what}", file.path, rule.name)).collect()
}

#[test]
fn every_rule_sees_its_offence_and_spares_the_innocent() {
    for rule in rules::RULES {
        let (path, text) = rule.offence;
        assert!(!(rule.check)(path, text).is_empty(), "{} does not see {text:?}", rule.name);
        let (path, text) = rule.innocent;
        assert!((rule.check)(path, text).is_empty(), "{} complains about {text:?}", rule.name);
    }
}
