//! The contracts with `--jobs`: several sessions dump into a folder, which is packed into one
//! backup. Large objects are files of their own in it.

use super::{Owner, Postgres, Subject, Superuser, survives};
use crate::cluster::Cluster;

fn holds<const LIMITED: bool, const MAJOR: u32>(
    subject: Option<Postgres<LIMITED, MAJOR>>,
    script: &str,
) {
    let Some(mut subject) = subject else {
        return;
    };
    subject.flags = &["--jobs", "2"];
    survives(&subject, script);
    // The backup, and the safety backups of two restores.
    let files = subject.project.vault_files();
    let of_jobs = files.iter().filter(|name| name.ends_with(".tar.zst"));
    assert_eq!((of_jobs.count(), files.len()), (3, 6), "{files:?}");
}

/// One test for each hard schema.
macro_rules! with_jobs {
    ($subject:ty: $($schema:ident)*) => {
        $(
            #[test]
            fn $schema() {
                holds(<$subject>::start(), include_str!(concat!(stringify!($schema), ".sql")));
            }
        )*
    };
}

with_jobs!(Superuser: partitions references views large_objects);

mod owner {
    use super::*;

    with_jobs!(Owner: partitions references views large_objects);
}

/// From 17 on, a folder lists its large objects in another way.
mod versions {
    use super::*;

    mod sixteen {
        use super::*;
        with_jobs!(Postgres<false, 16>: large_objects);
    }

    mod eighteen {
        use super::*;
        with_jobs!(Postgres<false, 18>: large_objects);
    }

    mod eighteen_owner {
        use super::*;
        with_jobs!(Postgres<true, 18>: large_objects);
    }
}

/// Its script, on its way through `psql`, begins with a setting that the older server does not know.
#[test]
fn a_newer_pg_dump_serves_an_older_server() {
    let Some(newer) = Cluster::of_major_or_skip(18) else {
        return;
    };
    let Some(mut subject) = Superuser::start() else {
        return;
    };
    subject.project = subject.project.env("PG_BIN", newer.bin());
    holds(Some(subject), include_str!("large_objects.sql"));
}
