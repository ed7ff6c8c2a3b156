-- What `make check-debezium` runs beside events.sql: keys of every type, every identity, unchanged values of every type, schema
-- changes in mid-stream, partitions, rollbacks, large and odd transactions, messages, generated columns. A statement ends where a line
-- ends in a semicolon, but between $$. `-- settle`: all have published all so far, and what they read of the catalog is of this moment.

CREATE DOMAIN domain_text AS text;

-- ---- types beside those of events_schema.sql ----

-- Before types change: Debezium keeps an enum's labels as they were when it started, and ours are those of now.
CREATE DOMAIN domain_char AS char(5);
CREATE DOMAIN domain_varchar AS varchar(7);
CREATE DOMAIN domain_bit AS bit(3);
CREATE DOMAIN domain_bool AS bool NOT NULL DEFAULT true;
CREATE DOMAIN domain_bytea AS bytea;
CREATE DOMAIN domain_time AS time(3);
CREATE DOMAIN domain_timestamp AS timestamptz(3);
CREATE DOMAIN domain_uuid AS uuid;
CREATE DOMAIN domain_jsonb AS jsonb;
CREATE DOMAIN domain_citext AS citext;
CREATE DOMAIN domain_hstore AS hstore;
CREATE DOMAIN domain_interval AS interval;
CREATE DOMAIN domain_default AS int DEFAULT 7;
CREATE TABLE y_domains (id int PRIMARY KEY, a domain_char, b domain_varchar, c domain_bit, d domain_bool, e domain_bytea, f domain_time, g domain_timestamp, h domain_uuid, i domain_jsonb, j domain_citext, k domain_hstore, l domain_interval, m domain_default, n domain_text);
INSERT INTO y_domains VALUES (1, 'a', 'b', '101', false, '\x00ff', '13:51:30.123456', '2026-11-21 13:51:30.123456+02', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a": 1}', 'C', 'a=>1', '1 day', 8, 'x');
INSERT INTO y_domains (id) VALUES (2);
UPDATE y_domains SET n = 'y';
DELETE FROM y_domains;
CREATE TABLE y_numbers (id int PRIMARY KEY, n1 numeric(3,5), n2 numeric(1000,0), n3 numeric(1,1), n4 numeric(38,38), n5 numeric(20), n6 decimal(5,2), n7 float(10), n8 float(40), n9 numeric(100,50));
INSERT INTO y_numbers VALUES (1, 0.00123, repeat('9', 900)::numeric, 0.9, 0.00000000000000000000000000000000000001, 12345678901234567890, 999.99, 1.5, 1.5, 1e-50), (2, -0.00999, -1, -0.9, 0, -1, -0.01, 1e-3, 1e-3, 1e49), (3, 0, 0, 0, 0, 0, 0, 0, 0, 0);
DELETE FROM y_numbers WHERE id = 1;
CREATE TABLE y_times (id int PRIMARY KEY, t1 time(1), t4 time(4), ts1 timestamp(1), ts4 timestamp(4), ts5 timestamp(5), tz1 timestamptz(1), tz4 timestamptz(4), ttz0 timetz(0), ttz6 timetz(6), i1 interval second(2), i2 interval day to second(3), i3 interval hour, i4 interval(0));
INSERT INTO y_times VALUES (1, '13:51:30.16', '13:51:30.12344', '2026-11-21 13:51:30.16', '2026-11-21 13:51:30.12344', '2026-11-21 13:51:30.123456', '2026-11-21 13:51:30.16+02', '2026-11-21 13:51:30.12344+02', '13:51:30.5+02', '13:51:30.123456-11:30', '1 min 5.678 sec', '3 days 04:05:06.7891', '5 hours', '1.6 sec');
INSERT INTO y_times (id, ts1, ts4, tz4, i4) VALUES (2, '1500-02-28 23:59:59.9', '1582-10-10 00:00', '1582-10-04 00:00+00', '-1 year -1 day'), (3, '0001-01-01', '1900-02-28', '1700-02-28 12:00+00', '1 year -1 sec'), (4, '1969-12-31 23:59:59.9', '2000-02-29', '2038-01-19 03:14:08+00', NULL);
DELETE FROM y_times;
CREATE TABLE y_texts (id int PRIMARY KEY, a bpchar, b char, c varchar(1), d varchar(10000), e text COLLATE "C", f "char", g json, h jsonb, i ltree, j xml);
INSERT INTO y_texts VALUES (1, 'no length  ', ' ', '', '', 'x', '', '{"b":1,"a":2,"a":3, "n":1.10e2}', '{"b":1,"a":2,"a":3, "n":1.10e2}', '', '<?xml version="1.0"?><a b="c">&lt;</a>');
INSERT INTO y_texts (id, d, g, h) VALUES (3, E'\u2028\u2029\u00a0\ufeff\ufffd\U0010FFFF</script>&''"', '"\ud83d\ude00 \/ \u0001"', '["\ud83d\ude00 \/ \u0001", 1e400, -0.0, 12345678901234567890]'), (4, E'\x1f\x1e', 'null', 'null');
DELETE FROM y_texts;
CREATE TABLE y_nets (id int PRIMARY KEY, i inet, c cidr, m macaddr8);
INSERT INTO y_nets VALUES (1, '::ffff:1.2.3.4', '::/0', '08-00-2b-ff-fe-01-02-03'), (2, '2001:db8::1/64', '0.0.0.0/0', NULL), (3, '255.255.255.255/32', '10.1.2.3/32', NULL);
DELETE FROM y_nets;
CREATE TABLE y_ranges (id int PRIMARY KEY, r4 int4range, nr numrange, tr tsrange, tzr tstzrange, dr daterange);
INSERT INTO y_ranges VALUES (1, '(,)', '[1.10,1.1]', '["2026-01-01 00:00:00.5",infinity)', '(-infinity,"2026-01-01 00:00:00+02"]', '[0044-03-15 BC,infinity]'), (2, '(,5]', 'empty', '(,)', 'empty', '(,)');
DELETE FROM y_ranges;
CREATE TABLE y_arrays (id int PRIMARY KEY, ai int[], at text[], an numeric[], af float4[], ad float8[], aj json[], ajb jsonb[], ae mood[], aby bytea[], ah hstore[], atz timestamptz[], atm time[], adt date[], au uuid[], ab bool[], ao oid[], ac char(3)[], ac1 "char"[], ai4 int[3], ats0 timestamp(0)[], am macaddr[], am8 macaddr8[], an0 numeric(5,0)[]);
INSERT INTO y_arrays (id, ai, at, an, af, ad, aj, ajb, ae, aby) VALUES (1, '{-2147483648,2147483647,NULL,0}', E'{"",NULL,null,"NULL"," a ","{","}","\\\\",",","\\"","a\nb","\u96ea"}', '{0,-0.00,1e30,-1e-30,120}', '{-0,1e-45,Infinity,-Infinity,NaN}', '{-0,5e-324,Infinity,-Infinity,NaN}', '{"{\"a\": 1}",NULL,"null","[1, \"x\"]"}', '{"{\"a\": 1}",NULL,"null","[1, \"x\"]"}', '{}', '{"",NULL,"\\x00ff"}');
INSERT INTO y_arrays (id, ah, atz, atm, adt, au, ab, ao, ac, ai4, ats0, am, an0) VALUES (2, '{NULL,"","\"a\"=>NULL, \"b\"=>\"{}\""}', '{NULL,"1969-12-31 23:59:59.999999+00","2026-11-21 13:51:30.1+02"}', '{NULL,00:00,13:51:30}', '{NULL,1969-12-31,9999-12-31}', '{NULL,a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}', '{NULL}', '{4294967295,NULL}', '{NULL,"  ","a"}', '{1}', '{"2026-11-21 13:51:30.6"}', '{NULL}', '{NULL,12345}');
UPDATE y_arrays SET ai = '{}' WHERE id = 2;
DELETE FROM y_arrays;
CREATE TABLE y_bits (id int PRIMARY KEY, b varbit(1), c bit(9), d bit(64));
INSERT INTO y_bits VALUES (1, '', '100000000', repeat('1', 64)::bit(64)), (2, '1', '000000001', repeat('0', 64)::bit(64)), (3, '0', NULL, NULL);
DELETE FROM y_bits;
CREATE TABLE y_odd (id int PRIMARY KEY, n numeric, n2 numeric(10,2), iv interval, m money);
INSERT INTO y_odd VALUES (1, 'NaN', 'NaN', '-178000000 years', '92233720368547758.07'), (2, '-Infinity', 0, '178000000 years', '-92233720368547758.08'), (3, 'Infinity', NULL, NULL, NULL);
DELETE FROM y_odd;

-- ---- defaults beside those of events_schema.sql ----

-- Those of expressions, and with quotes in them, Debezium garbles.
CREATE TABLE d_more (id int PRIMARY KEY, v int, e int NOT NULL DEFAULT ('5'::int + 1), f int NOT NULL DEFAULT -(-5), h numeric NOT NULL DEFAULT 1e3, i numeric(6,2) NOT NULL DEFAULT '1.5'::numeric, j text NOT NULL DEFAULT upper('abc'), l date NOT NULL DEFAULT 'today', n varchar(3) NOT NULL DEFAULT 'abc'::varchar, o timestamptz NOT NULL DEFAULT (now() + interval '1 day'), q interval NOT NULL DEFAULT make_interval(days => 3), r uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000'::uuid, s text NOT NULL DEFAULT NULL, t text DEFAULT NULL::text, u mood NOT NULL DEFAULT 'ok'::text::mood, w double precision NOT NULL DEFAULT pi(), x double precision NOT NULL DEFAULT 1e300, y real NOT NULL DEFAULT 1e-40, z bigint NOT NULL DEFAULT 9223372036854775807, a1 bigint NOT NULL DEFAULT -9223372036854775808, a2 smallint NOT NULL DEFAULT -1, a3 text NOT NULL DEFAULT coalesce(NULL, 'x'), a5 int NOT NULL DEFAULT length('four'), a6 text NOT NULL DEFAULT '(x)', a7 text NOT NULL DEFAULT 'f(x)', a8 text NOT NULL DEFAULT '', a9 jsonb NOT NULL DEFAULT '[]', b1 text[] NOT NULL DEFAULT ARRAY[]::text[], b2 int[] NOT NULL DEFAULT ARRAY[1,2], b3 text NOT NULL DEFAULT 'nextval(x)', b5 int NOT NULL DEFAULT extract(year from date '2020-01-01')::int, b6 char(5) NOT NULL DEFAULT 'ab'::char(5), b7 text NOT NULL DEFAULT 'a::b', c1 numeric(10,2) NOT NULL DEFAULT (1 + 1.5), c2 bool NOT NULL DEFAULT 'yes', c3 bytea NOT NULL DEFAULT 'abc'::bytea, c4 text NOT NULL DEFAULT E'\u96ea\t');
INSERT INTO d_more (id, s) VALUES (1, 'x');
UPDATE d_more SET v = 2;
DELETE FROM d_more;

-- ---- keys of every type ----

CREATE TABLE k_bool (k bool PRIMARY KEY, v int);
INSERT INTO k_bool VALUES (true, 1), (false, 2);
UPDATE k_bool SET v = 3;
DELETE FROM k_bool WHERE k;
UPDATE k_bool SET k = true;
CREATE TABLE k_int2 (k smallint PRIMARY KEY, v int);
INSERT INTO k_int2 VALUES (-32768, 1), (32767, 2);
UPDATE k_int2 SET k = 0 WHERE k < 0;
DELETE FROM k_int2;
CREATE TABLE k_int8 (k bigint PRIMARY KEY, v int);
INSERT INTO k_int8 VALUES (-9223372036854775808, 1), (9223372036854775807, 2);
UPDATE k_int8 SET k = 0 WHERE k < 0;
DELETE FROM k_int8;
CREATE TABLE k_oid (k oid PRIMARY KEY, v int);
INSERT INTO k_oid VALUES (0, 1), (4294967295, 2);
UPDATE k_oid SET k = 1 WHERE k = 0;
DELETE FROM k_oid;
CREATE TABLE k_float4 (k real PRIMARY KEY, v int);
INSERT INTO k_float4 VALUES (1.5, 1), ('NaN', 2), ('-Infinity', 3), (1e10, 4);
UPDATE k_float4 SET k = 2.5 WHERE k = 1.5;
DELETE FROM k_float4;
CREATE TABLE k_float8 (k double precision PRIMARY KEY, v int);
INSERT INTO k_float8 VALUES (1.5, 1), ('NaN', 2), ('Infinity', 3), (1e300, 4);
UPDATE k_float8 SET k = 2.5 WHERE k = 1.5;
DELETE FROM k_float8;
CREATE TABLE k_numeric (k numeric PRIMARY KEY, v int);
INSERT INTO k_numeric VALUES (1.10, 1), (0, 2), (-120.00, 3), (123456789012345678901234567890.12345, 4);
UPDATE k_numeric SET k = 1.25 WHERE k = 1.1;
DELETE FROM k_numeric;
CREATE TABLE k_numeric2 (k numeric(10,2) PRIMARY KEY, v int);
INSERT INTO k_numeric2 VALUES (1.10, 1), (0, 2), (-120.00, 3), (99999999.99, 4);
UPDATE k_numeric2 SET k = 1.25 WHERE k = 1.1;
DELETE FROM k_numeric2;
CREATE TABLE k_money (k money PRIMARY KEY, v int);
INSERT INTO k_money VALUES (1.10, 1), (-0.01, 2);
UPDATE k_money SET k = 1.25 WHERE v = 1;
DELETE FROM k_money;
CREATE TABLE k_date (k date PRIMARY KEY, v int);
INSERT INTO k_date VALUES ('2026-11-21', 1), ('infinity', 2), ('0044-03-15 BC', 3);
UPDATE k_date SET k = '2026-11-22' WHERE v = 1;
DELETE FROM k_date;
CREATE TABLE k_time (k time PRIMARY KEY, v int);
INSERT INTO k_time VALUES ('13:51:30.123456', 1), ('24:00', 2);
UPDATE k_time SET k = '0:00' WHERE v = 1;
DELETE FROM k_time;
CREATE TABLE k_timetz (k timetz PRIMARY KEY, v int);
INSERT INTO k_timetz VALUES ('13:51:30.123456+02', 1), ('24:00+00', 2);
UPDATE k_timetz SET k = '0:00+00' WHERE v = 1;
DELETE FROM k_timetz;
CREATE TABLE k_timestamp (k timestamp PRIMARY KEY, v int);
INSERT INTO k_timestamp VALUES ('2026-11-21 13:51:30.123456', 1), ('infinity', 2), ('1969-12-31 23:59:59.999999', 3);
UPDATE k_timestamp SET k = '2026-11-22' WHERE v = 1;
DELETE FROM k_timestamp;
CREATE TABLE k_timestamptz (k timestamptz PRIMARY KEY, v int);
INSERT INTO k_timestamptz VALUES ('2026-11-21 13:51:30.123456+02', 1), ('infinity', 2), ('1969-12-31 23:59:59.999999+00', 3);
UPDATE k_timestamptz SET k = '2026-11-22' WHERE v = 1;
DELETE FROM k_timestamptz;
CREATE TABLE k_interval (k interval PRIMARY KEY, v int);
INSERT INTO k_interval VALUES ('1 day', 1), ('-1 mon 00:00:01', 2);
UPDATE k_interval SET k = '2 days' WHERE v = 1;
DELETE FROM k_interval;
CREATE TABLE k_text (k text PRIMARY KEY, v int);
INSERT INTO k_text VALUES ('', 1), (E'a "quoted" \\ \t\n\u00e9 \u96ea \U0001F600', 2), (repeat('k', 2000), 3);
UPDATE k_text SET k = 'x' WHERE k = '';
UPDATE k_text SET v = 9;
DELETE FROM k_text;
CREATE TABLE k_varchar (k varchar(10) PRIMARY KEY, v int);
INSERT INTO k_varchar VALUES ('a', 1), (' b ', 2);
UPDATE k_varchar SET k = 'x' WHERE k = 'a';
DELETE FROM k_varchar;
CREATE TABLE k_char (k char(5) PRIMARY KEY, v int);
INSERT INTO k_char VALUES ('a', 1), ('bcdef', 2);
UPDATE k_char SET k = 'x' WHERE k = 'a';
DELETE FROM k_char;
CREATE TABLE k_citext (k citext PRIMARY KEY, v int);
INSERT INTO k_citext VALUES ('Abc', 1);
UPDATE k_citext SET k = 'ABC';
DELETE FROM k_citext;
CREATE TABLE k_uuid (k uuid PRIMARY KEY, v int);
INSERT INTO k_uuid VALUES ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 1);
UPDATE k_uuid SET k = '00000000-0000-0000-0000-000000000000';
DELETE FROM k_uuid;
CREATE TABLE k_bytea (k bytea PRIMARY KEY, v int);
INSERT INTO k_bytea VALUES ('', 1), ('\x00ff', 2), ('\xfbefff', 3);
UPDATE k_bytea SET k = '\x01' WHERE v = 1;
DELETE FROM k_bytea;
CREATE TABLE k_bit (k bit(5) PRIMARY KEY, v int);
INSERT INTO k_bit VALUES ('10101', 1), ('00000', 2);
UPDATE k_bit SET k = '11111' WHERE v = 1;
DELETE FROM k_bit;
CREATE TABLE k_bit1 (k bit(1) PRIMARY KEY, v int);
INSERT INTO k_bit1 VALUES ('1', 1);
UPDATE k_bit1 SET k = '0';
DELETE FROM k_bit1;
CREATE TABLE k_varbit (k varbit PRIMARY KEY, v int);
INSERT INTO k_varbit VALUES ('101', 1), ('', 2);
UPDATE k_varbit SET k = '11' WHERE v = 1;
DELETE FROM k_varbit;
CREATE TABLE k_inet (k inet PRIMARY KEY, v int);
INSERT INTO k_inet VALUES ('10.0.0.1/24', 1), ('::1', 2);
UPDATE k_inet SET k = '10.0.0.2' WHERE v = 1;
DELETE FROM k_inet;
CREATE TABLE k_cidr (k cidr PRIMARY KEY, v int);
INSERT INTO k_cidr VALUES ('10.0.0.0/8', 1), ('2001:db8::/32', 2);
UPDATE k_cidr SET k = '11.0.0.0/8' WHERE v = 1;
DELETE FROM k_cidr;
CREATE TABLE k_macaddr (k macaddr PRIMARY KEY, v int);
INSERT INTO k_macaddr VALUES ('08:00:2b:01:02:03', 1);
UPDATE k_macaddr SET k = '08:00:2b:01:02:04';
DELETE FROM k_macaddr;
CREATE TABLE k_jsonb (k jsonb PRIMARY KEY, v int);
INSERT INTO k_jsonb VALUES ('{"b": 1, "a": [null, 1.10, "x"]}', 1), ('null', 2);
UPDATE k_jsonb SET k = '2' WHERE v = 1;
DELETE FROM k_jsonb;
CREATE TABLE k_enum (k mood PRIMARY KEY, v int);
INSERT INTO k_enum VALUES ('sad', 1), ('happy', 2);
UPDATE k_enum SET k = 'ok' WHERE v = 1;
DELETE FROM k_enum;
CREATE TABLE k_domain (k posint2 PRIMARY KEY, v money2);
INSERT INTO k_domain VALUES (1, 1.10);
UPDATE k_domain SET k = 2;
DELETE FROM k_domain;
CREATE TABLE k_ltree (k ltree PRIMARY KEY, v int);
INSERT INTO k_ltree VALUES ('Top.Science', 1);
UPDATE k_ltree SET k = 'Top';
DELETE FROM k_ltree;
CREATE TABLE k_hstore (k hstore PRIMARY KEY, v int);
INSERT INTO k_hstore VALUES ('a=>1, b=>NULL', 1);
UPDATE k_hstore SET k = 'a=>2';
DELETE FROM k_hstore;
CREATE TABLE k_range (k int4range PRIMARY KEY, v int);
INSERT INTO k_range VALUES ('[1,5)', 1), ('empty', 2);
UPDATE k_range SET k = '[7,9)' WHERE v = 1;
DELETE FROM k_range;
CREATE TABLE k_tstzrange (k tstzrange PRIMARY KEY, v int);
INSERT INTO k_tstzrange VALUES ('[2026-01-01 00:00+00,)', 1);
DELETE FROM k_tstzrange;
CREATE TABLE k_array (k int[] PRIMARY KEY, v text[]);
INSERT INTO k_array VALUES ('{1,2}', '{a,NULL}'), ('{}', NULL);
UPDATE k_array SET k = '{3}' WHERE k = '{}';
DELETE FROM k_array;
CREATE TABLE k_tsvector (k tsvector PRIMARY KEY, v int);
INSERT INTO k_tsvector VALUES ('a fat cat', 1);
DELETE FROM k_tsvector;
CREATE TABLE k_many (d text, c int, b uuid, a timestamptz(3), PRIMARY KEY (a, b, c, d));
INSERT INTO k_many VALUES ('x', 1, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '2026-11-21 00:00+00');
UPDATE k_many SET d = 'y';
UPDATE k_many SET c = 2, a = '2026-11-22 00:00+00';
DELETE FROM k_many;

-- ---- identities ----

CREATE TABLE i_full (id int PRIMARY KEY, t text, n numeric(6,2), e mood, a int[], h hstore, b bytea, iv interval);
ALTER TABLE i_full REPLICA IDENTITY FULL;
INSERT INTO i_full VALUES (1, 'a', 1.10, 'ok', '{1}', 'a=>1', '\x01', '1 day'), (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
UPDATE i_full SET t = 'b';
UPDATE i_full SET t = NULL, n = NULL, e = NULL, a = NULL, h = NULL, b = NULL, iv = NULL WHERE id = 1;
UPDATE i_full SET id = 3 WHERE id = 1;
DELETE FROM i_full;
CREATE TABLE i_full_no_key (a int, b text, c int[]);
ALTER TABLE i_full_no_key REPLICA IDENTITY FULL;
INSERT INTO i_full_no_key VALUES (1, 'a', '{1}'), (1, 'a', '{1}'), (NULL, NULL, NULL);
UPDATE i_full_no_key SET b = 'b';
DELETE FROM i_full_no_key;
CREATE TABLE i_nothing (id int PRIMARY KEY, v text NOT NULL);
ALTER TABLE i_nothing REPLICA IDENTITY NOTHING;
INSERT INTO i_nothing VALUES (1, 'a'), (2, 'b');
CREATE TABLE i_no_key (a int, b text NOT NULL);
INSERT INTO i_no_key VALUES (1, 'a'), (1, 'a'), (NULL, 'b');
TRUNCATE i_no_key;
CREATE TABLE i_unique (a int NOT NULL, b text NOT NULL, c int, UNIQUE (b, a));
INSERT INTO i_unique VALUES (1, 'a', 1);
CREATE TABLE i_index (a int NOT NULL, b text NOT NULL, c int);
CREATE UNIQUE INDEX i_index_key ON i_index (b, a);
ALTER TABLE i_index REPLICA IDENTITY USING INDEX i_index_key;
INSERT INTO i_index VALUES (1, 'a', 1), (2, 'b', NULL);
UPDATE i_index SET c = 2;
UPDATE i_index SET a = 3 WHERE a = 1;
DELETE FROM i_index;
-- settle

-- ---- identities that change ----

CREATE TABLE i_changes (id int PRIMARY KEY, v text NOT NULL, w int);
INSERT INTO i_changes VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3), (4, 'd', 4);
UPDATE i_changes SET w = 5 WHERE id = 1;
-- settle
ALTER TABLE i_changes REPLICA IDENTITY FULL;
UPDATE i_changes SET w = 6 WHERE id = 1;
DELETE FROM i_changes WHERE id = 2;
-- settle
ALTER TABLE i_changes REPLICA IDENTITY DEFAULT;
UPDATE i_changes SET w = 7 WHERE id = 1;
DELETE FROM i_changes WHERE id = 3;
-- settle
ALTER TABLE i_changes DROP CONSTRAINT i_changes_pkey;
ALTER TABLE i_changes ADD PRIMARY KEY (v);
UPDATE i_changes SET w = 8 WHERE id = 1;
UPDATE i_changes SET v = 'z' WHERE id = 1;
INSERT INTO i_changes VALUES (5, 'e', 5);
DELETE FROM i_changes WHERE v = 'd';
-- settle
ALTER TABLE i_changes DROP CONSTRAINT i_changes_pkey;
ALTER TABLE i_changes ADD PRIMARY KEY (w, id);
INSERT INTO i_changes VALUES (6, 'f', 6);
UPDATE i_changes SET v = 'y' WHERE id = 6;
DELETE FROM i_changes WHERE id = 6;
-- settle
ALTER TABLE i_changes DROP CONSTRAINT i_changes_pkey;
INSERT INTO i_changes VALUES (7, 'g', 7);
-- settle

-- ---- columns that change ----

CREATE TABLE c_changes (id int PRIMARY KEY, a text, b int NOT NULL DEFAULT 3);
INSERT INTO c_changes VALUES (1, 'x', 1);
-- settle
ALTER TABLE c_changes ADD COLUMN c numeric(6,2);
INSERT INTO c_changes VALUES (2, 'y', 2, 1.5);
UPDATE c_changes SET c = 2.5 WHERE id = 1;
-- settle
ALTER TABLE c_changes ADD COLUMN d timestamptz NOT NULL DEFAULT '2020-01-01 00:00+00', ADD e mood;
UPDATE c_changes SET a = 'changed' WHERE id = 1;
DELETE FROM c_changes WHERE id = 1;
-- settle
ALTER TABLE c_changes ALTER COLUMN b SET DEFAULT 9;
UPDATE c_changes SET a = 'w' WHERE id = 2;
DELETE FROM c_changes WHERE id = 2;
-- settle
ALTER TABLE c_changes ALTER COLUMN b DROP DEFAULT;
INSERT INTO c_changes VALUES (3, 'z', 3);
DELETE FROM c_changes WHERE id = 3;
-- settle
ALTER TABLE c_changes ALTER COLUMN b DROP NOT NULL;
INSERT INTO c_changes VALUES (4, 'z', NULL);
DELETE FROM c_changes WHERE id = 4;
-- settle
ALTER TABLE c_changes ALTER COLUMN a SET NOT NULL;
INSERT INTO c_changes VALUES (5, 'z', NULL);
DELETE FROM c_changes WHERE id = 5;
-- settle
ALTER TABLE c_changes ALTER COLUMN b TYPE bigint;
INSERT INTO c_changes VALUES (6, 'z', 9223372036854775807);
-- settle
ALTER TABLE c_changes ALTER COLUMN b TYPE text USING 'b' || b;
INSERT INTO c_changes VALUES (7, 'z', 'text');
UPDATE c_changes SET a = 'a' WHERE id = 6;
-- settle
ALTER TABLE c_changes ALTER COLUMN c TYPE numeric(12,4);
INSERT INTO c_changes (id, a, c) VALUES (8, 'z', 1.2345);
-- settle
ALTER TABLE c_changes RENAME COLUMN a TO "A new Name";
INSERT INTO c_changes VALUES (9, 'renamed', 'b');
-- settle
ALTER TABLE c_changes DROP COLUMN b;
INSERT INTO c_changes VALUES (10, 'dropped', 3.5);
UPDATE c_changes SET c = NULL WHERE id = 9;
DELETE FROM c_changes WHERE id = 9;
-- settle
ALTER TABLE c_changes RENAME TO "c changed";
INSERT INTO "c changed" VALUES (11, 'in another topic');
UPDATE "c changed" SET c = 1 WHERE id = 10;
-- settle
ALTER TABLE "c changed" SET SCHEMA other;
INSERT INTO other."c changed" VALUES (12, 'and another');
-- settle
ALTER TABLE other."c changed" ALTER COLUMN id TYPE bigint;
INSERT INTO other."c changed" VALUES (9223372036854775807, 'bigint key');
DELETE FROM other."c changed";
-- settle
ALTER TYPE mood ADD VALUE 'angry' AFTER 'ok';
INSERT INTO other."c changed" VALUES (13, 'enum', NULL, now(), 'happy');
-- settle
DROP TABLE other."c changed";
CREATE TABLE other."c changed" (other_key uuid PRIMARY KEY, id int);
INSERT INTO other."c changed" VALUES ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 1);
-- settle
-- A commit is in the stream before others can see it, and Debezium asks the catalog at once: of a table made in that transaction it
-- now and then finds nothing, and takes its key for nullable. An asynchronous commit is seen long before it is sent.
CREATE TABLE c_within (id int PRIMARY KEY, a int);
-- settle
BEGIN;
SET LOCAL synchronous_commit = off;
INSERT INTO c_within VALUES (1, 1);
ALTER TABLE c_within ADD b int;
INSERT INTO c_within VALUES (2, 2, 2);
ALTER TABLE c_within ALTER a TYPE text USING 'a' || a;
INSERT INTO c_within VALUES (3, 'three', 3);
ALTER TABLE c_within DROP b;
UPDATE c_within SET a = 'four' WHERE id = 1;
COMMIT;
-- settle
BEGIN;
ALTER TABLE c_within ADD never int;
INSERT INTO c_within VALUES (5, 'never', 5);
ROLLBACK;
INSERT INTO c_within VALUES (6, 'six');
BEGIN;
SET LOCAL synchronous_commit = off;
CREATE TABLE c_made_within (id int PRIMARY KEY, v text);
INSERT INTO c_made_within VALUES (1, 'made and filled at once');
COMMIT;
INSERT INTO c_made_within VALUES (2, 'later');
-- settle

