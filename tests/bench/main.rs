//! `cargo xtask bench`: Latchstring beside its peers in one run, rounds alternating, median of ratios, as a Markdown table.
//!
//! Absolute times from a shared machine mean little; the ratios are what counts. Nothing here is a gate.

mod http;
mod imap;
mod journal;
mod peers;
mod pieces;
mod preview;
mod stop;
mod table;

use tokio::runtime::Runtime;

use table::Row;

/// Its name, and what measures it.
type Part = (&'static str, fn(&Runtime) -> Vec<Row>);

/// The parts in the table's order.
const PARTS: [Part; 9] = [
    ("http", |runtime| runtime.block_on(http::rows())),
    ("tls", |runtime| runtime.block_on(http::encrypted())),
    ("body", |runtime| runtime.block_on(http::large())),
    ("imap", |runtime| runtime.block_on(imap::rows())),
    ("pieces", |_| pieces::rows()),
    ("stop", |runtime| runtime.block_on(stop::rows())),
    ("journal", journal::rows),
    ("idle", |runtime| runtime.block_on(stop::idle())),
    ("preview", |runtime| runtime.block_on(preview::rows())),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` and nextest list or run benches too: they are not tests.
    if arguments.iter().any(|argument| argument == "--list" || argument == "--test" || argument == "--exact") {
        return;
    }
    let wanted: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let names = || PARTS.map(|(name, _)| name).join(", ");
    if let Some(unknown) = wanted.iter().find(|name| !PARTS.iter().any(|(part, _)| *part == name.as_str())) {
        eprintln!("there is no part {unknown}: the parts are {}", names());
        std::process::exit(2);
    }
    let runtime = Runtime::new().expect("a runtime");
    let mut rows = Vec::new();
    for (name, part) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|wanted| *wanted == name) {
            eprintln!("measuring: {name}");
            rows.extend(part(&runtime));
        }
    }
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    println!("Measured on {processors} processors beside {}.\n", peers::versions());
    print!("{}", table::markdown(&rows));
}
