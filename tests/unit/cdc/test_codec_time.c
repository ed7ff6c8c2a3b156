/* Dates, times and intervals: the expectations were read off the oracle. */
#include "tests/unit/cdc/codec_check.h"

static const struct event_format adaptive = {.encoding = "json"};
static const struct event_format micros = {.times = TIMES_ADAPTIVE_MICROSECONDS,
                                           .intervals = INTERVALS_STRING};
static const struct event_format connect_mode = {.times = TIMES_CONNECT};

static void dates_are_days(void **state) {
    (void)state;
    CODEC_CHECK(&adaptive, {OID_DATE, -1, "2016-11-04", "17109", CODEC_DONE},
                {OID_DATE, -1, "1969-12-31", "-1", CODEC_DONE},
                {OID_DATE, -1, "0044-03-15 BC", "-735160", CODEC_DONE},
                {OID_DATE, -1, "5874897-12-31", "2145042905", CODEC_DONE},
                {OID_DATE, -1, "4713-01-01 BC", "-2440550", CODEC_DONE},
                {OID_DATE, -1, "infinity", "-2147472692", CODEC_DONE},
                {OID_DATE, -1, "-infinity", "-2147472691", CODEC_DONE},
                {OID_DATE, -1, "04/11/2016", "\"04/11/2016\"", CODEC_AS_TEXT});
}

static void times_follow_precision_and_mode(void **state) {
    (void)state;
    CODEC_CHECK(&adaptive, {OID_TIME, 0, "13:51:30", "49890000", CODEC_DONE},
                {OID_TIME, 3, "13:51:30.123", "49890123", CODEC_DONE},
                {OID_TIME, 4, "13:51:30.1237", "49890123700", CODEC_DONE},
                {OID_TIME, -1, "13:51:30.123789", "49890123789", CODEC_DONE},
                {OID_TIME, 0, "24:00:00", "86400000", CODEC_DONE},
                {OID_TIME, -1, "24:00:00", "86400000000", CODEC_DONE},
                {OID_TIME, -1, "25:00:00", "\"25:00:00\"", CODEC_AS_TEXT});
    CODEC_CHECK(&micros, {OID_TIME, 0, "13:51:30", "49890000000", CODEC_DONE});
    CODEC_CHECK(&connect_mode, {OID_TIME, -1, "00:00:00.000999", "0", CODEC_DONE});
}

static void timestamps_are_millis_or_micros(void **state) {
    (void)state;
    CODEC_CHECK(
        &adaptive, {OID_TIMESTAMP, 3, "2016-11-04 13:51:30.123", "1478267490123", CODEC_DONE},
        {OID_TIMESTAMP, -1, "2016-11-04 13:51:30.123456", "1478267490123456", CODEC_DONE},
        {OID_TIMESTAMP, -1, "1969-12-31 23:59:59.999999", "-1", CODEC_DONE},
        {OID_TIMESTAMP, 3, "0044-03-15 12:00:00.123 BC", "-63517780799877", CODEC_DONE},
        {OID_TIMESTAMP, -1, "0044-03-15 12:00:00.123456 BC", "-63517780799876544", CODEC_DONE},
        {OID_TIMESTAMP, 3, "294276-12-31 23:59:59.999", "9224318015999999", CODEC_DONE},
        {OID_TIMESTAMP, -1, "infinity", "9223372036825200000", CODEC_DONE},
        {OID_TIMESTAMP, -1, "-infinity", "-9223372036832400000", CODEC_DONE},
        {OID_TIMESTAMP, 0, "infinity", "9223372036825200", CODEC_DONE});
    CODEC_CHECK(&connect_mode, {OID_TIMESTAMP, -1, "1969-12-31 23:59:59.999999", "-1", CODEC_DONE},
                {OID_TIMESTAMP, -1, "infinity", "9223372036825200", CODEC_DONE});
}

static void a_timestamp_past_int64_is_text(void **state) {
    (void)state;
    CODEC_CHECK(&adaptive, {OID_TIMESTAMP, -1, "294276-12-31 23:59:59.999999",
                            "\"294276-12-31 23:59:59.999999\"", CODEC_AS_TEXT});
}

