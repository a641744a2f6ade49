//! What the engine's process does for itself before it holds a secret (ATTACKS 6 and 8).
//!
//! Defence in depth, not a boundary: whoever starts a program of the same user has already run code of his own beside it.

/// Makes the process unreadable for other programs of the same user and keeps its memory out of core dumps. Returns what did not work, for the person.
#[cfg(target_os = "linux")]
pub(crate) fn process() -> Vec<String> {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

    let mut warnings = Vec::new();
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        warnings.push(format!("other programs of yours may be able to read the engine's memory: {error}"));
    }
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }) {
        warnings.push(format!("a crash may leave the engine's memory in a core file: {error}"));
    }
    warnings
}

/// Other platforms protect a process's memory from other programs by themselves.
#[cfg(not(target_os = "linux"))]
pub(crate) fn process() -> Vec<String> {
    Vec::new()
}

/// Starts this program again without the variables that make the loader run somebody else's code inside it. Returns what the
/// person should know.
#[cfg(unix)]
pub(crate) fn environment() -> Vec<String> {
    use std::os::unix::process::CommandExt;

    let before = std::env::var(REMOVED).unwrap_or_default();
    let before: Vec<&str> = before.split(',').filter(|name| LOADER.contains(name)).collect();
    let found: Vec<&str> = LOADER.iter().copied().filter(|name| std::env::var_os(name).is_some()).collect();
    if found.is_empty() {
        return before.iter().map(|name| format!("{name} was set and has been removed from the environment")).collect();
    }
    if found.iter().any(|name| before.contains(name)) {
        return vec![format!(
            "something sets {} again and again; foreign code may run inside the engine",
            found.join(", ")
        )];
    }
    let Ok(program) = std::env::current_exe() else { return vec![format!("{} is set", found.join(", "))] };
    let mut command = std::process::Command::new(program);
    command.args(std::env::args_os().skip(1)).env(REMOVED, found.join(","));
    for name in &found {
        command.env_remove(name);
    }
    let error = command.exec();
    vec![format!("could not start again without {}: {error}", found.join(", "))]
}

/// Elsewhere no variable loads foreign code into a program.
#[cfg(not(unix))]
pub(crate) fn environment() -> Vec<String> {
    Vec::new()
}

#[cfg(unix)]
const REMOVED: &str = "LATCH_REMOVED";

#[cfg(unix)]
const LOADER: &[&str] =
    &["LD_PRELOAD", "LD_AUDIT", "LD_LIBRARY_PATH", "GCONV_PATH", "DYLD_INSERT_LIBRARIES", "DYLD_LIBRARY_PATH"];
