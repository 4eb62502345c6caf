//! Where the credentials of S3 come from, beside the environment.

use std::collections::HashMap;
use std::path::PathBuf;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as Key};

/// The most bytes of a file of the AWS command line.
const MAX_FILE: u64 = 1 << 20;

/// Completes the settings of the environment by those of the files of the AWS command line, which `object_store` does
/// not read: `~/.aws/credentials` and `~/.aws/config`, profile `AWS_PROFILE`.
pub(super) fn s3(mut builder: AmazonS3Builder) -> AmazonS3Builder {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let file = |variable: &str, name: &str| {
        let named = std::env::var_os(variable).filter(|it| !it.is_empty()).map(PathBuf::from);
        let path = named.or_else(|| Some(std::env::home_dir()?.join(".aws").join(name)))?;
        let bytes = crate::durable::read(&path, MAX_FILE).ok()??;
        String::from_utf8(bytes).ok()
    };
    let profile = std::env::var("AWS_PROFILE").ok().filter(|it| !it.is_empty()).unwrap_or_else(|| "default".to_owned());
    let credentials = file("AWS_SHARED_CREDENTIALS_FILE", "credentials").unwrap_or_default();
    let config = file("AWS_CONFIG_FILE", "config").unwrap_or_default();
    let mut found = section(&config, &[&profile, &format!("profile {profile}")]);
    found.extend(section(&credentials, &[&profile]));
    let others = ["AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"];
    let mut settings = vec![("endpoint_url", Key::Endpoint, "AWS_ENDPOINT_URL"), ("region", Key::Region, "AWS_REGION")];
    if !others.iter().any(|name| is_set(name)) {
        settings.extend([
            ("aws_access_key_id", Key::AccessKeyId, ""),
            ("aws_secret_access_key", Key::SecretAccessKey, ""),
            ("aws_session_token", Key::Token, ""),
        ]);
    }
    for (name, key, variable) in settings {
        if let Some(value) = found.get(name).filter(|_| builder.get_config_value(&key).is_none() && !is_set(variable)) {
            builder = builder.with_config(key, value);
        }
    }
    builder
}

/// The values of the sections of these names.
fn section(text: &str, names: &[&str]) -> HashMap<String, String> {
    let (mut is_in, mut values) = (false, HashMap::new());
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            is_in = names.contains(&name.trim());
        } else if let Some((key, value)) = line.split_once('=').filter(|_| is_in && !line.starts_with(['#', ';'])) {
            values.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_of_a_profile() {
        let text = "[default]\naws_access_key_id = A\n# x = 1\n[profile b]\nregion=eu-west-1\n[c]\nregion = no\n";
        assert_eq!(section(text, &["default"]), HashMap::from([("aws_access_key_id".to_owned(), "A".to_owned())]));
        assert_eq!(section(text, &["b", "profile b"])["region"], "eu-west-1");
        assert!(section("", &["default"]).is_empty());
    }
}
