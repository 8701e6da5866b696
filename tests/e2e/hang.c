/* A mount whose server is gone, for a process that loads this library with LD_PRELOAD: every call on a path below
 * HANG_BELOW lasts as long as the file HANG_WHILE exists. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static void wait_for(const char *path) {
    const char *below = getenv("HANG_BELOW"), *while_there = getenv("HANG_WHILE");
    if (!path || !below || !while_there || strncmp(path, below, strlen(below)) != 0) return;
    while (syscall(SYS_faccessat, -100, while_there, 0) == 0) usleep(10000);
}

#define REAL(name, type) ((type)dlsym(RTLD_NEXT, name))

#define OPEN(name)                                                        \
    int name(const char *path, int flags, ...) {                          \
        va_list more;                                                     \
        va_start(more, flags);                                            \
        int mode = va_arg(more, int);                                     \
        va_end(more);                                                     \
        wait_for(path);                                                   \
        return REAL(#name, int (*)(const char *, int, ...))(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define ONE(result, name, args, call)                                     \
    result name args {                                                    \
        wait_for(path);                                                   \
        return REAL(#name, result(*) args) call;                          \
    }
struct statx;
struct stat;
struct stat64;
ONE(int, statx, (int dir, const char *path, int flags, unsigned mask, struct statx *into), (dir, path, flags, mask, into))
ONE(int, stat, (const char *path, struct stat *into), (path, into))
ONE(int, stat64, (const char *path, struct stat64 *into), (path, into))
ONE(int, lstat, (const char *path, struct stat *into), (path, into))
ONE(int, lstat64, (const char *path, struct stat64 *into), (path, into))
ONE(char *, realpath, (const char *path, char *into), (path, into))
ONE(void *, opendir, (const char *path), (path))
ONE(int, inotify_add_watch, (int watches, const char *path, unsigned mask), (watches, path, mask))
