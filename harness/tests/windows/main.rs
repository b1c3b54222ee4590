//! The guest kind `windows` from end to end, with a stand-in: the reference kernel, which speaks to a
//! kernel debugger and answers the guest's agent as a Windows would. Nothing here has been run on Windows.

#[path = "../assembled/mod.rs"]
mod assembled;
mod bench;
mod crashes;
mod devices;
#[path = "../killed/mod.rs"]
mod killed;
mod machines;
mod person;
mod stages;
#[path = "../standin/mod.rs"]
mod standin;
#[path = "../swtpm/mod.rs"]
mod swtpm;
#[path = "../tools/mod.rs"]
mod tools;
mod uefi;
mod words;
