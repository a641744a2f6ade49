//! Rules about the tree as a whole.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::{files, path};

/// Whom each of our packages may name.
const IMPORTS: &[(&str, &[&str])] = &[
    ("latch-core", &[]),
    ("latch-ipc", &[]),
    ("latch-daemon", &["latch-core", "latch-ipc"]),
    ("latch", &["latch-core", "latch-daemon", "latch-ipc"]),
    ("xtask", &["latch-core"]),
    ("latchstring", &["latch-ipc"]),
    ("latch-tests", &["latch-core", "latch-daemon", "latch-ipc"]),
];

/// What may lie at the top.
const TOP: &[&str] = &[
    ".cargo",
    ".ci",
    ".clippy.toml",
    ".config",
    ".deny.toml",
    ".gitignore",
    ".rustfmt.toml",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "icons",
    "src-tauri",
    "tests",
    "ui",
];

/// What `latch` must run without.
const NOT_IN_LATCH: &[&str] =
    &["gtk", "gdk", "webkit", "tauri", "openssl-sys", "native-tls", "wry", "tao", "notify-rust"];

fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(arguments).current_dir(path("")).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn metadata() -> Value {
    serde_json::from_str(&cargo(&["metadata", "--no-deps", "--format-version", "1"])).expect("JSON")
}

/// (who, whom) of every import between our packages that is not allowed.
fn forbidden_imports(metadata: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let allowed = IMPORTS.iter().find(|(who, _)| *who == name).map(|(_, whom)| *whom).unwrap_or_default();
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let whom = dependency["name"].as_str().unwrap_or_default();
            if IMPORTS.iter().any(|(ours, _)| *ours == whom) && !allowed.contains(&whom) {
                found.push((name.to_owned(), whom.to_owned()));
            }
        }
    }
    found
}

#[test]
fn packages_import_only_whom_they_may() {
    let metadata = metadata();
    let names: BTreeSet<&str> =
        metadata["packages"].as_array().into_iter().flatten().filter_map(|package| package["name"].as_str()).collect();
    assert_eq!(
        names,
        IMPORTS.iter().map(|(name, _)| *name).collect(),
        "a package that no rule knows, or one that is gone"
    );
    assert_eq!(forbidden_imports(&metadata), []);
}

#[test]
fn an_import_of_the_tray_is_seen() {
    let metadata = serde_json::json!({ "packages": [
        { "name": "latch-daemon", "dependencies": [{ "name": "latch-core" }, { "name": "latchstring" }, { "name": "serde" }] },
    ] });
    assert_eq!(forbidden_imports(&metadata), [("latch-daemon".to_owned(), "latchstring".to_owned())]);
}

/// The packages of a `cargo tree --prefix none` that a headless program must not have.
fn graphical(tree: &str) -> Vec<&str> {
    let names = tree.lines().filter_map(|line| line.split_whitespace().next());
    let is_banned = |name: &&str| NOT_IN_LATCH.iter().any(|banned| name.starts_with(banned));
    names.filter(is_banned).collect()
}

#[test]
fn latch_has_no_window_library_and_no_openssl() {
    let tree = cargo(&["tree", "-p", "latch", "-e", "normal,build", "--prefix", "none", "--target", "all"]);
    assert!(tree.lines().count() > 100, "{tree}");
    assert_eq!(graphical(&tree), Vec::<&str>::new());
}

#[test]
fn a_window_library_is_seen() {
    assert_eq!(
        graphical("latch v0.1.0\nwebkit2gtk v2.0\nserde v1\nopenssl-sys v0.9\ngtk v0.18"),
        ["webkit2gtk", "openssl-sys", "gtk"]
    );
}

fn strangers<'a>(paths: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
    paths.into_iter().filter_map(|path| path.split('/').next()).filter(|top| !TOP.contains(top)).collect()
}

#[test]
fn the_top_level_is_what_the_design_lists() {
    let files = files();
    assert_eq!(strangers(files.iter().map(|file| file.path.as_str())), BTreeSet::new());
    assert_eq!(strangers(["README.md", "notes.txt", "docs/a.md"]), BTreeSet::from(["docs", "notes.txt"]));
}

/// Whether a manifest takes the workspace's lints.
fn takes_lints(manifest: &str) -> bool {
    let manifest: toml::Table = manifest.parse().expect("a manifest");
    manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool) == Some(true)
}

#[test]
fn everything_that_ships_takes_the_workspaces_lints() {
    for below in [
        "src-tauri",
        "src-tauri/crates/core",
        "src-tauri/crates/daemon",
        "src-tauri/crates/ipc",
        "src-tauri/crates/cli",
    ] {
        let manifest = std::fs::read_to_string(path(below).join("Cargo.toml")).expect("a manifest");
        assert!(takes_lints(&manifest), "{below}");
    }
    assert!(!takes_lints("[package]\nname = \"a\"\n[lints.rust]\nunsafe_code = \"forbid\""));
}

#[test]
fn sqlite_is_ours_and_new_enough() {
    // Older ones can lose a WAL in rare races; the bundled one is what `rusqlite` compiles.
    let version = rusqlite::version_number();
    assert!(version >= 3_051_003, "SQLite {version}");
}
