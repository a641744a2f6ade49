//! Rules about one file at a time.

/// A rule, and the proof that it works.
pub struct Rule {
    /// For the complaint.
    pub name: &'static str,
    /// Path and text to complaints with their lines.
    pub check: fn(&str, &str) -> Vec<(usize, String)>,
    /// A path and a text that it must complain about.
    pub offence: (&'static str, &'static str),
    /// A path and a text that it must not complain about.
    pub innocent: (&'static str, &'static str),
}

/// All of them.
pub const RULES: &[Rule] = &[
    Rule {
        name: "no file is longer than 700 lines",
        check: length,
        offence: ("src-tauri/src/a.rs", LONG),
        innocent: ("Cargo.lock", LONG),
    },
    Rule {
        name: "nothing is left for later",
        check: later,
        offence: ("ui/src/a.ts", concat!("// TO", "DO: think")),
        innocent: ("ui/src/a.ts", concat!("const method = \"todos\"; const task = \"VTO", "DO\";")),
    },
    Rule {
        name: "no path of somebody's machine",
        check: machine_paths,
        offence: ("tests/a.rs", concat!("let home = \"/ro", "ot/.cargo\";")),
        innocent: ("tests/a.rs", "let path = \"/gmail/v1/users/me/homework\";"),
    },
    Rule {
        name: "names say what a thing is",
        check: names,
        offence: ("src-tauri/crates/core/src/a.rs", concat!("pub struct Account", "Manager;")),
        innocent: ("src-tauri/crates/core/src/a.rs", "pub struct Grant; // the Service Worker\nlet service = 1;"),
    },
    Rule {
        name: "only the tray names tauri",
        check: tauri,
        offence: ("src-tauri/crates/cli/src/a.rs", concat!("use tau", "ri::Manager;")),
        innocent: ("src-tauri/src/a.rs", concat!("use tau", "ri::AppHandle;")),
    },
    Rule {
        name: "one file of the windows imports Tauri's API",
        check: tauri_api,
        offence: ("ui/src/confirm/a.ts", concat!("import { invoke } from \"@tau", "ri-apps/api/core\";")),
        innocent: ("ui/src/backend/tauri.ts", concat!("import { invoke } from \"@tau", "ri-apps/api/core\";")),
    },
    Rule {
        name: "the core is pure",
        check: purity,
        offence: ("src-tauri/crates/core/src/a.rs", "use std::collections::BTreeMap;\nuse std::fs::File;"),
        innocent: ("src-tauri/crates/daemon/src/a.rs", "use std::fs::File;"),
    },
    Rule {
        name: "the daemon's walls",
        check: walls,
        offence: ("src-tauri/crates/daemon/src/vault/keyring.rs", "fn a() { crate::runtime::start(); }"),
        innocent: ("src-tauri/crates/daemon/src/upstream/mod.rs", "use crate::vault::Credential;"),
    },
    Rule {
        name: "lock files name no host",
        check: hosts,
        offence: ("ui/package-lock.json", "  \"resolved\": \"https://packages.example/a.tgz\","),
        innocent: ("ui/package.json", "  \"resolved\": true"),
    },
    Rule {
        name: "wildcard arms are not for our own enums' classes",
        check: class_wildcards,
        offence: ("src-tauri/crates/core/src/a.rs", "match class {\n    Class::Read => 1,\n    _ => 2,\n}"),
        innocent: ("src-tauri/crates/core/src/a.rs", "match class {\n    Class::Read => 1,\n    Class::Send => 2,\n}"),
    },
];

const LONG: &str = {
    const BYTES: [u8; 701] = [b'\n'; 701];
    match std::str::from_utf8(&BYTES) {
        Ok(text) => text,
        Err(_) => "",
    }
};

fn is_source(path: &str) -> bool {
    let extensions = [".rs", ".ts", ".svelte", ".css", ".html", ".py", ".mjs", ".js", ".cedar", ".sh", ".sql"];
    extensions.iter().any(|extension| path.ends_with(extension)) || path == ".ci/run"
}

/// Unit tests in files of their own play the outside world, in its own words.
fn is_test(path: &str) -> bool {
    path.contains("/src/") && (path.ends_with("/tests.rs") || path.contains("/tests/"))
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

fn length(path: &str, text: &str) -> Vec<(usize, String)> {
    let count = text.lines().count();
    if is_source(path) && count > 700 { vec![(count, format!("{count} lines"))] } else { Vec::new() }
}

fn later(path: &str, text: &str) -> Vec<(usize, String)> {
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("todo", "!("), concat!("unimple", "mented!(")];
    if !is_source(path) {
        return Vec::new();
    }
    // RFC 5545's word for a task is none of ours.
    containing(&text.replace(concat!("VTO", "DO"), ""), &words)
}

