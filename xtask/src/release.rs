//! `ogeld` as it is shipped: built with counters in it, put under load, and built again for the code that the load found hot.
//!
//! Next: `bench/training.rs`, the load.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::Message;

use crate::preflight::{self, Need};
use crate::workspace::Workspace;
use crate::{Result, bench, shell};

const NEEDS: &[Need] = &[Need {
    name: "llvm-tools",
    reason: "`llvm-profdata` reads what the counters wrote; one of the compiler's LLVM on the path does, too",
    packages: &[],
    present: || Compiler::ask().is_ok_and(|compiler| compiler.merger().is_some()),
}];

pub(crate) fn run(workspace: &Workspace) -> Result {
    println!("{}", build(workspace)?.display());
    Ok(())
}

/// The program. What was built before and has not changed since is not built again, and not put under load again.
pub(crate) fn build(workspace: &Workspace) -> Result<PathBuf> {
    preflight::satisfy("a release", NEEDS)?;
    let compiler = Compiler::ask()?;
    let merge = compiler.merger().ok_or("`llvm-profdata` has just gone")?;
    let folder = workspace.target.join("profiled");
    println!("building ogeld with counters (several minutes the first time)");
    let raw = folder.join("raw");
    let counting =
        compiler.build(workspace, &folder.join("counting"), &format!("-Cprofile-generate={}", raw.display()))?;
    let profile = folder.join(format!("{:016x}.profdata", hash(&counting)?));
    if !profile.is_file() {
        println!("running it under load (a few minutes)");
        std::fs::remove_dir_all(&raw).or_else(absent_is_fine).map_err(|error| error.to_string())?;
        bench::train(&counting)?;
        let unfinished = profile.with_extension("unfinished");
        shell::run(Command::new(&merge).args(["merge", "--output"]).args([&unfinished, &raw]))?;
        std::fs::rename(&unfinished, &profile).map_err(|error| error.to_string())?;
    }
    println!("building ogeld for what was counted (several minutes the first time)");
    compiler.build(workspace, &folder.join("shipped"), &format!("-Cprofile-use={}", profile.display()))
}

fn absent_is_fine(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// Two builds of the same sources have the same one, so a profile is found again by it.
fn hash(program: &Path) -> Result<u64> {
    let bytes = std::fs::read(program).map_err(|error| format!("`{}`: {error}", program.display()))?;
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    Ok(hasher.finish())
}

/// What `rustc -vV` and `rustc --print sysroot` say.
struct Compiler {
    host: String,
    llvm: String,
    sysroot: PathBuf,
}

impl Compiler {
    fn ask() -> Result<Self> {
        let version = shell::output(Command::new("rustc").arg("-vV"))?;
        let field = |name: &str| {
            let line = version.lines().find_map(|line| line.strip_prefix(name));
            line.map(str::to_owned).ok_or_else(|| format!("`rustc -vV` says no `{name}`"))
        };
        let sysroot = shell::output(Command::new("rustc").args(["--print", "sysroot"]))?;
        Ok(Self { host: field("host: ")?, llvm: field("LLVM version: ")?, sysroot: sysroot.trim().into() })
    }

    /// The program that reads what the counters wrote: the compiler's own, or one of the same LLVM.
    fn merger(&self) -> Option<PathBuf> {
        let own = self.sysroot.join("lib/rustlib").join(&self.host).join("bin/llvm-profdata");
        let major = self.llvm.split('.').next()?;
        Some(own).filter(|file| file.is_file()).or_else(|| shell::find(&format!("llvm-profdata-{major}")))
    }

    /// With `flag`, for every crate that ends up in the program and for no build script: that is what naming the host does.
    fn build(&self, workspace: &Workspace, folder: &Path, flag: &str) -> Result<PathBuf> {
        let arguments = ["build", "--locked", "--profile", "dist", "-p", "ogel-server", "--bin", "ogeld"];
        let mut cargo = workspace.cargo(&arguments);
        cargo.args(["--target", &self.host, "--message-format", "json-render-diagnostics"]);
        let output = shell::output(cargo.env("CARGO_TARGET_DIR", folder).env("RUSTFLAGS", flag))?;
        Message::parse_stream(output.as_bytes())
            .flatten()
            .find_map(|message| match message {
                Message::CompilerArtifact(artifact) if artifact.target.name == "ogeld" => artifact.executable,
                _ => None,
            })
            .map(Into::into)
            .ok_or_else(|| "cargo did not say where it put ogeld".to_owned())
    }
}
