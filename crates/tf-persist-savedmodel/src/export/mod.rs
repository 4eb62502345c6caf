//! Saving of models.

mod copy;
mod fingerprint;
mod frozen;
mod optimized;
mod options;
mod packed;
mod requests;
mod save;
mod smallest;
mod staging;
mod target_name;
mod values;

#[doc(hidden)]
pub use frozen::FrozenModel;
pub use options::SaveOptions;
pub use save::SaveReport;
#[doc(hidden)]
pub use staging::Staging;
#[doc(hidden)]
pub use staging::check as check_target;
pub use values::VariableSource;

#[cfg(test)]
mod tests;
