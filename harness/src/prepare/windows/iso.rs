//! What an installation medium holds: the images in its `install.wim`, as their own description says.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use super::WindowsError;

/// Where a CD image says what it is (ECMA-119, 6.2): the 17th sector.
const DESCRIPTOR: u64 = 16 * SECTOR;
const SECTOR: u64 = 2048;
/// How an archive of images begins (Microsoft, "Windows Imaging File Format"), and the length of its header.
const MAGIC: &[u8; 8] = b"MSWIM\0\0\0";
const HEADER: usize = 208;
/// Where in the header the description is found.
const DESCRIPTION: usize = 72;
/// The longest description that is read, bytes.
const LONGEST: u64 = 8 << 20;
/// How much is read at a time.
const CHUNK: usize = 4 << 20;
/// The most archives and images that are looked at.
const MOST: usize = 64;

/// An installation medium.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Iso {
    /// The systems that it can install.
    pub images: Vec<Image>,
}

/// A system that can be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its number in the archive, from 1.
    pub index: u32,
    /// Its name, such as `Windows 11 Pro`.
    pub name: String,
    /// The edition's id, such as `Professional`.
    pub edition: String,
    /// `Client`, `Server` or `Server Core`.
    pub kind: String,
    /// The build.
    pub build: u32,
    /// The architecture, in the words of answer files.
    pub architecture: &'static str,
    /// Its language, such as `en-US`.
    pub language: String,
}

impl Image {
    /// Whether it has 32 bits.
    pub(super) fn is_narrow(&self) -> bool {
        self.architecture == "x86"
    }
}

impl Iso {
    /// Reads the medium at `path`. An archive's file lies in one piece on every medium that Microsoft makes, so
    /// its beginning is looked for at each sector, without the file system.
    ///
    /// # Errors
    /// When it can't be read, is no image of a CD or DVD, or holds nothing that can be installed.
    pub fn read(path: &Path) -> Result<Self, WindowsError> {
        let not = |why: &str| WindowsError::Iso {
            path: path.to_owned(),
            why: why.to_owned(),
        };
        let cannot = WindowsError::os("read", path);
        let (mut file, length) = open(path).map_err(cannot)?;
        let mut mark = [0; 6];
        let is_iso = length > DESCRIPTOR + SECTOR
            && file.seek(SeekFrom::Start(DESCRIPTOR)).is_ok()
            && file.read_exact(&mut mark).is_ok()
            && &mark[1..] == b"CD001";
        if !is_iso {
            return Err(not("it is not an ISO image"));
        }
        let archives = archives(&mut file).map_err(WindowsError::os("read", path))?;
        let mut images = Vec::new();
        for at in archives {
            if let Some(text) = description(&mut file, at, length) {
                images.extend(images_of(&text));
            }
        }
        images.truncate(MOST);
        if images.is_empty() {
            return Err(not(
                "it holds no Windows that can be installed: there is no install.wim or install.esd in one piece",
            ));
        }
        // An index says nothing where each architecture has an archive of its own.
        if images
            .iter()
            .any(|image| image.architecture != images[0].architecture)
        {
            return Err(not(
                "it holds systems of several architectures; one for 64-bit x86 alone is needed",
            ));
        }
        Ok(Self { images })
    }

    /// The image that is meant: by name, edition or number; without a word, the one that most people test with.
    ///
    /// # Errors
    /// When there is none, with those that there are.
    pub fn image(&self, wanted: Option<&str>) -> Result<&Image, WindowsError> {
        let Some(wanted) = wanted else {
            let desktop = |image: &&Image| match image.kind.as_str() {
                "Client" => image.edition == "Professional",
                kind => image.edition.starts_with("ServerStandard") && kind == "Server",
            };
            let found = self.images.iter().find(desktop).or(self.images.first());
            return found.ok_or_else(|| self.no(""));
        };
        let is = |image: &&Image| {
            image.name.eq_ignore_ascii_case(wanted)
                || image.edition.eq_ignore_ascii_case(wanted)
                || wanted.parse() == Ok(image.index)
        };
        self.images.iter().find(is).ok_or_else(|| self.no(wanted))
    }

