//! C and C++ drivers: clang and lld-link on mingw's driver headers, or mingw's own gcc.
//!
//! Images are cached by the hash of everything that goes into them under `target/drivers/`.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{self, Command},
};

use anyhow::{Context, Result, bail};

use crate::{content_hash::ContentHash, repo, setup};

/// Options of every compilation with clang.
const CLANG_FLAGS: &[&str] = &[
    "--target=x86_64-pc-windows-msvc",
    // Lets mingw's headers accept the MSVC ABI.
    "-fgnuc-version=8.0.0",
    "-U_MSC_VER",
    "-fms-extensions",
    // Without it clang drops `__try` around plain loads and stores.
    "-fasync-exceptions",
    "-g",
    "-gcodeview",
    "-O1",
    "-Wall",
    "-Wno-multichar",
    "-Wno-four-char-constants",
    "-Wno-unknown-pragmas",
    "-Wno-ignored-pragma-intrinsic",
    "-D_WIN32_WINNT=0x0A00",
    // mingw's intrin.h and ddk/wdm.h define these inlines twice.
    "-D__INTRINSIC_DEFINED_InterlockedBitTestAndSet",
    "-D__INTRINSIC_DEFINED_InterlockedBitTestAndReset",
    // Keeps clang's vector headers out: half the compile time.
    "-D__SCE__",
    "-D_MM3DNOW_H_INCLUDED",
    // `sprintf` is the kernel's, not mingw's own.
    "-D__USE_MINGW_ANSI_STDIO=0",
    // MSVC's intrinsics are instructions of the driver's own line, not functions of a header.
    "-D__MINGW_INTRIN_INLINE=\
     extern __inline__ __attribute__((__always_inline__,__gnu_inline__,__nodebug__))",
    // Nothing of this machine in the debug information.
    "-fdebug-compilation-dir=.",
    "-gno-codeview-command-line",
];

/// Options of every link with lld-link.
const LINK_FLAGS: &[&str] = &[
    "-nologo",
    "-driver",
    "-subsystem:native",
    "-nodefaultlib",
    "-debug",
    "-opt:ref,noicf",
    "-release",
    "-Brepro",
    "-pdbaltpath:%_PDB%",
    "-pdbsourcepath:.",
    "-entry:DriverEntry",
    // INIT is discardable only when asked for.
    "-section:INIT,ERD",
    "-threads:1",
];

/// Options of every build with mingw's gcc, which has no `__try` and writes DWARF.
const MINGW_FLAGS: &[&str] = &[
    "-Wl,--dynamicbase",
    "-nostdlib",
    "-nostartfiles",
    "-gdwarf-4",
    "-O1",
    "-Wall",
    "-Wno-multichar",
    "-Wno-unknown-pragmas",
    "-D_WIN32_WINNT=0x0A00",
    "-fno-stack-protector",
    "-Wl,--subsystem,native",
    "-Wl,--image-base,0x140000000",
    "-Wl,--entry,DriverEntry",
    "-Wl,--no-insert-timestamp",
    "-Wl,--exclude-all-symbols",
];

/// A driver's source file and the wishes in its head.
#[derive(Debug)]
pub(crate) struct Source {
    /// Folder in which the compiler runs; paths in the debug information are relative to it.
    base: PathBuf,
    /// The file, relative to `base`, with forward slashes.
    relative: String,
    text: String,
}

impl Source {
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let full =
            fs::canonicalize(file).with_context(|| format!("cannot find {}", file.display()))?;
        let text =
            fs::read_to_string(&full).with_context(|| format!("cannot read {}", file.display()))?;
        let root = fs::canonicalize(repo::root())?;
        // Inside the repository debug information names files from its root, so that a report
        // made there finds the source.
        let parent = full.parent().expect("a file has a folder").to_path_buf();
        let base = if full.starts_with(&root) { root } else { parent };
        let relative = full.strip_prefix(&base)?.to_string_lossy().replace('\\', "/");
        Ok(Self { base, relative, text })
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The value of a `//@key: value` line.
    pub(crate) fn header(&self, key: &str) -> Option<&str> {
        self.headers().find(|(_, found, _)| *found == key).map(|(_, _, value)| value)
    }

