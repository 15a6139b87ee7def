-- Every page that lists orders added up their lines; the total now lives on the order.
ALTER TABLE orders ADD COLUMN total_cents BIGINT NOT NULL DEFAULT 0 CHECK (total_cents >= 0);

UPDATE orders
SET total_cents = COALESCE(
    (SELECT SUM(order_lines.quantity * order_lines.unit_price_cents)
     FROM order_lines
     WHERE order_lines.order_id = orders.id),
    0
);
