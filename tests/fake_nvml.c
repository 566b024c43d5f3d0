/* A stand-in for NVIDIA's libnvidia-ml.so.1: GPUs as a script says, for tests on machines without any.

FAKE_NVML names the script, lines of "key value", read again when the file is replaced. Each call is written to the
file that FAKE_NVML_CALLS names, as "function gpu thread". What the script does not hold is NOT_SUPPORTED.

    count 2                    gpu0.uuid GPU-aa           gpu0.memory.used 1,2,3    (one after the other, then the last)
    latency_us 20000           gpu0.field.83 @200000      (200000 for each second since 1970)
    error.FUNCTION 4           gpu0.error 15              gpu0.error.FUNCTION 10    hang.FUNCTION 1
    gpu0.migs 1                gpu0.mig0.uuid MIG-1       gpu0.processes self:1024,4711:2048
    gpu0.activity self:37      gpu0.xids 79,31            (each once)

With -DOLD_DRIVER the functions that newer drivers brought are not there. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <pthread.h>

enum { OK = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, TIMED_OUT = 10 };
enum { KEYS = 1024, GPUS = 16, PARTS = 8 };

typedef struct { int gpu, part; } Device;
typedef struct { char key[80], value[240]; unsigned turn; } Line;
typedef struct { uint64_t total, free, used; } Memory;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { uint32_t id, scope; int64_t at, latency; int type, code; union { double d; unsigned u; uint64_t ull; } value; } Field;
typedef struct { unsigned pid; uint64_t used; unsigned instance, compute; } Process;
typedef struct { unsigned pid; uint64_t at; unsigned sm, memory, encoder, decoder; } Activity;
typedef struct { Device *device; uint64_t type, data; unsigned instance, compute; } Event;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Device devices[GPUS][PARTS + 1];
static Line lines[KEYS];
static int filled, initialized, xids_told[GPUS], calls = -1;
static struct timespec changed;
static ino_t which;

static void reload(void) {
    const char *path = getenv("FAKE_NVML");
    struct stat now;
    if (!path || stat(path, &now) || (now.st_ino == which && !memcmp(&now.st_mtim, &changed, sizeof changed))) return;
    FILE *file = fopen(path, "r");
    if (!file) return;
    Line line;
    memset(&line, 0, sizeof line);
    filled = 0;
    while (filled < KEYS && fscanf(file, " %79s %239[^\n]", line.key, line.value) == 2) lines[filled++] = line;
    fclose(file);
    changed = now.st_mtim;
    which = now.st_ino;
}

static Line *find(const char *key) {
    for (int i = 0; i < filled; i++)
        if (!strcmp(lines[i].key, key)) return &lines[i];
    return NULL;
}

static Line *of(Device *device, const char *what) {
    char key[80];
    if (device->part < 0) snprintf(key, sizeof key, "gpu%d.%s", device->gpu, what);
    else snprintf(key, sizeof key, "gpu%d.mig%d.%s", device->gpu, device->part, what);
    return find(key);
}

/* The number that a line holds now, out of those between commas. */
static uint64_t number(Line *line) {
    char *at = line->value, *next;
    if (*at == '@') {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        return (uint64_t)(strtod(at + 1, NULL) * ((double)now.tv_sec + now.tv_nsec / 1e9));
    }
    for (unsigned i = 0; i < line->turn && (next = strchr(at, ',')); i++) at = next + 1;
    line->turn++;
    return strtoull(at, NULL, 10);
}

/* What every call begins with: it is noted, takes its time, and fails where the script says so. */
static int enter(const char *function, Device *device) {
    char key[120], text[160];
    pthread_mutex_lock(&lock);
    reload();
    const char *path = getenv("FAKE_NVML_CALLS");
    if (path && calls < 0) calls = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int length = snprintf(text, sizeof text, "%s %d %ld\n", function, device ? device->gpu : -1, (long)syscall(SYS_gettid));
    if (calls >= 0 && write(calls, text, (size_t)length) < 0) abort();
    Line *line = find("latency_us");
    useconds_t latency = line ? (useconds_t)number(line) : 0;
    for (snprintf(key, sizeof key, "hang.%s", function); find(key); reload()) {
        pthread_mutex_unlock(&lock);
        usleep(5000);
        pthread_mutex_lock(&lock);
    }
    snprintf(key, sizeof key, "error.%s", function);
    line = find(key);
    if (!line && device) line = of(device, key);
    if (!line && device) line = of(device, "error");
    int code = line ? (int)number(line) : OK;
    if (code == OK && !initialized && strncmp(function, "nvmlInit", 8)) code = UNINITIALIZED;
    pthread_mutex_unlock(&lock);
    if (latency) usleep(latency);
    return code;
}

