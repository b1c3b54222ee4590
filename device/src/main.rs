//! `misfire-device`: serves misbehaving devices to a QEMU that is started by hand.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;
use log::{LevelFilter, Log, Metadata, Record};
use misfire_device::command::Command;

/// A virtio PCI device that misbehaves on purpose
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// Warnings and errors go to the standard error stream.
struct Stderr;

impl Log for Stderr {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let level = record.level().as_str().to_lowercase();
        // A stream that can't be written is told of nowhere.
        let _ = writeln!(io::stderr(), "{level}: {}", record.args());
    }

    fn flush(&self) {}
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
    match arguments.command.run(&mut io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let status = failure.status();
            // There is nowhere else to tell it.
            let _ = failure.print(&mut io::stderr());
            ExitCode::from(status)
        }
    }
}
