//! A table of figures, and the ratios between its columns.

/// Figures by row and column.
#[derive(Debug)]
pub struct Table {
    title: String,
    columns: Vec<String>,
    rows: Vec<(String, Vec<f64>)>,
}

impl Table {
    /// A table without rows.
    pub fn new<'a>(title: &str, columns: impl Iterator<Item = &'a str>) -> Table {
        Table { title: title.into(), columns: columns.map(String::from).collect(), rows: Vec::new() }
    }

    /// Adds a row with a figure for each column.
    pub fn row(&mut self, name: &str, figures: impl Iterator<Item = f64>) {
        self.rows.push((name.into(), figures.collect()));
    }

    /// Prints the figures, then the ratios of pairs of columns with their geometric mean and their worst value. Pairs with a missing
    /// column are skipped.
    pub fn print(&self, ratios: &[(&str, &str)]) {
        let line = |name: &str, cells: &[String]| {
            let cells: String = cells.iter().map(|cell| format!("{cell:>18}")).collect();
            println!("{name:<34}{cells}");
        };
        line(&self.title, &self.columns);
        for (name, figures) in &self.rows {
            line(name, &figures.iter().map(|figure| format!("{figure:.2}")).collect::<Vec<_>>());
        }
        println!();
        let names: Vec<String> = self.rows.iter().map(|(name, _)| name.clone()).collect();
        println!(
            "{:<34}{:>9}{:>9} {}",
            "ratio",
            "geomean",
            "worst",
            names.iter().map(|name| format!("{name:>11}")).collect::<String>()
        );
        let column = |name: &str| self.columns.iter().position(|column| column == name);
        for (over, under) in ratios {
            let (Some(a), Some(b)) = (column(over), column(under)) else { continue };
            let ratios: Vec<f64> = self.rows.iter().map(|(_, figures)| figures[a] / figures[b]).collect();
            let mean = (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp();
            let worst = ratios.iter().copied().fold(0.0, f64::max);
            let each: String = ratios.iter().map(|ratio| format!("{ratio:>11.2}")).collect();
            println!("{:<34}{mean:>9.3}{worst:>9.2} {each}", format!("{over} / {under}"));
        }
    }
}

/// A figure in a column, or a dash.
pub fn cell(figure: Option<f64>, width: usize) -> String {
    figure.map_or_else(|| format!("{:>width$}", "-"), |figure| format!("{figure:>width$.2}"))
}

/// The median.
pub fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}
