//! The demo's trouble: the directory goes down now and then, and comes back.

use std::path::PathBuf;
use std::time::Duration;

/// How long all is well.
const WELL: Duration = Duration::from_secs(45);

/// How long the directory cannot be read.
const DOWN: Duration = Duration::from_secs(15);

/// Takes the directory's file away and brings it back, for ever.
pub(super) async fn run(file: PathBuf) {
    let away = file.with_extension("away");
    loop {
        tokio::time::sleep(WELL).await;
        // When the demo ends the folder goes too, and nothing is left to move.
        let _moved = std::fs::rename(&file, &away);
        tokio::time::sleep(DOWN).await;
        let _moved = std::fs::rename(&away, &file);
    }
}
