//! What both pages are made of: something that is said, what was measured for it, and whether that bears it out.

use std::fmt::Write as _;

/// One thing that is said; `holds` is `None` if something was not measured.
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) says: &'static str,
    pub(super) rows: Vec<(String, String)>,
    pub(super) holds: Option<bool>,
    pub(super) reports: &'static [&'static str],
}

/// How a page words its verdicts.
pub(super) struct Verdicts {
    /// What a section is, as the head of the table says.
    pub(super) kind: &'static str,
    pub(super) holds: &'static str,
    pub(super) fails: &'static str,
}

impl Verdicts {
    fn of(&self, section: &Section) -> &'static str {
        match section.holds {
            Some(true) => self.holds,
            Some(false) => self.fails,
            None => "not measured",
        }
    }

    /// All sections, a row each.
    pub(super) fn table(&self, page: &mut String, sections: &[Section]) {
        // Writing to a String does not fail, here and below.
        let _ = writeln!(page, "| {} | verdict |\n|---|---|", self.kind);
        for section in sections {
            let _ = writeln!(page, "| {} | {} |", section.title, self.of(section));
        }
    }

    /// One section; `raw` says where its reports are.
    pub(super) fn section(&self, page: &mut String, section: &Section, raw: &str) {
        let _ = writeln!(page, "\n## {}\n\n{}\n\n| measured | |\n|---|---|", section.title, section.says);
        for (name, value) in &section.rows {
            let _ = writeln!(page, "| {name} | {value} |");
        }
        let _ = writeln!(page, "\nVerdict: **{}**. {raw}", self.of(section));
    }
}
