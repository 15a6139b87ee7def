//! Publications of the user that hold tables of the platform, which no dump of the user's part names.

use super::Supabase;
use crate::setup::says;

const HELD: &str = "\
SELECT p.pubname, p.pubinsert, p.pubdelete, r.prrelid::regclass, r.prattrs, pg_get_expr(r.prqual, r.prrelid) \
FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid ORDER BY 1, 4;";

#[test]
fn tables_of_the_platform_stay_in_publications_of_the_user() {
    let Some(supabase) = Supabase::or_skip("supabase_published") else {
        return;
    };
    // As an administrator does it: the role does not own the table.
    supabase.admin.psql(
        "CREATE PUBLICATION supabase_realtime FOR TABLE storage.objects (id, name) WHERE (name <> 'x'), \
           public.orders WITH (publish = 'insert, delete'); \
         ALTER PUBLICATION supabase_realtime OWNER TO postgres; \
         CREATE PUBLICATION empty; ALTER PUBLICATION empty OWNER TO postgres;",
    );
    let before = supabase.admin.psql(HELD);
    let taken = supabase.case.project.json(["db", "backup"]);
    assert_eq!(
        taken["backup"]["platform"]["publications"][0]["definition"],
        "ALTER PUBLICATION supabase_realtime ADD TABLE ONLY storage.objects (id, name) WHERE ((name <> 'x'::text))"
    );
    supabase.case.query(
        "ALTER PUBLICATION supabase_realtime SET (publish = 'insert'); \
         ALTER PUBLICATION supabase_realtime DROP TABLE orders; \
         ALTER PUBLICATION supabase_realtime ADD TABLE profiles; DROP PUBLICATION empty;",
    );
    supabase.run(&["restore", "latest", "--yes"]).expect_code(0);
    assert_eq!(supabase.admin.psql(HELD), before);
    let empty = "SELECT count(*) FROM pg_publication WHERE pubname = 'empty'";
    assert_eq!(supabase.admin.psql(empty), "1");

    // What the role cannot put there again is not left away either.
    supabase.case.query("DROP PUBLICATION supabase_realtime;");
    let refused = supabase.run(&["restore", "latest", "--yes"]).expect_code(3);
    says(
        &refused,
        &[
            "what was on a table of supabase's cannot be put there again",
            "supabase_realtime on storage.objects",
        ],
    );
    supabase
        .admin
        .psql("ALTER TABLE storage.objects OWNER TO postgres;");
    supabase.run(&["restore", "latest", "--yes"]).expect_code(0);
    assert_eq!(supabase.admin.psql(HELD), before);
}
