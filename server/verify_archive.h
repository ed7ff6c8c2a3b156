/* verify_archive.h: `freshet verify` of an archive: each of its segments against the manifest, in this process. */
#ifndef FRESHET_SERVER_VERIFY_ARCHIVE_H
#define FRESHET_SERVER_VERIFY_ARCHIVE_H

/* Names what cannot be read. The exit code. */
int verify_archive(const char *path);

#endif
