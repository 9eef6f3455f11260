//! Files that are written slowly, in every way that there is.

use proptest::prelude::*;

use super::*;
use crate::config::keys;

/// Twice a second.
const LOOK: Duration = Duration::from_millis(500);

fn stamp(inode: u64, len: usize, modified: i64, changed: i64) -> Stamp {
    Stamp {
        file: (1, inode, None),
        len: len as u64,
        modified: (modified, 0),
        changed: (changed, 0),
    }
}

fn at(look: u32) -> Moment {
    Moment {
        elapsed: LOOK * look,
        unix: 100 + u64::from(look) / 2,
    }
}

fn entry(id: &str, more: &str) -> String {
    format!(
        "[[key]]\nid = \"{id}\"\nsha256 = \"{}\"\n{more}",
        id.repeat(64)
    )
}

fn parse(text: &str) -> Vec<ManagedKey> {
    keys::parse(text, "f").unwrap()
}

const LIMITS: &str = "disabled = true\nexpires = \"2999-01-31T00:00:00Z\"\nproviders = [\"x\"]\n\
                      rate = \"1/s\"\nstreams = 1\nallow = [\"POST /x\"]\n";

#[test]
fn what_lacks_a_key_or_a_limit_is_less() {
    let whole = entry("a", LIMITS) + &entry("b", "");
    let lines: Vec<&str> = LIMITS.lines().collect();
    for left in 0..lines.len() {
        let mut limits = lines.clone();
        limits.remove(left);
        let cut = entry("a", &(limits.join("\n") + "\n")) + &entry("b", "");
        assert!(
            is_less(&parse(&whole), &parse(&cut)),
            "without {:?}",
            lines[left]
        );
        assert!(
            !is_less(&parse(&cut), &parse(&whole)),
            "with {:?}",
            lines[left]
        );
    }
    assert!(is_less(&parse(&whole), &parse(&entry("a", LIMITS))));
    assert!(is_less(&parse(&whole), &[]));
    assert!(!is_less(&[], &[]) && !is_less(&parse(&whole), &parse(&whole)));
    let other = entry("a", &LIMITS.replace("1/s", "2/s")) + &entry("b", "") + &entry("c", "");
    assert!(!is_less(&parse(&whole), &parse(&other)));
}

#[test]
fn a_file_that_changes_is_left_alone_until_it_rests() {
    let mut it = Settling::default();
    assert!(it.is_due(stamp(1, 9, 50, 50), at(0)));
    it.is_done(stamp(1, 9, 50, 50), at(0));
    assert!(!it.is_due(stamp(1, 9, 50, 50), at(1)));
    // In place: at the second look that finds it the same.
    assert!(!it.is_due(stamp(1, 4, 101, 101), at(2)));
    assert!(!it.is_due(stamp(1, 9, 101, 101), at(3)));
    assert!(it.is_due(stamp(1, 9, 101, 101), at(4)));
    // While it is young it may have changed again within a tick of its clock.
    it.is_done(stamp(1, 9, 101, 101), at(4));
    assert!(it.is_due(stamp(1, 9, 101, 101), at(5)));
    assert!(it.is_due(stamp(1, 9, 101, 101), at(9)));
    it.is_done(stamp(1, 9, 101, 101), at(9));
    assert!(!it.is_due(stamp(1, 9, 101, 101), at(10)));
    // Another file: at once.
    assert!(it.is_due(stamp(2, 9, 101, 105), at(11)));
    // One that comes after none may have the old one's number.
    it.is_done(stamp(2, 9, 90, 105), at(11));
    it.is_gone();
    assert!(it.is_due(stamp(2, 4, 106, 106), at(13)));
}