-- ---- unchanged values that are stored elsewhere ----

CREATE TABLE t_all (id int PRIMARY KEY, v int, tx text, vc varchar, bc char(4000), ci citext, ba bytea, js json, jb jsonb, xm xml,
  hs hstore, tv tsvector, lt ltree, nu numeric, dt domain_text,
  ai int[], a2 smallint[], a8 bigint[], at text[], avc varchar[], aci citext[], ab bool[], af float4[], ad float8[], an numeric[],
  an2 numeric(10,2)[], adt date[], atm time[], ats timestamp[], atz timestamptz[], attz timetz[], auu uuid[], aj jsonb[], aby bytea[],
  ao oid[], ain inet[], ahs hstore[], ar int4range[]);
INSERT INTO t_all SELECT 1, 1, t, t, left(t, 4000), t, decode(t, 'hex'), to_json(t), to_jsonb(t), ('<a>' || t || '</a>')::xml,
  hstore(t1, t1), to_tsvector('simple', array_to_string(t1, ' ')), array_to_string(t1[1:120], '.')::ltree,
  translate(t, 'abcdef', '123456')::numeric, t, g, (SELECT array_agg((x % 30000)::smallint) FROM unnest(g) x), g::bigint[], t1, t1, t1::citext[],
  (SELECT array_agg(x % 2 = 0) FROM unnest(g) x), (SELECT array_agg((x % 1000)::float4) FROM unnest(g) x), (SELECT array_agg((x % 1000)::float8) FROM unnest(g) x), g::numeric[],
  (SELECT array_agg((x % 1000)::numeric(10,2)) FROM unnest(g) x), (SELECT array_agg('2020-01-01'::date + x % 1000) FROM unnest(g) x),
  (SELECT array_agg('00:00'::time + make_interval(secs => x % 80000)) FROM unnest(g) x), (SELECT array_agg('2020-01-01'::timestamp + make_interval(secs => x % 80000)) FROM unnest(g) x),
  (SELECT array_agg('2020-01-01 00:00+00'::timestamptz + make_interval(secs => x % 80000)) FROM unnest(g) x), (SELECT array_agg('00:00+00'::timetz + make_interval(secs => x % 80000)) FROM unnest(g) x),
  t1::uuid[], (SELECT array_agg(to_jsonb(x)) FROM unnest(t1) x), (SELECT array_agg(decode(x, 'hex')) FROM unnest(t1) x),
  (SELECT array_agg((abs(x % 100000))::oid) FROM unnest(g) x), (SELECT array_agg('10.0.0.0'::inet + abs(x % 65000)) FROM unnest(g) x), (SELECT array_agg(hstore('k', x)) FROM unnest(t1) x),
  (SELECT array_agg(int4range(x, x + 5)) FROM unnest(g) x)
  FROM (SELECT string_agg(md5(i::text), '' ORDER BY i) t, array_agg(md5(i::text) ORDER BY i) t1, array_agg(hashint4(i) % 1000000 ORDER BY i) g
    FROM generate_series(1, 400) i) made;
