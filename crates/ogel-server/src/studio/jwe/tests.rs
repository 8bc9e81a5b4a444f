//! The golden vectors, made with next-auth 4.24.15 and @auth/core 0.41.3, and what must not open.

use super::*;

const SECRET: &str = "ogel-test-secret-0123456789abcdef";
const NAME: &str = "authjs.session-token";
const V4: &str = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..6NiHnWl30koNtKTD.aSIJ-8ck1z7aLJLEU4j3YCOCeG03BpMWm0XgxBYDTgze-u6YiA9RYZWXwSpSxguKNdldZfcXIGBeYhTI4CCrETtELkwe1fkAb3dhT4fc8zlPucjtYLBM5mJmmGgqNvKF3s24q6qveafJCQI6LHbI3FJCIKOnEm2-YITHAApUIgY1GSXFoGOmFpLHbuHo8m0ITLqJ4IMQOBamsA_uHsqcC_CAy0vdRUjsfS4uMj_QVTr7LLE.ev20ownBhusiNe1Wkh6Svg";
const V5: &str = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIiwia2lkIjoiNFJXSkRwWTFuT3paMWFKQ0E2ek9ZUV9HLTlvMFBrbDNmRW1WNV9DZ3N1WW1GMFNPdUxRcmQ4Y1otMTlJdGI4NERfRFlUZjdCa3NUSTR5OWE5dzhVOVEifQ..138YqdgeatHh1-aGi9bM3w.e9VD0tFEU17te2_QOZNwuiL8SAGdpiyMywFgVPmjNYYQjdsXFPat3HCmP0NA_NFv8vPelfJ16sjtr2TrXdlkLDdHlvEQ4eS0BOCKMgkXbmM6UR13i0hmpBr-BT0IWeGJJFwPsoqo0WFrwZktpoavtjKPkUigMdezesnnqvKRsSWL_TNpa2Gra7u299P4_WhCIvunztDvHtgGfmOA0GsCbVn29qnjZv1AhyiAiucxXShG6hwjZIos_-EuGh2EC7z-.4VseTLArMHvF76gTpl2VlexRxwQTa78vIFA6vPZeBBI";

fn keys(secrets: &[&str], name: &str) -> Keys {
    Keys::derive(secrets.iter().copied(), &[name.to_owned()])
}

#[test]
fn the_keys_are_those_of_the_libraries() {
    let keys = keys(&[SECRET], NAME);
    assert_eq!(hex::encode(&keys.0[0].bytes), "27561df2cc3ad69e8bde4cc885dd809fa1be9e656013f7de7b18d0eb8a1447c4");
    assert_eq!(
        hex::encode(&keys.0[1].bytes),
        "b50415b315e101908ab4326a38bbdcc7a2bea9fee40812689d23371341deb1022f51704a4008d9e64e77a0bf5e0e962145bf682d4b580680e93c33797bd8784a"
    );
}

#[test]
fn the_golden_vectors_open_and_say_whose_they_are() {
    let keys = keys(&["another secret", SECRET], NAME);
    for (token, name) in [(V4, Some(0)), (V4, None), (V5, Some(0)), (V5, None)] {
        let claims: serde_json::Value = serde_json::from_slice(&keys.open(token, name).unwrap()).unwrap();
        assert_eq!(claims["sub"], "3f0c7a52-0d6b-4d0c-9b0e-6a5a3b8f1c11");
        assert!(claims["exp"].as_i64().unwrap() > 3_300_000_000, "{claims}");
    }
}

#[test]
fn another_secret_and_another_cookies_name_open_nothing() {
    assert_eq!(keys(&["another secret"], NAME).open(V4, None), Err(FOREIGN));
    assert_eq!(keys(&["another secret"], NAME).open(V5, None), Err(FOREIGN));
    assert_eq!(keys(&[SECRET], "__Secure-authjs.session-token").open(V5, None), Err(FOREIGN));
    // Two names are known, but the token came in the other one's cookie.
    let two = Keys::derive([SECRET].into_iter(), &["other".to_owned(), NAME.to_owned()]);
    assert_eq!(two.open(V5, Some(0)), Err(FOREIGN));
    assert!(two.open(V5, Some(1)).is_ok() && two.open(V5, None).is_ok());
}

#[test]
fn one_changed_letter_anywhere_opens_nothing() {
    let keys = keys(&[SECRET], NAME);
    for token in [V4, V5] {
        for at in 0..token.len() {
            let mut changed = token.as_bytes().to_vec();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(keys.open(&changed, None).is_err(), "letter {at} of {token}");
        }
        for end in 0..token.len() {
            assert!(keys.open(&token[..end], None).is_err(), "cut at {end}");
        }
    }
}

/// A token of our own making with any header, sealed with the right keys: what is refused is refused for its header.
pub(in crate::studio) fn seal(header: &serde_json::Value, secret: &str, name: &str, plain: &[u8]) -> String {
    use aes_gcm::KeyInit as _;
    let header = BASE64_URL_SAFE_NO_PAD.encode(header.to_string());
    let mut keys = keys(&[secret], name);
    let key = keys.0.swap_remove(0);
    let payload = Payload { msg: plain, aad: header.as_bytes() };
    let iv = [7; 12];
    let sealed = Aes256Gcm::new_from_slice(&key.bytes).unwrap().encrypt((&iv).into(), payload).unwrap();
    let (ciphertext, tag) = sealed.split_at(sealed.len() - 16);
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    format!("{header}..{}.{}.{}", encode(&iv), encode(ciphertext), encode(tag))
}

#[test]
fn headers_that_ask_for_more_than_we_know_are_refused_before_any_key() {
    use serde_json::json;
    let keys = keys(&[SECRET], NAME);
    let open = |header: &serde_json::Value| keys.open(&seal(header, SECRET, NAME, b"{}"), None);
    assert_eq!(open(&json!({ "alg": "dir", "enc": "A256GCM" })), Ok(b"{}".to_vec()));
    assert_eq!(open(&json!({ "alg": "dir", "enc": "A256GCM", "typ": "JWT" })), Ok(b"{}".to_vec()));
    for header in [
        json!({ "alg": "dir", "enc": "A256GCM", "zip": "DEF" }),
        json!({ "alg": "dir", "enc": "A256GCM", "crit": ["exp"], "exp": 1 }),
        json!({ "alg": "A256KW", "enc": "A256GCM" }),
        json!({ "alg": "none", "enc": "A256GCM" }),
        json!({ "alg": "RSA-OAEP", "enc": "A256GCM" }),
        json!({ "alg": "PBES2-HS256+A128KW", "enc": "A256GCM", "p2c": 1_000_000_000 }),
        json!({ "alg": "dir", "enc": "A128GCM" }),
        json!({ "alg": "dir", "enc": "A128CBC-HS256" }),
        json!({ "alg": "dir", "enc": "A256CBC-HS512" }),
        json!({ "alg": "dir", "enc": "A256GCM", "kid": "of nobody" }),
        json!({ "alg": "dir" }),
        json!(["dir"]),
    ] {
        assert!(open(&header).is_err(), "{header}");
    }
    let wrapped = V4.replacen("..", ".AAAA.", 1);
    assert_eq!(keys.open(&wrapped, None), Err("its `alg` is not `dir`"));
    for nonsense in ["", "....", "a.b.c.d", "a.b.c.d.e.f", "e30..AAAA.AAAA.AAAA", "ey..é.x.y"] {
        assert!(keys.open(nonsense, None).is_err(), "{nonsense}");
    }
}
