//! Serves one model over REST and gRPC until Ctrl-C: `cargo run -p tf-persist-serve --example serve -- NAME FOLDER`,
//! where FOLDER has a subfolder for each version.

use std::net::{Ipv4Addr, SocketAddr};

use tf_persist_serve::{GrpcSettings, HttpSettings, ModelSettings, Server, Settings};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(name), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("usage: serve NAME FOLDER".into());
    };
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let settings = Settings::default()
        .models(ModelSettings::default().base_path(name, folder))
        .http(HttpSettings::default().address(local(8501)))
        .grpc(GrpcSettings::default().address(local(8500)));
    let stop = async { drop(tokio::signal::ctrl_c().await) };
    Server::bind(settings)?.run(stop).await?;
    Ok(())
}
