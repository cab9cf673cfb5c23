/* One insert and commit at a time in C: what is left when Python costs nothing.
 *
 * Loaded by ctypes; the SQLite functions are looked up in the library that the
 * caller's own driver uses, so that both measure the same SQLite.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct {
    void *db, *begin, *insert, *commit;
    int64_t seq;
    int (*step)(void *), (*reset)(void *), (*finalize)(void *), (*close)(void *);
    int (*bind_int64)(void *, int, int64_t);
    int (*bind_blob)(void *, int, const void *, int, void (*)(void *));
} Loop;

enum { OK = 0, ROW = 100, DONE = 101 };

static int prepare_all(void *library, Loop *loop, const char *path, const char *setup) {
    int (*open)(const char *, void **) = dlsym(library, "sqlite3_open");
    int (*exec)(void *, const char *, void *, void *, void *) = dlsym(library, "sqlite3_exec");
    int (*prepare)(void *, const char *, int, void **, void *) = dlsym(library, "sqlite3_prepare_v2");
    if (!open || !exec || !prepare) return -1;
    if (open(path, &loop->db) != OK || exec(loop->db, setup, NULL, NULL, NULL) != OK) return -2;
    if (prepare(loop->db, "BEGIN IMMEDIATE", -1, &loop->begin, NULL) != OK) return -3;
    if (prepare(loop->db, "COMMIT", -1, &loop->commit, NULL) != OK) return -3;
    return prepare(loop->db, "INSERT INTO rows(session_id, seq, body) VALUES (1, ?, ?)", -1, &loop->insert, NULL);
}

Loop *loop_open(const char *library_path, const char *path, const char *setup) {
    void *library = dlopen(library_path, RTLD_LAZY);
    Loop *loop = calloc(1, sizeof *loop);
    if (!library || !loop) return NULL;
    loop->step = dlsym(library, "sqlite3_step");
    loop->reset = dlsym(library, "sqlite3_reset");
    loop->finalize = dlsym(library, "sqlite3_finalize");
    loop->close = dlsym(library, "sqlite3_close");
    loop->bind_int64 = dlsym(library, "sqlite3_bind_int64");
    loop->bind_blob = dlsym(library, "sqlite3_bind_blob");
    if (!loop->step || prepare_all(library, loop, path, setup) != OK) return NULL;
    return loop;
}

static int once(Loop *loop, void *statement) {
    int answer = loop->step(statement);
    loop->reset(statement);
    return answer == DONE ? OK : answer;
}

int loop_run(Loop *loop, int count, const char *body, int size) {
    for (int i = 0; i < count; i++) {
        if (once(loop, loop->begin) != OK) return -1;
        loop->bind_int64(loop->insert, 1, ++loop->seq);
        loop->bind_blob(loop->insert, 2, body, size, NULL);
        if (once(loop, loop->insert) != OK || once(loop, loop->commit) != OK) return -1;
    }
    return OK;
}

void loop_close(Loop *loop) {
    loop->finalize(loop->begin);
    loop->finalize(loop->insert);
    loop->finalize(loop->commit);
    loop->close(loop->db);
    free(loop);
}
