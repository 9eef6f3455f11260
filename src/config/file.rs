//! The TOML file: what its tables say, by the tables of settings. Unknown keys and values of another type are refused,
//! `${VAR}` and `${VAR:-default}` are put in, and of every value the line is kept.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde::de::{self, Deserialize, Deserializer, IntoDeserializer as _, Visitor};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::error::ConfigError;
use super::provider;
use super::setting::Setting;
use super::shown::{is_harmless, quoted};
use super::syntax::{line_of, refused, syntax};
use super::table::Table;
use super::tables::TABLES;
use super::written::{Form, Section, Value, Written};

/// A whole file.
#[derive(Default)]
pub(super) struct File {
    /// Its name for messages.
    pub(super) from: String,
    /// By their names, `server.tls` among them; every table that is not written is empty.
    pub(super) tables: BTreeMap<&'static str, Section>,
    pub(super) providers: BTreeMap<String, Section>,
}

impl File {
    /// Where a key is written, its table or at least the file.
    pub(super) fn place(&self, table: &str, key: &str) -> &str {
        let section = self.tables.get(table);
        section.map_or(&self.from, |section| section.place(key))
    }
}

/// A key of a table, and what it takes.
struct Known {
    key: &'static str,
    form: Form,
    is_secret: bool,
}

/// Parses a file. A mistyped key is found before anything is put in, so that its line is known.
pub(super) fn parse<'e>(
    content: &str,
    path: &str,
    variable: impl Fn(&str, &str) -> Option<&'e str>,
) -> Result<File, ConfigError> {
    let parsed = DeTable::parse(content).map_err(|error| syntax(path, content, &error))?;
    let reader = Reader { path, content };
    let mut file = File {
        from: path.to_owned(),
        ..File::default()
    };
    for (key, value) in parsed.into_inner() {
        let name = key.get_ref().as_ref().to_owned();
        if name == PROVIDERS {
            for (name, value) in reader.table(value)? {
                let known = known(provider::table::SETTINGS);
                let prefix = format!("{PROVIDERS}.{}", name.get_ref());
                let section = reader.section(&name, value, &prefix, &known, Within::Instances)?;
                file.providers
                    .insert(name.into_inner().into_owned(), section);
            }
        } else if let Some(table) = TABLES.iter().find(|table| table.name == name) {
            let known = known(table.settings);
            let section =
                reader.section(&key, value, table.name, &known, Within::File(&mut file))?;
            file.tables.insert(table.name, section);
        } else {
            let tables = TABLES.iter().map(|table| table.name);
            let tables = tables.filter(|name| !name.contains('.')).chain([PROVIDERS]);
            return Err(reader.unknown(&key, tables));
        }
    }
    let sections = file.tables.values_mut().chain(file.providers.values_mut());
    for section in sections {
        let parts = section.parts.iter_mut();
        let parts = parts.flat_map(|part| part.values.values_mut());
        for written in section.values.values_mut().chain(parts) {
            expand(written, &variable)?;
        }
    }
    Ok(file)
}

const PROVIDERS: &str = "providers";
const INSTANCE: &str = "instance";

fn known<D, C>(settings: &[Setting<D, C>]) -> Vec<Known> {
    let known = settings.iter().map(|setting| Known {
        key: setting.key,
        form: setting.slot.form,
        is_secret: setting.is_secret,
    });
    known.filter(|known| !known.key.is_empty()).collect()
}

/// What a table may have within it beside its keys.
enum Within<'f> {
    /// Tables that have rows of their own; they go there.
    File(&'f mut File),
    /// A list of instances.
    Instances,
    Nothing,
}

struct Reader<'c> {
    path: &'c str,
    content: &'c str,
}

