//! How long an import and a lookup take: `cargo run --release -p berth-image --example import_time -- ARCHIVE` (as root).

use std::path::Path;
use std::time::Instant;

use berth_image::ImageStore;

/// How many lookups are timed.
const LOOKUPS: u32 = 200;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let archive = std::env::args().nth(1).ok_or("usage: import_time ARCHIVE")?;
    let dir = std::env::temp_dir().join(format!("berth-import-{}", std::process::id()));
    let measured = measure(&dir, Path::new(&archive));
    std::fs::remove_dir_all(&dir)?;
    println!("{}", measured?);
    Ok(())
}

fn measure(dir: &Path, archive: &Path) -> Result<String, Box<dyn std::error::Error>> {
    let store = ImageStore::open(dir)?;
    let start = Instant::now();
    let imported = store.import_archive(archive)?;
    let import = start.elapsed();
    let name = imported.first().ok_or("the archive holds no image")?.digest.to_string();
    let start = Instant::now();
    for _ in 0..LOOKUPS {
        store.resolve(&name)?;
    }
    let lookup = start.elapsed() / LOOKUPS;
    Ok(format!("import {import:.1?} ({} bytes as stated), resolve {lookup:.1?}", imported[0].size_bytes))
}
