/* Lets the Nth call that changes a file below one directory fail, or be its process's last.
 *
 * Preloaded. Calls are counted from shim_arm() on, whatever thread makes them; what is
 * done to pipes, and to files elsewhere, does not count. Each call's kind is noted, so
 * that a first run that nothing happens to tells which points there are.
 *
 * Or it records them: after shim_record() each call goes to a log with its data, one after
 * the other, so that a power cut can be played from it (tests/crash/disk.py reads the log).
 *
 * Or it waits: after shim_keep() each of some calls is told to another process before it, in
 * the midst of it and after it, and nobody changes a file until that one has answered. So it
 * can take down, in one run, what a kill at each of these moments would leave.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { BEFORE, AFTER, TORN, SHORT, NO_SPACE, IO_ERROR, NO_SPACE_EVER };
enum { MOST = 1 << 16, PATH_SIZE = 4096 };

static long seen, at;
static long first_kept, last_kept;
static int how, armed, record = -1, ask = -1, answer = -1;
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
static char below[PATH_SIZE], kinds[MOST];
static size_t below_size;

void shim_arm(const char *directory, long number, int when) {
    seen = 0; at = number; how = when;
    below_size = strlen(directory);
    memcpy(below, directory, below_size + 1);
    __atomic_store_n(&armed, 1, __ATOMIC_SEQ_CST);
}

void shim_record(const char *directory, const char *log) {
    record = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    shim_arm(directory, 0, 0);
}

void shim_keep(const char *directory, long first, long last, int tell, int hear) {
    first_kept = first; last_kept = last; ask = tell; answer = hear;
    shim_arm(directory, 0, 0);
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

static long count(char kind) {
    long number = __atomic_add_fetch(&seen, 1, __ATOMIC_SEQ_CST);
    if (number <= MOST) kinds[number - 1] = kind;
    return number;
}

/* Count one call; return what is to become of it, or -1 for "nothing". */
static int what(char kind) {
    long number = count(kind);
    if (number == at) return how;
    return how == NO_SPACE_EVER && number > at ? NO_SPACE_EVER : -1;
}

static int is_armed(void) { return __atomic_load_n(&armed, __ATOMIC_SEQ_CST); }

/* Wait until what is there at this moment of a call has been taken down. */
static void wait_for_keeper(long number, int when) {
    static __typeof__(write) *real;
    if (!real) real = dlsym(RTLD_NEXT, "write");
    int64_t told[2] = {number, when};
    char word;
    if (number < first_kept || number > last_kept) return;
    if (real(ask, told, sizeof told) != sizeof told || read(answer, &word, 1) != 1) die();
}

/* One call in the log: its kind, where and how much, and after that two names and the data. */
struct noted { uint32_t kind, first, second, unused; uint64_t offset, size; };

static void put(const void *data, size_t size) {
    static __typeof__(write) *real;
    if (!real) real = dlsym(RTLD_NEXT, "write");
    while (size) {
        ssize_t done = real(record, data, size);
        if (done < 0) die();
        data = (const char *)data + done;
        size -= done;
    }
}

static void note(char kind, const char *first, const char *second, uint64_t offset,
                 const void *data, uint64_t size) {
    struct noted it = {kind, strlen(first), strlen(second), 0, offset, size};
    put(&it, sizeof it);
    put(first, it.first);
    put(second, it.second);
    if (data) put(data, size);
    __atomic_add_fetch(&seen, 1, __ATOMIC_SEQ_CST);
}

static const char *name_of(int descriptor, char *path) {
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t size = readlink(link, path, PATH_SIZE - 1);
    path[size < 0 ? 0 : size] = 0;
    return path;
}

static void note_file(char kind, int descriptor, uint64_t offset, const void *data, uint64_t size) {
    char path[PATH_SIZE];
    note(kind, name_of(descriptor, path), "", offset, data, size);
}

static const char *whole(int directory, const char *path, char *into) {
    if (path[0] == '/') return path;
    name_of(directory, into);
    strncat(into, "/", PATH_SIZE - strlen(into) - 1);
    return strncat(into, path, PATH_SIZE - strlen(into) - 1);
}

static void note_names(char kind, int there, const char *from, int here, const char *to) {
    char first[PATH_SIZE], second[PATH_SIZE];
    note(kind, whole(there, from, first), to ? whole(here, to, second) : "", 0, NULL, 0);
}

#define REAL(name) static __typeof__(name) *real; if (!real) real = dlsym(RTLD_NEXT, #name)

#define IN_ONE(number, call, part, rest) call
#define IN_HALVES(number, call, part, rest) ({ \
    ssize_t so_far = part, more = 0; \
    if (so_far == (ssize_t)HALF) { \
        wait_for_keeper(number, TORN); \
        if (size > HALF) more = rest; \
    } \
    more > 0 ? so_far + more : so_far; })