    /// The keys of all `//@key: value` lines, with their line numbers.
    pub(crate) fn header_keys(&self) -> impl Iterator<Item = (usize, &str)> {
        self.headers().map(|(number, key, _)| (number, key))
    }

    fn headers(&self) -> impl Iterator<Item = (usize, &str, &str)> {
        self.text.lines().enumerate().filter_map(|(index, line)| {
            let (key, value) = line.strip_prefix("//@")?.split_once(':')?;
            Some((index + 1, key.trim(), value.trim()))
        })
    }

    fn stem(&self) -> Result<&str> {
        Path::new(&self.relative)
            .file_stem()
            .and_then(OsStr::to_str)
            .context("a source file needs a name")
    }

    /// The headers beside the file, and those in the folder above, which its neighbours share.
    fn included_files(&self) -> Result<Vec<PathBuf>> {
        let file = self.base.join(&self.relative);
        let folder = file.parent().context("a file has a folder")?;
        let mut files = repo::files_below(folder)?;
        if let Some(Ok(shared)) = folder.parent().map(fs::read_dir) {
            files.extend(shared.flatten().map(|entry| entry.path()).filter(|path| path.is_file()));
        }
        files.retain(|file| file.extension() == Some(OsStr::new("h")));
        files.sort();
        Ok(files)
    }

    fn is_cpp(&self) -> bool {
        self.relative.ends_with(".cpp")
    }
}

/// A built driver.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) sys: PathBuf,
    /// Absent where the debug information is inside the image.
    pub(crate) pdb: Option<PathBuf>,
    /// What the compiler said; empty when the image came from the cache.
    pub(crate) warnings: String,
}

/// The C toolchain of this machine, and what is prepared once for all drivers.
#[derive(Debug)]
pub(crate) struct CToolchain {
    /// mingw's folder with `include/` and `lib/`.
    mingw: PathBuf,
    /// Folder of the project's own headers.
    include: PathBuf,
    /// Where precompiled header and import libraries of this configuration are.
    prepared: PathBuf,
    /// Hash of compilers, options, headers and import libraries.
    configuration: ContentHash,
    version: String,
}

impl CToolchain {
    /// Finds the tools; prepares the precompiled header and the import libraries if needed.
    pub(crate) fn locate() -> Result<Self> {
        let missing = setup::missing_packages();
        if !missing.is_empty() {
            bail!("missing: {}; run `cargo xtask setup`", missing.join(" "));
        }
        let gcc = |arguments: &[&str]| {
            repo::output(Command::new("x86_64-w64-mingw32-gcc").args(arguments))
        };
        let library = PathBuf::from(gcc(&["-print-file-name=libntoskrnl.a"])?.trim());
        let library = fs::canonicalize(library).context("mingw has no libntoskrnl.a")?;
        let mingw = library.ancestors().nth(2).context("mingw lies in no folder")?.to_path_buf();
        let clang = repo::output(Command::new("clang-19").arg("--version"))?;
        let clang = clang.lines().next().unwrap_or_default().to_owned();
        let version = format!("{clang}; mingw gcc {}", gcc(&["-dumpfullversion"])?.trim());

        let include = repo::root().join("tests/ui/include");
        let mut hash = ContentHash::new().part(&version);
        for flag in CLANG_FLAGS.iter().chain(LINK_FLAGS).chain(MINGW_FLAGS) {
            hash = hash.part(flag);
        }
        for file in repo::files_below(&include)?.iter().chain(&definition_files()) {
            let name = file.file_name().unwrap_or_default();
            hash = hash.part(name.as_encoded_bytes()).part(fs::read(file)?);
        }
        let prepared =
            repo::target_dir().join("drivers").join(prepared_name(hash, [&include, &mingw]));
        let toolchain = Self { mingw, include, prepared, configuration: hash, version };
        toolchain.prepare()?;
        Ok(toolchain)
    }

