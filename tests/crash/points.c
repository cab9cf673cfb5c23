/* Kills its process at the Nth call that changes a file, once told to.
 *
 * Preloaded. Calls are counted from points_arm() on; writes to pipes and to
 * standard output do not count. With `how`: 0 kill before the call, 1 after it,
 * 2 after half of what a write would write.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static long seen, at;
static int how, armed;

void points_arm(long number, int when) { seen = 0; at = number; how = when; armed = 1; }
long points_seen(void) { return seen; }

static void die(void) { kill(getpid(), SIGKILL); for (;;) pause(); }

static int counts(int descriptor) {
    struct stat status;
    return armed && fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
}

/* 0: go on as ever; 1: this is the call. */
static int is_it(int descriptor) { return counts(descriptor) && ++seen == at; }

#define REAL(name) static __typeof__(name) *real; if (!real) real = dlsym(RTLD_NEXT, #name)

#define AROUND(call, torn) \
    if (!is_it(descriptor)) return call; \
    if (how == 0) die(); \
    if (how == 2) { torn; die(); } \
    (void)!call; die(); return -1

ssize_t write(int descriptor, const void *data, size_t size) {
    REAL(write);
    AROUND(real(descriptor, data, size), (void)!real(descriptor, data, size / 2));
}

ssize_t pwrite(int descriptor, const void *data, size_t size, off_t offset) {
    REAL(pwrite);
    AROUND(real(descriptor, data, size, offset), (void)!real(descriptor, data, size / 2, offset));
}

ssize_t pwrite64(int descriptor, const void *data, size_t size, off64_t offset) {
    REAL(pwrite64);
    AROUND(real(descriptor, data, size, offset), (void)!real(descriptor, data, size / 2, offset));
}

int fsync(int descriptor) { REAL(fsync); AROUND(real(descriptor), (void)0); }
int fdatasync(int descriptor) { REAL(fdatasync); AROUND(real(descriptor), (void)0); }
int ftruncate(int descriptor, off_t size) { REAL(ftruncate); AROUND(real(descriptor, size), (void)0); }
int ftruncate64(int descriptor, off64_t size) { REAL(ftruncate64); AROUND(real(descriptor, size), (void)0); }
