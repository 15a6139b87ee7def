//! What a power cut or `kill -9` leaves at every moment of a backup, a removal and a restore: the
//! next command finishes it, undoes it or leaves it alone, and tells the truth about it.

mod flushes;
mod postgres;
mod sqlite;
mod vault;