    /// Compiler versions, as recorded beside prebuilt images.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Builds an image, or finds the one that the same inputs gave before.
    pub(crate) fn build(&self, source: &Source) -> Result<Image> {
        let stem = source.stem()?;
        let hash = self.hash(source)?;
        let done = repo::target_dir().join("drivers").join(hash.to_string());
        let uses_mingw = match source.header("compiler") {
            None => false,
            Some("mingw") => true,
            Some(other) => {
                bail!("{}: unknown compiler `{other}`, expected `mingw`", source.relative)
            }
        };
        let image = Image {
            sys: done.join(format!("{stem}.sys")),
            pdb: (!uses_mingw).then(|| done.join(format!("{stem}.pdb"))),
            warnings: String::new(),
        };
        if image.sys.is_file() {
            return Ok(image);
        }
        let scratch = done.with_extension(format!("{}", process::id()));
        fs::create_dir_all(&scratch)?;
        let built = if uses_mingw {
            self.build_with_mingw(source, stem, &scratch)
        } else {
            self.build_with_clang(source, stem, &scratch)
        };
        let warnings = built.inspect_err(|_| drop(fs::remove_dir_all(&scratch)))?;
        publish(&scratch, &done)?;
        Ok(Image { warnings, ..image })
    }

    /// Hash of everything that goes into an image.
    fn hash(&self, source: &Source) -> Result<ContentHash> {
        let mut hash = self.configuration.part(&source.relative).part(&source.text);
        for header in source.included_files()? {
            hash = hash.part(fs::read(header)?);
        }
        Ok(hash)
    }

    fn prepare(&self) -> Result<()> {
        if self.prepared.is_dir() {
            return Ok(());
        }
        let scratch = self.prepared.with_extension(format!("{}", process::id()));
        fs::create_dir_all(&scratch)?;
        for file in definition_files() {
            let stem = file.file_stem().context("a .def file has a name")?;
            let library = scratch.join(stem).with_extension("lib");
            let mut dlltool = Command::new("llvm-dlltool-19");
            dlltool.args(["-m", "i386:x86-64", "-d"]).arg(&file).arg("-l").arg(&library);
            repo::output(&mut dlltool)?;
            // GNU ld puts the parts of LLVM's libraries into an order that leaves imports unbound.
            // Its name, without a folder, becomes part of symbols.
            let mut dlltool = Command::new("x86_64-w64-mingw32-dlltool");
            dlltool.current_dir(&scratch).args(["-m", "i386:x86-64", "-d"]).arg(&file);
            repo::output(dlltool.arg("-l").arg(Path::new(stem).with_extension("a")))?;
        }
        let mut clang = self.clang(&repo::root());
        // Headers written anew with the same text are the same: it is part of the folder's name.
        clang.args(["-Xclang", "-fno-pch-timestamp"]);
        clang.args(["-x", "c-header"]).arg(self.include.join("ntcompat.h"));
        clang.arg("-o").arg(scratch.join("ntcompat.pch"));
        repo::output(&mut clang)?;
        publish(&scratch, &self.prepared)
    }

    fn clang(&self, base: &Path) -> Command {
        let mut clang = Command::new("clang-19");
        clang.current_dir(base).args(CLANG_FLAGS);
        let include = self.mingw.join("include");
        // Prefixes are tried from the last to the first.
        clang.arg(format!("-ffile-prefix-map={}=.", repo::root().display()));
        clang.arg(format!("-ffile-prefix-map={}=.", base.display()));
        clang.arg(format!("-ffile-prefix-map={}=/mingw", self.mingw.display()));
        clang.arg("-I").arg(&self.include);
        clang.arg("-isystem").arg(include.join("ddk")).arg("-isystem").arg(include);
        clang
    }

