INSERT INTO customers (id, name, email, created_at) VALUES
    (1, 'Ada Lovelace', 'Ada@Example.com', '2026-01-06 09:12:00'),
    (2, 'Grace Hopper', 'grace@example.com', '2026-01-07 14:40:00'),
    (3, 'Łukasz Żółć', 'lukasz@example.com', '2026-01-09 08:05:00'),
    (4, 'O''Brien & Sons', 'office@obrien.example', '2026-01-13 16:30:00');

INSERT INTO products (id, sku, name, price_cents) VALUES
    (1, 'CUP-01', 'Cup, white', 900),
    (2, 'CUP-02', 'Cup, blue', 950),
    (3, 'POT-01', 'Teapot, 1.2 l', 4900),
    (4, 'TEA-05', 'Green tea, 50 g', 650),
    (5, 'TEA-06', 'Oolong, 50 g', 1150);

INSERT INTO orders (id, customer_id, status, ordered_at) VALUES
    (1, 1, 'shipped', '2026-01-14 10:00:00'),
    (2, 2, 'paid', '2026-01-15 11:30:00'),
    (3, 1, 'open', '2026-01-20 09:45:00'),
    (4, 3, 'cancelled', '2026-01-21 18:20:00'),
    (5, 4, 'open', '2026-01-22 07:55:00');

-- Order 5 has no lines yet: the customer is still choosing.
INSERT INTO order_lines (order_id, line_number, product_id, quantity, unit_price_cents) VALUES
    (1, 1, 3, 1, 4500),
    (1, 2, 1, 4, 900),
    (2, 1, 4, 3, 650),
    (3, 1, 5, 2, 1150),
    (3, 2, 2, 2, 950),
    (3, 3, 4, 1, 650),
    (4, 1, 3, 2, 4900);
