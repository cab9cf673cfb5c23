/* Lets the Nth call that changes a file below one directory fail, or be its process's last.
 *
 * Preloaded. Calls are counted from shim_arm() on, whatever thread makes them; what is
 * done to pipes, and to files elsewhere, does not count. Each call's kind is noted, so
 * that a first run that nothing happens to tells which points there are.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { BEFORE, AFTER, TORN, SHORT, NO_SPACE, IO_ERROR, NO_SPACE_EVER };
enum { MOST = 1 << 16, PATH_SIZE = 4096 };

static long seen, at;
static int how, armed;
static char below[PATH_SIZE], kinds[MOST];
static size_t below_size;

void shim_arm(const char *directory, long number, int when) {
    seen = 0; at = number; how = when;
    below_size = strlen(directory);
    memcpy(below, directory, below_size + 1);
    __atomic_store_n(&armed, 1, __ATOMIC_SEQ_CST);
}

void shim_disarm(void) { __atomic_store_n(&armed, 0, __ATOMIC_SEQ_CST); }
long shim_seen(void) { return seen; }
const char *shim_kinds(void) { return kinds; }

static void die(void) { kill(getpid(), SIGKILL); for (;;) pause(); }

static int is_below(const char *path) {
    return strncmp(path, below, below_size) == 0 && (path[below_size] == '/' || !path[below_size]);
}

static int of_descriptor(int descriptor) {
    char link[32], path[PATH_SIZE];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return is_below(path);
}

/* Who writes a slot of the side file writes 256 bytes within one sector: neither a kill nor a
 * power cut tears that, and a torn one is a lost one (docs/mirror.md, "what is not"). */
static char kind_of_write(int descriptor) {
    static const char side[] = "-mirrors";
    char link[32], path[PATH_SIZE];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t size = readlink(link, path, sizeof path);
    size_t end = sizeof side - 1;
    return size > (ssize_t)end && memcmp(path + size - end, side, end) == 0 ? 'm' : 'w';
}

static int of_path(int directory, const char *path) {
    return path[0] == '/' ? is_below(path) : directory != AT_FDCWD && of_descriptor(directory);
}

/* Count one call; return what is to become of it, or -1 for "nothing". */
static int what(char kind) {
    long number = __atomic_add_fetch(&seen, 1, __ATOMIC_SEQ_CST);
    if (number <= MOST) kinds[number - 1] = kind;
    if (number == at) return how;
    return how == NO_SPACE_EVER && number > at ? NO_SPACE_EVER : -1;
}

static int is_armed(void) { return __atomic_load_n(&armed, __ATOMIC_SEQ_CST); }

#define REAL(name) static __typeof__(name) *real; if (!real) real = dlsym(RTLD_NEXT, #name)

/* `part` does half of it; `takes_room` calls alone find a full disk full. */
#define AROUND(is_ours, kind, call, part, takes_room) \
    if (!is_armed() || !(is_ours)) return call; \
    switch (what(kind)) { \
    case BEFORE: die(); \
    case AFTER: (void)!call; die(); \
    case TORN: (void)!part; die(); \
    case SHORT: return part; \
    case NO_SPACE: errno = ENOSPC; return -1; \
    case NO_SPACE_EVER: if (takes_room) { errno = ENOSPC; return -1; } return call; \
    case IO_ERROR: errno = EIO; return -1; \
    default: return call; \
    }

#define HALF (size > 1 ? size / 2 : size)

ssize_t write(int descriptor, const void *data, size_t size) {
    REAL(write);
    AROUND(of_descriptor(descriptor), kind_of_write(descriptor), real(descriptor, data, size),
           real(descriptor, data, HALF), 1)
}

ssize_t pwrite(int descriptor, const void *data, size_t size, off_t offset) {
    REAL(pwrite);
    AROUND(of_descriptor(descriptor), kind_of_write(descriptor), real(descriptor, data, size, offset),
           real(descriptor, data, HALF, offset), 1)
}

ssize_t pwrite64(int descriptor, const void *data, size_t size, off64_t offset) {
    REAL(pwrite64);
    AROUND(of_descriptor(descriptor), kind_of_write(descriptor), real(descriptor, data, size, offset),
           real(descriptor, data, HALF, offset), 1)
}

int fsync(int descriptor) {
    REAL(fsync);
    AROUND(of_descriptor(descriptor), 's', real(descriptor), real(descriptor), 0)
}

int fdatasync(int descriptor) {
    REAL(fdatasync);
    AROUND(of_descriptor(descriptor), 's', real(descriptor), real(descriptor), 0)
}

int ftruncate(int descriptor, off_t size) {
    REAL(ftruncate);
    AROUND(of_descriptor(descriptor), 't', real(descriptor, size), real(descriptor, size), 0)
}

int ftruncate64(int descriptor, off64_t size) {
    REAL(ftruncate64);
    AROUND(of_descriptor(descriptor), 't', real(descriptor, size), real(descriptor, size), 0)
}

int unlink(const char *path) {
    REAL(unlink);
    AROUND(of_path(AT_FDCWD, path), 'u', real(path), real(path), 0)
}

int unlinkat(int directory, const char *path, int flags) {
    REAL(unlinkat);
    AROUND(of_path(directory, path), 'u', real(directory, path, flags),
           real(directory, path, flags), 0)
}

int rename(const char *from, const char *to) {
    REAL(rename);
    AROUND(of_path(AT_FDCWD, to), 'n', real(from, to), real(from, to), 1)
}

int renameat(int there, const char *from, int here, const char *to) {
    REAL(renameat);
    AROUND(of_path(here, to), 'n', real(there, from, here, to), real(there, from, here, to), 1)
}

int link(const char *from, const char *to) {
    REAL(link);
    AROUND(of_path(AT_FDCWD, to), 'n', real(from, to), real(from, to), 1)
}

int linkat(int there, const char *from, int here, const char *to, int flags) {
    REAL(linkat);
    AROUND(of_path(here, to), 'n', real(there, from, here, to, flags),
           real(there, from, here, to, flags), 1)
}
