//! `scenarios/quorum`: what learners and leaders say to each other. Each is what Java's servers said, packet by packet; and
//! where ours, in the place of either, say something else.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use tests::conversation::Conversation;
use tests::recorder::{Port, from_text};

/// Not the reconfiguration: whoever takes part in that needs more than a peer.
const RECORDINGS: [&str; 8] =
    ["follower", "late_follower", "observer", "diff", "snap", "trunc", "trunc_late", "next_epoch"];

#[test]
fn ours_say_what_javas_servers_say_but_where_the_scenario_says_otherwise() -> Result<()> {
    let rewrite = std::env::var("SCENARIOS").is_ok_and(|wish| wish == "rewrite");
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in RECORDINGS {
        let recorded = fs::read_to_string(tests.join(format!("fixtures/quorum/{name}.txt")))?;
        let mut text: String = recorded.lines().filter(|line| line.starts_with('#')).collect();
        text += "\n";
        for recording in from_text(&recorded)?.iter().filter(|recording| recording.port == Port::Quorum) {
            text += "\n";
            text += &Conversation::of(recording).context(name)?.to_text();
        }
        let file = tests.join(format!("scenarios/quorum/{name}.txt"));
        if rewrite {
            fs::write(file, text)?;
            continue;
        }
        let written = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let differs = written.lines().zip(text.lines()).find(|(written, said)| written != said);
        ensure!(
            written == text,
            "{}: {differs:?}\nIf that is as it should be: SCENARIOS=rewrite",
            file.display()
        );
    }
    Ok(())
}