UPDATE t_all SET v = 2;
UPDATE t_all SET tx = 'short', ai = '{1}', jb = '{}';
UPDATE t_all SET ba = NULL, at = NULL, nu = NULL;
UPDATE t_all SET id = 2;
DELETE FROM t_all;
CREATE TABLE t_not_null (id int PRIMARY KEY, t text NOT NULL, b bytea, a int[] NOT NULL, j jsonb NOT NULL, v int);
INSERT INTO t_not_null SELECT 1, string_agg(md5(i::text), ''), string_agg(decode(md5(i::text), 'hex'), ''), array_agg(hashint4(i)), jsonb_agg(md5(i::text)), 1 FROM generate_series(1, 1200) i;
UPDATE t_not_null SET v = 2;
DELETE FROM t_not_null;
CREATE TABLE t_full (id int PRIMARY KEY, t text, b bytea, a int[], j jsonb, h hstore, v int);
ALTER TABLE t_full REPLICA IDENTITY FULL;
INSERT INTO t_full SELECT 1, string_agg(md5(i::text), ''), string_agg(decode(md5(i::text), 'hex'), ''), array_agg(hashint4(i)), jsonb_agg(md5(i::text)), hstore(array_agg(md5(i::text)), array_agg(md5(i::text))), 1 FROM generate_series(1, 1200) i;
UPDATE t_full SET v = 2;
UPDATE t_full SET id = 2;
UPDATE t_full SET t = NULL;
DELETE FROM t_full;
CREATE TABLE t_key (k text, v int, big text, PRIMARY KEY (k));
ALTER TABLE t_key ALTER k SET STORAGE EXTERNAL;
INSERT INTO t_key SELECT string_agg(md5(i::text), ''), 1, string_agg(md5(i::text), '') FROM generate_series(1, 70) i;
UPDATE t_key SET v = 2;
UPDATE t_key SET k = 'short';
DELETE FROM t_key;