/* `part` does half of it, `rest` the other; `takes_room` calls alone find a full disk full. */
#define AROUND(is_ours, kind, call, part, rest, pieces, takes_room, noting) \
    if (!is_armed() || !(is_ours)) return call; \
    if (ask >= 0) { \
        pthread_mutex_lock(&one_at_a_time); \
        long number = count(kind); \
        wait_for_keeper(number, BEFORE); \
        __typeof__(call) done = pieces(number, call, part, rest); \
        int error = errno; \
        wait_for_keeper(number, AFTER); \
        pthread_mutex_unlock(&one_at_a_time); \
        errno = error; \
        return done; \
    } \
    if (record >= 0) { \
        pthread_mutex_lock(&one_at_a_time); \
        __typeof__(call) done = call; \
        int error = errno; \
        if (done >= 0) noting; \
        pthread_mutex_unlock(&one_at_a_time); \
        errno = error; \
        return done; \
    } \
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
#define REST ((const char *)data + HALF)

ssize_t write(int descriptor, const void *data, size_t size) {
    REAL(write);
    AROUND(of_descriptor(descriptor), kind_of_write(descriptor), real(descriptor, data, size),
           real(descriptor, data, HALF), real(descriptor, REST, size - HALF), IN_HALVES, 1,
           note_file('w', descriptor, lseek(descriptor, 0, SEEK_CUR) - done, data, done))
}

ssize_t pwrite(int descriptor, const void *data, size_t size, off_t offset) {
    REAL(pwrite);
    AROUND(of_descriptor(descriptor), kind_of_write(descriptor), real(descriptor, data, size, offset),
           real(descriptor, data, HALF, offset), real(descriptor, REST, size - HALF, offset + HALF),
           IN_HALVES, 1,
           note_file('w', descriptor, offset, data, done))
}

ssize_t pwrite64(int descriptor, const void *data, size_t size, off64_t offset) {
    REAL(pwrite64);
    AROUND(of_descriptor(descriptor), kind_of_write(descriptor), real(descriptor, data, size, offset),
           real(descriptor, data, HALF, offset), real(descriptor, REST, size - HALF, offset + HALF),
           IN_HALVES, 1,
           note_file('w', descriptor, offset, data, done))
}

int fsync(int descriptor) {
    REAL(fsync);
    AROUND(of_descriptor(descriptor), 's', real(descriptor), real(descriptor), 0, IN_ONE, 0,
           note_file('s', descriptor, 0, NULL, 0))
}

int fdatasync(int descriptor) {
    REAL(fdatasync);
    AROUND(of_descriptor(descriptor), 's', real(descriptor), real(descriptor), 0, IN_ONE, 0,
           note_file('s', descriptor, 0, NULL, 0))
}

int ftruncate(int descriptor, off_t size) {
    REAL(ftruncate);
    AROUND(of_descriptor(descriptor), 't', real(descriptor, size), real(descriptor, size), 0, IN_ONE, 0,
           note_file('t', descriptor, size, NULL, 0))
}

int ftruncate64(int descriptor, off64_t size) {
    REAL(ftruncate64);
    AROUND(of_descriptor(descriptor), 't', real(descriptor, size), real(descriptor, size), 0, IN_ONE, 0,
           note_file('t', descriptor, size, NULL, 0))
}

int unlink(const char *path) {
    REAL(unlink);
    AROUND(of_path(AT_FDCWD, path), 'u', real(path), real(path), 0, IN_ONE, 0,
           note_names('u', AT_FDCWD, path, 0, NULL))
}

int unlinkat(int directory, const char *path, int flags) {
    REAL(unlinkat);
    AROUND(of_path(directory, path), 'u', real(directory, path, flags),
           real(directory, path, flags), 0, IN_ONE, 0, note_names('u', directory, path, 0, NULL))
}

int rename(const char *from, const char *to) {
    REAL(rename);
    AROUND(of_path(AT_FDCWD, to), 'n', real(from, to), real(from, to), 0, IN_ONE, 1,
           note_names('n', AT_FDCWD, from, AT_FDCWD, to))
}

int renameat(int there, const char *from, int here, const char *to) {
    REAL(renameat);
    AROUND(of_path(here, to), 'n', real(there, from, here, to), real(there, from, here, to), 0, IN_ONE, 1,
           note_names('n', there, from, here, to))
}

int link(const char *from, const char *to) {
    REAL(link);
    AROUND(of_path(AT_FDCWD, to), 'n', real(from, to), real(from, to), 0, IN_ONE, 1,
           note_names('l', AT_FDCWD, from, AT_FDCWD, to))
}

int linkat(int there, const char *from, int here, const char *to, int flags) {
    REAL(linkat);
    AROUND(of_path(here, to), 'n', real(there, from, here, to, flags),
           real(there, from, here, to, flags), 0, IN_ONE, 1, note_names('l', there, from, here, to))
}
