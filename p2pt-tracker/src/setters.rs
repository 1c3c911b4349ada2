//! Consuming setters for configurations of plain fields.

/// Gives a configuration a method for each of its fields, which takes the configuration and returns it with that field
/// set. What a field means is documented there alone.
macro_rules! setters {
    ($config:ident { $($field:ident: $type:ty,)+ }) => {
        impl $config {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](Self#structfield.", stringify!($field), ").")]
                #[must_use]
                pub fn $field(self, $field: $type) -> Self {
                    Self { $field, ..self }
                }
            )+
        }
    };
}

pub(crate) use setters;
