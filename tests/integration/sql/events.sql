-- Rows and operations whose events must equal Debezium's, one for one. One statement a line; a line that ends in
-- "-- together" joins the next one's transaction.
INSERT INTO numbers VALUES (1, 1, -2147483648, 9223372036854775807, 4294967295, true, 1.5, 1e7, 1.10, 1.10, 5, 1234567890.0123456789, 12.34, 5, 7, 9.99)
INSERT INTO numbers VALUES (2, -32768, 0, -9223372036854775808, 0, false, 'NaN', 'Infinity', 120.00, -0.01, -1, 0, '-$1,234.50', 1, 1, -1)
INSERT INTO numbers (id, f4, f8, n) VALUES (3, '-Infinity', 4.9e-324, 0.00000000001)
INSERT INTO numbers VALUES (4, 0, 0, 0, 0, false, 1e-45, 1.7976931348623157e308, -99999999999999999999.5, 99999999.99, 9999999, -1e20, 0, 2147483647, 3, 0)
INSERT INTO numbers (id, f4, f8, n) VALUES (5, 16777216, 0.001, 0), (6, 0.0001, 1e-5, 1000000), (7, '-0', 9999999.5, -1.10), (8, 3.4028235e38, 123456789.125, 128), (9, 2e-3, 2e-3, -128), (10, 1e10, 1e22, 32767), (11, 1, 2.2250738585072014e-308, 32768), (12, 0.1, 1e-7, 12345678901234567890.5), (13, 1, 100, 1e30), (14, 3.14159274, 0.30000000000000004, 255)
INSERT INTO numbers (id, n5, nbig, m) VALUES (20, 120.00, 1.5, 5.5), (21, 0.1, 12345678901234567890.5, 0.1), (22, 1e7, 1e-9, 12345.67), (23, -1.28, -1e-10, -0.01), (24, 1.27, 1e27, '-98765.43')
INSERT INTO times VALUES (1, '2016-11-04', '13:51:30', '13:51:30.123', '13:51:30.123789', '2016-11-04 13:51:30', '2016-11-04 13:51:30.123', '2016-11-04 13:51:30.123456', '2016-11-04 13:51:30+02', '2016-11-04 13:51:30.124+02', '2016-11-04 13:51:30.123456+02', '13:51:30.123789+02', '13:51:30.120+02', '1 year 2 mon 3 day 4:05:06.789', '3 year 2 mon')
INSERT INTO times VALUES (2, 'infinity', '24:00', '24:00', '24:00', 'infinity', 'infinity', 'infinity', 'infinity', 'infinity', 'infinity', '24:00+00', '00:00+00', '-1 year -2 mon -3 day -4:05:06.789', '0')
INSERT INTO times VALUES (3, '-infinity', '0:00', '0:00', '0:00', '-infinity', '-infinity', '-infinity', '-infinity', '-infinity', '-infinity', '00:00:00+15', '23:59:59.999-15:59', '0', '1 mon')
INSERT INTO times VALUES (4, '0044-03-15 BC', '0:00', '0:00', '0:00:00.000001', '0001-01-01 BC', '0044-03-15 12:00:00.5 BC', '0001-12-31 23:59:59.999999 BC', '0001-01-01 BC', '0044-03-15 12:00:00.5+00 BC', '12016-11-04 13:51:30.1+02', '12:00+00', '12:00:00.5+00', '1 day -1 sec', '-1 mon')
INSERT INTO times VALUES (5, '1969-12-31', '0:00', '0:00', '0:00:00.000001', '1969-12-31 23:59:59', '1969-12-31 23:59:59.999', '1969-12-31 23:59:59.999999', '1969-12-31 23:59:59+00', '1969-12-31 23:59:59.5+00', '2016-11-04 13:51:30.100+00', '12:00+00', '12:00:00.5+00', '-1 sec', '-1 year 1 mon')
INSERT INTO times (id, d, ts6, tz6, iv) VALUES (6, '9999-12-31', '9999-12-31 23:59:59.999999', '9999-12-31 23:59:59.999999+00', '1 mon'), (7, '10000-01-01', '10000-01-01', '10000-01-01+00', '100 years 5 days 00:00:00.000001'), (8, '5874897-12-31', '0044-03-15 12:00:00.123456 BC', '294276-12-31 23:59:59.999999+00', '-0.5 sec'), (9, '4713-01-01 BC', '4713-01-01 BC', '4713-01-01 00:00:00 BC', '-1 day 2 hours')
INSERT INTO times (id, ts3, t6, iv) VALUES (20, '0044-03-15 12:00:00.123 BC', '00:00:00.000999', '1 mon -1 day'), (21, '294276-12-31 23:59:59.999', '23:59:59.999999', '178000000 years'), (22, '4713-01-01 BC', '12:00', '36:00:00'), (23, NULL, NULL, '-14 mon 3 days'), (24, NULL, NULL, '100 days 00:00:00.000010'), (25, NULL, NULL, '59.999999 sec'), (26, NULL, NULL, '-0.1 sec'), (27, NULL, NULL, '-1 mon 5 sec')
INSERT INTO texts VALUES (1, 'ab', 'vc', E'text "quoted" \\ \u00e9 \u96ea \U0001F600', 'CiText', '{"a": 1}', '{"b":  [1, 2]}', '<a>1</a>', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '10.0.0.1/24', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', 'Top.Science', 'happy', 'a=>1,b=>NULL,"c d"=>"e\"f"', 'a fat cat', 'x')
INSERT INTO texts (id, tx, hs, ct) VALUES (2, E'tab\tnl\ncr\rbs\bff\f\x01\x7f', '', '')
INSERT INTO texts (id) VALUES (3)
INSERT INTO texts (id, hs) VALUES (4, 'zeta=>1, a=>2, bb=>3, Aa=>4, BB=>5, c1=>6, "x y"=>7, longerkeyname=>9, "q\"x"=>NULL, ""=>"", AaAa=>1, BBBB=>2, AaBB=>3, k1=>1, k2=>2, k3=>3, k4=>4')
INSERT INTO bins VALUES (1, '\x00ff10', '1', '10101', '10101010101010101010', '101', '10101'), (2, '', '0', '00000', '00000000000000000000', '', '0'), (3, NULL, NULL, NULL, NULL, NULL, NULL), (4, '\xfbefff', '1', '00001', '00000000000000000001', '1000000000000000', '1')
INSERT INTO points VALUES (1, '(1.5,-2)'), (2, '(1e20,NaN)'), (3, NULL), (4, '(-0,1e-7)')
INSERT INTO ranges VALUES (1, '[1,5)', 'empty', '(1.5,]', '[2016-01-01,2017-01-01)', '[2016-01-01 00:00+00,)', '[2016-01-01,2016-02-01)')
INSERT INTO arrays VALUES (1, '{1,2,NULL}', '{1,2}', '{9223372036854775807}', '{a,"b \"q\" c",NULL,"NULL",""}', '{abc}', '{t,f,NULL}', '{1.5,1e10}', '{1.5,NaN}', '{1.10,2,120.00,NULL}', '{1.10,2.20}', '{2016-11-04,NULL}', '{13:51:30.123}', '{2016-11-04 13:51:30.123456,infinity}', '{2016-11-04 13:51:30.123456+02,infinity}', '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}', '{"{\"a\": 1}"}', '{sad,happy}', '{ab}', '{Ci}', '{"\\x00ff"}', '{10.0.0.1/24}', '{"a=>1"}', '{1}', '{13:51:30+02,24:00+00}', '{10.0.0.0/8}', '{08:00:2b:01:02:03}', '{"[1,5)"}', '{"[2016-01-01,2017-01-01)"}', '{a.b}', '{2016-11-04 13:51:30.123}', '{13:51:30.123,NULL}')
INSERT INTO arrays (id, ai, at) VALUES (2, '{}', '{}')
INSERT INTO arrays (id, at) VALUES (3, '[2:3]={a,b}')
INSERT INTO defaults (id, nn, tx, tz, n, b, ba, ar, f, u, ts, md, hs, n2, iv, tt, tm, bt, pt, i8, inn, mny, arr, js2, xm, ltr, ci, c, r, b1, vb, o, mac) VALUES (1, 1, 't', '2020-01-01', 1, true, '\x01', '{1}', 1, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '2020-01-01', 'ok', 'a=>1', 1, '1 day', '10:00+00', '10:00', '101', '(1,2)', 1, '1.1.1.1', 1, '{x}', '{}', '<a/>', 'a', 'c', 'c', '[1,2)', '1', '1', 1, '08:00:2b:01:02:03')
UPDATE defaults SET nn = 2
UPDATE defaults SET id = 2
DELETE FROM defaults
INSERT INTO full_identity VALUES (1, 'a'), (2, NULL)
UPDATE full_identity SET v = 'b'
DELETE FROM full_identity WHERE id = 1
INSERT INTO full_with_key VALUES (1, 'a')
UPDATE full_with_key SET v = 'b'
UPDATE full_with_key SET id = 2
DELETE FROM full_with_key
INSERT INTO composite VALUES (1, 'x', 1)
UPDATE composite SET v = 2
UPDATE composite SET a = 'y'
DELETE FROM composite
INSERT INTO unique_only VALUES (1, 2, 3)
UPDATE unique_only SET v = 4
INSERT INTO "Quoted Name" VALUES (1, 'x', 2)
UPDATE "Quoted Name" SET "q""uote" = 'y' -- together
DELETE FROM "Quoted Name" -- together
INSERT INTO "Quoted Name" VALUES (2, E'\\', 1)
INSERT INTO other."Table.Dotted" VALUES (1)
INSERT INTO composite VALUES (5, 'five', 5) -- together
TRUNCATE full_with_key, composite -- together
INSERT INTO composite VALUES (6, 'six', 6)
SELECT pg_logical_emit_message(true, 'prefix "1"', 'content')
SELECT pg_logical_emit_message(true, 'within', 'a') -- together
INSERT INTO composite VALUES (7, 'seven', 7)
SELECT pg_logical_emit_message(false, 'alone', 'b')
INSERT INTO toasted (id, t, b, ta, ia, h, j, x, u, i8) SELECT 1, string_agg(md5(i::text), ''), string_agg(decode(md5(i::text), 'hex'), ''), array_agg(md5(i::text)), array_agg(hashint4(i)), hstore(array_agg(md5(i::text)), array_agg(md5(i::text))), jsonb_agg(md5(i::text)), ('<a>' || string_agg(md5(i::text), '') || '</a>')::xml, array_agg(md5(i::text)::uuid), array_agg(hashint4(i)::bigint) FROM generate_series(1, 3000) i
UPDATE toasted SET v = 2
UPDATE toasted SET id = 2
UPDATE toasted SET t = 'short'
DELETE FROM toasted
INSERT INTO toasted_full SELECT 1, string_agg(md5(i::text), ''), 1 FROM generate_series(1, 3000) i
UPDATE toasted_full SET v = 2
INSERT INTO known_defaults DEFAULT VALUES;
DELETE FROM known_defaults;
INSERT INTO nullable_defaults (id, v, az) VALUES (1, 'v', '10.0.0.0/8');
