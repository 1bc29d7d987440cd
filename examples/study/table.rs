//! A table of a document, between its markers.

/// A table of the document.
pub(crate) struct Table {
    /// Its markers are called so.
    pub(crate) name: &'static str,
    /// What it shows.
    pub(crate) caption: String,
    /// Its columns.
    pub(crate) heading: Vec<String>,
    /// Its cells.
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    fn markers(&self) -> [String; 2] {
        [format!("<!-- table: {} -->\n", self.name), format!("<!-- table: end of {} -->", self.name)]
    }

    fn text(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule = format!("|{}\n", "---|".repeat(self.heading.len()));
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("\n{}\n\n{}{rule}{rows}\n", self.caption, line(&self.heading))
    }

    fn place(&self, text: &str) -> Option<(usize, usize)> {
        let [begin, end] = self.markers();
        let from = text.find(&begin)? + begin.len();
        Some((from, from + text[from..].find(&end)?))
    }

    /// The document with this table between its markers.
    pub(crate) fn put_into(&self, text: &str) -> Result<String, String> {
        let (from, to) = self.place(text).ok_or_else(|| format!("no markers for {}", self.name))?;
        Ok(format!("{}{}{}", &text[..from], self.text(), &text[to..]))
    }

    /// The document's table has these rows and columns.
    pub(crate) fn has_shape_of(&self, text: &str) -> bool {
        let shape = |text: &str| {
            let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
            let first = |line: &&str| line.split('|').nth(1).map(str::to_owned);
            (lines.first().map(|line| (*line).to_owned()), lines.iter().map(first).collect::<Vec<_>>())
        };
        self.place(text).is_some_and(|(from, to)| shape(&text[from..to]) == shape(&self.text()))
    }
}
