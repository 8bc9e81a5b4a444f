//! What to run for a repository: its framework, the install and build commands, and where the result may be.
//! Decided from `package.json`, the lock file and what the deployment asked for; what was asked for wins.
//! Refuses to guess a build it cannot find: the error says what was looked for. Next: `pipeline.rs`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::deployments::Spec;

/// The most a `package.json` may weigh.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// What a build does after the clone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) framework: String,
    pub(crate) install: Option<String>,
    pub(crate) build: Option<String>,
    /// Where the result may be, best first.
    pub(crate) outputs: Vec<String>,
    /// Added to the error when no output is found.
    pub(crate) hint: &'static str,
    /// Said in the log before anything runs.
    pub(crate) notes: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Manifest {
    scripts: BTreeMap<String, serde_json::Value>,
    dependencies: BTreeMap<String, serde_json::Value>,
    #[serde(rename = "devDependencies")]
    dev_dependencies: BTreeMap<String, serde_json::Value>,
}

/// A framework we know: how it shows, how it is built without a `build` script, where it writes.
struct Known {
    name: &'static str,
    aliases: &'static [&'static str],
    package: &'static str,
    script: &'static str,
    command: &'static str,
    outputs: &'static [&'static str],
    hint: &'static str,
}

/// More specific first: SvelteKit and Astro bring Vite along.
const KNOWN: &[Known] = &[
    Known {
        name: "nextjs",
        aliases: &["next", "next.js"],
        package: "next",
        script: "build",
        command: "npx next build",
        outputs: &["out"],
        hint: "; a Next.js site needs `output: 'export'` in its configuration",
    },
    Known {
        name: "nuxt",
        aliases: &["nuxtjs", "nuxt.js"],
        package: "nuxt",
        script: "generate",
        command: "npx nuxt generate",
        outputs: &[".output/public", "dist"],
        hint: "",
    },
    Known {
        name: "astro",
        aliases: &[],
        package: "astro",
        script: "build",
        command: "npx astro build",
        outputs: &["dist"],
        hint: "",
    },
    Known {
        name: "sveltekit",
        aliases: &["svelte-kit"],
        package: "@sveltejs/kit",
        script: "build",
        command: "npx vite build",
        outputs: &["build", "dist"],
        hint: "; a SvelteKit site needs `@sveltejs/adapter-static`",
    },
    Known {
        name: "eleventy",
        aliases: &["11ty"],
        package: "@11ty/eleventy",
        script: "build",
        command: "npx @11ty/eleventy",
        outputs: &["_site", "dist", "public"],
        hint: "",
    },
    Known {
        name: "gatsby",
        aliases: &[],
        package: "gatsby",
        script: "build",
        command: "npx gatsby build",
        outputs: &["public"],
        hint: "",
    },
    Known {
        name: "create-react-app",
        aliases: &["cra"],
        package: "react-scripts",
        script: "build",
        command: "npx react-scripts build",
        outputs: &["build"],
        hint: "",
    },
    Known {
        name: "vue-cli",
        aliases: &[],
        package: "@vue/cli-service",
        script: "build",
        command: "npx vue-cli-service build",
        outputs: &["dist"],
        hint: "",
    },
    Known {
        name: "vite",
        aliases: &[],
        package: "vite",
        script: "build",
        command: "npx vite build",
        outputs: &["dist", "build"],
        hint: "",
    },
    Known {
        name: "svelte",
        aliases: &[],
        package: "svelte",
        script: "build",
        command: "",
        outputs: &["public", "dist", "build"],
        hint: "",
    },
];

/// Where a build without a known framework may write.
const ANYWHERE: &[&str] = &["dist", "out", "build", "_site", ".output/public", "public", "."];

/// Frameworks whose single page answers for every path.
pub(crate) fn is_single_page(framework: &str) -> bool {
    matches!(framework, "vite" | "create-react-app" | "vue-cli" | "svelte" | "sveltekit")
}

/// Decides. `has_tool` says whether a program is installed. Errors are fit for the deployment's `error`.
pub(crate) fn plan(dir: &Path, spec: &Spec, has_tool: impl Fn(&str) -> bool) -> Result<Plan, String> {
    let manifest = read_manifest(dir)?;
    let asked = spec.framework.as_deref().unwrap_or_default().to_ascii_lowercase();
    let by_name = KNOWN.iter().find(|known| known.name == asked || known.aliases.contains(&asked.as_str()));
    let by_package = manifest.as_ref().and_then(|manifest| KNOWN.iter().find(|known| manifest.has(known.package)));
    let known = by_name.or(by_package);
    let mut notes = Vec::new();
    let install = match (&spec.install_command, &manifest) {
        (Some(command), _) => Some(command.clone()).filter(|command| !command.trim().is_empty()),
        (None, Some(manifest)) if asked != "static" => default_install(dir, manifest, &has_tool, &mut notes),
        _ => None,
    };
    let build = match (&spec.build_command, &manifest) {
        (Some(command), _) => Some(command.clone()).filter(|command| !command.trim().is_empty()),
        (None, Some(manifest)) if asked != "static" => default_build(manifest, known),
        _ => None,
    };
    let framework = match known {
        _ if asked == "static" => "static",
        Some(known) => known.name,
        None if manifest.is_some() && build.is_some() => "node",
        None if build.is_some() => "other",
        None => "static",
    };
    let outputs: Vec<String> = match (&spec.output_directory, known) {
        (Some(output), _) => vec![output.clone()],
        (None, Some(known)) if framework == known.name => {
            known.outputs.iter().map(|&output| output.to_owned()).collect()
        }
        (None, _) if build.is_some() => ANYWHERE.iter().map(|&output| output.to_owned()).collect(),
        (None, _) => [".", "public"].map(str::to_owned).to_vec(),
    };
    if build.is_none() && framework == "static" && spec.output_directory.is_none() {
        let has_page = outputs.iter().any(|output| dir.join(output).join("index.html").is_file());
        if !has_page {
            return Err(if manifest.is_some() {
                "nothing to build: `package.json` has no `build` script and there is no index.html; set buildCommand"
            } else {
                "nothing to build: there is no index.html and no package.json; set buildCommand or rootDirectory"
            }
            .to_owned());
        }
    }
    let hint = known.filter(|known| known.name == framework).map_or("", |known| known.hint);
    Ok(Plan { framework: framework.to_owned(), install, build, outputs, hint, notes })
}