static void zoned_timestamps_are_iso_in_utc(void **state) {
    (void)state;
    CODEC_CHECK(
        &adaptive,
        {OID_TIMESTAMPTZ, -1, "2016-11-04 13:51:30.1+02", "\"2016-11-04T11:51:30.100000Z\"",
         CODEC_DONE},
        {OID_TIMESTAMPTZ, 3, "2016-11-04 11:51:30.124+00", "\"2016-11-04T11:51:30.124Z\"",
         CODEC_DONE},
        {OID_TIMESTAMPTZ, 0, "2016-11-04 11:51:30+00", "\"2016-11-04T11:51:30Z\"", CODEC_DONE},
        {OID_TIMESTAMPTZ, -1, "2016-11-04 11:51:30+00", "\"2016-11-04T11:51:30.000000Z\"",
         CODEC_DONE},
        {OID_TIMESTAMPTZ, -1, "2016-11-04 11:51:30.123456+00", "\"2016-11-04T11:51:30.123456Z\"",
         CODEC_DONE},
        {OID_TIMESTAMPTZ, 3, "2016-11-04 11:51:30.1+00", "\"2016-11-04T11:51:30.100Z\"",
         CODEC_DONE},
        {OID_TIMESTAMPTZ, 3, "2016-02-29 23:59:59.999+00", "\"2016-02-29T23:59:59.999Z\"",
         CODEC_DONE},
        {OID_TIMESTAMPTZ, 0, "2015-02-28 24:00:00+00", "\"2015-03-01T00:00:00Z\"", CODEC_DONE},
        {OID_TIMESTAMPTZ, 0, "2015-02-28 23:59:60+00", "\"2015-03-01T00:00:00Z\"", CODEC_DONE},
        {OID_TIMESTAMPTZ, 0, "2015-13-28 23:59:00+00", "\"2015-13-28 23:59:00+00\"", CODEC_AS_TEXT},
        {OID_TIMESTAMPTZ, 0, "2015-12-28 23:59:0x+00", "\"2015-12-28 23:59:0x+00\"", CODEC_AS_TEXT},
        {OID_TIMESTAMPTZ, -1, "2015-12-28 23:59:00.+00", "\"2015-12-28 23:59:00.+00\"",
         CODEC_AS_TEXT},
        {OID_TIMESTAMPTZ, -1, "2015-12-28 23:59:00.1x+00", "\"2015-12-28 23:59:00.1x+00\"",
         CODEC_AS_TEXT},
        {OID_TIMESTAMPTZ, 0, "2016-12-31 23:51:30-00:30:30", "\"2017-01-01T00:22:00Z\"",
         CODEC_DONE},
        {OID_TIMESTAMPTZ, 0, "12016-11-04 00:00:00+00", "\"+12016-11-04T00:00:00Z\"", CODEC_DONE},
        {OID_TIMESTAMPTZ, 0, "0001-01-01 00:00:00+00 BC", "\"0000-01-01T00:00:00Z\"", CODEC_DONE},
        {OID_TIMESTAMPTZ, 0, "0044-03-15 12:00:00+00 BC", "\"-0043-03-15T12:00:00Z\"", CODEC_DONE},
        {OID_TIMESTAMPTZ, -1, "-infinity", "\"-infinity\"", CODEC_DONE});
}

static void zoned_times_are_utc_with_as_many_digits_as_it_takes(void **state) {
    (void)state;
    CODEC_CHECK(&adaptive,
                {OID_TIMETZ, -1, "13:51:30.123789+02", "\"11:51:30.123789Z\"", CODEC_DONE},
                {OID_TIMETZ, 3, "13:51:30.12+02", "\"11:51:30.12Z\"", CODEC_DONE},
                {OID_TIMETZ, -1, "24:00:00+00", "\"00:00:00Z\"", CODEC_DONE},
                {OID_TIMETZ, -1, "00:00:00+15", "\"09:00:00Z\"", CODEC_DONE},
                {OID_TIMETZ, -1, "23:59:59.999-15:59", "\"15:58:59.999Z\"", CODEC_DONE},
                {OID_TIMETZ, -1, "12:00:00+02:30:15", "\"09:29:45Z\"", CODEC_DONE});
}

static void intervals_are_exact_microseconds(void **state) {
    (void)state;
    CODEC_CHECK(
        &adaptive,
        {OID_INTERVAL, -1, "1 year 2 mons 3 days 04:05:06.789", "37091106789000", CODEC_DONE},
        {OID_INTERVAL, -1, "-1 years -2 mons -3 days -04:05:06.789", "-37091106789000", CODEC_DONE},
        {OID_INTERVAL, -1, "-1 days +02:00:00", "-79200000000", CODEC_DONE},
        {OID_INTERVAL, -1, "00:00:00", "0", CODEC_DONE},
        {OID_INTERVAL, -1, "1 mon", "2629800000000", CODEC_DONE},
        {OID_INTERVAL, -1, "100 years 5 days 00:00:00.000001", "3156192000000001", CODEC_DONE},
        {OID_INTERVAL, -1, "178000000 years", "9223372036854775807", CODEC_DONE},
        {OID_INTERVAL, -1, "-178000000 years", "-9223372036854775808", CODEC_DONE},
        {OID_INTERVAL, -1, "-2562047788:00:54.775808", "-9223372036854775808", CODEC_DONE},
        {OID_INTERVAL, -1, "99999999999:00:00", "\"99999999999:00:00\"", CODEC_AS_TEXT},
        {OID_INTERVAL, -1, "P1Y", "\"P1Y\"", CODEC_AS_TEXT},
        {OID_INTERVAL, -1, "", "\"\"", CODEC_AS_TEXT});
}

static void intervals_are_iso_by_choice(void **state) {
    (void)state;
    CODEC_CHECK(
        &micros,
        {OID_INTERVAL, -1, "1 year 2 mons 3 days 04:05:06.789", "\"P1Y2M3DT4H5M6.789S\"",
         CODEC_DONE},
        {OID_INTERVAL, -1, "00:00:00", "\"P0Y0M0DT0H0M0S\"", CODEC_DONE},
        {OID_INTERVAL, -1, "-1 years -2 mons +3 days", "\"P-1Y-2M3DT0H0M0S\"", CODEC_DONE},
        {OID_INTERVAL, -1, "-00:00:00.1", "\"P0Y0M0DT0H0M-0.1S\"", CODEC_DONE},
        {OID_INTERVAL, -1, "1 day -00:00:01", "\"P0Y0M1DT0H0M-1S\"", CODEC_DONE},
        {OID_INTERVAL, -1, "36:00:00", "\"P0Y0M0DT36H0M0S\"", CODEC_DONE},
        {OID_INTERVAL, -1, "100 days 00:00:00.00001", "\"P0Y0M100DT0H0M0.00001S\"", CODEC_DONE});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dates_are_days),
        cmocka_unit_test(times_follow_precision_and_mode),
        cmocka_unit_test(timestamps_are_millis_or_micros),
        cmocka_unit_test(a_timestamp_past_int64_is_text),
        cmocka_unit_test(zoned_timestamps_are_iso_in_utc),
        cmocka_unit_test(zoned_times_are_utc_with_as_many_digits_as_it_takes),
        cmocka_unit_test(intervals_are_exact_microseconds),
        cmocka_unit_test(intervals_are_iso_by_choice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
