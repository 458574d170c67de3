//! The table of figures, as plain text.

use std::fmt;

/// One figure.
#[derive(Default)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) figure: String,
    /// What came out, with its unit.
    pub(crate) measured: String,
    /// What is aimed for; empty when there is no goal.
    pub(crate) goal: &'static str,
    /// What something else takes for the same, in the same run; empty when there is nothing to compare with.
    pub(crate) peer: String,
    /// Ours by theirs; empty without a peer.
    pub(crate) ratio: String,
}

impl Row {
    /// A figure without a peer.
    pub(crate) fn new(figure: impl Into<String>, measured: impl Into<String>, goal: &'static str) -> Self {
        Self { figure: figure.into(), measured: measured.into(), goal, ..Self::default() }
    }

    /// Sets it beside a peer.
    #[must_use]
    pub(crate) fn beside(mut self, peer: impl Into<String>, ratio: f64) -> Self {
        self.peer = peer.into();
        self.ratio = format!("{ratio:.2}");
        self
    }

    fn cells(&self) -> [&str; 5] {
        [&self.figure, &self.measured, self.goal, &self.peer, &self.ratio]
    }
}

/// All figures, in the order in which they were measured.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
    failures: Vec<String>,
}

impl Table {
    /// Adds a figure, and shows it at once on standard error.
    pub(crate) fn add(&mut self, row: Row) {
        eprintln!("bench:   {}", row.cells().join(" | "));
        self.rows.push(row);
    }

    /// Says that a part could not be measured.
    pub(crate) fn failed(&mut self, part: &str, error: &anyhow::Error) {
        let line = format!("not measured: {part}: {error:#}");
        eprintln!("bench:   {line}");
        self.failures.push(line);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["figure", "measured", "goal", "peer", "ratio"];
        let rows = || std::iter::once(head).chain(self.rows.iter().map(Row::cells));
        let mut widths = [0; 5];
        for (width, column) in widths.iter_mut().zip(0..) {
            *width = rows().map(|cells| cells[column].chars().count()).max().unwrap_or(0);
        }
        for cells in rows() {
            let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
            writeln!(f, "{}", padded.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        self.failures.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
