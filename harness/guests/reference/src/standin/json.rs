//! As much of JSON as the agent's requests need: the harness writes them, each in one line.

use alloc::string::String;
use alloc::vec::Vec;

/// What comes after `"key":`.
fn after<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let name = alloc::format!("\"{key}\"");
    let rest = &text[text.find(&name)? + name.len()..];
    rest.trim_start().strip_prefix(':').map(str::trim_start)
}

/// A string that begins here, and what comes after it.
fn string(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut characters = text.strip_prefix('"')?.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((out, &text[at + 2..])),
            '\\' => match characters.next()?.1 {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                c => out.push(c),
            },
            c => out.push(c),
        }
    }
    None
}

/// The text of a key.
pub fn text(request: &str, key: &str) -> Option<String> {
    Some(string(after(request, key)?)?.0)
}

/// The number of a key.
pub fn number(request: &str, key: &str) -> Option<u64> {
    let rest = after(request, key)?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    rest[..digits].parse().ok()
}

/// The texts of a key.
pub fn list(request: &str, key: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut rest = match after(request, key).and_then(|rest| rest.strip_prefix('[')) {
        Some(rest) => rest.trim_start(),
        None => return out,
    };
    while let Some((text, tail)) = string(rest) {
        out.push(text);
        rest = tail.trim_start().trim_start_matches(',').trim_start();
    }
    out
}

/// In base 64.
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for part in bytes.chunks(3) {
        let byte = |n: usize| u32::from(part.get(n).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for n in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * n) & 63) as usize];
            out.push(if n <= part.len() { digit.into() } else { '=' });
        }
    }
    out
}

/// Out of base 64; `None` for what is none.
pub fn plain(coded: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for part in coded.as_bytes().chunks(4) {
        let mut bits = 0;
        let mut count = 0;
        for byte in part {
            let digit = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                b'=' => continue,
                _ => return None,
            };
            bits = bits << 6 | u32::from(digit);
            count += 1;
        }
        if part.len() < 4 || count < 2 {
            return None;
        }
        bits <<= 6 * (4 - count);
        out.extend(&bits.to_be_bytes()[1..count]);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_taken_apart() {
        let request = r#"{"execute":"guest-exec","arguments":{"path":"C:\\a b.exe","arg":["/x","say \"hi\""],"capture-output":true,"pid":12}}"#;
        assert_eq!(text(request, "execute").as_deref(), Some("guest-exec"));
        assert_eq!(text(request, "path").as_deref(), Some("C:\\a b.exe"));
        assert_eq!(list(request, "arg"), ["/x", "say \"hi\""]);
        assert_eq!(number(request, "pid"), Some(12));
        assert_eq!(number(request, "path"), None);
        assert_eq!(text(request, "none"), None);
        assert!(list(request, "env").is_empty());
    }

    #[test]
    fn what_is_no_base64_is_none() {
        for coded in ["A", "AB", "A===", "A-B="] {
            assert_eq!(plain(coded), None, "{coded}");
        }
    }

    #[test]
    fn base64_is_padded() {
        for (plain, coded) in [("", ""), ("a", "YQ=="), ("ab", "YWI="), ("abc", "YWJj")] {
            assert_eq!(base64(plain.as_bytes()), coded);
            assert_eq!(super::plain(coded).as_deref(), Some(plain.as_bytes()));
        }
    }
}
