//! The characters of an INF: UTF-16 with a mark, UTF-8, or the ANSI code page of old.

/// The text of a file.
///
/// Without a byte order mark it is UTF-8 if it can be, else Windows-1252.
pub fn decode(bytes: &[u8]) -> String {
    if let Some((encoding, mark)) = encoding_rs::Encoding::for_bom(bytes) {
        return encoding
            .decode_without_bom_handling(&bytes[mark..])
            .0
            .into_owned();
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => encoding_rs::WINDOWS_1252.decode(bytes).0.into_owned(),
    }
}

/// Cuts a text into lines without comments. A `\` at the end of a line joins the next one to it.
/// Each comes with its number, from 1.
pub(super) fn lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (number, raw) in (1..).zip(text.lines()) {
        let line = without_comment(raw).trim();
        let (line, more) = match line.strip_suffix('\\') {
            // What stands between quotation marks is no sign of anything.
            Some(rest) if !inside_quotes(rest) => (rest.trim_end(), true),
            _ => (line, false),
        };
        match lines.last_mut() {
            Some((_, last)) if goes_on => last.push_str(line),
            _ => lines.push((number, line.to_owned())),
        }
        goes_on = more;
    }
    lines.retain(|(_, line)| !line.is_empty());
    lines
}

fn without_comment(line: &str) -> &str {
    let mut quoted = false;
    for (at, c) in line.char_indices() {
        match c {
            '"' => quoted = !quoted,
            ';' if !quoted => return &line[..at],
            _ => {}
        }
    }
    line
}

fn inside_quotes(line: &str) -> bool {
    line.matches('"').count() % 2 == 1
}

/// Cuts `a, "b, c", d` at the commas outside quotation marks. Two marks inside such a text are one.
pub(super) fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut chars = line.chars().peekable();
    let mut quoted = false;
    // A quoted text keeps its blanks; what is outside does not.
    let mut kept = 0;
    while let Some(c) = chars.next() {
        let field = fields.last_mut().expect("there is always one");
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' => {
                quoted = !quoted;
                kept = field.len();
            }
            ',' if !quoted => {
                let end = field.trim_end().len().max(kept.min(field.len()));
                field.truncate(end);
                fields.push(String::new());
                kept = 0;
            }
            c if !quoted && c.is_whitespace() && field.is_empty() => {}
            c => field.push(c),
        }
    }
    if let Some(last) = fields.last_mut() {
        let end = last.trim_end().len().max(kept.min(last.len()));
        last.truncate(end);
    }
    fields
}
