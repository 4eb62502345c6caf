//! How far two distributions are apart, and whether by chance.

mod divergence;
mod holm;
mod tests_of_counts;

pub(crate) use divergence::{jensen_shannon, population_stability};
pub(crate) use holm::holm;
pub(crate) use tests_of_counts::{chi_squared, kolmogorov_smirnov};

#[cfg(test)]
mod tests;
