//! The guest kind `windows` from end to end, with a stand-in: the reference kernel, which speaks to a
//! kernel debugger and answers the guest's agent as a Windows would. Nothing here has been run on Windows.

mod bench;
mod crashes;
mod devices;
#[path = "../killed/mod.rs"]
mod killed;
mod person;
mod stages;
#[path = "../standin/mod.rs"]
mod standin;
mod words;
