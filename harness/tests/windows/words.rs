//! What the driver says in words of its own.

use misfire::verdict::Verdict;

use crate::bench::*;

/// What the stand-in's driver prints in words of its own.
const OWN_WORDS: &str = "log = [{ line = 'dut: q(?<queue>\\d+) asked for (?<wrote>\\d+), has \
                         (?<read>0x[0-9a-f]+)', means = \"queue-vector\" }]";

#[tokio::test(flavor = "multi_thread")]
async fn a_line_in_the_drivers_own_words_is_evidence_where_the_guest_file_says_what_it_means() {
    let mut bench = Bench::new("log=own");
    bench.more = OWN_WORDS.into();
    bench.expect = "[expect.windows]\nheld = [\"LOG-001\"]";
    let log = bench.passes().await;
    let translated = "dut: q1 asked for 2, has 0x2\n\
                      MISFIRE-LOG pattern queue-vector queue=1 wrote=2 read=0x2\n";
    assert!(log.contains(translated), "{log}");

    // A driver that says what is not so is found out, and one whose words nobody knows is not.
    let mut bench = Bench::new("log=lies");
    bench.more = OWN_WORDS.into();
    let report = bench.run().await;
    let told = told(&report);
    assert_eq!(report.verdict, Verdict::Fail, "{told}");
    assert!(told.contains("LOG-001"), "{told}");
    let bench = Bench::new("log=lies");
    bench.passes().await;
}
