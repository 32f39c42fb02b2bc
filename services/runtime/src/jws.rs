//! JSON Web Signatures (RFC 7515) with Ed25519 (RFC 8037), in the compact form: how others, who know nothing of our wire, can
//! tell that an event is ours.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::cose::{PublicKey, SigningKey, key_id};

/// `claims`, signed. `typ` is the media type of what they are, for instance `secevent+jwt`.
pub fn sign(key: &SigningKey, typ: &str, claims: &Value) -> String {
    let header = json!({"alg": "EdDSA", "typ": typ, "kid": kid(&key.public())});
    let input = format!("{}.{}", encode(&header), encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign_bytes(input.as_bytes()));
    format!("{input}.{signature}")
}

/// The public keys as a JWK Set (RFC 7517): what a receiver needs to check signatures.
pub fn key_set(keys: &[PublicKey]) -> Value {
    let jwk = |key: &PublicKey| {
        json!({
            "kty": "OKP",
            "crv": "Ed25519",
            "use": "sig",
            "alg": "EdDSA",
            "kid": kid(key),
            "x": URL_SAFE_NO_PAD.encode(key),
        })
    };
    json!({"keys": keys.iter().map(jwk).collect::<Vec<_>>()})
}

fn kid(key: &PublicKey) -> String {
    URL_SAFE_NO_PAD.encode(key_id(key))
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037, appendix A.
    #[test]
    fn a_key_of_the_standard_is_written_as_the_standard_does() {
        let seed = URL_SAFE_NO_PAD
            .decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
            .unwrap();
        let key = SigningKey::from_seed(&seed.try_into().unwrap()).unwrap();
        let set = key_set(&[key.public()]);
        assert_eq!(
            set["keys"][0]["x"],
            "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
        );
        let signature = key.sign_bytes(b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc");
        assert_eq!(
            URL_SAFE_NO_PAD.encode(signature),
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
        );
    }

    #[test]
    fn what_is_signed_has_three_parts_and_names_its_key() {
        let key = SigningKey::from_seed(&[1; 32]).unwrap();
        let token = sign(&key, "secevent+jwt", &json!({"iss": "here"}));
        let parts: Vec<_> = token.split('.').collect();
        assert_eq!(parts.len(), 3);
        let header = URL_SAFE_NO_PAD.decode(parts[0]).unwrap();
        let header: Value = serde_json::from_slice(&header).unwrap();
        assert_eq!(header["kid"], key_set(&[key.public()])["keys"][0]["kid"]);
        assert_eq!(header["typ"], "secevent+jwt");
        assert_eq!(
            URL_SAFE_NO_PAD.decode(parts[1]).unwrap(),
            br#"{"iss":"here"}"#
        );
    }
}