fn machine_paths(path: &str, text: &str) -> Vec<(usize, String)> {
    if path == "Cargo.lock" || path.ends_with("package-lock.json") {
        return Vec::new();
    }
    let places = [
        concat!("/wo", "rk/wt"),
        concat!("/wo", "rk/main"),
        concat!("/wo", "rk/shared"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/Us", "ers/"),
        concat!("C:\\Us", "ers"),
        concat!("/opt/", "hostedtoolcache"),
    ];
    // Made-up persons, and Gmail's own path in odd case.
    let made_up = [concat!("/ho", "me/alice"), concat!("/Us", "ers/me/")];
    let found = containing(text, &places);
    found.into_iter().filter(|(_, line)| !made_up.iter().any(|path| line.contains(path))).collect()
}

fn containing(text: &str, words: &[&str]) -> Vec<(usize, String)> {
    let offends = |line: &str| words.iter().any(|word| line.contains(word));
    lines(text).filter(|(_, line)| offends(line)).map(|(number, line)| (number, line.trim().to_owned())).collect()
}

fn names(path: &str, text: &str) -> Vec<(usize, String)> {
    let vague = ["Manager", "Service", "Helper", "Util", "Utils"];
    if is_test(path) {
        return Vec::new();
    }
    let file = path.rsplit('/').next().unwrap_or(path).split('.').next().unwrap_or_default();
    let mut found = Vec::new();
    if is_source(path)
        && vague.iter().any(|word| file.eq_ignore_ascii_case(word) || file.eq_ignore_ascii_case(&format!("{word}s")))
    {
        found.push((1, file.to_owned()));
    }
    let kinds = ["struct ", "enum ", "trait ", "type ", "class ", "interface ", "union "];
    for (number, line) in lines(text).filter(|_| is_source(path)) {
        let code = line
            .trim_start()
            .trim_start_matches("export ")
            .trim_start_matches("pub ")
            .trim_start_matches("pub(crate) ");
        let Some(rest) = kinds.iter().find_map(|kind| code.strip_prefix(kind)) else { continue };
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if vague.iter().any(|word| name.ends_with(word) || name.starts_with(word)) {
            found.push((number, name));
        }
    }
    found
}

fn tauri(path: &str, text: &str) -> Vec<(usize, String)> {
    let is_trays = path.starts_with("src-tauri/") && !path.starts_with("src-tauri/crates/");
    if is_trays || !path.ends_with(".rs") {
        return Vec::new();
    }
    containing(text, &[concat!("tau", "ri::"), concat!("use tau", "ri")])
}

fn tauri_api(path: &str, text: &str) -> Vec<(usize, String)> {
    let is_window = path.starts_with("ui/src/") || path.starts_with("ui/test/");
    if !is_window || path == "ui/src/backend/tauri.ts" {
        return Vec::new();
    }
    containing(text, &[concat!("@tau", "ri-apps/")])
}

fn purity(path: &str, text: &str) -> Vec<(usize, String)> {
    if !path.starts_with("src-tauri/crates/core/src/") {
        return Vec::new();
    }
    let impure = [
        "std::fs",
        "std::net",
        "std::env",
        "std::process",
        "std::thread",
        "std::time::Instant",
        "SystemTime",
        "Instant::now",
        "tokio",
        "getrandom",
        "rand::",
        "println!",
    ];
    containing(text, &impure)
}

/// Which modules of the daemon may name which siblings. Doors, control socket and owner channel reach the runtime through
/// traits of their own, so that nothing but the runtime and what it is put together from names it.
const WALLS: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("net", &[]),
    ("vault", &[]),
    ("store", &["clock"]),
    ("confirm", &[]),
    ("control", &[]),
    ("upstream", &["vault", "net"]),
    ("door", &["upstream", "net"]),
    ("runtime", &["store", "confirm", "upstream", "vault", "net", "clock", "door", "control"]),
];

fn walls(path: &str, text: &str) -> Vec<(usize, String)> {
    let Some(below) = path.strip_prefix("src-tauri/crates/daemon/src/").filter(|_| !is_test(path)) else {
        return Vec::new();
    };
    let module = below.split(['/', '.']).next().unwrap_or_default();
    let Some((_, allowed)) = WALLS.iter().find(|(name, _)| *name == module) else { return Vec::new() };
    let mut found = Vec::new();
    for (number, line) in lines(text) {
        for named in siblings(line) {
            let is_module = WALLS.iter().any(|(name, _)| *name == named);
            if is_module && named != module && !allowed.contains(&named) {
                found.push((number, format!("{module} names {named}")));
            }
        }
    }
    found
}

fn siblings(line: &str) -> impl Iterator<Item = &str> {
    line.split("crate::")
        .skip(1)
        .map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default())
}

fn hosts(path: &str, text: &str) -> Vec<(usize, String)> {
    if !path.ends_with("package-lock.json") {
        return Vec::new();
    }
    containing(text, &["\"resolved\": \"http"])
}

fn class_wildcards(path: &str, text: &str) -> Vec<(usize, String)> {
    let guarded = ["src-tauri/crates/core/src/", "src-tauri/crates/daemon/src/"];
    if !guarded.iter().any(|folder| path.starts_with(folder)) {
        return Vec::new();
    }
    let all: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (index, line) in all.iter().enumerate() {
        let arm = line.trim_start();
        let indent = line.len() - arm.len();
        if !arm.starts_with("_ =>") {
            continue;
        }
        // The arms above it, at the same depth.
        let above = all.get(..index).unwrap_or_default().iter().rev();
        let arms = above.take_while(|line| line.trim().is_empty() || line.len() - line.trim_start().len() >= indent);
        let mut same_depth = arms.filter(|line| line.len() - line.trim_start().len() == indent);
        if same_depth.any(|line| line.trim_start().starts_with("Class::") && line.contains("=>")) {
            found.push((index + 1, "`_ =>` beside `Class::..`".to_owned()));
        }
    }
    found
}