-- ---- rows as applications write them ----

CREATE TABLE parents (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, name text UNIQUE, at timestamptz NOT NULL DEFAULT '2026-01-01 00:00+00');
CREATE TABLE children (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, parent int REFERENCES parents ON DELETE CASCADE ON UPDATE CASCADE, g int GENERATED ALWAYS AS (parent * 2) STORED, note text);
CREATE TABLE audit (id bigserial PRIMARY KEY, what text NOT NULL);
CREATE FUNCTION note_it() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit (what) VALUES (TG_OP || ' ' || TG_TABLE_NAME);
    RETURN NULL;
END;
$$;
CREATE TRIGGER parents_noted AFTER INSERT OR UPDATE OR DELETE ON parents FOR EACH ROW EXECUTE FUNCTION note_it();
BEGIN;
INSERT INTO parents (name) VALUES ('a'), ('b'), ('c');
INSERT INTO children (parent, note) SELECT id, 'of ' || name FROM parents;
COMMIT;
INSERT INTO parents (id, name) VALUES (1, 'z') ON CONFLICT (id) DO UPDATE SET name = 'upserted';
INSERT INTO parents (id, name) VALUES (1, 'z') ON CONFLICT DO NOTHING;
MERGE INTO parents p USING (VALUES (2, 'merged'), (20, 'new')) AS s (id, name) ON p.id = s.id WHEN MATCHED THEN UPDATE SET name = s.name WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id, s.name);
UPDATE parents SET id = 30 WHERE id = 3;
DELETE FROM parents WHERE id = 1;
UPDATE children SET note = note;
UPDATE parents SET name = name WHERE false;
BEGIN;
INSERT INTO parents (id, name) VALUES (40, 'kept');
SAVEPOINT s1;
INSERT INTO parents (id, name) VALUES (41, 'lost');
ROLLBACK TO s1;
SAVEPOINT s2;
INSERT INTO parents (id, name) VALUES (42, 'kept too');
RELEASE s2;
UPDATE parents SET name = 'kept, changed' WHERE id = 40;
DELETE FROM parents WHERE id = 42;
COMMIT;
BEGIN;
INSERT INTO parents (id, name) VALUES (50, 'never');
ROLLBACK;
BEGIN;
COMMIT;
BEGIN;
INSERT INTO parents (id, name) VALUES (60, 'one');
UPDATE parents SET id = 61 WHERE id = 60;
UPDATE parents SET id = 60 WHERE id = 61;
DELETE FROM parents WHERE id = 60;
INSERT INTO parents (id, name) VALUES (60, 'again');
COMMIT;
TRUNCATE parents, children RESTART IDENTITY CASCADE;
TRUNCATE audit;
CREATE TABLE base_table (id int PRIMARY KEY, v text);
CREATE TABLE heir (PRIMARY KEY (id), more int) INHERITS (base_table);
INSERT INTO base_table VALUES (1, 'base');
INSERT INTO heir VALUES (2, 'heir', 3);
UPDATE base_table SET v = 'both';
DELETE FROM base_table;
CREATE UNLOGGED TABLE unlogged_table (id int PRIMARY KEY);
INSERT INTO unlogged_table VALUES (1);
CREATE TABLE one_column (id int PRIMARY KEY);
INSERT INTO one_column VALUES (1);
UPDATE one_column SET id = 2;
UPDATE one_column SET id = 2;
DELETE FROM one_column;
DO $$
BEGIN
    EXECUTE 'CREATE TABLE wide (id int PRIMARY KEY, ' || (SELECT string_agg('c' || i || CASE i % 4 WHEN 0 THEN ' int' WHEN 1 THEN ' text' WHEN 2 THEN ' numeric(8,3)' ELSE ' timestamptz' END, ', ') FROM generate_series(1, 300) i) || ')';
