//! Lets ids and accesses stand in an expression as they are.

/// An expression as CEL can parse it, and where quotes were put in.
pub struct Quoted {
    pub text: String,
    inserted: Vec<usize>,
}

impl Quoted {
    /// Puts the arguments of `fired(…)` and `seen(…)` in quotes, unless they are.
    pub fn new(source: &str) -> Self {
        let mut text = String::with_capacity(source.len() + 8);
        let mut inserted = Vec::new();
        let mut rest = source;
        let mut in_string: Option<char> = None;
        let mut word_start = 0;
        while let Some(c) = rest.chars().next() {
            let (this, next) = rest.split_at(c.len_utf8());
            text.push_str(this);
            rest = next;
            match in_string {
                Some(quote) => {
                    if c == quote {
                        in_string = None;
                    }
                    word_start = text.len();
                }
                None if c == '"' || c == '\'' => in_string = Some(c),
                None if c.is_ascii_alphanumeric() || c == '_' => {}
                None => {
                    let word = text[word_start..text.len() - this.len()].trim();
                    if c == '(' && matches!(word, "fired" | "seen") {
                        let end = rest.find(')').unwrap_or(rest.len());
                        let argument = &rest[..end];
                        if !argument.trim_start().starts_with(['"', '\'']) && !argument.is_empty() {
                            inserted.push(text.len());
                            text.push('"');
                            text.push_str(argument);
                            inserted.push(text.len());
                            text.push('"');
                            rest = &rest[end..];
                        }
                    }
                    if c != ' ' {
                        word_start = text.len();
                    }
                }
            }
        }
        Self { text, inserted }
    }

    /// The place in the source of a place in the text.
    pub fn source_offset(&self, offset: usize) -> usize {
        offset - self.inserted.iter().filter(|i| **i < offset).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_arguments_are_quoted_and_places_are_kept() {
        let quoted = Quoted::new("fired(irq-drop) && seen( dev.0.rd ) && q == 1");
        assert_eq!(
            quoted.text,
            r#"fired("irq-drop") && seen(" dev.0.rd ") && q == 1"#
        );
        let q = quoted.text.find("q == 1").unwrap();
        assert_eq!(
            &"fired(irq-drop) && seen( dev.0.rd ) && q == 1"[quoted.source_offset(q)..],
            "q == 1"
        );
    }

    #[test]
    fn quoted_arguments_and_other_functions_are_left() {
        for text in [
            "fired('x') || mode == \"MSIX\"",
            "bits(val, 2) != 0",
            "'seen(x' == mode",
            "unfired(x)",
            "",
            "fired(",
        ] {
            assert_eq!(Quoted::new(text).text, text);
        }
    }
}
