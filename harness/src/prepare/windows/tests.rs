//! The files of an installation, checked without a Windows.

mod answers;
mod machine;
mod schema;
mod scripts;

use super::Image;

/// An image of a medium.
fn image(name: &str, kind: &str, build: u32) -> Image {
    Image {
        index: 6,
        name: name.into(),
        edition: "Professional".into(),
        kind: kind.into(),
        build,
        architecture: "amd64",
        language: "en-US".into(),
    }
}

/// An image of each release.
fn images() -> [(super::Release, Image); 7] {
    use super::Release as R;
    [
        (R::Seven, image("Windows 7 PROFESSIONAL", "Client", 7601)),
        (R::Ten, image("Windows 10 Pro", "Client", 19_045)),
        (R::Eleven, image("Windows 11 Pro", "Client", 26_100)),
        (
            R::Server2016,
            image("Windows Server 2016", "Server", 14_393),
        ),
        (
            R::Server2019,
            image("Windows Server 2019", "Server", 17_763),
        ),
        (
            R::Server2022,
            image("Windows Server 2022", "Server Core", 20_348),
        ),
        (
            R::Server2025,
            image("Windows Server 2025", "Server", 26_100),
        ),
    ]
}
