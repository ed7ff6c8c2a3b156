/* assert.h: checks of the programmer's own mistakes; on in every build, release included.
 * A peer's bad input or a failing system call is never asserted on (see error.h). */
#ifndef FRESHET_BASE_ASSERT_H
#define FRESHET_BASE_ASSERT_H

#define ASSERT(condition)                                                                          \
    (__builtin_expect(!!(condition), 1) ? (void)0 : assert_fail(#condition, __FILE__, __LINE__))

/* A branch that the types leave open and the logic closes. */
#define ASSERT_UNREACHABLE() assert_fail("unreachable", __FILE__, __LINE__)

_Noreturn void assert_fail(const char *condition, const char *file, int line);

#endif