    fn build_with_clang(&self, source: &Source, stem: &str, into: &Path) -> Result<String> {
        let object = into.join("driver.obj");
        let mut clang = self.clang(&source.base);
        let extra = source.header("cflags");
        if source.is_cpp() {
            clang.args(["-Wno-c++11-narrowing", "-fno-exceptions", "-fno-rtti"]);
        }
        if extra.is_none() && !source.is_cpp() {
            clang.arg("-include-pch").arg(self.prepared.join("ntcompat.pch"));
        } else {
            clang
                .args(extra.unwrap_or_default().split_whitespace())
                .args(["-include", "ntcompat.h"]);
        }
        clang.args(["-Xclang", "-object-file-name=driver.obj", "-c", &source.relative]);
        let compiled = clang.arg("-o").arg(&object).output().context("cannot start clang-19")?;
        let said = String::from_utf8_lossy(&compiled.stderr).into_owned();
        if !compiled.status.success() {
            bail!("{} does not compile\n{}", source.relative, said.trim_end());
        }
        // Libraries are copied by name, because the linker's arguments end up in the PDB.
        let mut link = Command::new("lld-link-19");
        link.current_dir(into).args(LINK_FLAGS).arg("driver.obj");
        for file in definition_files() {
            let library = Path::new(file.file_stem().context("a .def file has a name")?)
                .with_extension("lib");
            fs::copy(self.prepared.join(&library), into.join(&library))?;
            link.arg(library);
        }
        let linked = repo::output(link.arg(format!("-out:{stem}.sys")))
            .with_context(|| format!("{} does not link", source.relative));
        keep_only(into, &[format!("{stem}.sys"), format!("{stem}.pdb")])?;
        Ok(said + linked?.as_str())
    }

    fn build_with_mingw(&self, source: &Source, stem: &str, into: &Path) -> Result<String> {
        let include = self.mingw.join("include/ddk");
        let mut gcc = Command::new("x86_64-w64-mingw32-gcc");
        gcc.current_dir(&source.base).args(MINGW_FLAGS);
        gcc.arg(format!("-ffile-prefix-map={}=.", source.base.display()));
        gcc.arg("-isystem").arg(include).arg("-include").arg(self.include.join("ntcompat.h"));
        gcc.args(source.header("cflags").unwrap_or_default().split_whitespace());
        gcc.arg(&source.relative).arg("-o").arg(into.join(format!("{stem}.sys")));
        for file in definition_files() {
            let stem = file.file_stem().context("a .def file has a name")?;
            gcc.arg(self.prepared.join(stem).with_extension("a"));
        }
        let built = gcc.output().context("cannot start mingw's gcc")?;
        let said = String::from_utf8_lossy(&built.stderr).into_owned();
        if !built.status.success() {
            bail!("{} does not build\n{}", source.relative, said.trim_end());
        }
        Ok(said)
    }
}

/// Names the folder of what is prepared. A precompiled header names the headers that it was made
/// of by their full paths, and one that no longer finds them there is an error: another checkout,
/// or the same one moved, makes its own. Images do not depend on where headers are.
fn prepared_name(configuration: ContentHash, folders: [&Path; 2]) -> String {
    let part = |hash: ContentHash, folder: &Path| hash.part(folder.as_os_str().as_encoded_bytes());
    format!("libraries-{}", folders.into_iter().fold(configuration, part))
}

/// The lists of names from which import libraries are made.
fn definition_files() -> [PathBuf; 2] {
    ["ntoskrnl.def", "hal.def"].map(|name| repo::root().join("xtask/data").join(name))
}

fn keep_only(folder: &Path, names: &[String]) -> Result<()> {
    for file in repo::files_below(folder)? {
        if !names.iter().any(|name| file.ends_with(name)) {
            fs::remove_file(file)?;
        }
    }
    Ok(())
}

/// Moves a finished folder to its place; another process may have been first with the same bytes.
fn publish(scratch: &Path, done: &Path) -> Result<()> {
    if fs::rename(scratch, done).is_err() {
        fs::remove_dir_all(scratch)?;
        if !done.is_dir() {
            bail!("cannot create {}", done.display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::prepared_name;
    use crate::content_hash::ContentHash;

    #[test]
    fn what_is_prepared_belongs_to_one_place_of_the_headers() {
        let name = |version: &str, folders: [&str; 2]| {
            prepared_name(ContentHash::new().part(version), folders.map(Path::new))
        };
        let here = name("19", ["/here/include", "/mingw"]);
        assert_eq!(here, name("19", ["/here/include", "/mingw"]));
        let all: BTreeSet<String> = [
            here,
            name("20", ["/here/include", "/mingw"]),
            name("19", ["/there/include", "/mingw"]),
            name("19", ["/here/include", "/other"]),
        ]
        .into();
        assert_eq!(all.len(), 4);
    }
}