END;
$$;
INSERT INTO wide (id, c1, c2, c299, c300) VALUES (1, 'first', 2.5, '2026-11-21 00:00+00', 300);
UPDATE wide SET c150 = 1.125;
DELETE FROM wide;
CREATE TABLE many (id int PRIMARY KEY, v text);
INSERT INTO many SELECT i, 'row ' || i FROM generate_series(1, 3000) i;
UPDATE many SET v = v || '!' WHERE id % 3 = 0;
DELETE FROM many WHERE id % 2 = 0;
UPDATE many SET id = -id WHERE id < 20;
TRUNCATE many;
-- settle

-- ---- names ----

CREATE SCHEMA "Odd Schema.x";
CREATE TABLE "Odd Schema.x"."Tab-le_1.$" ("ID" int PRIMARY KEY, "select" text, "with space" int, "a.b" int, "back\slash" int, "quo""te" int, "tick'" int, "UPPER" int);
INSERT INTO "Odd Schema.x"."Tab-le_1.$" VALUES (1, 'x', 1, 2, 3, 4, 5, 6);
UPDATE "Odd Schema.x"."Tab-le_1.$" SET "UPPER" = 7;
UPDATE "Odd Schema.x"."Tab-le_1.$" SET "ID" = 2;
DELETE FROM "Odd Schema.x"."Tab-le_1.$";
CREATE TABLE "user" ("order" int PRIMARY KEY, "table" text);
INSERT INTO "user" VALUES (1, 'x');
DELETE FROM "user";
CREATE TABLE a_very_long_name_of_a_table_that_has_all_of_the_sixty_three_chars (a_very_long_name_of_a_column_that_has_all_of_the_sixty_three_ch int PRIMARY KEY);
INSERT INTO a_very_long_name_of_a_table_that_has_all_of_the_sixty_three_chars VALUES (1);

