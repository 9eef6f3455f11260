//! What godotenv's tests and fixtures say of a file, what it makes of odd ones, and what is passed over here.

use proptest::prelude::*;

use super::*;

fn environment(name: &str) -> Option<&'static [u8]> {
    match name {
        "GLOBAL" => Some(b"global"),
        "OLD" => Some(b"environment's"),
        "LATIN" => Some(b"\xe9"),
        _ => None,
    }
}

/// `KEY=value` of each variable; a fault in brackets.
fn read(content: impl AsRef<[u8]>) -> Vec<String> {
    let shown = |it: Assignment| match it.value {
        Ok(value) => format!("{}={}", it.key, value.escape_ascii()),
        Err(fault) => format!("{}=({fault})", it.key),
    };
    let found = parse(content.as_ref(), environment);
    found.into_iter().map(shown).collect()
}

#[track_caller]
fn assert_rows(rows: &[(&str, &[&str])]) {
    for (content, expected) in rows {
        assert_eq!(read(content), *expected, "{content:?}");
    }
}

#[test]
fn keys_and_plain_values() {
    assert_rows(&[
        (
            "A=1\nB=2\nC= 3\nD =4\nE = 5",
            &["A=1", "B=2", "C=3", "D=4", "E=5"],
        ),
        ("F = \nG=\nH=1 2", &["F=", "G=", "H=1 2"]),
        ("A=a", &["A=a"]),
        (" \t \t\n\t \t A=a \t \n", &["A=a"]),
        ("A=foobar=", &["A=foobar="]),
        ("A=1:B", &["A=1:B"]),
        (
            "A: 1\nB: Foo=bar\nC:2\nD : 3",
            &["A=1", "B=Foo=bar", "C=2", "D=3"],
        ),
        (
            "OPTION-B=def\nFOO.BAR=x\nmy-var=1",
            &["OPTION-B=def", "FOO.BAR=x", "my-var=1"],
        ),
        (
            "export A=2\n  export\tB=3\nexport    C=4",
            &["A=2", "B=3", "C=4"],
        ),
        (
            "export exportFoo=2\nexportFOO=3\nexport_F =4\nexport.F= 5",
            &["exportFoo=2", "exportFOO=3", "export_F=4", "export.F=5"],
        ),
        ("export=1\nexport =2", &["export=1", "=2"]),
        ("=\"value\"", &["=value"]),
        ("A B=1", &["A B=1"]),
        ("A=1\nA=2", &["A=1", "A=2"]),
        ("A=http://x:1/y?z=#frag", &["A=http://x:1/y?z=#frag"]),
        ("A=C:\\new", &["A=C:\\\\new"]),
        ("", &[]),
        ("\n\r\n\t\t \n", &[]),
    ]);
}

#[test]
fn comments() {
    assert_rows(&[
        ("# c\n\t # c\n# last", &[]),
        ("# one\n# two\nFOO=bar", &["FOO=bar"]),
        ("qux=thud # fred # other", &["qux=thud"]),
        ("thud=fred#qux # other", &["thud=fred#qux"]),
        ("bar=foo#baz", &["bar=foo#baz"]),
        ("baz=\"foo\"#bar\nA='ba#r' # c", &["baz=foo", "A=ba#r"]),
        ("A=\"bar#baz#bang\" # c", &["A=bar#baz#bang"]),
        (
            "A= # not yet\nB=\t#\nC=#x\nD=# x",
            &["A=", "B=", "C=#x", "D=# x"],
        ),
        ("A=1\u{a0}# c", &["A=1"]),
        ("A=1 # it's \"one\nB=2", &["A=1", "B=2"]),
    ]);
}