impl Reader<'_> {
    fn refused(&self, span: Range<usize>, message: &str) -> ConfigError {
        refused(self.path, self.content, Some(span), message)
    }

    fn unknown(
        &self,
        key: &Spanned<DeString<'_>>,
        known: impl Iterator<Item = &'static str>,
    ) -> ConfigError {
        let known: Vec<String> = known.map(|name| format!("`{name}`")).collect();
        let message = format!(
            "unknown field `{}`, expected one of {}",
            key.get_ref(),
            known.join(", ")
        );
        let mut error = self.refused(key.span(), &message);
        error.message.push_str(&elsewhere(key.get_ref()));
        error
    }

    fn table<'v>(&self, value: Spanned<DeValue<'v>>) -> Result<DeTable<'v>, ConfigError> {
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Ok(table),
            _ => Err(self.refused(span, "expected a table")),
        }
    }

    /// What a table says; tables within it go to the file.
    fn section(
        &self,
        header: &Spanned<DeString<'_>>,
        value: Spanned<DeValue<'_>>,
        name: &str,
        known: &[Known],
        mut within: Within<'_>,
    ) -> Result<Section, ConfigError> {
        let mut section = Section {
            from: self.place(&header.span()),
            ..Section::default()
        };
        for (key, value) in self.table(value)? {
            let inner = format!("{name}.{}", key.get_ref());
            let table = TABLES.iter().find(|table| table.name == inner);
            if let Some(known) = known.iter().find(|known| known.key == key.get_ref()) {
                let written = Written {
                    from: self.place(&value.span()),
                    value: self.value(value, known)?,
                    key: inner,
                    is_expanded: false,
                };
                section.values.insert(known.key, written);
            } else if let (Some(table), Within::File(file)) = (table, &mut within) {
                let known = self::known(table.settings);
                let section = self.section(&key, value, table.name, &known, Within::Nothing)?;
                file.tables.insert(table.name, section);
            } else if let (INSTANCE, Within::Instances) = (&**key.get_ref(), &within) {
                section.parts = self.instances(&key, value, &inner)?;
            } else {
                let listed = matches!(within, Within::Instances).then_some(INSTANCE);
                let within = TABLES.iter().filter_map(|table| {
                    let inner = table.name.strip_prefix(name)?;
                    inner.strip_prefix('.')
                });
                let keys = known.iter().map(|known| known.key);
                return Err(self.unknown(&key, keys.chain(within).chain(listed)));
            }
        }
        Ok(section)
    }

    /// The tables of a list.
    fn instances(
        &self,
        header: &Spanned<DeString<'_>>,
        value: Spanned<DeValue<'_>>,
        name: &str,
    ) -> Result<Vec<Section>, ConfigError> {
        let span = value.span();
        let DeValue::Array(items) = value.into_inner() else {
            return Err(self.refused(span, &format!("expected tables [[{name}]]")));
        };
        let known = known(provider::instances::SETTINGS);
        let mut sections = Vec::new();
        for item in items {
            let span = item.span();
            let mut section = self.section(header, item, name, &known, Within::Nothing)?;
            section.from = self.place(&span);
            sections.push(section);
        }
        Ok(sections)
    }

    fn place(&self, span: &Range<usize>) -> String {
        format!("{} line {}", self.path, line_of(self.content, span.start))
    }

    fn value(&self, value: Spanned<DeValue<'_>>, known: &Known) -> Result<Value, ConfigError> {
        let span = value.span();
        // A date would pass for a table.
        if matches!(known.form, Form::Map | Form::Pairs) && !value.get_ref().is_table() {
            return Err(self.refused(span, "expected a table"));
        }
        let found = match (known.form, value.get_ref()) {
            // One of them is wrong.
            (Form::List, DeValue::Array(items)) => {
                let mut items = items.iter().map(Spanned::get_ref);
                items.find(|item| !item.is_str())
            }
            (Form::Map, DeValue::Table(items)) => {
                let mut items = items.values().map(Spanned::get_ref);
                items.find(|item| !item.is_str())
            }
            (_, value) => Some(value),
        };
        let found = found.map(|value| found_instead(value, known.is_secret));
        let read = read(value, known.form);
        read.map_err(|error| {
            let span = error.span().unwrap_or(span);
            let mut error = self.refused(span, error.message());
            error.message.push_str(&found.unwrap_or_default());
            error
        })
    }
}

/// Where a key would be known.
fn elsewhere(key: &str) -> String {
    let has = |table: &&Table| !key.is_empty() && table.settings.iter().any(|it| it.key == key);
    let known = TABLES.iter().filter(has).map(|table| table.name);
    let of_provider = provider::table::SETTINGS.iter().any(|it| it.key == key);
    let known = known.chain(of_provider.then_some("providers.NAME"));
    let known: Vec<String> = known.map(|name| format!("[{name}]")).collect();
    match known.is_empty() {
        true => String::new(),
        false => format!("; it is a key of {}", known.join(", ")),
    }
}

