//! Keys, ids and times as they are made and read.

use super::*;

#[test]
fn numbers_in_base_62() {
    assert_eq!(base62([0; 32]), "0".repeat(43));
    let mut one = [0; 32];
    one[31] = 61;
    assert_eq!(base62(one), "0".repeat(42) + "z");
    one[30] = 1;
    // 256 + 61 = 5 * 62 + 7
    assert_eq!(base62(one), "0".repeat(41) + "57");
    // 2^256 - 1, as other programs write it.
    assert_eq!(
        base62([0xff; 32]),
        "yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1"
    );
}

#[test]
fn keys_are_all_alike_in_form_and_all_different() {
    let (one, digest) = new_key().unwrap();
    let (other, _) = new_key().unwrap();
    assert_ne!(one, other);
    assert_eq!((one.len(), digest.len()), (49, 64));
    let digits = one.strip_prefix("sk_sg_").unwrap();
    assert!(digits.bytes().all(|b| b.is_ascii_alphanumeric()));
    let id = new_id().unwrap();
    assert!(keys::is_id(&id) && !keys::is_id(&one), "{id}");
}

#[test]
fn times_to_come() {
    let now = unix_seconds();
    for (text, seconds) in [("30d", 30 * 86_400), ("12h", 43_200), ("1d12h", 129_600)] {
        let time = expiry(text).unwrap();
        assert!(
            (now + seconds..now + seconds + 60).contains(&time),
            "{text}"
        );
    }
    assert_eq!(
        expiry("2999-01-31T00:00:00Z").map(instant),
        Ok("2999-01-31T00:00:00Z".into())
    );
    for text in [
        "",
        "30",
        "0d",
        "-1d",
        "2020-01-01T00:00:00Z",
        "soon",
        "9999999999d",
        "4000000d",
    ] {
        assert!(expiry(text).is_err(), "{text}");
    }
}
