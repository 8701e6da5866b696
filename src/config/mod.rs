//! How files are read: settings, policy files and master files, from Spec (as written) to [`crate::model::Model`]
//! (valid). Every problem is collected, none half-applied.
