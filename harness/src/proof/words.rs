//! A proof as a person reads it.

use std::fmt;

use super::{FaultProof, Proof, RuleProof};

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for unexpected in &self.unexpected {
            let word = unexpected.verdict.word();
            writeln!(f, "{word:5} {}", unexpected.scenario)?;
            for reason in &unexpected.reasons {
                for line in reason.lines() {
                    writeln!(f, "      {line}")?;
                }
            }
        }
        for rule in self.rules.iter().filter(|r| !r.proven) {
            writeln!(
                f,
                "{:14} {:8} {}",
                rule.id,
                rule.level.name(),
                half_missing(rule)
            )?;
        }
        for fault in self.faults.iter().filter(|p| !p.proven) {
            writeln!(f, "{:23} {}", fault.name, fault_missing(fault))?;
        }
        for alarm in &self.false_alarms {
            let driver = match alarm.mistakes.as_slice() {
                [] => "a correct driver".into(),
                mistakes => mistakes.join(" and "),
            };
            writeln!(
                f,
                "{:14} blames {driver} in {}: {}",
                alarm.rule, alarm.scenario, alarm.text
            )?;
        }
        let s = &self.summary;
        let quiet = self.unobservable.len();
        writeln!(
            f,
            "{} of {} observable rules are proven both ways ({} of {} MUST rules); {quiet} can't be observed",
            s.proven, s.observable, s.must.0, s.must.1
        )?;
        writeln!(f, "{} of {} faults are proven", s.faults_proven, s.faults)?;
        let (n, plural) = (s.false_alarms, if s.false_alarms == 1 { "" } else { "s" });
        write!(f, "{n} false alarm{plural} in {} scenarios", s.scenarios)
    }
}

fn half_missing(rule: &RuleProof) -> String {
    let first = |name: Option<&str>| name.unwrap_or_default().to_owned();
    match (rule.held.first(), rule.broken.first()) {
        (None, None) => "nothing puts it to the test".into(),
        (Some(held), None) => format!("no mistake breaks it; held in {held}"),
        (None, Some(broken)) => format!(
            "no correct driver is seen to keep it; broken in {}",
            first(Some(&broken.scenario))
        ),
        (Some(_), Some(_)) => String::new(),
    }
}

fn fault_missing(fault: &FaultProof) -> String {
    match fault.fires.first() {
        None => "fires in no scenario".into(),
        Some(first) => {
            format!(
                "nothing but the fault itself is gone from the transcript without it; fires in {first}"
            )
        }
    }
}