impl Manifest {
    fn has(&self, package: &str) -> bool {
        self.dependencies.contains_key(package) || self.dev_dependencies.contains_key(package)
    }

    fn has_script(&self, script: &str) -> bool {
        self.scripts.get(script).is_some_and(serde_json::Value::is_string)
    }
}

fn read_manifest(dir: &Path) -> Result<Option<Manifest>, String> {
    let path = dir.join("package.json");
    let Ok(meta) = std::fs::metadata(&path) else { return Ok(None) };
    if !meta.is_file() || meta.len() > MAX_MANIFEST_BYTES {
        return Err("`package.json` is not a file of at most 1 MiB".to_owned());
    }
    let text = std::fs::read(&path).map_err(|error| format!("`package.json` cannot be read: {error}"))?;
    serde_json::from_slice(&text).map(Some).map_err(|error| format!("`package.json` is not valid: {error}"))
}

fn default_install(
    dir: &Path,
    manifest: &Manifest,
    has_tool: &impl Fn(&str) -> bool,
    notes: &mut Vec<String>,
) -> Option<String> {
    let has = |file: &str| dir.join(file).is_file();
    for (lock, tool, command) in [
        ("pnpm-lock.yaml", "pnpm", "pnpm install --frozen-lockfile --prod=false"),
        ("yarn.lock", "yarn", "yarn install --frozen-lockfile"),
    ] {
        if has(lock) && has_tool(tool) {
            return Some(command.to_owned());
        } else if has(lock) {
            notes.push(format!("{lock} found but `{tool}` is not installed here: installing with npm"));
        }
    }
    // A NODE_ENV of the deployment must not leave out what the build needs.
    if has("package-lock.json") || has("npm-shrinkwrap.json") {
        return Some("npm ci --include=dev --no-audit --no-fund".to_owned());
    }
    let nothing = manifest.dependencies.is_empty() && manifest.dev_dependencies.is_empty();
    (!nothing).then(|| "npm install --include=dev --no-audit --no-fund".to_owned())
}

fn default_build(manifest: &Manifest, known: Option<&Known>) -> Option<String> {
    match known {
        Some(known) if manifest.has_script(known.script) => Some(format!("npm run {}", known.script)),
        Some(known) if !known.command.is_empty() => Some(known.command.to_owned()),
        _ => manifest.has_script("build").then(|| "npm run build".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan_of(files: &[(&str, &str)], spec: &Spec) -> Result<Plan, String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        plan(dir.path(), spec, |tool| tool == "pnpm")
    }

    #[test]
    fn frameworks_are_recognised_by_what_they_depend_on() {
        for (package, framework, build, output) in [
            ("next", "nextjs", "npx next build", "out"),
            ("nuxt", "nuxt", "npx nuxt generate", ".output/public"),
            ("astro", "astro", "npx astro build", "dist"),
            ("@sveltejs/kit", "sveltekit", "npx vite build", "build"),
            ("@11ty/eleventy", "eleventy", "npx @11ty/eleventy", "_site"),
            ("vite", "vite", "npx vite build", "dist"),
        ] {
            let manifest = format!(r#"{{"devDependencies":{{"{package}":"1","vite":"7"}}}}"#);
            let plan = plan_of(&[("package.json", &manifest)], &Spec::default()).unwrap();
            assert_eq!((plan.framework.as_str(), plan.build.as_deref()), (framework, Some(build)));
            assert_eq!(plan.outputs[0], output);
        }
    }

    #[test]
    fn the_lock_file_chooses_the_installer() {
        let manifest = ("package.json", r#"{"scripts":{"build":"x"},"dependencies":{"a":"1"}}"#);
        let install = |lock: &str| plan_of(&[manifest, (lock, "")], &Spec::default()).unwrap().install.unwrap();
        assert!(install("pnpm-lock.yaml").starts_with("pnpm install"));
        assert!(install("package-lock.json").starts_with("npm ci"));
        assert!(install("yarn.lock").starts_with("npm install"));
    }

    #[test]
    fn a_folder_with_a_page_is_static_and_an_empty_one_is_an_error() {
        let plan = plan_of(&[("index.html", "hi")], &Spec::default()).unwrap();
        assert_eq!((plan.framework.as_str(), plan.build, plan.install), ("static", None, None));
        assert!(plan_of(&[("README.md", "hi")], &Spec::default()).unwrap_err().contains("buildCommand"));
    }

    #[test]
    fn what_was_asked_for_wins() {
        let spec = Spec {
            build_command: Some("make".to_owned()),
            output_directory: Some("site".to_owned()),
            ..Spec::default()
        };
        let plan = plan_of(&[("package.json", r#"{"dependencies":{"vite":"7"}}"#)], &spec).unwrap();
        assert_eq!((plan.build.as_deref(), plan.outputs), (Some("make"), vec!["site".to_owned()]));
    }
}
