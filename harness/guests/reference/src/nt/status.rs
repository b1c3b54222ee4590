//! NTSTATUS values: numbers and names as MS-ERREF and `wdfstatus.h` give them.

use core::fmt;

/// A status as Windows' kernel hands it around.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NtStatus(pub u32);

macro_rules! statuses {
    ($($name:ident = $value:literal)*) => {
        impl NtStatus {
            $(#[doc = concat!("`STATUS_", stringify!($name), "`")]
            pub const $name: Self = Self($value);)*

            /// The name without its `STATUS_`.
            fn short_name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                    _ => "UNKNOWN",
                }
            }
        }
    };
}

statuses! {
    SUCCESS                           = 0x0000_0000
    UNSUCCESSFUL                      = 0xc000_0001
    INVALID_PARAMETER                 = 0xc000_000d
    NO_SUCH_DEVICE                    = 0xc000_000e
    INSUFFICIENT_RESOURCES            = 0xc000_009a
    DEVICE_POWER_FAILURE              = 0xc000_009e
    DEVICE_NOT_READY                  = 0xc000_00a3
    IO_TIMEOUT                        = 0xc000_00b5
    NOT_SUPPORTED                     = 0xc000_00bb
    INVALID_PARAMETER_1               = 0xc000_00ef
    CONFLICTING_ADDRESSES             = 0xc000_0018
    REVISION_MISMATCH                 = 0xc000_0059
    DEVICE_CONFIGURATION_ERROR        = 0xc000_0182
    DRIVER_INTERNAL_ERROR             = 0xc000_0183
    INVALID_DEVICE_STATE              = 0xc000_0184
    IO_DEVICE_ERROR                   = 0xc000_0185
    DEVICE_PROTOCOL_ERROR             = 0xc000_0186
    DEVICE_FEATURE_NOT_SUPPORTED      = 0xc000_0463
}

impl fmt::Display for NtStatus {
    /// `0xC000009E STATUS_DEVICE_POWER_FAILURE`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:08X} STATUS_{}", self.0, self.short_name())
    }
}

impl fmt::Debug for NtStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As the framework's log prints it: `0xc00000ef(STATUS_INVALID_PARAMETER_1)`.
pub struct Traced(pub NtStatus);

impl fmt::Display for Traced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:08x}(STATUS_{})", self.0.0, self.0.short_name())
    }
}
