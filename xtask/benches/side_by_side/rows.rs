//! The rows of a made-up shop, the same for both databases and in every run of one seed.
//!
//! Words follow a skewed distribution, as in prose; traces and scans are random, as digests and
//! images are: some of it compresses well, some not at all.

use anyhow::Result;
use chrono::{DateTime, TimeDelta, Utc};

pub enum Field {
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
}

pub struct Table {
    pub name: &'static str,
    pub columns: usize,
    /// With them a MB of the parameter is about a MB in either database.
    rows_per_megabyte: u64,
    row: fn(&mut Random, u64, u64) -> Vec<Field>,
}

/// In an order in which foreign keys find what they refer to.
pub const TABLES: &[Table] = &[
    Table {
        name: "customers",
        columns: 5,
        rows_per_megabyte: CUSTOMERS,
        row: customer,
    },
    Table {
        name: "orders",
        columns: 6,
        rows_per_megabyte: 2100,
        row: order,
    },
    Table {
        name: "events",
        columns: 6,
        rows_per_megabyte: 1050,
        row: event,
    },
    Table {
        name: "documents",
        columns: 5,
        rows_per_megabyte: 74,
        row: document,
    },
];
const CUSTOMERS: u64 = 400;

/// In the types of each database; indexes come after the rows.
pub const SCHEMA_POSTGRES: &str = "
    CREATE TABLE customers (id bigint PRIMARY KEY, email text NOT NULL, name text NOT NULL,
        created_at timestamptz NOT NULL, profile jsonb NOT NULL);
    CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint NOT NULL, placed_at timestamptz NOT NULL,
        status text NOT NULL, total_cents numeric(12) NOT NULL, note text NOT NULL);
    CREATE TABLE events (id bigint PRIMARY KEY, order_id bigint NOT NULL, at timestamptz NOT NULL,
        kind text NOT NULL, payload jsonb NOT NULL, trace text NOT NULL);
    CREATE TABLE documents (id bigint PRIMARY KEY, customer_id bigint NOT NULL, title text NOT NULL,
        body text NOT NULL, scan bytea NOT NULL);";
pub const SCHEMA_SQLITE: &str = "
    CREATE TABLE customers (id INTEGER PRIMARY KEY, email TEXT NOT NULL, name TEXT NOT NULL,
        created_at TEXT NOT NULL, profile TEXT NOT NULL);
    CREATE TABLE orders (id INTEGER PRIMARY KEY,
        customer_id INTEGER NOT NULL REFERENCES customers (id), placed_at TEXT NOT NULL,
        status TEXT NOT NULL, total_cents INTEGER NOT NULL, note TEXT NOT NULL);
    CREATE TABLE events (id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL, at TEXT NOT NULL,
        kind TEXT NOT NULL, payload TEXT NOT NULL, trace TEXT NOT NULL);
    CREATE TABLE documents (id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL, title TEXT NOT NULL,
        body TEXT NOT NULL, scan BLOB NOT NULL);";
pub const INDEXES: &str = "
    CREATE UNIQUE INDEX customers_email ON customers (email);
    CREATE INDEX orders_customer ON orders (customer_id);
    CREATE INDEX orders_placed ON orders (placed_at);
    CREATE INDEX events_at ON events (at);";
pub const CONSTRAINTS_POSTGRES: &str = "
    ALTER TABLE orders ADD FOREIGN KEY (customer_id) REFERENCES customers (id);
    ANALYZE;";

impl Table {
    /// Hands over every row of a database of that size.
    pub fn rows(
        &self,
        megabytes: u64,
        seed: u64,
        mut each: impl FnMut(Vec<Field>) -> Result<()>,
    ) -> Result<()> {
        let mut random = Random(seed ^ self.rows_per_megabyte);
        for id in 1..=self.rows_per_megabyte * megabytes {
            each((self.row)(&mut random, id, CUSTOMERS * megabytes))?;
        }
        Ok(())
    }
}

fn customer(random: &mut Random, id: u64, _: u64) -> Vec<Field> {
    let name = random.prose(2);
    let profile = format!(
        r#"{{"plan":"{}","points":{},"tags":["{}","{}"],"newsletter":{}}}"#,
        random.one_of(&["free", "small", "large"]),
        random.below(10_000),
        random.word(),
        random.word(),
        random.below(2) == 0,
    );
    vec![
        integer(id),
        Field::Text(format!("{}.{id}@example.com", name.replace(' ', "."))),
        Field::Text(name),
        random.time(id),
        Field::Text(profile),
    ]
}

fn order(random: &mut Random, id: u64, customers: u64) -> Vec<Field> {
    let words = random.below(9);
    vec![
        integer(id),
        integer(1 + random.below(customers)),
        random.time(id),
        Field::Text(random.one_of(&["open", "paid", "sent", "returned"]).into()),
        integer(random.below(500_000)),
        Field::Text(random.prose(words)),
    ]
}

fn event(random: &mut Random, id: u64, _: u64) -> Vec<Field> {
    let payload = format!(
        r#"{{"path":"/shop/{}/{}","status":{},"took_ms":{},"agent":"{}","referrer":"https://example.com/{}"}}"#,
        random.word(),
        random.below(100_000),
        random.one_of(&["200", "200", "304", "404", "500"]),
        random.below(2_000),
        random.prose(4),
        random.word(),
    );
    let trace = format!("{:016x}{:016x}", random.next(), random.next());
    vec![
        integer(id),
        integer(1 + id * 2),
        random.time(id),
        Field::Text(random.one_of(&["view", "click", "buy", "leave"]).into()),
        Field::Text(payload),
        Field::Text(trace),
    ]
}

fn document(random: &mut Random, id: u64, customers: u64) -> Vec<Field> {
    let (words, scan) = (100 + random.below(900), random.below(3_000));
    vec![
        integer(id),
        integer(1 + random.below(customers)),
        Field::Text(random.prose(5)),
        Field::Text(random.prose(words)),
        Field::Bytes((0..scan).map(|_| random.next() as u8).collect()),
    ]
}

fn integer(number: u64) -> Field {
    Field::Integer(number.cast_signed())
}

/// splitmix64: small, and good enough to be incompressible.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len() as u64) as usize]
    }

    /// One of 4,096 made-up words, the first ones far more often.
    fn word(&mut self) -> String {
        const SYLLABLES: [&str; 16] = [
            "ba", "cor", "den", "el", "fi", "gra", "hu", "in", "jo", "ket", "li", "mo", "nar",
            "os", "pe", "tri",
        ];
        let mut number = self.below(64) * self.below(64) * self.below(64) / 64;
        let mut word = SYLLABLES[(number % 16) as usize].to_owned();
        while number >= 16 {
            number /= 16;
            word += SYLLABLES[(number % 16) as usize];
        }
        word
    }

    fn prose(&mut self, words: u64) -> String {
        let words: Vec<String> = (0..words).map(|_| self.word()).collect();
        words.join(" ")
    }

    /// Later for later rows, as times that are written down are.
    fn time(&mut self, id: u64) -> Field {
        let seconds = (id * 20 + self.below(20)).cast_signed();
        let at = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::seconds(1_500_000_000 + seconds);
        Field::Text(at.format("%Y-%m-%d %H:%M:%S+00").to_string())
    }
}