static int say(const char *function, Device *device, const char *what, uint64_t *answer) {
    int code = enter(function, device);
    if (code) return code;
    pthread_mutex_lock(&lock);
    Line *line = of(device, what);
    if (line) *answer = number(line);
    pthread_mutex_unlock(&lock);
    return line ? OK : NOT_SUPPORTED;
}

static int text(const char *function, Device *device, const char *what, char *answer, unsigned length) {
    int code = enter(function, device);
    if (code) return code;
    pthread_mutex_lock(&lock);
    Line *line = of(device, what);
    if (line) snprintf(answer, length, "%s", line->value);
    pthread_mutex_unlock(&lock);
    return line ? OK : NOT_SUPPORTED;
}

static int small(const char *function, Device *device, const char *what, unsigned *answer) {
    uint64_t found;
    int code = say(function, device, what, &found);
    if (!code) *answer = (unsigned)found;
    return code;
}

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    int code = enter("nvmlInit", NULL);
    if (code) return code;
    for (int gpu = 0; gpu < GPUS; gpu++)
        for (int part = 0; part <= PARTS; part++) devices[gpu][part] = (Device){gpu, part - 1};
    initialized++;
    return OK;
}

int nvmlShutdown(void) {
    int code = enter("nvmlShutdown", NULL);
    if (!code) initialized--;
    return code;
}

const char *nvmlErrorString(int code) {
    static char said[32];
    snprintf(said, sizeof said, "error %d", code);
    return said;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    int code = enter("nvmlDeviceGetCount", NULL);
    Line *line = find("count");
    if (!code) *count = line ? (unsigned)number(line) : 0;
    return code;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **device) {
    *device = &devices[index % GPUS][0];
    return enter("nvmlDeviceGetHandleByIndex", *device);
}

int nvmlDeviceGetUUID(Device *device, char *answer, unsigned length) { return text("nvmlDeviceGetUUID", device, "uuid", answer, length); }
int nvmlDeviceGetName(Device *device, char *answer, unsigned length) { return text("nvmlDeviceGetName", device, "name", answer, length); }
int nvmlDeviceGetPowerUsage(Device *device, unsigned *answer) { return small("nvmlDeviceGetPowerUsage", device, "power", answer); }

int nvmlDeviceGetTemperature(Device *device, int sensor, unsigned *answer) {
    return sensor ? INVALID : small("nvmlDeviceGetTemperature", device, "temperature", answer);
}

int nvmlDeviceGetClockInfo(Device *device, int clock, unsigned *answer) {
    static const char *names[] = {"clock.graphics", "clock.sm", "clock.memory", "clock.video"};
    return clock < 0 || clock > 3 ? INVALID : small("nvmlDeviceGetClockInfo", device, names[clock], answer);
}

int nvmlDeviceGetCurrentClocksThrottleReasons(Device *device, uint64_t *answer) {
    return say("nvmlDeviceGetCurrentClocksThrottleReasons", device, "throttle", answer);
}

int nvmlDeviceGetMemoryInfo(Device *device, Memory *answer) {
    int code = say("nvmlDeviceGetMemoryInfo", device, "memory.used", &answer->used);
    Line *line = code ? NULL : of(device, "memory.total");
    answer->total = line ? number(line) : 0;
    answer->free = answer->total - answer->used;
    return code;
}

int nvmlDeviceGetUtilizationRates(Device *device, Utilization *answer) {
    int code = small("nvmlDeviceGetUtilizationRates", device, "busy", &answer->gpu);
    Line *line = code ? NULL : of(device, "memory.busy");
    answer->memory = line ? (unsigned)number(line) : 0;
    return code;
}

int nvmlDeviceGetMigMode(Device *device, unsigned *current, unsigned *pending) {
    int code = small("nvmlDeviceGetMigMode", device, "migs", current);
    if (!code) *current = *pending = *current > 0;
    return code;
}

int nvmlDeviceGetMaxMigDeviceCount(Device *device, unsigned *count) {
    *count = PARTS - 1;
    return enter("nvmlDeviceGetMaxMigDeviceCount", device);
}

