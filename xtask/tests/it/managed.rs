//! What lies between here and a server of somebody else's, and what its own recovery needs.

mod pitr;
mod pooler;
mod profile;
mod supabase;
