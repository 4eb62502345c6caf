//! `tf-persist deploy`: manifests for Kubernetes.

mod args;
mod batch;
mod kserve;
mod model;
mod names;
mod pod;
mod run;

pub(crate) use args::DeployArgs;
pub(crate) use run::run;
