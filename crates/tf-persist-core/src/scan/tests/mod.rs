mod attacks;
mod graphs;
mod hostile;
mod names;
mod trust;