-- ---- partitions ----

CREATE TABLE p_range (id int, at date, v text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE p_range_2025 PARTITION OF p_range FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE p_range_2026 PARTITION OF p_range FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE p_range_rest PARTITION OF p_range DEFAULT;
INSERT INTO p_range VALUES (1, '2025-06-01', 'a'), (2, '2026-06-01', 'b'), (3, '2030-01-01', 'c');
UPDATE p_range SET v = 'x';
UPDATE p_range SET at = '2026-07-01' WHERE id = 1;
DELETE FROM p_range WHERE id = 2;
INSERT INTO p_range_2025 VALUES (4, '2025-02-02', 'straight into it');
TRUNCATE p_range_2025;
TRUNCATE p_range;
CREATE TABLE p_list (id int, region text, v int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE p_list_eu PARTITION OF p_list FOR VALUES IN ('eu') PARTITION BY HASH (id);
CREATE TABLE p_list_eu_0 PARTITION OF p_list_eu FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE p_list_eu_1 PARTITION OF p_list_eu FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE p_list_us (v int, region text NOT NULL, dropped int, id int NOT NULL);
ALTER TABLE p_list_us DROP dropped;
ALTER TABLE p_list ATTACH PARTITION p_list_us FOR VALUES IN ('us');
INSERT INTO p_list SELECT i, CASE i % 2 WHEN 0 THEN 'eu' ELSE 'us' END, i FROM generate_series(1, 8) i;
UPDATE p_list SET v = v + 1;
UPDATE p_list SET region = 'eu' WHERE id = 1;
DELETE FROM p_list WHERE id > 5;
-- settle
ALTER TABLE p_list DETACH PARTITION p_list_us;
UPDATE p_list_us SET v = 0;
INSERT INTO p_list_us (id, region, v) VALUES (100, 'alone', 1);
UPDATE p_list SET v = 0;
-- settle

-- ---- logical messages ----

SELECT pg_logical_emit_message(true, '', '');
SELECT pg_logical_emit_message(false, 'odd prefix "1" \ %', E'\\x00ff10'::bytea);
SELECT pg_logical_emit_message(true, 'large', repeat('x', 100000));
BEGIN;
SELECT pg_logical_emit_message(true, 'first', '1');
INSERT INTO one_column VALUES (10);
SELECT pg_logical_emit_message(false, 'at once', '2');
SELECT pg_logical_emit_message(true, 'last', '3');
COMMIT;
BEGIN;
SELECT pg_logical_emit_message(true, 'never', '1');
SELECT pg_logical_emit_message(false, 'even so', '2');
ROLLBACK;
DELETE FROM one_column;
-- settle

-- ---- keys that are none in the stream, or odd ----

CREATE TABLE k_deferrable (id int, v text, PRIMARY KEY (id) DEFERRABLE INITIALLY DEFERRED);
INSERT INTO k_deferrable VALUES (1, 'a');
CREATE TABLE k_include (id int, v text, PRIMARY KEY (id) INCLUDE (v));
INSERT INTO k_include VALUES (1, 'a');
UPDATE k_include SET v = 'b';
UPDATE k_include SET id = 2;
DELETE FROM k_include;
CREATE TABLE k_reversed (c int, b int, a int, v int, PRIMARY KEY (a, b, c));
INSERT INTO k_reversed VALUES (3, 2, 1, 0);
UPDATE k_reversed SET v = 1;
UPDATE k_reversed SET b = 5;
DELETE FROM k_reversed;
CREATE TABLE k_expression (a text NOT NULL, b int NOT NULL);
CREATE UNIQUE INDEX k_expression_one ON k_expression (lower(a));
INSERT INTO k_expression VALUES ('A', 1);
CREATE TABLE k_two (z int NOT NULL UNIQUE, a int NOT NULL UNIQUE, v int);
INSERT INTO k_two VALUES (1, 2, 3);
CREATE TABLE k_full_unique (a int NOT NULL UNIQUE, v text);
ALTER TABLE k_full_unique REPLICA IDENTITY FULL;
INSERT INTO k_full_unique VALUES (1, 'a');
UPDATE k_full_unique SET v = 'b';
UPDATE k_full_unique SET a = 2;
DELETE FROM k_full_unique;
CREATE TABLE k_all (a int, b text, PRIMARY KEY (b, a));
INSERT INTO k_all VALUES (1, 'x');
UPDATE k_all SET a = 2, b = 'y';
DELETE FROM k_all;

-- ---- ways of writing ----

CREATE TABLE copied (id int PRIMARY KEY, v text, n numeric(6,2));
COPY copied FROM PROGRAM 'printf "1\\tone\\t1.5\n2\\t\\\\N\\t\\\\N\n3\\tthree \\\\\\\\ \\t-1\n"';
COPY copied (id, v) FROM PROGRAM 'seq -f "%.0f,row" 100 400' (FORMAT csv);
UPDATE copied SET v = 'changed' FROM generate_series(100, 120) i WHERE id = i;
DELETE FROM copied USING generate_series(1, 3) i WHERE id = i;
CREATE TABLE made_of AS SELECT i AS id, 'row ' || i AS v FROM generate_series(1, 5) i;
SELECT id, v INTO made_into FROM made_of;
VACUUM FULL copied;
CLUSTER copied USING copied_pkey;
UPDATE copied SET n = 2 WHERE id = 100;
CREATE MATERIALIZED VIEW copies AS SELECT * FROM copied;
REFRESH MATERIALIZED VIEW copies;
CREATE TEMPORARY TABLE passing (id int PRIMARY KEY);
INSERT INTO passing VALUES (1);
WITH gone AS (DELETE FROM copied WHERE id < 105 RETURNING *) INSERT INTO copied SELECT id + 1000, v, n FROM gone;
DO $$
BEGIN
    FOR i IN 1..5 LOOP
        BEGIN
            INSERT INTO copied VALUES (5000 + i, 'tried');
            PERFORM 1 / (i % 2);
        EXCEPTION WHEN division_by_zero THEN
            INSERT INTO copied VALUES (6000 + i, 'instead');
        END;
    END LOOP;
END;
$$;
BEGIN;
SAVEPOINT a;
INSERT INTO copied VALUES (7001, 'kept');
SAVEPOINT b;
UPDATE copied SET v = 'lost' WHERE id = 7001;
SAVEPOINT c;
DELETE FROM copied WHERE id = 7001;
ROLLBACK TO b;
TRUNCATE made_of;
ROLLBACK TO b;
SELECT pg_logical_emit_message(true, 'rolled', 'back');
ROLLBACK TO b;
INSERT INTO made_of VALUES (6, 'kept');
RELEASE a;
COMMIT;
BEGIN;
INSERT INTO copied VALUES (8001, 'prepared');
UPDATE copied SET id = 8002 WHERE id = 8001;
PREPARE TRANSACTION 'kept';
INSERT INTO copied VALUES (8003, 'meanwhile');
COMMIT PREPARED 'kept';
BEGIN;
INSERT INTO copied VALUES (8004, 'prepared and gone');
PREPARE TRANSACTION 'gone';
ROLLBACK PREPARED 'gone';
BEGIN;
INSERT INTO many SELECT i, 'large ' || repeat('x', 100) FROM generate_series(1, 2000) i;
SAVEPOINT a;
UPDATE many SET v = 'lost';
ROLLBACK TO a;
UPDATE many SET v = 'kept' WHERE id % 10 = 0;
DELETE FROM many WHERE id > 1000;
COMMIT;
BEGIN;
UPDATE many SET v = 'never';
ROLLBACK;
TRUNCATE many, made_of, made_into;
-- settle

-- ---- generated columns, and what only later versions have ----

CREATE TABLE g_stored (id int PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a * 2) STORED, c int GENERATED ALWAYS AS (a * 3) STORED NOT NULL);
INSERT INTO g_stored (id, a) VALUES (1, 1);
UPDATE g_stored SET a = 2;
DELETE FROM g_stored;
CREATE TABLE g_key (a int, b int GENERATED ALWAYS AS (a * 2) STORED, v int, PRIMARY KEY (a));
ALTER TABLE g_key REPLICA IDENTITY FULL;
INSERT INTO g_key (a) VALUES (1);
-- settle
CREATE TABLE g_virtual (id int PRIMARY KEY, a int);
CREATE TABLE g_not_valid (id int PRIMARY KEY, a int);
DO $$
BEGIN
    IF current_setting('server_version_num')::int >= 180000 THEN
        EXECUTE 'ALTER PUBLICATION everything SET (publish_generated_columns = stored)';
        EXECUTE 'ALTER TABLE g_virtual ADD b int GENERATED ALWAYS AS (a * 2) VIRTUAL, ADD c int GENERATED ALWAYS AS (a * 3) STORED NOT NULL';
        EXECUTE 'ALTER TABLE g_not_valid ADD CONSTRAINT there NOT NULL a NOT VALID';
    END IF;
END;
$$;
-- settle
INSERT INTO g_stored (id, a) VALUES (2, 2);
UPDATE g_stored SET a = 3;
DELETE FROM g_stored;
UPDATE g_key SET v = 1 WHERE a = 1;
DELETE FROM g_key;
INSERT INTO g_virtual (id, a) VALUES (1, 1);
UPDATE g_virtual SET a = 2;
DELETE FROM g_virtual;
INSERT INTO g_not_valid VALUES (1, 2);
DELETE FROM g_not_valid;
-- settle

-- ---- partitions by themselves ----

ALTER PUBLICATION everything SET (publish_via_partition_root = false);
-- settle
INSERT INTO p_range VALUES (11, '2025-06-01', 'a'), (12, '2026-06-01', 'b'), (13, '2030-01-01', 'c');
UPDATE p_range SET v = 'y';
UPDATE p_range SET at = '2026-07-01' WHERE id = 11;
UPDATE p_list SET v = 5;
INSERT INTO p_list VALUES (20, 'eu', 1);
DELETE FROM p_range;
TRUNCATE p_range;
TRUNCATE p_range_2026, p_list;
-- settle
