//! Hands an exit code to the system.

fn main() -> std::process::ExitCode {
    xtask_db::run(std::env::args_os())
}