#[test]
fn less_is_believed_once_it_has_rested_or_was_renamed() {
    let (two, one) = (
        parse(&(entry("a", "") + &entry("b", ""))),
        parse(&entry("a", "")),
    );
    let mut it = Settling::default();
    let looks = |it: &mut Settling, stamp, from: u32, new: &[ManagedKey]| {
        let judge = |it: &mut Settling, look| match it.is_due(stamp, at(look)) {
            true => Some(it.judge(stamp, at(look), (&two, new))),
            false => None,
        };
        (from..from + 9)
            .map(|look| judge(it, look))
            .collect::<Vec<_>>()
    };
    let less = [Some(Verdict::Less); 5];
    // In place: from the second look on it is read, and three seconds after the first it is believed.
    it.judge(stamp(1, 9, 50, 50), at(0), (&two, &two));
    let verdicts = looks(&mut it, stamp(1, 5, 101, 101), 2, &one);
    assert_eq!(verdicts[0], None);
    assert_eq!(verdicts[1..6], less);
    assert_eq!(verdicts[6], Some(Verdict::Whole));
    // A file that is made and written in the old one's place is no better once it was seen to change.
    let mut it = Settling::default();
    it.judge(stamp(1, 9, 50, 50), at(0), (&two, &two));
    let verdict = it.judge(stamp(2, 5, 101, 101), at(2), (&two, &one));
    assert_eq!(verdict, Verdict::JustCame);
    let verdicts = looks(&mut it, stamp(2, 6, 102, 102), 3, &one);
    assert_eq!(verdicts[0], None);
    assert_eq!(verdicts[1..6], less);
    assert_eq!(verdicts[6], Some(Verdict::Whole));
    // Where it is the same at the next look, it was renamed to its name as it is.
    let mut it = Settling::default();
    it.judge(stamp(1, 9, 50, 50), at(0), (&two, &two));
    let verdicts = looks(&mut it, stamp(2, 5, 101, 101), 2, &one);
    assert_eq!(
        verdicts[0..2],
        [Some(Verdict::JustCame), Some(Verdict::Whole)]
    );
    // One that got the name later than its content is whole.
    let mut it = Settling::default();
    it.judge(stamp(1, 9, 50, 50), at(0), (&two, &two));
    let verdict = it.judge(stamp(2, 5, 101, 102), at(2), (&two, &one));
    assert_eq!(verdict, Verdict::Whole);
    // The same file with another mode is not.
    let verdict = it.judge(stamp(2, 5, 103, 104), at(6), (&two, &one));
    assert_eq!(verdict, Verdict::Less);
    // An empty one is never believed, however it came and however long it rests.
    let verdicts = looks(&mut it, stamp(3, 0, 101, 105), 10, &[]);
    assert!(
        verdicts
            .iter()
            .all(|verdict| *verdict == Some(Verdict::Blank))
    );
    // Where there were no keys it is one like others.
    assert_eq!(
        it.judge(stamp(4, 0, 110, 110), at(30), (&[], &[])),
        Verdict::Whole
    );
}

#[test]
fn what_is_replaced_again_and_again_is_believed() {
    let (two, one) = (
        parse(&(entry("a", "") + &entry("b", ""))),
        parse(&entry("a", "")),
    );
    let mut it = Settling::default();
    it.judge(stamp(1, 9, 50, 50), at(0), (&two, &two));
    for (look, wanted) in [(2, Verdict::JustCame), (3, Verdict::Whole)] {
        let stamp = stamp(u64::from(look), 5, 101, 101);
        assert!(it.is_due(stamp, at(look)));
        assert_eq!(it.judge(stamp, at(look), (&two, &one)), wanted);
    }
    // A number that is given to a new file at once does not make it the old one.
    let of = |inode, born| Stamp {
        file: (1, inode, Some(SystemTime::UNIX_EPOCH + LOOK * born)),
        ..stamp(inode, 5, 101, 101)
    };
    let mut it = Settling::of(Some(of(1, 0).file));
    for (look, wanted) in [(2, Verdict::JustCame), (3, Verdict::Whole)] {
        let stamp = of(1, look);
        assert!(it.is_due(stamp, at(look)));
        assert_eq!(it.judge(stamp, at(look), (&two, &one)), wanted);
    }
}