    fn no(&self, wanted: &str) -> WindowsError {
        WindowsError::Edition {
            wanted: wanted.to_owned(),
            there: self.images.iter().map(|image| image.name.clone()).collect(),
        }
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = File::open(path)?;
    let data = file.metadata()?;
    if !data.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
    }
    Ok((file, data.len()))
}

/// Where archives begin.
fn archives(file: &mut File) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    let mut chunk = vec![0; CHUNK];
    let mut at = 0;
    file.seek(SeekFrom::Start(0))?;
    loop {
        let mut length = 0;
        while length < CHUNK {
            match file.read(&mut chunk[length..])? {
                0 => break,
                n => length += n,
            }
        }
        for sector in (0..length).step_by(SECTOR as usize) {
            if chunk[sector..length].starts_with(MAGIC) && found.len() < MOST {
                found.push(at + sector as u64);
            }
        }
        if length < CHUNK {
            return Ok(found);
        }
        at += length as u64;
    }
}

/// The description of the archive at `at`; `None` for what only looks like one.
fn description(file: &mut File, at: u64, length: u64) -> Option<String> {
    let mut header = [0; HEADER];
    file.seek(SeekFrom::Start(at)).ok()?;
    file.read_exact(&mut header).ok()?;
    let word = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().unwrap_or_default());
    if word(8) as u32 as usize != HEADER {
        return None;
    }
    // The highest byte of the size holds flags.
    let (size, offset) = (
        word(DESCRIPTION) & 0x00ff_ffff_ffff_ffff,
        word(DESCRIPTION + 8),
    );
    let begin = at.checked_add(offset)?;
    if size > LONGEST || begin.checked_add(size)? > length {
        return None;
    }
    let mut bytes = vec![0; size as usize];
    file.seek(SeekFrom::Start(begin)).ok()?;
    file.read_exact(&mut bytes).ok()?;
    let (text, _, _) = encoding_rs::UTF_16LE.decode(&bytes);
    Some(text.into_owned())
}

fn images_of(text: &str) -> Vec<Image> {
    let Ok(document) = roxmltree::Document::parse(text) else {
        return Vec::new();
    };
    let images = document
        .root_element()
        .children()
        .filter(|n| n.has_tag_name("IMAGE"));
    images.filter_map(image).take(MOST).collect()
}

fn image(node: roxmltree::Node<'_, '_>) -> Option<Image> {
    let text = |path: &[&str]| {
        let mut at = node;
        for name in path {
            at = at.children().find(|child| child.has_tag_name(*name))?;
        }
        Some(at.text().unwrap_or_default().trim().to_owned())
    };
    let kind = text(&["WINDOWS", "INSTALLATIONTYPE"]).unwrap_or_else(|| "Client".into());
    if kind == "WindowsPE" {
        return None;
    }
    Some(Image {
        index: node.attribute("INDEX")?.parse().ok()?,
        name: text(&["DISPLAYNAME"])
            .filter(|name| !name.is_empty())
            .or_else(|| text(&["NAME"]))?,
        edition: text(&["WINDOWS", "EDITIONID"])?,
        kind,
        build: text(&["WINDOWS", "VERSION", "BUILD"])?.parse().ok()?,
        architecture: match text(&["WINDOWS", "ARCH"])?.as_str() {
            "9" => "amd64",
            "0" => "x86",
            "12" => "arm64",
            _ => return None,
        },
        language: text(&["WINDOWS", "LANGUAGES", "DEFAULT"])
            .filter(|language| is_language(language))
            .unwrap_or_else(|| "en-US".into()),
    })
}

/// Whether it is a language as answer files have it.
pub(super) fn is_language(word: &str) -> bool {
    (2..=16).contains(&word.len()) && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}
