//! Images that can be used, and those that can't.

use super::testing::{DIRECTORIES, OPTIONAL, PE, RAW, SECTIONS, image};
use super::{Image, ImageError, Import, LOAD_ADDRESS, PAGE, handed};
use proptest::prelude::*;

fn changed(changes: &[(usize, &[u8])]) -> Result<Image, ImageError> {
    let mut bytes = image();
    for (at, new) in changes {
        bytes[*at..*at + new.len()].copy_from_slice(new);
    }
    Image::read(&bytes)
}

fn said(changes: &[(usize, &[u8])]) -> String {
    changed(changes).unwrap_err().to_string()
}

#[test]
fn a_driver_is_read() {
    let image = Image::read(&image()).unwrap();
    assert_eq!((image.base, image.entry), (0x1_4000_0000, 0x1000));
    assert_eq!(image.relocations, [0x20f0]);
    let import = Import {
        dll: "storport.sys".into(),
        name: "StorPortInitialize".into(),
        slot: 0x2060,
    };
    assert_eq!(image.imports, [import]);
    assert_eq!(image.cookie, Some(0x2180));
    assert!(image.sections[0].executable && !image.sections[0].writable);
    assert!(image.sections[2].discardable);
    assert_eq!(image.missing(), []);
}

#[test]
fn what_is_no_driver_for_this_machine_is_told_apart() {
    for (bytes, text) in [
        (&b""[..], "not a PE image"),
        (b"\x7fELF", "not a PE image"),
        (b"MZ", "cut off"),
    ] {
        let error = Image::read(bytes).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
    assert!(said(&[(PE, b"NE")]).contains("no PE signature"));
    assert!(said(&[(PE + 4, &[0x4c, 0x01])]).contains("32-bit x86"));
    assert!(said(&[(PE + 4, &[0x64, 0xaa])]).contains("ARM64"));
    assert!(said(&[(OPTIONAL, &[0x0b, 0x01])]).contains("not PE32+"));
    assert!(said(&[(OPTIONAL + 68, &[3, 0])]).contains("subsystem is 3"));
}

#[test]
fn an_entry_outside_of_the_code_is_refused() {
    for entry in [0u32, 0x2000, 0x1200, 0x4000, u32::MAX] {
        assert_eq!(
            changed(&[(OPTIONAL + 16, &entry.to_le_bytes())]),
            Err(ImageError::Entry(entry))
        );
    }
}

#[test]
fn relocations_out_of_range_or_of_another_kind_are_refused() {
    let at = RAW + 0x400;
    assert!(said(&[(at, &0x4000u32.to_le_bytes())]).contains("not in the image"));
    assert!(
        said(&[(at, &0x3f00u32.to_le_bytes()), (at + 8, &[0xfc, 0xa0])])
            .contains("not in the image")
    );
    assert!(said(&[(at + 8, &[0xf0, 0x30])]).contains("of a kind"));
    assert!(said(&[(at + 4, &[7])]).contains("a relocation is wrong"));
    assert!(
        said(&[(DIRECTORIES + 40, &0x9000u32.to_le_bytes())]).contains("the relocation directory")
    );
    let nothing_to_move = changed(&[(DIRECTORIES + 44, &[0; 4])]).unwrap();
    assert_eq!(nothing_to_move.relocations, [0u32; 0]);
    assert_eq!(
        changed(&[(PE + 22, &[0x23, 0])]),
        Err(ImageError::NotRelocatable)
    );
}

#[test]
fn imports_out_of_range_or_by_number_are_refused() {
    let data = RAW + 0x200;
    assert!(said(&[(DIRECTORIES + 8, &0x9000u32.to_le_bytes())]).contains("the import directory"));
    assert!(said(&[(data, &0x9000u32.to_le_bytes())]).contains("imports are wrong"));
    assert!(said(&[(data + 12, &0x9000u32.to_le_bytes())]).contains("imports are wrong"));
    assert!(said(&[(data + 16, &0x3ffcu32.to_le_bytes())]).contains("the place of an import"));
    assert!(said(&[(data + 0x40, &0x8000_0000_0000_0007u64.to_le_bytes())]).contains("number 7"));
}

#[test]
fn sections_that_lie_wrong_are_refused() {
    assert!(said(&[(SECTIONS + 12, &0x1010u32.to_le_bytes())]).contains(".text lies wrong"));
    assert!(said(&[(SECTIONS + 52, &0x1000u32.to_le_bytes())]).contains("before the one in front"));
    assert!(said(&[(SECTIONS + 8, &0x9000u32.to_le_bytes())]).contains("beyond the image"));
    assert!(said(&[(OPTIONAL + 56, &0x7fff_f000u32.to_le_bytes())]).contains("is the most"));
}

#[test]
fn a_cookie_outside_of_the_image_is_refused() {
    let at = RAW + 0x200 + 0x100 + 88;
    assert!(said(&[(at, &0x1_4000_4000u64.to_le_bytes())]).contains("the security cookie"));
    assert!(said(&[(at, &1u64.to_le_bytes())]).contains("the security cookie"));
}

#[test]
fn a_routine_that_the_model_does_not_have_is_named_with_its_dll() {
    let at = RAW + 0x200 + 0xa2;
    let image = changed(&[(at, b"StorPortNoSuchName")]).unwrap();
    let missing: Vec<String> = image.missing().iter().map(ToString::to_string).collect();
    assert_eq!(missing, ["StorPortNoSuchName of storport.sys"]);
}

#[test]
fn the_guest_gets_the_image_moved_to_its_place_behind_a_table() {
    let image = Image::read(&image()).unwrap();
    let bytes = handed(&image, "x.sys");
    let begin = u32::from_le_bytes(bytes[16..20].try_into().unwrap()) as usize;
    assert!(begin.is_multiple_of(PAGE as usize) && LOAD_ADDRESS.is_multiple_of(PAGE.into()));
    let base = u64::from_le_bytes(bytes[8..16].try_into().unwrap());
    let address = u64::from_le_bytes(bytes[begin + 0x20f0..begin + 0x20f8].try_into().unwrap());
    assert_eq!(address, base + 0x1000);
    assert_eq!(bytes.len(), begin + image.bytes.len());
}

proptest! {
    #[test]
    fn an_image_that_is_cut_off_anywhere_is_refused(at in 0usize..RAW + 3 * 0x200) {
        prop_assert!(Image::read(&image()[..at]).is_err());
    }

    #[test]
    fn an_image_with_a_byte_changed_is_read_or_refused(at in 0usize..RAW + 3 * 0x200, byte: u8) {
        let mut bytes = image();
        bytes[at] = byte;
        if let Ok(image) = Image::read(&bytes) {
            handed(&image, "x.sys");
        }
    }
}