#[test]
fn what_is_written_again_and_again_is_taken_after_a_while() {
    let (two, one) = (
        parse(&(entry("a", "") + &entry("b", ""))),
        parse(&entry("a", "")),
    );
    let mut it = Settling::default();
    it.judge(stamp(1, 9, 50, 50), at(0), (&two, &two));
    // For two looks each, or one: where it is read it lacks a key.
    for every in [1, 2] {
        let begin = 10 + 100 * every;
        let mut taken = None;
        for look in begin..begin + 40 {
            let change = i64::from(look / every);
            let stamp = stamp(1, 5, change, change);
            let now = at(look);
            if !it.is_due(stamp, now) {
                let long = look - begin >= 6 && look % every == 0;
                assert_eq!(it.is_restless(now), long, "look {look}");
            } else if it.judge(stamp, now, (&two, &one)) == Verdict::Whole {
                taken = Some(now.elapsed - at(begin).elapsed);
                break;
            }
        }
        assert_eq!(taken, Some(RESTLESS_MAX), "changed every {every} looks");
    }
    // What rests in between begins anew.
    let (empty, cut) = (stamp(1, 0, 500, 500), stamp(1, 5, 550, 550));
    for look in 500..550 {
        assert!(
            !it.is_due(empty, at(look)) || it.judge(empty, at(look), (&two, &[])) == Verdict::Blank
        );
    }
    assert!(!it.is_due(cut, at(550)) && it.is_due(cut, at(551)));
    assert_eq!(it.judge(cut, at(551), (&two, &one)), Verdict::Less);
}

#[test]
fn what_was_refused_is_not_read_again() {
    let mut it = Settling::default();
    assert!(it.is_due(stamp(1, 9, 101, 101), at(2)));
    it.is_refused();
    assert!(!it.is_due(stamp(1, 9, 101, 101), at(3)));
    assert!(it.is_due(stamp(2, 9, 101, 103), at(6)));
}

proptest! {
    /// Whatever part of a file has been written, as long as it grows within three seconds and has come to its end within
    /// ten: no key in force is lost on the way, and no limit of one. A new file is empty at first.
    #[test]
    fn a_file_that_grows_takes_nothing_away(
        cuts in prop::collection::vec((0_usize..1000, 1_u32..6), 0..4),
        limits in prop::collection::vec(any::<bool>(), 4),
        in_place in any::<bool>(),
    ) {
        let names = ["a", "b", "c", "d"];
        let entries = names.iter().zip(&limits);
        let text: String = entries.map(|(id, limited)| entry(id, if *limited { LIMITS } else { "" })).collect();
        let old = parse(&text);
        let text = text + &entry("e", "");
        let mut cuts: Vec<_> = cuts.iter().map(|(cut, looks)| (cut % text.len(), *looks)).collect();
        if !in_place {
            cuts.push((0, 1));
        }
        cuts.sort_unstable();
        cuts.dedup_by_key(|cut| cut.0);
        let inode = if in_place { 1 } else { 2 };
        let mut it = Settling::default();
        it.judge(stamp(1, 9, 50, 50), at(0), (&old, &old));
        let mut look = 2;
        for (cut, looks) in cuts {
            for _ in 0..looks {
                let stamp = stamp(inode, cut, i64::from(look), i64::from(look));
                let stamp = Stamp { modified: (100, cut as i64), changed: (100, cut as i64), ..stamp };
                if it.is_due(stamp, at(look)) && let Ok(new) = keys::parse(text.get(..cut).unwrap(), "f") {
                    let whole = it.judge(stamp, at(look), (&old, &new)) == Verdict::Whole;
                    prop_assert!(!whole || !is_less(&old, &new), "{cut} bytes are believed");
                }
                look += 1;
            }
        }
        let last = stamp(inode, text.len(), 200, 200);
        let due = (0..2).any(|_| { look += 1; it.is_due(last, at(look)) });
        prop_assert!(due);
        prop_assert_eq!(it.judge(last, at(look), (&old, &parse(&text))), Verdict::Whole);
    }
}
