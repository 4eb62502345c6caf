//! Prints manifests as YAML.

use std::io::Write;

use anyhow::Context;
use serde_json::Value;

use super::args::{DeployArgs, DeployCommand};
use super::{batch, kserve};
use crate::error::PRINTING;
use crate::stdout::plain_stdout;

pub(crate) fn run(args: &DeployArgs) -> anyhow::Result<()> {
    let documents = match &args.command {
        DeployCommand::Kserve(args) => kserve::documents(args)?,
        DeployCommand::Batch(args) => batch::documents(args)?,
    };
    let text = yaml(&documents)?;
    plain_stdout().write_all(text.as_bytes()).context(PRINTING)
}

/// Several documents in one text.
fn yaml(documents: &[Value]) -> anyhow::Result<String> {
    let mut text = String::new();
    for document in documents {
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(document).context("cannot write YAML")?);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_is_read_as_it_was_meant() {
        let values = json!({"port": "8080", "on": "yes", "empty": "", "n": 8080, "list": ["{{.Name}}", "a: b", "#c", "null", "1e3"],
            "nested": [{"a": [1, true, "true"]}], "query": "sum(x{pod=~\"a-.*\"})", "text": "line\nline", "dash": "- a"});
        let text = yaml(&[values.clone(), json!({})]).unwrap();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        assert_eq!(documents, [values, json!({})], "{text}");
    }
}
