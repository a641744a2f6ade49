//! Who is at the other end: its program and its parents, as the kernel tells it.
//!
//! A label, not a boundary (ATTACKS, tier T0): a program of the same user can start whatever it likes.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// How many parents are followed.
const MAX_CHAIN: usize = 32;
/// How much of a command line is read.
const MAX_COMMAND: usize = 16 * 1024;
/// How long one shown text may get, in characters.
const MAX_SHOWN: usize = 300;

/// A process that speaks to the control socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its process id, where the platform tells it.
    pub pid: Option<u32>,
    /// Its user.
    pub uid: u32,
    /// Its program and its parents' programs, itself first.
    pub chain: Vec<Program>,
}

/// One process of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Program {
    /// The program file; the kernel's short name in brackets where the file can't be seen.
    pub exe: String,
    /// What an interpreter runs, as an absolute path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// The package that the script belongs to (`node_modules/NAME`, `python -m NAME`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
}

impl Peer {
    /// The process with this id, as far as it can be seen.
    #[must_use]
    pub fn of(pid: Option<u32>, uid: u32) -> Self {
        Self { pid, uid, chain: pid.map(chain).unwrap_or_default() }
    }

    /// Whether the peer or one of its parents is this program, named by its file, its script or its package.
    #[must_use]
    pub fn runs(&self, program: &str) -> bool {
        let program = canonical(Path::new(program)).unwrap_or_else(|| program.to_owned());
        self.chain.iter().any(|link| {
            link.exe == program
                || link.script.as_deref() == Some(program.as_str())
                || link.package.as_deref() == Some(program.as_str())
        })
    }

    /// For people: one line a process, the peer first.
    #[must_use]
    pub fn describe(&self) -> Vec<String> {
        self.chain.iter().map(ToString::to_string).collect()
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.exe.clone();
        if let Some(script) = &self.script {
            text.push(' ');
            text.push_str(script);
        }
        if let Some(package) = &self.package {
            text.push_str(" (");
            text.push_str(package);
            text.push(')');
        }
        f.write_str(&text.chars().take(MAX_SHOWN).collect::<String>())
    }
}

/// The programs of a process and of its parents, one line each, itself first; empty where the platform has no `/proc`.
#[must_use]
pub fn parent_chain(pid: u32) -> Vec<String> {
    chain(pid).iter().map(ToString::to_string).collect()
}

fn chain(pid: u32) -> Vec<Program> {
    let mut links = Vec::new();
    let mut next = Some(pid);
    while let Some(pid) = next.filter(|pid| *pid > 0 && links.len() < MAX_CHAIN) {
        let Some((name, parent)) = stat(pid) else { break };
        links.push(program(pid, &name));
        next = Some(parent);
    }
    links
}

/// A process's short name and its parent. The name may contain anything, also `)`.
fn stat(pid: u32) -> Option<(String, u32)> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let (before, after) = text.rsplit_once(')')?;
    let name = before.split_once('(')?.1.to_owned();
    let parent = after.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some((name, parent))
}

fn program(pid: u32, name: &str) -> Program {
    let exe = std::fs::read_link(format!("/proc/{pid}/exe")).ok().map(|path| path.to_string_lossy().into_owned());
    let Some(exe) = exe else { return Program { exe: format!("[{name}]"), ..Program::default() } };
    if !is_interpreter(&exe) {
        return Program { exe, ..Program::default() };
    }
    let arguments = arguments(pid);
    let here = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
    let (script, package) = interpreted(&arguments, &here);
    Program { exe, script, package }
}

fn arguments(pid: u32) -> Vec<String> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let read = std::fs::File::open(format!("/proc/{pid}/cmdline"))
        .and_then(|file| file.take(MAX_COMMAND as u64).read_to_end(&mut bytes));
    if read.is_err() {
        return Vec::new();
    }
    let text = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
    text.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}