#[test]
fn quotes() {
    assert_rows(&[
        (
            "A='1'\nB=\"2\"\nC=''\nD=\"\"\nE = \"echo 'asd'\"",
            &["A=1", "B=2", "C=", "D=", "E=echo \\'asd\\'"],
        ),
        ("A='\\n'\nB=\"\\n\"", &["A=\\\\n", "B=\\n"]),
        (
            "J='line 1\nline 2'\nK=\"line 1\nline 2\"",
            &["J=line 1\\nline 2", "K=line 1\\nline 2"],
        ),
        (
            "K='this\nis \\'quoted\\'\nmore'",
            &["K=this\\nis \\\\\\'quoted\\\\\\'\\nmore"],
        ),
        (
            "M=\"this\nis \\\"quoted\\\"\nmore\"",
            &["M=this\\nis \\\"quoted\\\"\\nmore"],
        ),
        (r#"A="bar\n\ b\az""#, &["A=bar\\n baz"]),
        (r#"A="bar\\\n\ b\az""#, &[r"A=bar\\\n baz"]),
        (r#"A="bar\\r\ b\az""#, &[r"A=bar\\r baz"]),
        (r#"A="bar\\""#, &[r"A=bar\\"]),
        (r#"J="{\"a\": 1}""#, &[r#"J={\"a\": 1}"#]),
        ("A=x\"y\"\nB=it's", &["A=x\\\"y\\\"", "B=it\\'s"]),
        // Its last quotes are cut off by godotenv, escaped or not.
        (r#"A="say \"hi\"""#, &[r#"A=say \"hi\""#]),
        // Behind the quote begins the next one.
        ("A=\"1\" B='2' C=3 D=4", &["A=1", "B=2", "C=3 D=4"]),
    ]);
}

#[test]
fn expansion() {
    assert_rows(&[
        (
            "A=1\nB=${A}\nC=$B\nD=${A}${B}",
            &["A=1", "B=1", "C=1", "D=11"],
        ),
        (
            "A=${NOWHERE}\nB=x$NOWHERE.\nC=${GLOBAL}",
            &["A=", "B=x.", "C=global"],
        ),
        (
            "OLD=1\nB=$OLD\nOLD=2\nC=$OLD",
            &["OLD=1", "B=1", "OLD=2", "C=2"],
        ),
        ("B=$OLD\nOLD=\nC=$OLD", &["B=environment\\'s", "OLD=", "C="]),
        ("B=$LATER\nLATER=1", &["B=", "LATER=1"]),
        ("A=$A.\nA=${A}2", &["A=.", "A=.2"]),
        (
            "A=a\nB=\"quote $A\"\nC='quote $A'",
            &["A=a", "B=quote a", "C=quote $A"],
        ),
        (r#"A="foo\$BAR""#, &["A=foo$BAR"]),
        (r#"A="foo\${BAR} ${GLOBAL}""#, &["A=foo${BAR} global"]),
        (r"A=foo\$BAR$GLOBAL", &["A=foo$BARglobal"]),
        (r#"A="\\$GLOBAL""#, &["A=$GLOBAL"]),
        (
            "A=$\nB=$$\nC=a$b\nD=${b}\nE=5$.",
            &["A=$", "B=$$", "C=a$b", "D=${b}", "E=5$."],
        ),
        ("A=$(date)\nB=$(GLOBAL)", &["A=$(date)", "B=global)"]),
        (
            "A=${GLOBAL\nB=$GLOBAL}\nC={$GLOBAL}",
            &["A=global", "B=global", "C={global"],
        ),
        ("A=${GLOBAL:-x}", &["A=global:-x}"]),
        ("A=${LATIN}", &["A=\\xe9"]),
    ]);
}

#[test]
fn what_is_no_variable_is_passed_over() {
    let pem =
        "KEY=\"-----BEGIN PRIVATE KEY-----\nMIIE+a/b==\nA=B\n-----END PRIVATE KEY-----\"\nZ=1";
    let inner = "-----BEGIN PRIVATE KEY-----\\nMIIE+a/b==\\nA=B\\n-----END PRIVATE KEY-----";
    assert_eq!(read(pem), [&*format!("KEY={inner}"), "Z=1"]);
    let key = "OPENAI_API_KEY";
    assert_rows(&[
        ("DEBUG\nA=1\nexport DEBUG\nDEBUG # c\n  DEBUG\t", &["A=1"]),
        ("FOO+BAR=baz\nFOO@BAR=baz\nA=1\nFOO/BAR=baz", &["A=1"]),
        (
            "lol$wut\n{\"a\": 1}\n[section]\n- item\n; c\nA=1",
            &["-=(expected KEY=value)", "A=1"],
        ),
        (
            "INVALID LINE\nA=1",
            &["INVALID=(expected KEY=value)", "A=1"],
        ),
        (
            "OPENAI_API_KEY sk-1\nA=1",
            &[&format!("{key}=(expected KEY=value)"), "A=1"],
        ),
        ("A=\"open\nB=1", &["A=(expected a closing quote)", "B=1"]),
        (
            "A='C:\\'\nB=\"open\nC=3",
            &[
                "A=(expected a closing quote)",
                "B=(expected a closing quote)",
                "C=3",
            ],
        ),
        ("A=\"1\" junk\nB=2", &["A=1", "B=2"]),
        ("A=\"1\"; B=2\nC=3", &["A=1", "C=3"]),
        ("A", &[]),
        ("export ", &[]),
        ("\u{feff}A=1", &["A=1"]),
        (
            "A=1\r\nB=\"x\r\ny\"\r\nDEBUG\r\nC=2\r\n",
            &["A=1", "B=x\\ny", "C=2"],
        ),
        ("A=1\rB=2\rC=3", &["A=1", "B=2", "C=3"]),
    ]);
    let latin: &[u8] = b"# caf\xe9\nNAME=Andr\xe9\ncl\xe9=1\nA=1\nB='\xe9'\n\xff\xfe\nC=3";
    assert_eq!(read(latin), ["NAME=Andr\\xe9", "A=1", "B=\\xe9", "C=3"]);
}

#[test]
fn lines_are_counted() {
    let content = "\u{feff}# c\r\n\r\nA=1\r\nB=\"x\r\ny\"\r\njunk junk\r\nC='\n\n' D=1\nE=\"";
    let found = parse(content.as_bytes(), environment);
    let lines: Vec<_> = found.iter().map(|it| (&*it.key, it.line)).collect();
    assert_eq!(
        lines,
        [
            ("A", 3),
            ("B", 4),
            ("junk", 6),
            ("C", 7),
            ("D", 9),
            ("E", 10)
        ]
    );
}

#[test]
fn doublings_do_not_fill_the_memory() {
    let mut content = "A0=0123456789abcdef\n".to_owned();
    for n in 1..60 {
        content += &format!("A{n}=$A{}$A{}\n", n - 1, n - 1);
    }
    content += &"B=${A9}\n".repeat(2000);
    let found = parse(content.as_bytes(), environment);
    let bytes: usize = found
        .iter()
        .map(|it| it.value.as_ref().map_or(0, Vec::len))
        .sum();
    assert!(bytes <= content.len() + EXPANDED_BYTES_MAX, "{bytes}");
    let refused = found.iter().filter(|it| it.value.is_err());
    assert!(refused.count() > 1000);
    assert_eq!(found[3].value.as_ref().unwrap().len(), 16 << 3);
}

/// Lines that any file may hold, quoted and not, broken and not.
fn lines() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "A", "B", "=", ":", "\"", "'", "\\", "$", "{", "}", "(", "#", " ", "\t", "\r", "export ",
        "n", "é", "\u{a0}", "$A", "${B}", "x", "-", "\n",
    ]);
    prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

/// What the file says of a key in the end.
fn last(content: &str, key: &str) -> Option<Vec<u8>> {
    let mut found = parse(content.as_bytes(), environment);
    found.retain(|it| it.key == key);
    found.pop().map(|it| it.value.unwrap())
}

proptest! {
    #[test]
    fn any_bytes_are_read(content in prop::collection::vec(any::<u8>(), 0..200)) {
        let found = parse(&content, environment);
        prop_assert!(found.len() <= content.len());
    }

    /// Whatever another program's lines are, one of ours behind them is read, unless an open quote before it takes it in.
    #[test]
    fn lines_of_others_never_hide_ours(before in lines(), behind in lines()) {
        let before = before.replace(['"', '\''], "");
        let content = format!("{before}\nOURS=\"a b\"\n{}", behind.replace("OURS", ""));
        prop_assert_eq!(last(&content, "OURS"), Some(b"a b".to_vec()));
    }

    /// A value in single quotes is what it is, one in double quotes what was escaped.
    #[test]
    fn what_was_quoted_comes_back(value in "[ -~\n\té]{0,30}") {
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$");
        // Behind another backslash godotenv cannot tell what the one before a sign is for.
        if !value.contains("\\$") {
            let double = format!("X=1\nA=\"{escaped}\" # c\nY=2");
            prop_assert_eq!(last(&double, "A"), Some(value.clone().into_bytes()));
            prop_assert_eq!(last(&double, "Y"), Some(b"2".to_vec()));
        }
        if !value.contains(['\'', '\\']) {
            let single = format!("A='{value}'\nY=2");
            prop_assert_eq!(last(&single, "A"), Some(value.into_bytes()));
            prop_assert_eq!(last(&single, "Y"), Some(b"2".to_vec()));
        }
    }

    /// Line ends and a byte order mark change nothing.
    #[test]
    fn it_reads_the_same_from_windows(content in lines()) {
        let content = content.replace('\r', "");
        let windows = format!("\u{feff}{}", content.replace('\n', "\r\n"));
        let read = |text: &str| parse(text.as_bytes(), environment);
        prop_assert_eq!(read(&windows), read(&content));
    }

    /// Of two files one behind the other, the first reads as it does alone, if no quote of it stays open.
    #[test]
    fn what_follows_changes_nothing(first in lines(), second in lines()) {
        let first = first + "\n";
        let alone = parse(first.as_bytes(), environment);
        prop_assume!(alone.iter().all(|it| it.value.is_ok()));
        let both = parse(format!("{first}{second}").as_bytes(), environment);
        prop_assert_eq!(&both[..alone.len()], &alone[..]);
    }
}
