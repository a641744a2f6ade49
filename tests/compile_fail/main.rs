//! Invariant I1, held by the compiler: outside the core a Lease can't be made, copied, read from somewhere or used twice.
//!
//! Each case names, on its first line, the error that it must fail with, or `compiles`. The cases are compiled against
//! the `latch_core` that cargo built for this very test.

use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn a_lease_cannot_be_made_copied_or_used_twice() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("compile_fail");
    let mut checked = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.ends_with("main.rs") {
            check(&path);
            checked += 1;
        }
    }
    assert!(checked >= 7, "only {checked} cases were found");
}

fn check(case: &Path) {
    let text = std::fs::read_to_string(case).unwrap();
    let expected = text.lines().next().unwrap().trim_start_matches("// ");
    let built = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let scratch = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--edition", "2024", "--crate-type", "lib", "--emit", "metadata", "--extern"])
        .arg(format!("latch_core={}", newest(&built, "liblatch_core-").display()))
        .args(["--extern".to_owned(), format!("serde={}", newest(&built, "libserde-").display())])
        .arg("-L")
        .arg(format!("dependency={}", built.display()))
        .arg("--out-dir")
        .arg(scratch.path())
        .arg(case)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("error[")?.get(..5)).collect();
    if expected == "compiles" {
        assert!(output.status.success(), "{}: {said}", case.display());
    } else {
        assert!(!output.status.success(), "{} compiles", case.display());
        assert_eq!(errors, [expected], "{}: {said}", case.display());
    }
}

/// Several may lie there, built with different features; the newest is the one of this build.
fn newest(folder: &Path, prefix: &str) -> PathBuf {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let libraries = entries.filter(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.starts_with(prefix) && name.ends_with(".rlib")
    });
    libraries.max_by_key(|entry| entry.metadata().unwrap().modified().unwrap()).unwrap().path()
}
