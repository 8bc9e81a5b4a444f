//! A path that is let in means the same to whoever reads it next: decoded, built anew and read again, its segments are
//! the same, and none of them can leave its place.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ogel_proxy::{canonical_path, join};

fuzz_target!(|raw: &str| {
    let Ok(path) = canonical_path(raw) else { return };
    let segments: Vec<String> = path.segments().map(|segment| segment.into_owned()).collect();
    for segment in &segments {
        assert!(segment != "." && segment != "..", "{raw:?}");
        assert!(!segment.contains(['/', '\\', ';']) && !segment.contains(char::is_control), "{raw:?}");
    }
    let named: Vec<&str> = segments.iter().map(String::as_str).filter(|segment| !segment.is_empty()).collect();
    let base = "http://upstream.test/base".parse().unwrap();
    let Ok(built) = join(&base, &named, &[]) else { return };
    assert_eq!(built.host(), Some("upstream.test"), "{raw:?}");
    // What is escaped twice is refused on the way in, so it is not read again.
    if let Ok(again) = canonical_path(built.path()) {
        let again: Vec<String> = again.segments().map(|segment| segment.into_owned()).skip(1).collect();
        assert_eq!(again, named, "{raw:?}");
    }
});
