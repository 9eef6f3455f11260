//! Which source files import which, as their `use` lines and the paths in their code say.
//!
//! A path leads to the file in which it ends: `crate::net::core::deadline::Tick` to `net/core/deadline.rs`. Where that
//! file only passes a name on (`pub use`), it leads to where the name comes from, so that the first file of a folder can
//! be its map. What stands behind `#[cfg(test)]` does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A path of modules from the root of the crate, and what is named in the last of them.
type Names = Vec<String>;

/// What one file says.
struct File {
    path: PathBuf,
    module: Names,
    /// Names that it knows by a `use`, and those that it passes on.
    known: BTreeMap<String, Names>,
    passed_on: BTreeMap<String, Names>,
    /// All paths in it, absolute.
    paths: BTreeSet<Names>,
}

/// The files that each file imports.
pub(crate) fn imports(sources: &[(PathBuf, String)]) -> BTreeMap<PathBuf, BTreeSet<PathBuf>> {
    let mut modules: BTreeMap<Names, usize> = (sources.iter().enumerate())
        .map(|(index, (path, _))| (module(path), index))
        .collect();
    remove_tests(&mut modules, sources);
    let files: BTreeMap<&Names, File> = modules
        .iter()
        .map(|(module, index)| {
            let (path, text) = &sources[*index];
            (module, File::read(path, module, text, &modules))
        })
        .collect();
    let target = |path: &Names| {
        let mut path = path.clone();
        // Names are passed on a few times at most.
        for _ in 0..8 {
            let depth = (0..=path.len())
                .rev()
                .find(|depth| modules.contains_key(&path[..*depth]))
                .unwrap_or(0);
            let file = &files[&path[..depth].to_vec()];
            match path.get(depth).and_then(|name| file.passed_on.get(name)) {
                Some(origin) => path = [origin, &path[depth + 1..]].concat(),
                None => return file.path.clone(),
            }
        }
        panic!("{path:?} is passed on in a circle");
    };
    files
        .values()
        .map(|file| {
            let mut targets: BTreeSet<_> = file.paths.iter().map(target).collect();
            targets.remove(&file.path);
            (file.path.clone(), targets)
        })
        .collect()
}

/// Groups of files each of which imports, over others perhaps, all others of it.
pub(crate) fn circles(imports: &BTreeMap<PathBuf, BTreeSet<PathBuf>>) -> Vec<BTreeSet<PathBuf>> {
    let reached: BTreeMap<&PathBuf, BTreeSet<&PathBuf>> = imports
        .keys()
        .map(|file| {
            let (mut reached, mut left) = (BTreeSet::new(), vec![file]);
            while let Some(file) = left.pop() {
                let new = imports[file].iter().filter(|used| reached.insert(*used));
                left.extend(new.collect::<Vec<_>>());
            }
            (file, reached)
        })
        .collect();
    let mut circles: Vec<BTreeSet<PathBuf>> = Vec::new();
    for (file, to) in &reached {
        let mutual = to.iter().filter(|other| reached[**other].contains(*file));
        let circle: BTreeSet<PathBuf> = mutual.map(|other| (*other).clone()).collect();
        if !circle.is_empty() && !circles.contains(&circle) {
            circles.push(circle);
        }
    }
    circles
}

/// Removes the modules that only tests have: those that stand behind `#[cfg(test)]`, and what is in them.
fn remove_tests(modules: &mut BTreeMap<Names, usize>, sources: &[(PathBuf, String)]) {
    let all: Vec<Names> = modules.keys().cloned().collect();
    // Parents come before their children.
    for module in all {
        let Some((name, parent)) = module.split_last() else {
            continue;
        };
        let declared = modules.get(parent).is_some_and(|index| {
            let declaration = format!("mod {name};");
            let code = code(&sources[*index].1);
            code.lines().any(|line| line.ends_with(&declaration))
        });
        if !declared && name != "main" {
            modules.remove(&module);
        }
    }
}

/// `src/net/core.rs` is `net::core`, `src/lib.rs` the root.
fn module(path: &Path) -> Names {
    let path = path.strip_prefix("src").unwrap().with_extension("");
    let names = path
        .components()
        .map(|part| part.as_os_str().to_string_lossy());
    names
        .map(|name| name.into_owned())
        .filter(|name| name != "lib")
        .collect()
}

