//! A PowerShell that reads commands from COM2, as far as the harness types at one: text is added to what
//! it holds, numbers are worked out, and what it holds is run. Everything else is an error to it.

use super::json;
use alloc::format;
use alloc::string::{String, ToString};

/// What makes an agent of it has to know this.
const AGENT: &str = "guest-sync-delimited";

/// A PowerShell.
#[derive(Default)]
pub struct Prompt {
    held: String,
    /// It repeats what is typed, as a console does.
    echoes: bool,
}

impl Prompt {
    /// One that echoes or does not.
    pub fn new(echoes: bool) -> Self {
        Self {
            echoes,
            ..Self::default()
        }
    }

    /// A line was typed: what is printed; `None` when it has become an agent.
    pub fn hear(&mut self, line: &str) -> Option<String> {
        let line = line.trim_end();
        let said = match self.work_out(line) {
            Ok(Some(number)) => format!("misfire:{number}"),
            Ok(None) => return None,
            Err(()) => "At line:1 char:1: Missing expression after unary operator".to_string(),
        };
        Some(if self.echoes {
            format!("PS C:\\Windows\\system32> {line}\r\n{said}\r\n")
        } else {
            format!("PS> {said}\r\n\r\n")
        })
    }

    fn work_out(&mut self, line: &str) -> Result<Option<usize>, ()> {
        if let Some(rest) = line.strip_prefix("$m+='") {
            let (piece, rest) = rest.split_once('\'').ok_or(())?;
            self.held += piece;
            let is_asked = rest == ";'misfire:'+$m.Length";
            return is_asked.then_some(Some(self.held.len())).ok_or(());
        }
        if let Some(rest) = line.strip_prefix("$m='';'misfire:'+(") {
            self.held.clear();
            let (a, b) = rest
                .strip_suffix(')')
                .and_then(|s| s.split_once('+'))
                .ok_or(())?;
            let number = |text: &str| text.parse::<usize>().map_err(|_| ());
            return Ok(Some(number(a)? + number(b)?));
        }
        let runs = line.contains("iex (") && line.contains("FromBase64String($m)");
        let text = json::plain(&self.held).ok_or(())?;
        let is_agent = core::str::from_utf8(&text).is_ok_and(|text| text.contains(AGENT));
        (runs && is_agent).then_some(None).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_in_pieces_is_run_when_it_is_an_agent() {
        let mut prompt = Prompt::new(false);
        let mut says = |line: &str| prompt.hear(line);
        assert_eq!(
            says("$m='';'misfire:'+(7+1)").unwrap(),
            "PS> misfire:8\r\n\r\n"
        );
        assert!(
            says("{\"execute\": \"guest-ping\"}")
                .unwrap()
                .contains("At line:1")
        );
        let coded = json::base64(b"case 'guest-sync-delimited'");
        let (a, b) = coded.split_at(8);
        assert!(
            says(&format!("$m+='{a}';'misfire:'+$m.Length"))
                .unwrap()
                .contains("misfire:8")
        );
        let run = "$MisfireTyped=1;iex ([Text.Encoding]::UTF8.GetString([Convert]::FromBase64String($m)))";
        assert!(says(run).unwrap().contains("At line:1"));
        assert!(
            says(&format!("$m+='{b}';'misfire:'+$m.Length"))
                .unwrap()
                .contains("misfire:36")
        );
        assert_eq!(says(run), None);
    }
}
