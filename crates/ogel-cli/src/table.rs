//! Aligned columns for people.

use crate::plain;

/// Lines of `header` and `rows`, columns two blanks apart, no blank at a line's end.
pub(crate) fn render(header: &[&str], rows: &[Vec<String>]) -> String {
    let head = header.iter().map(|&cell| cell.to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(head)
        .chain(rows.iter().map(|row| row.iter().map(|cell| plain::line(cell)).collect()))
        .collect();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..header.len()).map(|column| width(column).unwrap_or_default()).collect();
    let lines: Vec<String> = rows.iter().map(|row| line(row, &widths)).collect();
    lines.join("\n")
}

/// `name  value` lines.
pub(crate) fn pairs(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    let lines: Vec<String> =
        pairs.iter().map(|(name, value)| line(&[(*name).to_owned(), plain::line(value)], &[width, 0])).collect();
    lines.join("\n")
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let padded: Vec<String> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
    padded.join("  ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let text = render(&["ID", "NAME", "AGE"], &[row(["a1", "schön", "1d"]), row(["b", "x\n", ""])]);
        assert_eq!(text, "ID  NAME   AGE\na1  schön  1d\nb   x");
    }
}
