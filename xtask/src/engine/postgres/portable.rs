//! `db export` and `db import` on PostgreSQL: tables through `COPY`, in both directions.

mod copy_text;
mod export;
mod import;
mod load;
mod loosen;
mod numbers;
mod outline;

pub use import::Work;