int nvmlDeviceGetMigDeviceHandleByIndex(Device *device, unsigned index, Device **answer) {
    unsigned count;
    int code = small("nvmlDeviceGetMigDeviceHandleByIndex", device, "migs", &count);
    if (code || index >= count) return code ? code : NOT_FOUND;
    *answer = &devices[device->gpu][index + 1];
    return OK;
}

int nvmlEventSetCreate(void **set) {
    *set = devices;
    return enter("nvmlEventSetCreate", NULL);
}

int nvmlEventSetFree(void *set) {
    (void)set;
    return enter("nvmlEventSetFree", NULL);
}

int nvmlDeviceRegisterEvents(Device *device, uint64_t types, void *set) {
    return types == 8 && set == devices ? enter("nvmlDeviceRegisterEvents", device) : INVALID;
}

#ifndef OLD_DRIVER
int nvmlEventSetWait_v2(void *set, Event *event, unsigned milliseconds) {
    (void)milliseconds;
    int code = enter("nvmlEventSetWait", NULL);
    if (code) return code;
    for (int gpu = 0; set == devices && gpu < GPUS; gpu++) {
        Line *line = of(&devices[gpu][0], "xids");
        char *at = line ? line->value : NULL;
        for (int i = 0; at && i < xids_told[gpu]; i++) at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL;
        if (at) {
            xids_told[gpu]++;
            *event = (Event){&devices[gpu][0], 8, strtoull(at, NULL, 10), 0, 0};
            return OK;
        }
    }
    return TIMED_OUT;
}

int nvmlDeviceGetFieldValues(Device *device, int count, Field *fields) {
    int code = enter("nvmlDeviceGetFieldValues", device);
    for (int i = 0; !code && i < count; i++) {
        char what[32];
        snprintf(what, sizeof what, "field.%u", fields[i].id);
        Line *line = of(device, what);
        int by_link = fields[i].id == 138 || fields[i].id == 139;
        fields[i].code = !line ? NOT_SUPPORTED : by_link && fields[i].scope != UINT32_MAX ? INVALID : OK;
        if (fields[i].code) continue;
        fields[i].type = fields[i].id == 186 || fields[i].id == 82 ? 1 : 3;
        if (fields[i].type == 1) fields[i].value.u = (unsigned)number(line);
        else fields[i].value.ull = number(line);
    }
    return code;
}

/* Reads "self:1,4711:2" into pairs; returns how many there are. */
static unsigned pairs(Line *line, unsigned most, unsigned pids[], uint64_t values[]) {
    unsigned count = 0;
    for (char *at = line->value; at && *at && strcmp(at, "none"); at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        if (count < most) {
            pids[count] = strncmp(at, "self", 4) ? (unsigned)strtoul(at, NULL, 10) : (unsigned)getpid();
            values[count] = (uint64_t)strtoll(strchr(at, ':') + 1, NULL, 10);
        }
        count++;
    }
    return count;
}

int nvmlDeviceGetComputeRunningProcesses_v3(Device *device, unsigned *count, Process *answer) {
    unsigned pids[64], room = *count;
    uint64_t values[64];
    int code = enter("nvmlDeviceGetComputeRunningProcesses", device);
    Line *line = code ? NULL : of(device, "processes");
    if (!line) return code ? code : NOT_SUPPORTED;
    *count = pairs(line, 64, pids, values);
    if (*count > room) return TOO_SMALL;
    for (unsigned i = 0; i < *count; i++) answer[i] = (Process){pids[i], values[i], 0, 0};
    return OK;
}

int nvmlDeviceGetProcessUtilization(Device *device, Activity *answer, unsigned *count, uint64_t since) {
    unsigned pids[64], room = answer ? *count : 0;
    uint64_t values[64];
    (void)since;
    int code = enter("nvmlDeviceGetProcessUtilization", device);
    Line *line = code ? NULL : of(device, "activity");
    if (!line) return code ? code : NOT_SUPPORTED;
    *count = pairs(line, 64, pids, values);
    if (*count > room) return TOO_SMALL;
    for (unsigned i = 0; i < *count; i++) answer[i] = (Activity){pids[i], (uint64_t)time(NULL) * 1000000, (unsigned)values[i], 0, 0, 0};
    return OK;
}
#endif
