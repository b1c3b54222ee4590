//! Short texts, and commands made of words.

/// A text of a few hundred bytes. What does not fit is left out.
#[derive(Clone, Copy)]
pub struct Text {
    bytes: [u8; 255],
    length: u8,
}

/// Something that can stand in a text.
pub trait Part {
    /// Puts it at the end of `text`.
    fn add(&self, text: &mut Text);
}

impl Part for &str {
    fn add(&self, text: &mut Text) {
        self.as_bytes().add(text);
    }
}

impl Part for &[u8] {
    fn add(&self, text: &mut Text) {
        for byte in *self {
            text.push(*byte);
        }
    }
}

impl<const N: usize> Part for &[u8; N] {
    fn add(&self, text: &mut Text) {
        self.as_slice().add(text);
    }
}

impl Part for u64 {
    fn add(&self, text: &mut Text) {
        let (mut digits, mut left) = ([0; 20], *self);
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                break;
            }
        }
        (&digits[at..]).add(text);
    }
}

/// A text made of parts.
#[macro_export]
macro_rules! text {
    ($($part:expr),* $(,)?) => {{
        #[allow(unused_mut)]
        let mut text = $crate::text::Text::new();
        $($crate::text::Part::add(&$part, &mut text);)*
        text
    }};
}

impl Text {
    /// One without bytes.
    pub const fn new() -> Self {
        Self {
            bytes: [0; 255],
            length: 0,
        }
    }

    /// What is in it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// The same with a zero behind it, as the kernel takes paths.
    pub fn path(&self) -> &[u8] {
        &self.bytes[..=usize::from(self.length)]
    }

    fn push(&mut self, byte: u8) {
        // The last stays zero.
        if usize::from(self.length) < self.bytes.len() - 1 {
            self.bytes[usize::from(self.length)] = byte;
            self.length += 1;
        }
    }
}

/// The words of a command that are left.
pub struct Words<'a>(pub &'a [u8]);

impl<'a> Words<'a> {
    /// The next word; none is an empty one.
    pub fn next(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|byte| *byte == b' ');
        let (word, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest.get(1..).unwrap_or_default();
        word
    }

    /// The next word as a number.
    pub fn number(&mut self) -> u64 {
        number(self.next())
    }

    /// The next word as the number of a device.
    pub fn device(&mut self) -> usize {
        (self.number() as usize).min(super::DEVICES - 1)
    }
}

/// The digits that a text begins with, as a number.
pub fn number(text: &[u8]) -> u64 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| {
        number
            .wrapping_mul(10)
            .wrapping_add(u64::from(digit - b'0'))
    })
}

/// What follows the last `/`.
pub fn last_part(path: &[u8]) -> &[u8] {
    let at = path.iter().rposition(|byte| *byte == b'/');
    &path[at.map_or(0, |at| at + 1)..]
}