/// What is said of a value of another type than was expected.
fn found_instead(value: &DeValue<'_>, is_secret: bool) -> String {
    let text = match value {
        DeValue::Array(_) => return "; found a list".to_owned(),
        DeValue::Table(_) => return "; found a table".to_owned(),
        DeValue::Datetime(_) => return "; found a date".to_owned(),
        _ if is_secret => return String::new(),
        DeValue::String(text) => quoted(text),
        DeValue::Boolean(on) => on.to_string(),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
    };
    match is_harmless(text.trim_matches('"')) {
        true => format!("; found {text}"),
        false => String::new(),
    }
}

/// A value as a setting of this form takes it.
fn read(value: Spanned<DeValue<'_>>, form: Form) -> Result<Value, toml::de::Error> {
    let value = value.into_deserializer();
    match form {
        Form::Scalar => Scalar::deserialize(value).map(|scalar| Value::Text(scalar.0)),
        Form::Text => String::deserialize(value).map(Value::Text),
        Form::List => Vec::deserialize(value).map(Value::List),
        Form::Scalars => Vec::<Scalar>::deserialize(value)
            .map(|items| Value::List(items.into_iter().map(|item| item.0).collect())),
        Form::Map => BTreeMap::deserialize(value).map(Value::Map),
        Form::Pairs => BTreeMap::<String, Scalar>::deserialize(value).map(|pairs| {
            let pairs = pairs.into_iter();
            Value::Map(pairs.map(|(key, scalar)| (key, scalar.0)).collect())
        }),
    }
}

/// A value that is not of a file, such as a default.
pub(super) fn value(text: &str, form: Form) -> Result<Value, toml::de::Error> {
    read(DeValue::parse(text)?, form)
}

/// A number, a switch or a string.
struct Scalar(String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsText;
        impl Visitor<'_> for AsText {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, a boolean or a string")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }

            /// None is wanted anywhere, so it keeps its point and is refused where its key is known.
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Scalar, E> {
                Ok(Scalar(format!("{value:?}")))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Scalar, E> {
                Ok(Scalar(value.to_owned()))
            }
        }
        deserializer.deserialize_any(AsText)
    }
}

/// Puts variables in.
fn expand<'e>(
    written: &mut Written,
    variable: &impl Fn(&str, &str) -> Option<&'e str>,
) -> Result<(), ConfigError> {
    let Written {
        value,
        from,
        key,
        is_expanded,
    } = written;
    let (from, key) = (&*from, &*key);
    let mut text = |key: &str, text: &mut String| {
        let expanded = expanded(text, &|name| variable(key, name));
        if let Some(expanded) = expanded.map_err(|it| ConfigError::new(from, key, it))? {
            *text = expanded;
            *is_expanded = true;
        }
        Ok(())
    };
    match value {
        Value::Text(value) => text(key, value),
        Value::List(items) => items.iter_mut().try_for_each(|item| text(key, item)),
        Value::Map(items) => {
            { items.iter_mut() }.try_for_each(|(inner, item)| text(&format!("{key}.{inner}"), item))
        }
    }
}

/// `None` where there is nothing to be put in.
fn expanded<'e>(
    text: &str,
    variable: &impl Fn(&str) -> Option<&'e str>,
) -> Result<Option<String>, String> {
    // Whatever is said of it could repeat the lines that lost quotes have made a part of it.
    if text.contains('\n') {
        return Err("expected a string of one line; quotes may be missing".into());
    }
    if !text.contains("${") {
        return Ok(None);
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("${") {
        let Some((inner, after)) = behind.split_once('}') else {
            return Err("expected a } behind ${".into());
        };
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err("expected the name of a variable between ${ and }".into());
        }
        let Some(value) = variable(name).or(default) else {
            return Err(format!(
                "expected the variable {name} to be set, or a default: ${{{name}:-…}}"
            ));
        };
        out.push_str(before);
        out.push_str(value);
        rest = after;
    }
    out.push_str(rest);
    Ok(Some(out))
}
