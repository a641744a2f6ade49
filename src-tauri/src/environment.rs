//! What the starter of the tray may not bring in (ATTACKS 8).
//!
//! Variables that make a program load foreign code, or let a debugger press buttons, are taken out and the program starts
//! itself again without them: the loader has read some of them long before `main`. What a preloaded library did before
//! `main` is beyond reach; that is a limit of tier T0 (an agent unsandboxed as the same user).

use std::ffi::OsString;

/// Carries the names of what was removed to the second start.
const REMOVED: &str = "LATCHSTRING_REMOVED";

/// These make the loader, GTK, GIO, WebKit or WebView2 load or obey what their setter chose.
const HOSTILE: &[&str] = &[
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "LD_AUDIT",
    "LD_DEBUG_OUTPUT",
    "LD_PROFILE",
    "GCONV_PATH",
    "GTK_MODULES",
    "GTK3_MODULES",
    "GTK_PATH",
    "GTK_EXE_PREFIX",
    "GTK_IM_MODULE_FILE",
    "GTK_DEBUG",
    "GIO_EXTRA_MODULES",
    "GIO_MODULE_DIR",
    "GDK_PIXBUF_MODULE_FILE",
    "GDK_PIXBUF_MODULEDIR",
    "GI_TYPELIB_PATH",
    "GST_PLUGIN_PATH",
    "GST_PLUGIN_SYSTEM_PATH",
    "WEBKIT_EXEC_PATH",
    "WEBKIT_INJECTED_BUNDLE_PATH",
    "WEBKIT_INSPECTOR_HTTP_SERVER",
    "DYLD_INSERT_LIBRARIES",
    "DYLD_LIBRARY_PATH",
    "WEBVIEW2_ADDITIONAL_BROWSER_ARGUMENTS",
    "WEBVIEW2_BROWSER_EXECUTABLE_FOLDER",
];

/// These let WebDriver and the inspector in, which only the tests' own build may allow.
const AUTOMATION: &[&str] = &["TAURI_WEBVIEW_AUTOMATION", "WEBKIT_INSPECTOR_SERVER"];

/// Why the program does not start.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// The variables are back although they were removed.
    #[error("{0} is set again after it was removed; something starts this program with it. Unset it and try again")]
    Stubborn(String),
    /// The second start failed.
    #[error("could not start again without {names}: {error}")]
    Restart {
        /// What had to go.
        names: String,
        /// Why.
        error: std::io::Error,
    },
}

/// Starts the program again without hostile variables, if there are any, and makes its memory unreadable for other
/// programs of the same user. Returns the names of what was removed.
pub fn clean() -> Result<Vec<String>, EnvironmentError> {
    let hostile = hostile(std::env::vars_os().map(|(name, _)| name));
    let before: Vec<String> = std::env::var(REMOVED)
        .map(|names| names.split(',').filter(|name| known(name)).map(str::to_owned).collect())
        .unwrap_or_default();
    if hostile.is_empty() {
        harden();
        return Ok(before);
    }
    let names = hostile.join(", ");
    if hostile.iter().any(|name| before.contains(name)) {
        return Err(EnvironmentError::Stubborn(names));
    }
    let error = restart(&hostile);
    Err(EnvironmentError::Restart { names, error })
}

fn hostile(names: impl Iterator<Item = OsString>) -> Vec<String> {
    let mut found: Vec<String> = names.filter_map(|name| name.into_string().ok()).filter(|name| known(name)).collect();
    found.sort();
    found
}

fn known(name: &str) -> bool {
    HOSTILE.contains(&name) || (!cfg!(feature = "e2e") && AUTOMATION.contains(&name))
}

#[cfg(unix)]
fn restart(hostile: &[String]) -> std::io::Error {
    use std::os::unix::process::CommandExt;
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return error,
    };
    let mut command = std::process::Command::new(program);
    command.args(std::env::args_os().skip(1)).env(REMOVED, hostile.join(","));
    for name in hostile {
        command.env_remove(name);
    }
    command.exec()
}

#[cfg(not(unix))]
fn restart(hostile: &[String]) -> std::io::Error {
    let status = std::env::current_exe().and_then(|program| {
        let mut command = std::process::Command::new(program);
        command.args(std::env::args_os().skip(1)).env(REMOVED, hostile.join(","));
        for name in hostile {
            command.env_remove(name);
        }
        command.status()
    });
    match status {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => error,
    }
}

#[cfg(target_os = "linux")]
fn harden() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        eprintln!("latchstring: its memory stays readable for other programs of this user: {error}");
    }
}

#[cfg(not(target_os = "linux"))]
fn harden() {}

/// Whether the windows of this session belong to a Wayland compositor, which lets no program look or listen beyond its own.
pub(crate) fn is_wayland() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value: OsString| !value.is_empty());
    set("WAYLAND_DISPLAY") || std::env::var_os("XDG_SESSION_TYPE").is_some_and(|kind| kind == "wayland")
}

/// Whether there is a screen to show anything on.
#[must_use]
pub fn has_display() -> bool {
    !cfg!(all(unix, not(target_os = "macos")))
        || ["DISPLAY", "WAYLAND_DISPLAY"]
            .iter()
            .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_what_loads_code_or_presses_buttons_is_hostile() {
        let names =
            ["PATH", "LD_PRELOAD", "HOME", "GTK_MODULES", "TAURI_WEBVIEW_AUTOMATION", "WEBKIT_INSPECTOR_SERVER"];
        let found = hostile(names.iter().map(OsString::from));
        if cfg!(feature = "e2e") {
            assert_eq!(found, ["GTK_MODULES", "LD_PRELOAD"]);
        } else {
            assert_eq!(found, ["GTK_MODULES", "LD_PRELOAD", "TAURI_WEBVIEW_AUTOMATION", "WEBKIT_INSPECTOR_SERVER"]);
        }
    }
}