impl File {
    fn read(path: &Path, module: &Names, text: &str, modules: &BTreeMap<Names, usize>) -> Self {
        let mut file = Self {
            path: path.to_owned(),
            module: module.clone(),
            known: BTreeMap::new(),
            passed_on: BTreeMap::new(),
            paths: BTreeSet::new(),
        };
        let mut rest = String::new();
        for statement in statements(&code(text)) {
            let Some((public, tree)) = use_tree(&statement) else {
                rest.push_str(&statement);
                continue;
            };
            for (names, name) in leaves(&tree) {
                let Some(names) = file.absolute(&names, modules) else {
                    continue;
                };
                if public {
                    file.passed_on.insert(name.clone(), names.clone());
                } else {
                    file.paths.insert(names.clone());
                }
                file.known.insert(name, names);
            }
        }
        for names in paths(&rest) {
            if let Some(names) = file.absolute(&names, modules) {
                file.paths.insert(names);
            }
        }
        file
    }

    /// Where a path begins: at the root, here, above, with a module of this one or with a known name.
    fn absolute(&self, names: &[String], modules: &BTreeMap<Names, usize>) -> Option<Names> {
        let (first, rest) = names.split_first()?;
        let above = |depth| self.module[..self.module.len().saturating_sub(depth)].to_vec();
        let child = [self.module.clone(), vec![first.clone()]].concat();
        let (base, rest) = match first.as_str() {
            "crate" => (Vec::new(), rest),
            "self" => (above(0), rest),
            "super" => {
                let depth = names.iter().take_while(|name| *name == "super").count();
                (above(depth), &names[depth..])
            }
            first => match self.known.get(first) {
                Some(known) if !rest.is_empty() => (known.clone(), rest),
                _ if modules.contains_key(&child) => (child, rest),
                _ => return None,
            },
        };
        Some([base, rest.to_vec()].concat())
    }
}

/// The text without comments, and without what stands behind `#[cfg(test)]` or `#[cfg(any(test, …))]`.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let line = line.split("//").next().unwrap();
        if !(line.contains("#[cfg(test)]") || line.contains("#[cfg(any(test")) {
            code.push_str(line);
            code.push('\n');
            continue;
        }
        // The item that follows, to its semicolon, comma or closing brace at the same depth.
        let indent = line.len() - line.trim_start().len();
        for line in lines.by_ref() {
            let depth = line.len() - line.trim_start().len();
            let ends = line.ends_with(';') || line.ends_with('}') || line.ends_with(',');
            if depth == indent && !line.trim_start().starts_with("#[") && ends {
                break;
            }
        }
    }
    code
}

/// Pieces of code, each `use` a piece of its own.
fn statements(code: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut in_use = false;
    for line in code.lines() {
        let begins = use_tree(line).is_some();
        if begins {
            pieces.push(String::new());
            in_use = true;
        }
        let piece = pieces.last_mut().unwrap();
        piece.push_str(line);
        piece.push('\n');
        if in_use && line.contains(';') {
            in_use = false;
            pieces.push(String::new());
        }
    }
    pieces
}

/// Whether a `use` passes on what it names, and its tree.
fn use_tree(statement: &str) -> Option<(bool, String)> {
    let statement = statement.trim_start();
    let (public, rest) = match statement.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => (true, rest.split_once(')')?.1),
        Some(rest) => (true, rest),
        None => (false, statement),
    };
    let tree = rest.trim_start().strip_prefix("use ")?;
    let tree: String = tree
        .split(';')
        .next()?
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    Some((public, tree))
}

/// The paths of a tree, and the name by which each is known.
fn leaves(tree: &str) -> Vec<(Names, String)> {
    let tree = tree.trim();
    let Some((head, rest)) = tree.split_once('{') else {
        let (path, alias) = match tree.split_once(" as ") {
            Some((path, alias)) => (path, Some(alias.trim().to_owned())),
            None => (tree, None),
        };
        let mut names: Names = path
            .split("::")
            .map(|name| name.trim().to_owned())
            .collect();
        if names.len() > 1
            && names
                .last()
                .is_some_and(|name| name == "self" || name == "*")
        {
            names.pop();
        }
        let name = alias.or_else(|| names.last().cloned()).unwrap_or_default();
        return vec![(names, name)];
    };
    let inner = &rest[..rest.rfind('}').unwrap()];
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for c in inner.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(c);
    }
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    parts
        .flat_map(|part| leaves(&format!("{head}{}", part.trim())))
        .collect()
}

/// Paths of at least two names in code.
fn paths(code: &str) -> Vec<Names> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for word in code.split(|c: char| !is_name(c) && c != ':') {
        let names: Names = word.split("::").map(str::to_owned).collect();
        if names.len() > 1 && names.iter().all(|name| !name.contains(':')) {
            let names = names.into_iter().take_while(|name| !name.is_empty());
            found.push(names.collect());
        }
    }
    found
}
