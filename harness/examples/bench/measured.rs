//! What was measured, and how it is shown.

use super::Result;

/// What was measured several times.
pub struct Measured(pub Vec<f64>);

impl Measured {
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
        match (sorted.get(low), sorted.get(high)) {
            (Some(low), Some(high)) => (low + high) / 2.0,
            _ => f64::NAN,
        }
    }

    /// Median, least and most.
    pub fn text(&self) -> String {
        let least = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        format!("{:.3} ({least:.3} to {most:.3})", self.median())
    }
}

/// Measures both by turns, in a changing order, and returns them and the ratio of each round.
pub fn by_turns(
    rounds: usize,
    mut one: impl FnMut() -> Result<f64>,
    mut other: impl FnMut() -> Result<f64>,
) -> Result<[Measured; 3]> {
    let mut all = [Vec::new(), Vec::new(), Vec::new()];
    // Caches are filled before.
    one()?;
    other()?;
    for round in 0..rounds {
        let (a, b) = if round % 2 == 0 {
            let a = one()?;
            (a, other()?)
        } else {
            let b = other()?;
            (one()?, b)
        };
        for (list, value) in all.iter_mut().zip([a, b, a / b]) {
            list.push(value);
        }
    }
    Ok(all.map(Measured))
}

/// A heading and the head of a table.
pub fn table(title: &str, columns: &[&str]) {
    println!(
        "\n## {title}\n\n| {} |\n|{}",
        columns.join(" | "),
        "---|".repeat(columns.len())
    );
}
