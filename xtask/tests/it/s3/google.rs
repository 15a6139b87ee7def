//! The door that Google's XML API has, before the same server: tokens that a service account signs
//! itself, and headers with names of their own. There is no server of Google's to be had.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue, IF_NONE_MATCH};
use ring::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use s3s::service::S3Service;
use s3s::{Body, HttpError, HttpRequest, HttpResponse};

/// Who signs the tokens.
pub const EMAIL: &str = "copies@shop.iam.gserviceaccount.com";

const REFUSED: &str = "<?xml version='1.0' encoding='UTF-8'?><Error>\
    <Code>AuthenticationRequired</Code><Message>Authentication required.</Message></Error>";

pub struct Door {
    public_key: Vec<u8>,
}

impl Door {
    /// `key`: the private one, PKCS #8 in PEM.
    pub fn of(key: &Path) -> Self {
        let pem = std::fs::read_to_string(key).expect("read the key");
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let der = BASE64_STANDARD.decode(body).expect("base64");
        let pair = RsaKeyPair::from_pkcs8(&der).expect("an RSA key");
        Self {
            public_key: pair.public_key().as_ref().to_vec(),
        }
    }

    fn lets_in(&self, headers: &HeaderMap) -> bool {
        let token = headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok());
        token
            .and_then(|it| it.strip_prefix("Bearer "))
            .and_then(|it| self.claims(it))
            .is_some_and(|claims| {
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                let now = now.expect("after 1970").as_secs();
                claims["iss"] == EMAIL && claims["exp"].as_u64().is_some_and(|end| end > now)
            })
    }

    /// Of a JSON web token that our account has signed.
    fn claims(&self, token: &str) -> Option<serde_json::Value> {
        let (signed, signature) = token.rsplit_once('.')?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.public_key)
            .verify(signed.as_bytes(), &signature)
            .ok()?;
        let (_, claims) = signed.split_once('.')?;
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
    }

    pub async fn call(
        &self,
        service: &S3Service,
        mut request: HttpRequest,
    ) -> Result<HttpResponse, HttpError> {
        let headers = request.headers_mut();
        if !self.lets_in(headers) {
            let mut refused = HttpResponse::new(Body::from(REFUSED.to_owned()));
            *refused.status_mut() = hyper::StatusCode::UNAUTHORIZED;
            return Ok(refused);
        }
        headers.remove(AUTHORIZATION);
        rename(headers, "x-goog-meta-", "x-amz-meta-");
        if let Some(generation) = headers.remove("x-goog-if-generation-match") {
            assert_eq!(generation, "0", "only what is not there is written");
            headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        let mut response = service.call(request).await?;
        rename(response.headers_mut(), "x-amz-meta-", "x-goog-meta-");
        Ok(response)
    }
}

fn rename(headers: &mut HeaderMap, from: &str, to: &str) {
    let found: Vec<HeaderName> = headers.keys().cloned().collect();
    for name in found {
        let Some(rest) = name.as_str().strip_prefix(from) else {
            continue;
        };
        let new = HeaderName::try_from(format!("{to}{rest}")).expect("a name");
        let value = headers.remove(&name).expect("it is there");
        headers.insert(new, value);
    }
}
