//! Writes the seeds of every fuzz target into a folder for each: `seeds fuzz/corpus`.

use std::{env, fs, io, path::Path};

use skein_tests::{decode::CHECKS, seeds::seeds};

fn main() -> io::Result<()> {
    let corpus = env::args().nth(1).unwrap_or_else(|| "fuzz/corpus".to_owned());
    for (name, _) in CHECKS {
        let folder = Path::new(&corpus).join(name);
        fs::create_dir_all(&folder)?;
        for (number, bytes) in seeds(name).iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:03}")), bytes)?;
        }
    }
    Ok(())
}