fn is_interpreter(exe: &str) -> bool {
    let name = exe.rsplit('/').next().unwrap_or(exe).trim_end_matches(" (deleted)");
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    matches!(
        stem,
        "python"
            | "node"
            | "nodejs"
            | "deno"
            | "bun"
            | "ruby"
            | "perl"
            | "php"
            | "lua"
            | "java"
            | "bash"
            | "dash"
            | "sh"
            | "zsh"
            | "fish"
            | "ksh"
    )
}

/// What an interpreter runs: the script as an absolute path, and the package that it belongs to.
fn interpreted(arguments: &[String], here: &Path) -> (Option<String>, Option<String>) {
    let mut rest = arguments.iter().skip(1);
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "-m" => return (None, rest.next().cloned()),
            "-c" | "-e" | "--eval" | "-p" | "--print" => return (None, None),
            "-W" | "-X" | "-r" | "--require" | "--import" | "--loader" | "-cp" | "-classpath" => {
                rest.next();
            }
            "-jar" | "run" | "--" => {}
            option if option.starts_with('-') => {}
            script => {
                let path = here.join(script);
                let script = canonical(&path).unwrap_or_else(|| path.to_string_lossy().into_owned());
                let package = node_package(&script);
                return (Some(script), package);
            }
        }
    }
    (None, None)
}

/// `/a/node_modules/@scope/name/x.js` belongs to `@scope/name`: the innermost one.
fn node_package(script: &str) -> Option<String> {
    let (_, inside) = script.rsplit_once("/node_modules/")?;
    let mut parts = inside.split('/');
    let first = parts.next()?;
    match first.starts_with('@') {
        true => Some(format!("{first}/{}", parts.next()?)),
        false => Some(first.to_owned()),
    }
}

fn canonical(path: &Path) -> Option<String> {
    path.is_absolute()
        .then(|| std::fs::canonicalize(path).ok())
        .flatten()
        .map(|path: PathBuf| path.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[track_caller]
    fn check(arguments: &[&str], script: Option<&str>, package: Option<&str>) {
        let arguments: Vec<String> = arguments.iter().map(|part| (*part).to_owned()).collect();
        let (found, of) = interpreted(&arguments, Path::new("/nowhere"));
        assert_eq!((found.as_deref(), of.as_deref()), (script, package));
    }

    #[test]
    fn an_interpreter_is_what_it_runs() {
        check(&["python3", "agent.py", "--fast"], Some("/nowhere/agent.py"), None);
        check(&["python3", "-u", "/opt/a.py"], Some("/opt/a.py"), None);
        check(&["python3", "-X", "dev", "-m", "mailbot", "x"], None, Some("mailbot"));
        check(&["python3", "-c", "import os"], None, None);
        check(
            &["node", "/opt/node_modules/@acme/claw/bin/claw.js"],
            Some("/opt/node_modules/@acme/claw/bin/claw.js"),
            Some("@acme/claw"),
        );
        check(
            &["node", "/o/node_modules/a/node_modules/b/x.js"],
            Some("/o/node_modules/a/node_modules/b/x.js"),
            Some("b"),
        );
        check(&["bash"], None, None);
    }

    #[test]
    fn interpreters_are_known_by_name_with_any_version() {
        for exe in ["/usr/bin/python3.12", "/usr/bin/node", "/bin/bash", "/usr/bin/perl5.36"] {
            assert!(is_interpreter(exe), "{exe}");
        }
        for exe in ["/usr/bin/cargo", "/opt/pythonic", "/usr/bin/nodejs-agent"] {
            assert!(!is_interpreter(exe), "{exe}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_itself_first_and_its_parents_after() {
        let peer = Peer::of(Some(std::process::id()), 0);
        let own = std::env::current_exe().unwrap().canonicalize().unwrap();
        assert_eq!(peer.chain.first().unwrap().exe, own.to_string_lossy());
        assert!(peer.chain.len() > 1 && peer.chain.len() <= MAX_CHAIN);
        assert!(peer.runs(&own.to_string_lossy()));
        assert!(!peer.runs("/usr/bin/somebody-else"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_that_is_gone_has_no_chain() {
        assert!(Peer::of(Some(u32::MAX - 1), 0).chain.is_empty());
    }
}
