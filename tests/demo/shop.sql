-- A sample shop: some thousand rows, the same ones each time. The demo shows it, and the integration tests use it.

CREATE TYPE order_status AS ENUM ('new', 'paid', 'shipped', 'cancelled');

CREATE TABLE customers (
    id         integer PRIMARY KEY,
    name       text NOT NULL,
    email      text NOT NULL UNIQUE,
    city       text,
    vip        boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE products (
    id         integer PRIMARY KEY,
    name       text NOT NULL,
    price      numeric(10, 2) NOT NULL,
    attributes jsonb NOT NULL DEFAULT '{}'
);

CREATE TABLE orders (
    id          bigint PRIMARY KEY,
    customer_id integer NOT NULL REFERENCES customers,
    status      order_status NOT NULL DEFAULT 'new',
    total       numeric(12, 2) NOT NULL DEFAULT 0,
    ordered_on  date NOT NULL
);
CREATE INDEX ON orders (customer_id);

CREATE TABLE order_items (
    order_id   bigint NOT NULL REFERENCES orders,
    line       integer NOT NULL,
    product_id integer NOT NULL REFERENCES products,
    quantity   integer NOT NULL,
    PRIMARY KEY (order_id, line)
);

-- No key: it can be neither read by key nor published with its updates, and must go on working all the same.
CREATE TABLE page_views (
    path      text NOT NULL,
    viewed_at timestamptz NOT NULL DEFAULT now()
);

INSERT INTO customers (id, name, email, city, vip, created_at)
SELECT i,
       (ARRAY['Ada', 'Grace', 'Edsger', 'Barbara', 'Donald', 'Frances', 'Ken', 'Radia'])[1 + i % 8] || ' '
           || (ARRAY['Berg', 'Okafor', 'Silva', 'Tanaka', 'Novak', 'Haddad', 'Lindqvist'])[1 + i % 7],
       'customer' || i || '@example.com',
       (ARRAY['Oslo', 'Lagos', 'Lisbon', 'Osaka', NULL])[1 + i % 5],
       i % 50 = 0,
       timestamptz '2026-01-01 00:00:00+00' + i * interval '1 hour'
  FROM generate_series(1, 2000) AS i;

INSERT INTO products (id, name, price, attributes)
SELECT i, 'Product ' || i, 1 + (i * 37 % 1000) / 10.0, jsonb_build_object('weight_g', 10 * i, 'tags', jsonb_build_array('t' || i % 10))
  FROM generate_series(1, 300) AS i;

INSERT INTO orders (id, customer_id, status, ordered_on)
SELECT i, 1 + i * 7 % 2000, (enum_range(NULL::order_status))[1 + i % 4], date '2026-01-01' + (i % 300)::integer
  FROM generate_series(1::bigint, 4000) AS i;

INSERT INTO order_items (order_id, line, product_id, quantity)
SELECT o, line, 1 + (o * 13 + line) % 300, 1 + (o + line) % 5
  FROM generate_series(1::bigint, 4000) AS o, generate_series(1, 2) AS line;

UPDATE orders
   SET total = (SELECT sum(i.quantity * p.price) FROM order_items i JOIN products p ON p.id = i.product_id WHERE i.order_id = orders.id);

INSERT INTO page_views (path, viewed_at)
SELECT '/product/' || i, timestamptz '2026-01-01 00:00:00+00' + i * interval '1 minute'
  FROM generate_series(1, 500) AS i;
