//! An id that is read is written back so that it is read as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ogel_api::id::{ApiKeyId, BuildId, DeploymentId, Id, ProjectId};

fn check<T: Id + PartialEq + std::fmt::Debug>(text: &str) {
    let Ok(id) = text.parse::<T>() else { return };
    let written = id.to_string();
    assert_eq!(written.parse::<T>().ok(), Some(id));
    assert!(written.starts_with(T::PREFIX) && written.len() == T::PREFIX.len() + 27);
}

fuzz_target!(|text: &str| {
    check::<ProjectId>(text);
    check::<DeploymentId>(text);
    check::<BuildId>(text);
    check::<ApiKeyId>(text);
});
