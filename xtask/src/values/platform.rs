//! Who runs a PostgreSQL server for others, and what of a user's database is theirs.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::database_url::{DatabaseUrl, PostgresHost};
use super::kind::ForeignKey;
use super::nearest::nearest;

/// A platform, by the name that a setting has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// All of the database is its user's.
    #[default]
    None,
    Supabase,
    Neon,
    /// Its databases are Neon's.
    Vercel,
    Rds,
}

impl Profile {
    pub const ALL: [Profile; 5] = [
        Profile::None,
        Profile::Supabase,
        Profile::Neon,
        Profile::Vercel,
        Profile::Rds,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Profile::None => "none",
            Profile::Supabase => "supabase",
            Profile::Neon => "neon",
            Profile::Vercel => "vercel",
            Profile::Rds => "rds",
        }
    }

    /// The error says which ones there are, and which one is probably meant.
    pub fn parse(text: &str) -> Result<Profile, String> {
        let name = text.to_lowercase();
        if let Some(known) = Profile::ALL.into_iter().find(|known| known.name() == name) {
            return Ok(known);
        }
        let names = Profile::ALL.map(Profile::name);
        let known = format!("one of `{}` is expected", names.join("`, `"));
        // Of what is not near to one of them, nothing is repeated.
        Err(match nearest(&name, names) {
            Some(nearest) => format!("{known}; is `{nearest}` meant?"),
            None => known,
        })
    }

    /// What the platform itself makes and writes in a user's database.
    ///
    /// Supabase: the schemas that its own command-line tool leaves out of `db dump` as initialised by the
    /// platform's image (github.com/supabase/cli, `pkg/migration/dump.go`, `InternalSchemas`), and of
    /// those that it lists as owned by extensions the ones that every project comes with or that hold
    /// nothing for long (`vault`'s key is not in the database). Not left out here, although it is
    /// there: `supabase_migrations`, the history of the user's own migrations, which must go back
    /// with the tables. `cron` and `pgmq` are not on the list: their tables are an extension's,
    /// which is another matter.
    ///
    /// Neon, and Vercel with it: `neon_auth`, where its service for sign-in keeps users (neon.com/docs,
    /// "How Neon Auth works"); nothing in a database that does not use it.
    ///
    /// RDS: nothing. What is Amazon's is in a database of its own, `rdsadmin`; the master user is no
    /// superuser (docs.aws.amazon.com, "Understanding the rds_superuser role"), so that a restore goes
    /// the way of any role that may not make all.
    pub fn schemas(self) -> &'static [&'static str] {
        match self {
            Profile::None | Profile::Rds => &[],
            Profile::Neon | Profile::Vercel => &["neon_auth"],
            Profile::Supabase => &[
                "_analytics",
                "_realtime",
                "_supavisor",
                "auth",
                "etl",
                "extensions",
                "graphql",
                "graphql_public",
                "net",
                "pgbouncer",
                "pgsodium",
                "pgsodium_masks",
                "realtime",
                "storage",
                "supabase_functions",
                "vault",
            ],
        }
    }
}

/// Made by the platform in the user's own name: Supabase's image and its local stack do so with
/// these, and of Neon's nobody says whose it is. Any other schema of the user's is the user's,
/// whatever it is called.
pub const IN_THE_USERS_NAME: &[&str] = &[
    "_analytics",
    "_realtime",
    "_supavisor",
    "extensions",
    "neon_auth",
];

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How the names of hosts end, each as its operator documents it; with a pooler before it as well.
const HOSTS: [(&str, Profile); 6] = [
    (".supabase.co", Profile::Supabase),
    (".supabase.com", Profile::Supabase),
    (".neon.tech", Profile::Neon),
    (".postgres.vercel-storage.com", Profile::Vercel),
    (".rds.amazonaws.com", Profile::Rds),
    (".rds.amazonaws.com.cn", Profile::Rds),
];

/// By names that the operators give out; of several hosts, all must be one's.
pub fn by_host(url: &DatabaseUrl) -> Option<Profile> {
    let DatabaseUrl::Postgres(url) = url else {
        return None;
    };
    let known = |host: &PostgresHost| {
        let host = host.host.as_deref()?.to_lowercase();
        let profile = HOSTS.iter().find(|(domain, _)| host.ends_with(domain));
        profile.map(|(_, profile)| *profile)
    };
    let mut hosts = url.hosts.iter().map(known);
    let first = hosts.next()??;
    hosts.all(|other| other == Some(first)).then_some(first)
}

/// What a full backup does without, because it belongs to the platform, and how it hangs together
/// with what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Platform {
    pub profile: String,
    /// Those that were there.
    pub schemas: Vec<String>,
    /// Of tables in the dump to tables of the platform; they are in the dump.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub foreign_keys: Vec<ForeignKey>,
    /// On tables of the platform, calling functions in the dump; they are not in the dump.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub triggers: Vec<Attached>,
    /// On tables of the platform, about something in the dump; they are not in the dump.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Attached>,
    /// Tables of the platform in publications of the user; those memberships are not in the dump.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publications: Vec<Attached>,
    /// In its schemas, or of its roles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<Extension>,
}

/// What a user has put on a table of the platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attached {
    pub schema: String,
    pub table: String,
    pub name: String,
    /// In SQL that says of every name where it is.
    pub definition: String,
    /// What sets it as it was, where it was not as it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extension {
    pub name: String,
    pub schema: String,
    /// Its tables whose rows are in the dump; a restore leaves these as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<(String, String)>,
}

impl Platform {
    /// Those that were there, and those that the platform may have made since.
    pub fn all_schemas(&self) -> Vec<String> {
        let known = Profile::parse(&self.profile).map_or(&[][..], Profile::schemas);
        let known = known.iter().map(ToString::to_string);
        let more = known.filter(|schema| !self.schemas.contains(schema));
        self.schemas.iter().cloned().chain(more).collect()
    }

    pub fn summary(&self) -> String {
        let schemas = self.schemas.join(", ");
        format!("not in it, for it is {}'s: {schemas}", self.profile)
    }
}

impl fmt::Display for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}.{}", self.name, self.schema, self.table)
    }
}
