//! Files of drivers, their companions and their sources.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use bugcheck::{Driver, ReplayFile, Scenario};
use report::is_printable;

/// Larger files are no drivers of ours, and a device file has no end.
const MAX_FILE_BYTES: u64 = 256 << 20;
/// A source file longer than this is not shown.
const MAX_SOURCE_BYTES: u64 = 8 << 20;

/// The drivers that files and folders name, in order; a folder's sorted by name. What cannot be
/// read, and a folder without any, say so when they are checked.
pub(crate) fn drivers(paths: &[PathBuf]) -> Vec<Driver> {
    let of_path = |path: &PathBuf| {
        if !path.is_dir() {
            return vec![driver(path)];
        }
        match drivers_in(path) {
            Ok(found) if found.is_empty() => {
                let error = "there is no driver (*.sys) in this folder";
                vec![driver_of(path, Err(error.to_owned()))]
            }
            Ok(found) => found.iter().map(|path| driver(path)).collect(),
            Err(error) => {
                vec![driver_of(path, Err(format!("the folder cannot be read: {error}")))]
            }
        }
    };
    paths.iter().flat_map(of_path).collect()
}

fn drivers_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_driver = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("sys"));
        // A link that leads nowhere is a driver that cannot be read; a pipe is none.
        if is_driver && fs::metadata(&path).map_or(true, |facts| facts.is_file()) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Reads a driver and the PDB beside it. What cannot be read says so when it is checked.
pub(crate) fn driver(path: &Path) -> Driver {
    driver_of(path, read(path, MAX_FILE_BYTES))
}

fn driver_of(path: &Path, bytes: Result<Vec<u8>, String>) -> Driver {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // It stands in reports, each name in one line.
    let name = name.chars().map(|c| if is_printable(c) { c } else { '_' }).collect();
    let pdb =
        bytes.as_ref().ok().and_then(|_| read(&path.with_extension("pdb"), MAX_FILE_BYTES).ok());
    Driver { path: path.display().to_string(), name, bytes, pdb }
}

/// Reads a scenario.
pub(crate) fn scenario(path: &Path) -> Result<Scenario, String> {
    let shown = path.display().to_string().replace(char::is_control, "_");
    if path.is_dir() {
        return Err(format!("{shown}: a scenario is a file with a script, found a folder"));
    }
    let bytes = read(path, MAX_SOURCE_BYTES).map_err(|error| format!("{shown}: {error}"))?;
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(Scenario { path: shown, text }),
        _ => Err(format!("{shown}: a scenario is a script in UTF-8 text, found other bytes")),
    }
}

/// The text of a replay file, if the argument names one and is no token.
pub(crate) fn replay(argument: &str) -> Option<Result<String, String>> {
    let path = Path::new(argument);
    let is_file = path.extension().is_some_and(|extension| extension == "json") || path.is_file();
    is_file.then(|| {
        let bytes = read(path, MAX_SOURCE_BYTES).map_err(|error| format!("{argument}: {error}"))?;
        String::from_utf8(bytes).map_err(|_| format!("{argument}: the text is not UTF-8"))
    })
}

/// Writes replay files.
pub(crate) fn save(folder: &Path, replays: &[ReplayFile]) -> Result<(), String> {
    let cannot = |path: &Path, error| format!("{}: cannot be written: {error}", path.display());
    fs::create_dir_all(folder).map_err(|error| cannot(folder, error))?;
    for ReplayFile { name, text } in replays {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|error| cannot(&path, error))?;
    }
    Ok(())
}

fn read(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, String> {
    if path.is_dir() {
        return Err("a file was expected, found a folder".to_owned());
    }
    let cannot = |error| format!("the file cannot be read: {error}");
    let file = File::open(path).map_err(cannot)?;
    let mut bytes = Vec::new();
    file.take(limit_bytes + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > limit_bytes {
        return Err(format!("the file is longer than {limit_bytes} bytes"));
    }
    Ok(bytes)
}

/// The text of a source file, if the path the compiler wrote down leads to one: as it is, below the
/// working directory, or below a folder above the driver.
pub(crate) fn source(driver: &str, path: &str) -> Option<String> {
    let path = path.replace('\\', "/");
    let path = Path::new(&path);
    // A driver names any file it likes; only what looks like source is shown.
    let is_source = path.extension().is_some_and(|extension| {
        ["c", "cc", "cpp", "cxx", "h", "hpp", "rs", "inl"].iter().any(|e| extension == *e)
    });
    if !is_source {
        return None;
    }
    let above = Path::new(driver).ancestors().skip(1).map(|folder| folder.join(path));
    let bytes = [path.to_owned()]
        .into_iter()
        .chain(above)
        .find_map(|candidate| read(&candidate, MAX_SOURCE_BYTES).ok())?;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::{driver, drivers, source};

    #[test]
    fn what_cannot_be_read_says_so() {
        assert!(driver("no/such.sys".as_ref()).bytes.is_err());
        assert_eq!(drivers(&["/dev/null".into()]).len(), 1);
        assert_eq!(source("x.sys", "/etc/passwd"), None);
    }
}
