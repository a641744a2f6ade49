//! The table and its figures.

use std::fmt::Write as _;

/// A row of the table.
pub struct Row {
    what: String,
    ours: String,
    peer: String,
    ratio: String,
    target: &'static str,
    met: Option<bool>,
}

impl Row {
    /// A row about this.
    pub fn new(what: impl Into<String>) -> Self {
        let empty = || "-".to_owned();
        Self { what: what.into(), ours: empty(), peer: empty(), ratio: empty(), target: "-", met: None }
    }

    /// What Latchstring needs or does.
    pub fn ours(self, ours: impl Into<String>) -> Self {
        Self { ours: ours.into(), ..self }
    }

    /// What the peer needs or does.
    pub fn peer(self, peer: impl Into<String>) -> Self {
        Self { peer: peer.into(), ..self }
    }

    /// The median of the rounds' ratios.
    pub fn ratio(self, ratio: impl Into<String>) -> Self {
        Self { ratio: ratio.into(), ..self }
    }

    /// What it should be, and whether it is.
    pub fn target(self, target: &'static str, met: bool) -> Self {
        Self { target, met: Some(met), ..self }
    }
}

/// The rows as Markdown.
pub fn markdown(rows: &[Row]) -> String {
    let mut text = "| what | Latchstring | peer | ratio | target | |\n|---|---|---|---|---|---|\n".to_owned();
    for Row { what, ours, peer, ratio, target, met } in rows {
        let verdict = match met {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "",
        };
        let _ = writeln!(text, "| {what} | {ours} | {peer} | {ratio} | {target} | {verdict} |");
    }
    text
}

/// The middle one.
pub fn median(values: Vec<f64>) -> f64 {
    quantile(values, 0.5)
}

/// So many of them are not larger.
pub fn quantile(mut values: Vec<f64>, part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = ((values.len() as f64 * part) as usize).min(values.len().saturating_sub(1));
    values.get(at).copied().unwrap_or(f64::NAN)
}

/// `12 µs`, `1.3 ms`.
pub fn time(seconds: f64) -> String {
    match seconds {
        s if s < 0.0 => format!("-{}", time(-s)),
        s if s < 1e-6 => format!("{:.0} ns", s * 1e9),
        s if s < 1e-4 => format!("{:.1} µs", s * 1e6),
        s if s < 1e-3 => format!("{:.0} µs", s * 1e6),
        s if s < 1.0 => format!("{:.2} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}
