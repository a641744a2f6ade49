//! `cargo xtask bench`: Latchstring beside its peers in one run, rounds alternating, median of ratios, as a Markdown table.
//!
//! Absolute times from a shared machine mean little; the ratios are what counts. Nothing here is a gate.

mod http;
mod pieces;
mod stop;

/// A row of the table.
pub struct Row {
    what: String,
    ours: String,
    peer: String,
    ratio: String,
    target: &'static str,
}

impl Row {
    /// Everything as text.
    pub fn new(
        what: impl Into<String>,
        ours: impl Into<String>,
        peer: impl Into<String>,
        ratio: impl Into<String>,
        target: &'static str,
    ) -> Self {
        Self { what: what.into(), ours: ours.into(), peer: peer.into(), ratio: ratio.into(), target }
    }
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// `12 µs`, `1.3 ms`.
pub fn time(seconds: f64) -> String {
    match seconds {
        s if s < 1e-6 => format!("{:.0} ns", s * 1e9),
        s if s < 1e-4 => format!("{:.1} µs", s * 1e6),
        s if s < 1e-3 => format!("{:.0} µs", s * 1e6),
        s if s < 1.0 => format!("{:.2} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

fn main() {
    // `cargo test --benches` and nextest list or run benches too: they are not tests.
    if std::env::args().any(|argument| argument == "--list" || argument == "--test") {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut rows = pieces::rows(&runtime);
    rows.extend(runtime.block_on(stop::rows()));
    rows.extend(runtime.block_on(http::rows()));
    println!("| what | Latchstring | peer | ratio | target |");
    println!("|---|---|---|---|---|");
    for Row { what, ours, peer, ratio, target } in rows {
        println!("| {what} | {ours} | {peer} | {ratio} | {target} |");
    }
}
