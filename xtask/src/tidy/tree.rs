//! The files of the repository, as git knows them.

use std::{fs, process::Command};

use anyhow::Result;

use crate::repo;

#[derive(Debug)]
pub(super) struct File {
    /// From the root, with forward slashes.
    pub(super) path: String,
    pub(super) bytes: Vec<u8>,
}

impl File {
    /// The text, or nothing for a binary file.
    pub(super) fn text(&self) -> &str {
        if self.bytes.contains(&0) {
            return "";
        }
        str::from_utf8(&self.bytes).unwrap_or_default()
    }

    pub(super) fn has_extension(&self, extension: &str) -> bool {
        self.path.rsplit_once('.').is_some_and(|(_, found)| found == extension)
    }

    /// Lines with their numbers, from 1.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text().lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    pub(super) fn is_generated(&self) -> bool {
        self.text().lines().next().is_some_and(|line| line.contains("@generated"))
    }
}

/// All files that are tracked or would be.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) files: Vec<File>,
}

impl Tree {
    pub(super) fn read() -> Result<Self> {
        let mut git = Command::new("git");
        git.current_dir(repo::root());
        let list = repo::output(git.args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
            "--deduplicate",
        ]))?;
        let mut files = Vec::new();
        for path in list.split('\0').filter(|path| !path.is_empty()) {
            // A file deleted but not yet committed is still listed.
            if let Ok(bytes) = fs::read(repo::root().join(path)) {
                files.push(File { path: path.to_owned(), bytes });
            }
        }
        Ok(Self { files })
    }

    /// A tree for tests.
    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let file = |(path, text): &(&str, &str)| File {
            path: (*path).to_owned(),
            bytes: text.as_bytes().to_vec(),
        };
        Self { files: files.iter().map(file).collect() }
    }

    pub(super) fn with_extension(&self, extension: &str) -> impl Iterator<Item = &File> {
        self.files.iter().filter(move |file| file.has_extension(extension))
    }

    pub(super) fn get(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}
