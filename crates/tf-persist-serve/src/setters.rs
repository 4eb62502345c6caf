//! Builder methods of the settings.

/// Generates a builder method for each field. An optional field takes the value itself as well as an `Option`.
macro_rules! setters {
    ($($field:ident: $argument:ty),+ $(,)?) => {$(
        #[doc = concat!("Sets [`", stringify!($field), "`](#structfield.", stringify!($field), ").")]
        #[must_use]
        pub fn $field(mut self, $field: $argument) -> Self {
            self.$field = $field.into();
            self
        }
    )+};
}

pub(crate) use setters;
