//! From what each vantage believes to what all agree on. Reports are whole and periodic; agreement is pure.

pub mod report;

pub use report::{Report, Vantage};
