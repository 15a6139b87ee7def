//! `db export` and `db import` on PostgreSQL: tables through `COPY`, in both directions.

mod children;
mod copy_text;
mod export;
mod import;
mod load;
mod loosen;
mod numbers;
mod outline;
mod views;

pub use import::Work;
