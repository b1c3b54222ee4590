//! Markers of the self-test that the Aero project runs in its guests:
//! `AERO_VIRTIO_SELFTEST|TEST|name|PASS|key=value|…` and `AERO_VIRTIO_SELFTEST|RESULT|PASS`.

use super::{Format, after, number};
use crate::log::{Said, Selftest};

pub(super) const FORMAT: Format = Format {
    name: "selftest",
    about: "the guest self-test of the Aero project",
    examples: &[
        "AERO_VIRTIO_SELFTEST|TEST|virtio-blk|PASS|irq_mode=msix|msix_config_vector=0x0000|msix_queue_vector=0x0001",
        "AERO_VIRTIO_SELFTEST|TEST|virtio-snd|SKIP",
        "AERO_VIRTIO_SELFTEST|RESULT|FAIL",
    ],
    read,
};

fn read(line: &str) -> Option<Said> {
    let mut fields = after(line, "AERO_VIRTIO_SELFTEST|")?.split('|');
    let (test, result) = match fields.next()? {
        "TEST" => (Some(fields.next()?.to_owned()), fields.next()?),
        "RESULT" => (None, fields.next()?),
        _ => return None,
    };
    let passed = match result {
        "PASS" => Some(true),
        "FAIL" => Some(false),
        _ => None,
    };
    let mut vectors = (None, None);
    for (key, value) in fields.filter_map(|field| field.split_once('=')) {
        let vector = || u16::try_from(number(value)?).ok();
        match key {
            "msix_config_vector" => vectors.0 = vector(),
            "msix_queue_vector" => vectors.1 = vector(),
            _ => {}
        }
    }
    Some(Said::Selftest(Selftest {
        test,
        result: result.to_owned(),
        passed,
        config_vector: vectors.0,
        queue_vector: vectors.1,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_has_its_result_and_the_vectors_that_the_driver_reports() {
        let Some(Said::Selftest(blk)) = read(FORMAT.examples[0]) else {
            panic!("no marker");
        };
        assert_eq!(blk.test.as_deref(), Some("virtio-blk"));
        assert_eq!(
            (blk.passed, blk.config_vector, blk.queue_vector),
            (Some(true), Some(0), Some(1))
        );
        let Some(Said::Selftest(skipped)) = read(FORMAT.examples[1]) else {
            panic!("no marker");
        };
        assert_eq!((skipped.passed, skipped.result.as_str()), (None, "SKIP"));
        let Some(Said::Selftest(all)) = read(FORMAT.examples[2]) else {
            panic!("no marker");
        };
        assert_eq!((all.test, all.passed), (None, Some(false)));
        assert_eq!(read("AERO_VIRTIO_SELFTEST|START|version=1"), None);
        assert_eq!(read("AERO_VIRTIO_SELFTEST|TEST|virtio-blk"), None);
    }
}
