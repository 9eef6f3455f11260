//! A file with every setting, its default and its variables: what operators start from, made of the tables.

use std::fmt::Write as _;

use super::provider::table::{BLOCKS, SETTINGS};
use super::setting::{Line, Setting};
use super::table::{Layout, USUAL};
use super::tables::TABLES;

/// The whole file.
#[must_use]
pub(crate) fn reference() -> String {
    let mut out = HEAD.to_owned();
    for table in &TABLES {
        out.push('\n');
        header(&mut out, "", table.name, table.about);
        lines(&mut out, "", table.settings, table.first, &table.layout);
    }
    out.push_str(PROVIDERS);
    for (number, block) in BLOCKS.iter().enumerate() {
        // The first one is what the lines above it are about.
        if number > 0 {
            out.push('\n');
        }
        header(&mut out, "# ", block.name, block.about);
        lines(&mut out, block.name, SETTINGS, block.first, &USUAL);
    }
    out
}

/// A variable, for the manual page.
pub(crate) struct Variable {
    /// Its name, or what that ends in behind the name of a provider.
    pub(crate) name: String,
    /// What it sets.
    pub(crate) key: String,
    /// It holds only where the file says nothing.
    pub(crate) is_file_first: bool,
}

/// Every variable that sets something, in the order of the tables.
#[must_use]
pub(crate) fn variables() -> Vec<Variable> {
    let of_tables = TABLES
        .iter()
        .flat_map(|table| named(table.name, table.settings));
    of_tables.chain(named("providers.*", SETTINGS)).collect()
}

/// Those of a table. One that stands for no key alone is for the next key.
fn named<D, C>(table: &str, settings: &[Setting<D, C>]) -> Vec<Variable> {
    let mut named = Vec::new();
    let mut keyless: Vec<&str> = Vec::new();
    for setting in settings {
        keyless.extend(setting.variables);
        if setting.key.is_empty() {
            continue;
        }
        let names = std::mem::take(&mut keyless).into_iter().map(str::to_owned);
        let own = (!setting.suffix.is_empty()).then(|| format!("PROVIDER{}", setting.suffix));
        named.extend(names.chain(own).map(|name| Variable {
            name,
            key: format!("{table}.{}", setting.key),
            is_file_first: setting.is_file_first,
        }));
    }
    named
}

const HEAD: &str = "\
# Every setting of sluicegate. All of them are commented out, so that this file changes nothing as it is: a line has the
# default, or an example where it says so. Environment variables win over this file, and for a secret X there is X_FILE,
# the path of a file with it; ${VAR} and ${VAR:-default} are put in from the environment. `sluicegate check` shows what is
# in force and where it was written.
";

const PROVIDERS: &str = "
# A provider exists once it has a key, from here or from the environment: OPENAI_API_KEY, ANTHROPIC_API_KEY, … A name
# that begins with a type, such as openai-east, needs no `type`; its variables are OPENAI_EAST_API_KEY and so on. These
# are examples: to have such a provider, take the # away from the header as well.
";

fn header(out: &mut String, off: &str, name: &str, about: &str) {
    let _ = write!(out, "{off}[{name}]");
    remark(out, about, &USUAL);
}

/// What is said behind the line that is being written, and its end.
fn remark(out: &mut String, about: &str, layout: &Layout) {
    let mut about = about.split('\n');
    if let Some(first) = about.next().filter(|first| !first.is_empty()) {
        let begun = out.rsplit('\n').next().unwrap_or_default();
        let gap = layout.column.checked_sub(begun.chars().count());
        // One that is too long keeps a gap.
        let gap = gap.filter(|gap| *gap > 1).unwrap_or(3);
        let _ = write!(out, "{:gap$}# {first}", "");
    }
    out.push('\n');
    for more in about {
        let _ = writeln!(out, "{:<1$}# {more}", layout.margin, layout.column);
    }
}

/// The lines of a table, or of one of its examples.
fn lines<D, C>(
    out: &mut String,
    block: &str,
    settings: &'static [Setting<D, C>],
    first: &[&str],
    layout: &Layout,
) {
    let position = |key: &str| {
        first
            .iter()
            .position(|first| *first == key)
            .unwrap_or(first.len())
    };
    let mut pending = Vec::new();
    let mut shown: Vec<(&Setting<D, C>, &Line, Vec<&str>)> = Vec::new();
    for setting in settings {
        pending.extend(setting.variables);
        for line in setting.lines.iter().filter(|line| line.block == block) {
            shown.push((setting, line, std::mem::take(&mut pending)));
        }
        // Without a line they belong to the next that has one.
        if setting.lines.iter().any(|line| line.block != block) {
            pending.clear();
        }
    }
    shown.sort_by_key(|(setting, ..)| position(setting.key));
    for (setting, line, variables) in shown {
        let value = if line.value.is_empty() {
            setting.default
        } else {
            line.value
        };
        let _ = write!(out, "# {} = {value}", setting.key);
        let example = if line.is_example { "an example" } else { "" };
        let mut about = variables.join(" or ");
        for (part, between) in [
            (example, ": "),
            (line.about, if line.is_example { "; " } else { ": " }),
        ] {
            let is_gap = !about.is_empty() && !part.is_empty() && !part.starts_with(';');
            about.push_str(if is_gap { between } else { "" });
            about.push_str(part);
        }
        remark(out, &about, layout);
    }
}
