//! The framework's own log (`!wdflogdump`): why an interrupt object could not be connected.

use super::{Format, after, number};
use crate::log::Said;

pub(super) const FORMAT: Format = Format {
    name: "wdf",
    about: "the log of the Windows Driver Framework",
    examples: &[
        "52: FxInterrupt::Connect - IoConnectInterrupt(Ex) Failed, SpinLock 0xFFFF830C55DD6AD0, Vector 0x93, IRQL 0x9, Synchronize IRQL 0x9, Mode 0x1, ShareVector False, ProcessorGroup 0, ProcessorEnableMask 0xfff, FloatingSave False, 0xc00000ef(STATUS_INVALID_PARAMETER_1)",
    ],
    read,
};

fn read(line: &str) -> Option<Said> {
    let rest = after(line, "FxInterrupt::Connect")?;
    Some(Said::ConnectFailed {
        vector: number(rest.split_once(" Vector ")?.1.split([',', ' ']).next()?)?,
        status: rest.rsplit([' ', ',']).next()?.to_owned(),
    })
}
