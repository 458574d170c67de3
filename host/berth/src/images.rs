//! `berth load` and `berth images`.

use anyhow::Context;
use berth_image::ImageStore;

use crate::cli::{DataDir, LoadOptions};
use crate::data_dir;

/// Where a cluster keeps its images.
pub(crate) fn directory(data_dir: &std::path::Path) -> std::path::PathBuf {
    data_dir.join("images")
}

/// Imports an archive. A running berth sees the images at once.
pub(crate) fn load(options: &LoadOptions) -> anyhow::Result<()> {
    let data = data_dir::open(&options.data.data_dir)?;
    let store = ImageStore::open(directory(&data))?;
    let images = if options.input.as_os_str() == "-" {
        store.import_reader(std::io::stdin().lock())
    } else {
        store.import_archive(&options.input)
    };
    for image in images.with_context(|| format!("no image was loaded from {}", options.input.display()))? {
        let names = if image.names.is_empty() { "(no name)".to_owned() } else { image.names.join(", ") };
        println!("Loaded image: {names} ({})", image.digest);
    }
    Ok(())
}

/// Lists the images.
pub(crate) fn list(options: &DataDir) -> anyhow::Result<()> {
    let data = data_dir::existing(&options.data_dir)?;
    let store = ImageStore::open(directory(&data))?;
    println!("{:<48} {:<20} {:>10}", "IMAGE", "DIGEST", "SIZE");
    for image in store.list()? {
        let digest = image.digest.to_string();
        let short = digest.get(..19).unwrap_or(&digest);
        for name in &image.names {
            println!("{name:<48} {short:<20} {:>10}", megabytes(image.size_bytes));
        }
    }
    Ok(())
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
