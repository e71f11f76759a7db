//! Files of drivers, their companions and their sources.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use bugcheck::{Driver, ReplayFile, Scenario};

/// Larger files are no drivers of ours, and a device file has no end.
const MAX_FILE_BYTES: u64 = 256 << 20;
/// A source file longer than this is not shown.
const MAX_SOURCE_BYTES: u64 = 8 << 20;

/// The drivers that files and folders name, in order; a folder's sorted by name.
pub(crate) fn drivers(paths: &[PathBuf]) -> Result<Vec<Driver>, String> {
    let mut list = Vec::new();
    for path in paths {
        if path.is_dir() {
            let found = drivers_in(path)?;
            if found.is_empty() {
                return Err(format!("no driver (*.sys) in the folder `{}`", path.display()));
            }
            list.extend(found.iter().map(|path| driver(path)));
        } else {
            list.push(driver(path));
        }
    }
    Ok(list)
}

fn drivers_in(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let unreadable = |error| format!("the folder `{}` cannot be read: {error}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let is_driver = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("sys"));
        if is_driver && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Reads a driver and the PDB beside it. What cannot be read says so when it is checked.
pub(crate) fn driver(path: &Path) -> Driver {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let bytes = read(path, MAX_FILE_BYTES);
    let pdb =
        bytes.as_ref().ok().and_then(|_| read(&path.with_extension("pdb"), MAX_FILE_BYTES).ok());
    Driver { path: path.display().to_string(), name, bytes, pdb }
}

/// Reads a scenario.
pub(crate) fn scenario(path: &Path) -> Result<Scenario, String> {
    let shown = path.display();
    let bytes = read(path, MAX_SOURCE_BYTES).map_err(|error| format!("{shown}: {error}"))?;
    let text = String::from_utf8(bytes).map_err(|_| format!("{shown}: the text is not UTF-8"))?;
    Ok(Scenario { path: shown.to_string(), text })
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
        assert!(drivers(&["/dev/null".into()]).is_ok_and(|list| list.len() == 1));
        assert_eq!(source("x.sys", "/etc/passwd"), None);
    }
}
