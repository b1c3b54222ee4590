//! The reference guest: a bare-metal kernel with a model of what Windows does with interrupts
//! (`nt`), and drivers on it (`driver`). It is not Windows.
//!
//! `harness/build.rs` compiles it for the machine. Under `cargo test` it is an ordinary program:
//! what needs no hardware is tested on the host.

#![cfg_attr(not(test), no_std, no_main)]
// Without the entry point nothing is reached from the test program's `main`.
#![cfg_attr(test, allow(dead_code))]

extern crate alloc;

mod driver;
mod hal;
mod nt;
mod params;
mod shell;
mod standin;

#[cfg(not(test))]
mod entry {
    use crate::hal::boot::{self, StartInfo};
    use crate::hal::{Exit, apic, console, cpu, exit, idt, processor, time};
    use crate::nt::storport::registry;
    use crate::nt::{bugcheck, smp};
    use crate::params::{Error, Params};
    use crate::{println, shell, standin};
    use core::panic::PanicInfo;

    #[unsafe(no_mangle)]
    extern "C" fn kernel_main(info: *const StartInfo) -> ! {
        // SAFETY: this is the boot path, once, and the firmware's memory is untouched.
        let line = unsafe {
            processor::install(0);
            idt::install();
            boot::command_line(info)
        };
        let (line, canned) = standin::parameters(line);
        match canned {
            Some(canned) => standin::install(canned),
            None => console::install(),
        }
        println!("MISFIRE: guest reference 1");
        let params = match Params::parse(line) {
            Ok(params) => params,
            Err(Error::Key(text)) => usage("unknown parameter", text),
            Err(Error::Value(text)) => usage("bad value in parameter", text),
        };
        if !registry::install(&params.registry) {
            usage("more values than there is room for in", "registry");
        }
        apic::install();
        time::install();
        cpu::enable_interrupts();
        if params.processors > 1 {
            let running = processor::start(params.processors, smp::idle);
            println!("NT: {running} processors");
        }
        shell::run(&params)
    }

    fn usage(what: &str, text: &str) -> ! {
        println!("MISFIRE: error {what} {text}");
        exit(Exit::Usage)
    }

    #[panic_handler]
    fn panic(info: &PanicInfo) -> ! {
        println!("ASSERT: {info}");
        bugcheck::assertion()
    }
}
