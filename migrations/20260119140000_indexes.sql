-- Neither database indexes the referencing side of a foreign key by itself.
CREATE INDEX orders_by_customer ON orders (customer_id, ordered_at);
CREATE INDEX order_lines_by_product ON order_lines (product_id);
CREATE INDEX orders_not_shipped ON orders (ordered_at) WHERE status IN ('open', 'paid');
