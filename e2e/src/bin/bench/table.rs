//! Rows of text as one aligned table. Pure.

/// The rows under each other, the first being the head. The first and the last column begin at the left, figures
/// end at the right.
pub(crate) fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            let padding = " ".repeat(width - cell.chars().count());
            let is_text = column == 0 || column + 1 == columns;
            if is_text { format!("{cell}{padding}") } else { format!("{padding}{cell}") }
        });
        let line: Vec<String> = cells.collect();
        text += line.join("  ").trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_begin_and_figures_end_in_one_line() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = [row(["", "time", "wanted"]), row(["attach 1", "9.5 ms", "≤ 1 ×"]), row(["×", "–", "a"])];
        let expected = "            time  wanted\nattach 1  9.5 ms  ≤ 1 ×\n×              –  a\n";
        assert_eq!(aligned(&rows), expected);
        assert_eq!(aligned(&[]), "");
    }

    #[test]
    fn a_row_may_be_short() {
        let rows = [vec!["a".to_owned(), "bcd".to_owned(), "e".to_owned()], vec!["fg".to_owned()]];
        assert_eq!(aligned(&rows), "a   bcd  e\nfg\n");
    }
}
