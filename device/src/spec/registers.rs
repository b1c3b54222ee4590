//! The macro that turns a register table of a specification into an enum.

/// Declares a register block: one row for each register, in the order of the specification.
///
/// A row is `offset: type  rights  scope => Name = reset value,`. The enum gets `ALL`, `offset()`,
/// `width()` (bytes), `access()`, `scope()`, `reset()`, `name()` (the specification's, in
/// `snake_case`) and `at(offset)`. It is checked at compile time that rows are sorted, do not
/// overlap and end within the size.
macro_rules! registers {
    (
        $(#[$meta:meta])*
        pub enum $block:ident, size $size:literal {
            $( $(#[$row_meta:meta])* $offset:literal: $ty:ident $rights:ident $scope:ident => $name:ident $spelled:literal $(= $reset:expr)?, )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $block {
            $( $(#[$row_meta])* #[doc = concat!("Offset ", stringify!($offset), ", ", stringify!($ty), ", `", stringify!($rights), "`.")] $name, )*
        }

        impl $block {
            /// Size of the block in bytes.
            pub const SIZE: u64 = $size;
            /// Every register, in order of offset.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Offset from the start of the block, in bytes.
            pub const fn offset(self) -> u64 {
                match self { $(Self::$name => $offset),* }
            }

            /// Width in bytes.
            pub const fn width(self) -> u8 {
                match self { $(Self::$name => size_of::<$ty>() as u8),* }
            }

            /// What the driver may do with it.
            pub const fn rights(self) -> $crate::spec::Rights {
                match self { $(Self::$name => $crate::spec::Rights::$rights),* }
            }

            /// Whether there is one for the device or one for each queue.
            pub const fn scope(self) -> $crate::spec::Scope {
                match self { $(Self::$name => $crate::spec::Scope::$scope),* }
            }

            /// Value after a reset, where the block's text fixes one (0 otherwise).
            pub const fn reset(self) -> u64 {
                match self { $(Self::$name => 0 $(+ $reset as u64)?),* }
            }

            /// The specification's name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $spelled),* }
            }

            /// The register that contains the byte at `offset`.
            pub fn at(offset: u64) -> Option<Self> {
                Self::ALL.iter().copied().find(|r| {
                    (r.offset()..r.offset() + u64::from(r.width())).contains(&offset)
                })
            }

            /// The register of that name.
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|r| r.name() == name)
            }
        }

        const _: () = {
            let mut end = 0;
            let mut i = 0;
            while i < $block::ALL.len() {
                let r = $block::ALL[i];
                assert!(r.offset() >= end, "registers overlap or are out of order");
                assert!(r.offset() % r.width() as u64 == 0 || r.width() == 8, "unaligned register");
                end = r.offset() + r.width() as u64;
                i += 1;
            }
            assert!(end <= $block::SIZE, "registers go beyond the block");
        };
    };
}
pub(crate) use registers;
