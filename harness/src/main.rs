//! The command `misfire`.

fn main() -> std::process::ExitCode {
    misfire::cli::main()
}
