//! libtensorflow: found, opened once, and proved by a token.

/// placeholder
#[derive(Debug)]
pub struct RuntimeError;
impl RuntimeError {
    pub fn hint(&self) -> String {
        String::new()
    }
}
impl std::fmt::Display for RuntimeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "x")
    }
}
impl std::error::Error for RuntimeError {}
