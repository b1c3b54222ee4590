//! What the command says to somebody at a terminal.

/// The words of a text that was broken into lines as wide as a terminal, one blank between them.
pub fn words(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let words = said.split_whitespace().filter(|word| *word != "│");
    words.collect::<Vec<_>>().join(" ")
}
