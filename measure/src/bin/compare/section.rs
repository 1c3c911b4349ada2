//! The parts of a document that are written by themselves.

use std::ops::Range;

/// Where what is measured ends, and reading it begins.
const READING: &str = "## How to read it";

/// The section of `document` under the heading `## title`, up to the next such heading.
pub(crate) fn section<'a>(document: &'a str, title: &str) -> Option<&'a str> {
    place(document, title).map(|place| &document[place])
}

fn place(document: &str, title: &str) -> Option<Range<usize>> {
    let heading = format!("## {title}\n");
    let begin = if document.starts_with(&heading) { 0 } else { document.find(&format!("\n{heading}"))? + 1 };
    let length = document[begin..].find("\n## ").map_or(document.len() - begin, |end| end + 1);
    Some(begin..begin + length)
}

/// `document` with `text`, which begins with the heading `## title`, as its section of that title: in the place of the one
/// it has, or else in front of how to read it, or at its end.
pub(crate) fn put(document: &str, title: &str, text: &str) -> String {
    let end_of_figures = document.find(READING).unwrap_or(document.len());
    let place = place(document, title).unwrap_or(end_of_figures..end_of_figures);
    let before = document[..place.start].trim_end();
    let after = document[place.end..].trim_start();
    let parts = [before, text.trim(), after.trim_end()];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("\n\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "# A\n\n## One\n\n1\n\n### deeper\n\n## Two\n\n2\n\n## How to read it\n\nslowly\n";

    #[test]
    fn a_section_ends_where_the_next_begins() {
        assert_eq!(section(DOCUMENT, "One"), Some("## One\n\n1\n\n### deeper\n\n"));
        assert_eq!(section(DOCUMENT, "How to read it"), Some("## How to read it\n\nslowly\n"));
        assert_eq!(section(DOCUMENT, "Three"), None);
    }

    #[test]
    fn a_section_is_replaced_and_nothing_else() {
        let replaced = put(DOCUMENT, "Two", "## Two\n\nnew\n");
        assert_eq!(replaced, DOCUMENT.replace("\n2\n", "\nnew\n"));
        assert_eq!(put(&replaced, "Two", "## Two\n\n2"), DOCUMENT);
    }

    #[test]
    fn a_new_section_stands_before_the_reading_or_at_the_end() {
        let new = put(DOCUMENT, "Three", "## Three\n\n3\n");
        assert_eq!(new, DOCUMENT.replace("## How", "## Three\n\n3\n\n## How"));
        assert_eq!(put("# A\n", "Three", "## Three\n\n3\n"), "# A\n\n## Three\n\n3\n");
        assert_eq!(put("", "Three", "## Three\n\n3\n"), "## Three\n\n3\n");
    }
}
