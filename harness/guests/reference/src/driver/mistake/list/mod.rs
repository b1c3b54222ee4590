//! The list of mistakes: a file for each family of rules that they break. The harness compiles these
//! files too, so a mistake is written down once.

mod acc;
mod cap;
mod cfg;
mod feat;
mod init;
mod isr;
mod leg;
mod msix;
mod nr;
mod ntf;
mod pci;
mod pkd;
mod q;
mod qrst;
mod rob;
mod rst;
mod spl;
mod sus;
mod win_msi;
mod win_pnp;
mod win_stor;

/// One mistake.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "the guest needs only the name")]
pub struct Mistake {
    /// Its name in scenarios and parameters.
    pub name: &'static str,
    /// What the driver does wrong.
    pub text: &'static str,
    /// The rule that it breaks.
    pub breaks: &'static str,
}

/// The most mistakes that a driver makes at once.
pub const MOST: usize = 8;

/// The mistakes of each family.
const FAMILIES: &[&[Mistake]] = &[
    acc::ALL,
    cap::ALL,
    cfg::ALL,
    feat::ALL,
    init::ALL,
    isr::ALL,
    leg::ALL,
    msix::ALL,
    nr::ALL,
    ntf::ALL,
    pci::ALL,
    pkd::ALL,
    q::ALL,
    qrst::ALL,
    rob::ALL,
    rst::ALL,
    spl::ALL,
    sus::ALL,
    win_msi::ALL,
    win_pnp::ALL,
    win_stor::ALL,
];

/// Every mistake.
pub fn mistakes() -> impl Iterator<Item = &'static Mistake> {
    FAMILIES.iter().copied().flatten()
}

/// `CONSTANT = "name", "the rule that it breaks", "what the driver does wrong";`, for each of a family.
macro_rules! list {
    ($($mistake:ident = $name:literal, $breaks:literal, $text:literal;)*) => {
        impl Mistake {
            $(
                #[doc = concat!("The driver ", $text, ".")]
                pub const $mistake: Self = Self {
                    name: $name,
                    text: $text,
                    breaks: $breaks,
                };
            )*
        }

        /// All of this family.
        pub const ALL: &[Mistake] = &[$(Mistake::$mistake,)*];
    };
}
use list;
