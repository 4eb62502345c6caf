//! Signs a folder, or verifies its signature, as Python's `model_signing` does.
//!
//! ```sh
//! cargo run -p tf-persist-store --example model_signing -- sign FOLDER KEY.pem > FOLDER/model.sig
//! cargo run -p tf-persist-store --example model_signing -- verify FOLDER SIGNATURE KEY.pub|AUTHORITIES.crt
//! ```

use std::error::Error;
use std::process::ExitCode;

use tf_persist_store::signing::{Authorities, PublicKey, SigningKey, Trusted, sign_folder, verify_folder};

fn run(arguments: &[&str]) -> Result<String, Box<dyn Error>> {
    match arguments {
        ["sign", folder, key] => Ok(sign_folder(folder, &SigningKey::read(key)?, None)?),
        ["verify", folder, signature, trusted] => {
            let trusted = match trusted.ends_with(".crt") {
                true => Trusted::Authorities(Authorities::read(trusted)?),
                false => Trusted::Key(PublicKey::read(trusted)?),
            };
            let statement = verify_folder(folder, signature, &trusted)?;
            Ok(format!("verified, {} files\n", statement.files.len()))
        }
        _ => Err("usage: sign FOLDER KEY.pem, or verify FOLDER SIGNATURE KEY.pub|AUTHORITIES.crt".into()),
    }
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(said) => {
            print!("{said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
