-- 'Ada@Example.com' and 'ada@example.com' are one person: normalise first, then make it a rule.
UPDATE customers SET email = lower(email) WHERE email <> lower(email);

CREATE UNIQUE INDEX customers_by_email_any_case ON customers (lower(email));
