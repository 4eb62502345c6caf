//! What a registry says about how to authenticate (`WWW-Authenticate`).

/// A way to authenticate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    /// In lower case: `bearer`, `basic`.
    pub(super) scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// Reads one header, which may have several challenges.
    pub(super) fn parse(header: &str) -> Vec<Self> {
        let mut challenges: Vec<Self> = Vec::new();
        let mut rest = header.trim_start();
        while !rest.is_empty() {
            let end = rest.find([' ', ',', '=']).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            let after = after.trim_start_matches(' ');
            match after.strip_prefix('=') {
                Some(value) => {
                    let (value, left) = value_of(value.trim_start());
                    if let Some(challenge) = challenges.last_mut() {
                        challenge.parameters.push((word.to_ascii_lowercase(), value));
                    }
                    rest = left;
                }
                None => {
                    if !word.is_empty() {
                        challenges.push(Self { scheme: word.to_ascii_lowercase(), parameters: Vec::new() });
                    }
                    rest = after;
                }
            }
            rest = rest.trim_start_matches([' ', ',']);
        }
        challenges
    }

    /// The value of a parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A value, quoted or not, and what comes behind it.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(text.find([',', ' ']).unwrap_or(text.len()));
        return (value.to_owned(), rest);
    };
    let (mut value, mut is_escaped) = (String::new(), false);
    for (index, letter) in quoted.char_indices() {
        match letter {
            _ if is_escaped => {
                value.push(letter);
                is_escaped = false;
            }
            '\\' => is_escaped = true,
            '"' => return (value, &quoted[index + 1..]),
            _ => value.push(letter),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let header = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        let [bearer] = &Challenge::parse(header)[..] else { panic!() };
        assert_eq!(bearer.scheme, "bearer");
        assert_eq!(bearer.get("realm"), Some("https://auth.docker.io/token"));
        assert_eq!(bearer.get("scope"), Some("repository:a/b:pull,push"));
        assert_eq!(bearer.get("none"), None);
        let two = Challenge::parse(r#"Basic realm="a \"b\"", Bearer realm=x , service = y"#);
        assert_eq!(two.iter().map(|it| it.scheme.as_str()).collect::<Vec<_>>(), ["basic", "bearer"]);
        assert_eq!((two[0].get("realm"), two[1].get("realm")), (Some("a \"b\""), Some("x")));
        assert_eq!(two[1].get("service"), Some("y"));
        for odd in ["", ",", "=", "a=b", "Bearer realm=\"", "Bearer realm=\"\\", " , , ", "\"", "ü=ü ü"] {
            Challenge::parse(odd);
        }
    }
}
