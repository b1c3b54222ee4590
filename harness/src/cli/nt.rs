//! What a run with a driver's own image takes: the image, its INF, what the registry has for it.

use std::path::{Path, PathBuf};

use clap::Args;
use miette::{IntoDiagnostic as _, WrapErr as _};

use super::Failure;
use crate::guest::{NT, NtDriver};
use crate::inf::{Architecture, Driver, Inf};
use crate::scenario::{MOST_PROCESSORS, Problems};

/// What a run with a driver's own image takes.
#[derive(Clone, Debug, Args)]
pub struct ImageArgs {
    /// With `--guest nt`: the driver, a StorPort miniport for 64-bit x86.
    #[arg(long, value_name = "FILE")]
    driver: Option<PathBuf>,
    /// With `--guest nt`: the driver's INF, which says how many messages are asked for.
    #[arg(long, value_name = "FILE", requires = "driver")]
    inf: Option<PathBuf>,
    /// With `--guest nt`: runs a driver that imports what the model does not have; calling it is a crash.
    #[arg(long, requires = "driver")]
    allow_missing: bool,
    /// With `--guest nt`: what the registry has for the driver as DriverParameter, a word.
    #[arg(long, value_name = "TEXT", requires = "driver", value_parser = word)]
    driver_parameter: Option<String>,
    /// With `--guest nt`: at its end each scenario's system crashes, and the driver, loaded again, writes the
    /// crash dump.
    #[arg(long, requires = "driver")]
    crash_dump: bool,
    /// With `--guest nt`: processors of the machine, 1 to 8. Default: what the scenario says, else one.
    #[arg(long, value_name = "N", requires = "driver",
        value_parser = clap::value_parser!(u16).range(1..=i64::from(MOST_PROCESSORS)))]
    processors: Option<u16>,
}

/// The guest's command line is split at spaces.
fn word(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(char::is_whitespace) || !text.is_ascii() {
        return Err("expected one word of ASCII characters".into());
    }
    Ok(text.into())
}

impl ImageArgs {
    /// The driver to be run; none for a guest with drivers of its own.
    pub(super) fn open(&self, guest: &str) -> Result<Option<NtDriver>, Failure> {
        match (&self.driver, guest == NT) {
            (None, false) => Ok(None),
            (None, true) => Err(Failure::Wrong(miette::miette!(
                help = "misfire run --guest nt --driver X.sys",
                "the guest `{NT}` runs a driver's own image, and none is named"
            ))),
            (Some(path), false) => Err(Failure::Wrong(miette::miette!(
                help = format!("add `--guest {NT}`"),
                "{}: the guest `{guest}` has drivers of its own",
                path.display()
            ))),
            (Some(path), true) => self.read(path).map(Some),
        }
    }

    fn read(&self, path: &Path) -> Result<NtDriver, Failure> {
        let image = bytes(path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut driver = NtDriver::new(&name, &image)
            .into_diagnostic()
            .wrap_err_with(|| format!("{} can't be run", path.display()))
            .map_err(Failure::Wrong)?;
        if !driver.missing.is_empty() && !self.allow_missing {
            let names: Vec<String> = driver.missing.iter().map(ToString::to_string).collect();
            return Err(Failure::Wrong(miette::miette!(
                help = "--allow-missing runs it all the same: it crashes when it calls one of them, and says which",
                "{} can't be run: the model of Windows does not have {}",
                path.display(),
                names.join(", ")
            )));
        }
        driver.parameter.clone_from(&self.driver_parameter);
        driver.crash_dump = self.crash_dump;
        driver.processors = self.processors;
        if let Some(path) = &self.inf {
            let inf = Inf::read(path, &bytes(path)?).map_err(|problem| Problems(vec![problem]))?;
            let models = Driver::of(&inf, Architecture::Amd64).models;
            let mut refused: Vec<_> = models.iter().flat_map(|m| &m.parameters.refused).collect();
            refused.sort();
            refused.dedup();
            if !refused.is_empty() {
                let problems = refused.iter().map(|(line, why)| inf.problem(*line, why));
                return Err(Problems(problems.collect()).into());
            }
            driver.inf = Some(models);
        }
        Ok(driver)
    }
}

fn bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path)
        .into_diagnostic()
        .wrap_err_with(|| format!("{} can't be read", path.display()))
        .map_err(Failure::Wrong)
}
