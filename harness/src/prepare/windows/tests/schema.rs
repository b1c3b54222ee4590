//! A schema of answer files, as far as ours use them. It is our own, written from the pages of Microsoft's
//! "Unattended Windows Setup Reference" on each component; Windows has none that could be had here.

/// What an element holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Other elements.
    Elements,
    /// A list item: the same, with `wcm:action="add"`.
    Item,
    /// `true` or `false`.
    Bool,
    /// A number in this range.
    Number(u32, u32),
    /// One of these words.
    Word(&'static [&'static str]),
    /// A text of at most so many characters.
    Text(usize),
}
use Holds::{Bool, Elements, Item, Number, Text, Word};

/// A component, the passes that it has a part in, and its elements, parents first.
pub struct Component {
    pub name: &'static str,
    pub passes: &'static [&'static str],
    pub elements: &'static [(&'static str, Holds)],
}

const INTERNATIONAL: &[(&str, Holds)] = &[
    ("SetupUILanguage", Elements),
    ("SetupUILanguage/UILanguage", Text(85)),
    ("InputLocale", Text(85)),
    ("SystemLocale", Text(85)),
    ("UILanguage", Text(85)),
    ("UserLocale", Text(85)),
];

pub const COMPONENTS: &[Component] = &[
    Component {
        name: "Microsoft-Windows-International-Core-WinPE",
        passes: &["windowsPE"],
        elements: INTERNATIONAL,
    },
    Component {
        name: "Microsoft-Windows-International-Core",
        passes: &["specialize", "oobeSystem"],
        elements: INTERNATIONAL,
    },
    Component {
        name: "Microsoft-Windows-Setup",
        passes: &["windowsPE"],
        elements: &[
            ("RunSynchronous", Elements),
            ("RunSynchronous/RunSynchronousCommand", Item),
            ("RunSynchronous/RunSynchronousCommand/Order", Number(1, 500)),
            ("RunSynchronous/RunSynchronousCommand/Path", Text(259)),
            ("DiskConfiguration", Elements),
            (
                "DiskConfiguration/WillShowUI",
                Word(&["Always", "OnError", "Never"]),
            ),
            ("DiskConfiguration/Disk", Item),
            ("DiskConfiguration/Disk/DiskID", Number(0, 63)),
            ("DiskConfiguration/Disk/WillWipeDisk", Bool),
            ("DiskConfiguration/Disk/CreatePartitions", Elements),
            (
                "DiskConfiguration/Disk/CreatePartitions/CreatePartition",
                Item,
            ),
            (
                "DiskConfiguration/Disk/CreatePartitions/CreatePartition/Order",
                Number(1, 128),
            ),
            (
                "DiskConfiguration/Disk/CreatePartitions/CreatePartition/Type",
                Word(&["EFI", "MSR", "Primary", "Extended", "Logical"]),
            ),
            (
                "DiskConfiguration/Disk/CreatePartitions/CreatePartition/Size",
                Number(1, u32::MAX),
            ),
            (
                "DiskConfiguration/Disk/CreatePartitions/CreatePartition/Extend",
                Bool,
            ),
            ("DiskConfiguration/Disk/ModifyPartitions", Elements),
            (
                "DiskConfiguration/Disk/ModifyPartitions/ModifyPartition",
                Item,
            ),
            (
                "DiskConfiguration/Disk/ModifyPartitions/ModifyPartition/Order",
                Number(1, 128),
            ),
            (
                "DiskConfiguration/Disk/ModifyPartitions/ModifyPartition/PartitionID",
                Number(1, 128),
            ),
            (
                "DiskConfiguration/Disk/ModifyPartitions/ModifyPartition/Active",
                Bool,
            ),
            (
                "DiskConfiguration/Disk/ModifyPartitions/ModifyPartition/Format",
                Word(&["NTFS", "FAT32"]),
            ),
            (
                "DiskConfiguration/Disk/ModifyPartitions/ModifyPartition/Label",
                Text(32),
            ),
            (
                "DiskConfiguration/Disk/ModifyPartitions/ModifyPartition/Letter",
                Text(1),
            ),
            ("ImageInstall", Elements),
            ("ImageInstall/OSImage", Elements),
            ("ImageInstall/OSImage/InstallFrom", Elements),
            ("ImageInstall/OSImage/InstallFrom/MetaData", Item),
            (
                "ImageInstall/OSImage/InstallFrom/MetaData/Key",
                Word(&["/IMAGE/INDEX", "/IMAGE/NAME", "/IMAGE/DESCRIPTION"]),
            ),
            ("ImageInstall/OSImage/InstallFrom/MetaData/Value", Text(256)),
            ("ImageInstall/OSImage/InstallTo", Elements),
            ("ImageInstall/OSImage/InstallTo/DiskID", Number(0, 63)),
            ("ImageInstall/OSImage/InstallTo/PartitionID", Number(1, 128)),
            ("UserData", Elements),
            ("UserData/AcceptEula", Bool),
            ("UserData/FullName", Text(63)),
            ("UserData/Organization", Text(63)),
            ("UserData/ProductKey", Elements),
            ("UserData/ProductKey/Key", Text(29)),
            (
                "UserData/ProductKey/WillShowUI",
                Word(&["Always", "OnError", "Never"]),
            ),
        ],
    },
    Component {
        name: "Microsoft-Windows-Deployment",
        passes: &["auditUser", "specialize"],
        elements: &[
            ("RunSynchronous", Elements),
            ("RunSynchronous/RunSynchronousCommand", Item),
            ("RunSynchronous/RunSynchronousCommand/Order", Number(1, 500)),
            ("RunSynchronous/RunSynchronousCommand/Path", Text(259)),
        ],
    },
    Component {
        name: "Microsoft-Windows-Shell-Setup",
        passes: &["specialize", "oobeSystem", "generalize", "auditSystem"],
        elements: &[
            ("ComputerName", Text(15)),
            ("TimeZone", Text(256)),
            ("AutoLogon", Elements),
            ("AutoLogon/Enabled", Bool),
            ("AutoLogon/LogonCount", Number(1, 4_294_967)),
            ("AutoLogon/Username", Text(256)),
            ("AutoLogon/Password", Elements),
            ("AutoLogon/Password/Value", Text(127)),
            ("AutoLogon/Password/PlainText", Bool),
            ("OOBE", Elements),
            ("OOBE/HideEULAPage", Bool),
            ("OOBE/HideLocalAccountScreen", Bool),
            ("OOBE/HideOEMRegistrationScreen", Bool),
            ("OOBE/HideOnlineAccountScreens", Bool),
            ("OOBE/HideWirelessSetupInOOBE", Bool),
            ("OOBE/NetworkLocation", Word(&["Home", "Work", "Other"])),
            ("OOBE/ProtectYourPC", Number(1, 3)),
            ("UserAccounts", Elements),
            ("UserAccounts/AdministratorPassword", Elements),
            ("UserAccounts/AdministratorPassword/Value", Text(127)),
            ("UserAccounts/AdministratorPassword/PlainText", Bool),
            ("FirstLogonCommands", Elements),
            ("FirstLogonCommands/SynchronousCommand", Item),
            (
                "FirstLogonCommands/SynchronousCommand/Order",
                Number(1, 500),
            ),
            (
                "FirstLogonCommands/SynchronousCommand/CommandLine",
                Text(1024),
            ),
            (
                "FirstLogonCommands/SynchronousCommand/RequiresUserInput",
                Bool,
            ),
        ],
    },
];

/// In the order in which Windows goes through them.
pub const PASSES: &[&str] = &[
    "windowsPE",
    "offlineServicing",
    "generalize",
    "specialize",
    "auditSystem",
    "auditUser",
    "oobeSystem",
];

/// Elements that Windows 7 does not have.
pub const SINCE_8: &[&str] = &[
    "OOBE/HideLocalAccountScreen",
    "OOBE/HideOEMRegistrationScreen",
    "OOBE/HideOnlineAccountScreens",
];

/// Whether a text is what an element holds.
pub fn fits(holds: Holds, text: &str) -> bool {
    match holds {
        Elements | Item => text.trim().is_empty(),
        Bool => matches!(text, "true" | "false"),
        Number(least, most) => text.parse().is_ok_and(|n: u32| (least..=most).contains(&n)),
        Word(words) => words.contains(&text),
        Text(most) => text.chars().count() <= most && text.trim() == text,
    }
}
